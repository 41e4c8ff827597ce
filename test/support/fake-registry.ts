import {createHash, randomBytes} from 'node:crypto'
import {createServer, type IncomingMessage, type RequestListener, type ServerResponse} from 'node:http'
import {createServer as createTlsServer} from 'node:https'
import type {AddressInfo} from 'node:net'
import {onTestFinished} from 'vitest'

export type FakeRegistryOptions = {
  /** How it asks who comes; nobody is asked unless given. */
  readonly auth?: 'bearer' | 'basic'
  readonly username?: string
  readonly password?: string
  /** A refresh token that a login left. */
  readonly refreshToken?: string
  readonly tls?: {readonly key: string; readonly cert: string}
  /** An answer in place of its own, by `METHOD /path`. */
  readonly instead?: (line: string) => {readonly status: number; readonly body?: string; readonly hangUp?: true} | undefined
  /** Where uploads are sent to, in place of the registry itself. */
  readonly uploadsTo?: string
}

const bodyOf = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

const digestOf = (content: Buffer) => `sha256:${createHash('sha256').update(content).digest('hex')}`

/** A registry on loopback that speaks the OCI Distribution API and is strict: digests are verified, and nothing may refer to nothing. */
export const fakeRegistry = async ({
  auth,
  username = 'ci',
  password = 'right',
  refreshToken,
  tls,
  instead,
  uploadsTo,
}: FakeRegistryOptions = {}) => {
  const blobs = new Map<string, Buffer>()
  const manifests = new Map<string, {readonly type: string; readonly content: Buffer}>()
  const tags = new Map<string, string>()
  const uploads = new Set<string>()
  const tokens = new Set<string>()
  const requests: string[] = []
  const authorizations: (string | undefined)[] = []
  const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const {method = '', url: target = '', headers} = request
    const url = new URL(target, 'http://registry')
    const line = `${method} ${url.pathname}`
    requests.push(line)
    authorizations.push(headers.authorization)
    const end = (status: number, more: Record<string, string> = {}, body = '') => response.writeHead(status, more).end(body)
    const error = (status: number, code: string, message: string, more: Record<string, string> = {}) =>
      end(status, {'content-type': 'application/json', ...more}, JSON.stringify({errors: [{code, message}]}))
    const other = instead?.(line)
    if (other?.hangUp) return request.destroy()
    if (other) return end(other.status, {}, other.body)
    if (url.pathname === '/token') {
      const form = method === 'POST' ? new URLSearchParams((await bodyOf(request)).toString()) : url.searchParams
      const isKnown = method === 'POST' ? form.get('refresh_token') === refreshToken : headers.authorization === basic
      if (!isKnown || !/^repository:[^:]+:pull,push$/.test(form.get('scope') ?? '') || form.get('service') !== 'fake')
        return error(401, 'UNAUTHORIZED', 'incorrect username or password')
      const token = randomBytes(8).toString('hex')
      tokens.add(token)
      return end(200, {}, JSON.stringify({token}))
    }
    const isIn =
      auth === undefined ||
      (auth === 'basic' ? headers.authorization === basic : tokens.has(headers.authorization?.replace('Bearer ', '') ?? ''))
    if (!isIn) {
      const challenge = auth === 'basic' ? 'Basic realm="fake"' : `Bearer realm="${urlOf()}/token",service="fake",scope="wrong"`
      return error(401, 'UNAUTHORIZED', 'authentication required', {'www-authenticate': challenge})
    }
    const [, repository = '', kind = '', rest = ''] = /^\/v2\/(.+)\/(blobs|manifests)\/(.+)$/.exec(target.split('?')[0] ?? '') ?? []
    if (repository !== 'team/otelcol') return error(404, 'NAME_UNKNOWN', `repository ${repository} is not known`)
    if (kind === 'blobs' && method === 'POST') {
      const upload = randomBytes(6).toString('hex')
      uploads.add(upload)
      return end(202, {location: `${uploadsTo ?? ''}/v2/${repository}/blobs/uploads/${upload}?_state=a%2Bb`})
    }
    if (kind === 'blobs' && method === 'PUT') {
      const content = await bodyOf(request)
      if (!uploads.delete(rest.replace('uploads/', '')) || url.searchParams.get('_state') !== 'a+b')
        return error(404, 'BLOB_UPLOAD_UNKNOWN', 'there is no such upload')
      const digest = url.searchParams.get('digest') ?? ''
      if (digest !== digestOf(content)) return error(400, 'DIGEST_INVALID', 'the content has another digest')
      blobs.set(digest, content)
      return end(201, {'docker-content-digest': digest})
    }
    if (kind === 'blobs') {
      const content = blobs.get(rest)
      if (!content) return end(404)
      response.writeHead(200, {'content-length': String(content.length)})
      return method === 'HEAD' ? response.end() : response.end(content)
    }
    if (method === 'PUT') {
      const content = await bodyOf(request)
      const digest = digestOf(content)
      const {
        config,
        layers = [],
        manifests: inner = [],
      } = JSON.parse(content.toString()) as {
        config?: {digest: string}
        layers?: {digest: string}[]
        manifests?: {digest: string}[]
      }
      const missing = [
        ...[...(config ? [config] : []), ...layers].filter((one) => !blobs.has(one.digest)),
        ...inner.filter((one) => !manifests.has(one.digest)),
      ]
      if (missing.length > 0) return error(400, 'MANIFEST_BLOB_UNKNOWN', missing.map((one) => one.digest).join(', '))
      if (rest.startsWith('sha256:') && rest !== digest) return error(400, 'DIGEST_INVALID', 'the content has another digest')
      manifests.set(digest, {type: headers['content-type'] ?? '', content})
      if (!rest.startsWith('sha256:')) tags.set(rest, digest)
      return end(201, {'docker-content-digest': digest})
    }
    const digest = rest.startsWith('sha256:') ? rest : tags.get(rest)
    const found = digest === undefined ? undefined : manifests.get(digest)
    if (!found || digest === undefined) return end(404)
    response.writeHead(200, {'docker-content-digest': digest, 'content-type': found.type})
    return method === 'HEAD' ? response.end() : response.end(found.content)
  }
  const listener: RequestListener = (request, response) => void answer(request, response).catch(() => response.destroy())
  const server = tls ? createTlsServer(tls, listener) : createServer(listener)
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  const {port} = server.address() as AddressInfo
  const urlOf = () => `${tls ? 'https' : 'http'}://127.0.0.1:${port}`
  onTestFinished(() => void server.close())
  return {host: `127.0.0.1:${port}`, blobs, manifests, tags, requests, authorizations, tokens}
}
