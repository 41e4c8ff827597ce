import {randomBytes} from 'node:crypto'
import {open, stat} from 'node:fs/promises'
import {eventually} from '../lab/cli.ts'
import {type ClusterName, files, kubectl} from './bed.ts'

type Line = {
  readonly user: {readonly username: string}
  readonly verb: string
  readonly requestURI: string
  readonly objectRef?: {readonly resource?: string; readonly subresource?: string; readonly namespace?: string; readonly name?: string}
}

const writing = new Set(['create', 'update', 'patch', 'delete', 'deletecollection'])
/** A person; the cluster's own begin with `system:`. */
const person = 'admin'

const textSince = async (file: string, from: number): Promise<string> => {
  const {size} = await stat(file)
  const handle = await open(file)
  try {
    const {buffer} = await handle.read(Buffer.alloc(size - from), 0, size - from, from)
    return buffer.toString()
  } finally {
    await handle.close()
  }
}

/** What a person has asked of a cluster since the log was opened. */
export const auditOf = async (cluster: ClusterName) => {
  const file = files.audit(cluster)
  const {size: from} = await stat(file)
  const lines = async (): Promise<readonly Line[]> => {
    // a line is written just after its answer is sent: once this one's is there, so are all before it
    const marker = `marker-${randomBytes(6).toString('hex')}`
    await kubectl(cluster, ['get', 'configmap', marker, '--ignore-not-found'])
    let text = ''
    await eventually(
      `the audit log of ${cluster} has our marker`,
      async () => {
        text = await textSince(file, from)
        return text.includes(marker)
      },
      10_000,
    )
    return text
      .split('\n')
      .filter((line) => line.includes(`"username":"${person}"`) && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Line)
  }
  const shown = ({verb, objectRef: {resource = '', subresource, namespace, name} = {}}: Line): string =>
    [verb, [resource, subresource].filter(Boolean).join('/'), [namespace, name].filter(Boolean).join('/')].filter(Boolean).join(' ')
  return {
    /** How many requests there were, which of them write, and which only ask what one may. */
    async read() {
      const all = await lines()
      const writes = all.filter(({verb}) => writing.has(verb))
      const isQuestion = ({objectRef}: Line) => /^selfsubject\w*reviews$/.test(objectRef?.resource ?? '')
      return {
        requests: all.length,
        writes: writes.filter((line) => !isQuestion(line)).map((line) => shown(line)),
        questions: writes.filter((line) => isQuestion(line)).map((line) => shown(line)),
      }
    },
  }
}
