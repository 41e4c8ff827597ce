import {LkeobsError} from '../../errors.ts'
import {namespace} from './names.ts'
import {type Site} from './site.ts'

/** Posts what a script reads from its first argument to the host and port that follow, and prints the answer. */
const poster = 'printf %s "$1" | nc -w 10 "$2" "$3"'

/** Posts JSON from inside a pod, with what every OpenBao image has. */
export const postFrom = async ({kube}: Site, pod: string, to: string, body: object) => {
  const {hostname, port, pathname} = new URL(to)
  const content = JSON.stringify(body)
  const head = [
    `POST ${pathname} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(content)}`,
    'Connection: close',
  ]
  const request = `${head.join('\r\n')}\r\n\r\n${content}`
  try {
    const answer = await kube.exec({namespace, pod}, ['sh', '-c', poster, 'sh', request, hostname, port])
    const [, status, text = ''] = /^HTTP\/1\.\d (\d{3})[\s\S]*?\r\n\r\n([\s\S]*)$/.exec(answer) ?? []
    return status === undefined ? undefined : {status: Number(status), body: text}
  } catch (error) {
    if (error instanceof LkeobsError && error.code === 'LKO-4003') return undefined
    throw error
  }
}
