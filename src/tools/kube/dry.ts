import {LkeobsError} from '../../errors.ts'
import type {Kube, KubeObject, OpenKube, Ref} from './kube.ts'
import {kubectl, lines} from './kubectl.ts'

/** Reads the real cluster; one that does not answer has nothing, and is not asked twice. Writes are only recorded. */
export const dryKube = (open: OpenKube, record: (line: string) => void): OpenKube => {
  const quiet = new Set<string>()
  return (target) => {
    const kube = open(target)
    const orNothing = async <T>(nothing: T, work: () => Promise<T>): Promise<T> => {
      if (quiet.has(target.context)) return nothing
      try {
        return await work()
      } catch (error) {
        if (!(error instanceof LkeobsError) || error.code !== 'LKO-3102') throw error
        quiet.add(target.context)
        return nothing
      }
    }
    return {
      ...kube,
      read: <T extends KubeObject>(ref: Ref) => orNothing(undefined, () => kube.read<T>(ref)),
      list: <T extends KubeObject>(...of: Parameters<Kube['list']>) => orNothing<readonly T[]>([], () => kube.list<T>(...of)),
      may: (access) => orNothing(true, () => kube.may(access)),
      clockAhead: () => orNothing(0, () => kube.clockAhead()),
      log: (at) => orNothing([], () => kube.log(at)),
      async exec({namespace, pod}, command) {
        record(kubectl(target, 'exec', '--namespace', namespace, pod, '--', ...command))
        return ''
      },
      async apply(objects, options) {
        // what is secret is in no file: it goes from here to kubectl
        const secrets = objects.filter(({kind}) => kind === 'Secret').map(({metadata: {name, namespace}}) => `${namespace}/${name}`)
        if (secrets.length === 0) record(lines.apply(target, options))
        else record(`${lines.apply(target, {...options, file: '-'})}   # Secret ${secrets.join(', ')}`)
      },
      async patch(...what) {
        record(lines.patch(target, ...what))
      },
      async debug(looker) {
        record(lines.debug(target, looker))
      },
      async remove(ref) {
        record(lines.remove(target, ref))
      },
      async nudge(pods, annotation) {
        record(lines.nudge(target, pods, annotation))
      },
    }
  }
}
