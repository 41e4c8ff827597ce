import {setTimeout as sleep} from 'node:timers/promises'
import {LkeobsError} from '../errors.ts'
import {Secret} from '../secret.ts'
import type {RegistryHttp, RegistryReply, RegistryRequest} from '../tools/registry-http.ts'
import type {Fault} from '../tools/wire.ts'
import type {Credentials} from './credentials.ts'
import type {Descriptor, Document} from './oci.ts'
import {isLoopback, type Repository, shownRepository} from './reference.ts'

/** A repository of a registry, by the OCI Distribution API 1.1. */
export type OpenRepository = {
  readonly repository: Repository
  hasBlob(descriptor: Descriptor): Promise<boolean>
  /** Sends a blob whole. The registry verifies its digest. */
  pushBlob(descriptor: Descriptor, read: () => AsyncIterable<Uint8Array>, onSent?: (bytes: number) => void): Promise<void>
  /** The digest under this tag or digest; undefined where there is none. */
  manifestDigest(reference: string): Promise<string | undefined>
  pushManifest(document: Document, reference: string): Promise<void>
}

export type RegistryOptions = {
  readonly credentials: Credentials | undefined
  /** PEM of the CAs that verify the registry; those of this machine unless given. */
  readonly ca?: string | undefined
  /** Without TLS, wherever it is. */
  readonly plainHttp: boolean
  /** Between two tries of an upload. */
  readonly pauseMs?: number
}

const tries = 3
/** Hosts of images whose API has another name. */
const apiHosts: Readonly<Record<string, string>> = {'docker.io': 'registry-1.docker.io', 'index.docker.io': 'registry-1.docker.io'}

/** Plain HTTP is for this machine, or for who asks for it. */
export const registryUrl = (repository: Repository, {ca, plainHttp}: Pick<RegistryOptions, 'ca' | 'plainHttp'>): string => {
  const isPlain = plainHttp || (ca === undefined && isLoopback(repository))
  return `${isPlain ? 'http' : 'https'}://${apiHosts[repository.host] ?? repository.host}`
}

type Challenge = {readonly scheme: string; readonly parameters: Readonly<Record<string, string>>}

/** `Bearer realm="…",service="…",scope="…"` */
export const challengeOf = (header: string): Challenge => {
  const [, scheme = '', rest = ''] = /^\s*(\w+)\s*(.*)$/s.exec(header) ?? []
  const parameters = [...rest.matchAll(/(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/g)].map(
    ([, name = '', quoted, bare = '']) => [name.toLowerCase(), quoted?.replaceAll(/\\(.)/g, '$1') ?? bare] as const,
  )
  return {scheme: scheme.toLowerCase(), parameters: Object.fromEntries(parameters)}
}

type ApiErrors = {readonly errors?: readonly {readonly code?: string; readonly message?: string}[]}

/** What the registry says of an error; a page or a proxy's words are cut short. */
const errorsIn = ({body}: RegistryReply): {readonly codes: readonly string[]; readonly text: string} => {
  try {
    const {errors = []} = JSON.parse(body) as ApiErrors
    return {
      codes: errors.map(({code = ''}) => code),
      text: errors.map(({code = '', message = ''}) => [code, message].filter(Boolean).join(': ')).join('; '),
    }
  } catch {
    return {codes: [], text: body.replaceAll(/\s+/g, ' ').trim().slice(0, 200)}
  }
}

const again = 'lkeobs images push'
/** A connection that broke off; without TLS that is also how a server that wants TLS answers. */
const isPassingFault = ({fault}: Fault): boolean => ['broken', 'encrypted', 'silent'].includes(fault)

const tlsFaults: readonly Fault['fault'][] = ['untrusted', 'misnamed', 'expired', 'unencrypted', 'encrypted', 'client']

const faultError = (url: string, {fault, why}: Fault): LkeobsError => {
  const {origin, host} = new URL(url)
  const isTls = tlsFaults.includes(fault)
  return new LkeobsError(isTls ? 'LKO-4104' : 'LKO-4102', `${origin}: ${why}.`, {
    next: isTls
      ? [`openssl s_client -connect ${host.includes(':') ? host : `${host}:443`} -showcerts </dev/null`, `${again} --registry-ca FILE`]
      : [`curl -v ${origin}/v2/`],
  })
}

const basic = (username: string, password: Secret): Secret =>
  new Secret(`Basic ${Buffer.from(`${username}:${password.reveal()}`).toString('base64')}`)

export const openRepository = (repository: Repository, options: RegistryOptions, http: RegistryHttp): OpenRepository => {
  const {credentials, ca, pauseMs = 1000} = options
  const shown = shownRepository(repository)
  const base = registryUrl(repository, options)
  const at = (rest: string) => `${base}/v2/${repository.path}/${rest}`
  let authorization: Secret | undefined

  const unauthorised = (what: string, reply?: RegistryReply) => {
    const who = credentials ? `with the credentials of ${credentials.from}` : 'without credentials: none are stored for it'
    const words = reply ? errorsIn(reply).text : ''
    return new LkeobsError('LKO-4103', `${shown}: ${what} ${who}${words ? `: ${words}` : ''}.`, {
      next: [`docker login ${repository.host}`, `${again} --username NAME --password-stdin < FILE`],
    })
  }

  /** A token for this repository, from where the registry says. */
  const token = async ({parameters: {realm = '', service}}: Challenge): Promise<Secret> => {
    const url = URL.canParse(realm) ? new URL(realm) : undefined
    if (!url) throw unauthorised(`the registry names ${JSON.stringify(realm)} as the place for tokens`)
    if (credentials && base.startsWith('https:') && url.protocol !== 'https:')
      throw new LkeobsError(
        'LKO-4104',
        `${shown}: tokens are to be had from ${url.origin}, which is not TLS; no credentials are sent there.`,
      )
    const scope = `repository:${repository.path}:pull,push`
    const asked = async (): Promise<RegistryReply | Fault> => {
      if (credentials?.kind === 'refresh-token') {
        const form = new URLSearchParams({
          grant_type: 'refresh_token',
          refresh_token: credentials.token.reveal(),
          client_id: 'lkeobs',
          scope,
          ...(service !== undefined && {service}),
        })
        const bytes = Buffer.from(form.toString())
        return http.send({
          method: 'POST',
          url: url.href,
          headers: {'content-type': 'application/x-www-form-urlencoded'},
          ca,
          body: {
            size: bytes.length,
            async *read() {
              yield bytes
            },
          },
        })
      }
      if (service !== undefined) url.searchParams.set('service', service)
      url.searchParams.set('scope', scope)
      return http.send({
        method: 'GET',
        url: url.href,
        ca,
        ...(credentials && {headers: {authorization: basic(credentials.username, credentials.password)}}),
      })
    }
    const reply = await asked()
    if ('fault' in reply) throw faultError(url.href, reply)
    if (reply.status === 401 || reply.status === 403 || reply.status === 400) throw unauthorised('the registry gives no token', reply)
    if (reply.status !== 200) throw new LkeobsError('LKO-4102', `${url.origin}: HTTP ${reply.status} instead of a token.`)
    try {
      const {token: one, access_token: other} = JSON.parse(reply.body) as {token?: string; access_token?: string}
      const found = one ?? other
      if (found) return new Secret(`Bearer ${found}`)
    } catch {
      // a token is never repeated
    }
    throw unauthorised('the answer has no token in it')
  }

  const answerTo = async (reply: RegistryReply): Promise<Secret> => {
    const header = reply.headers['www-authenticate'] ?? ''
    const challenge = challengeOf(header)
    if (challenge.scheme === 'bearer') return token(challenge)
    if (challenge.scheme === 'basic' && credentials?.kind === 'password') return basic(credentials.username, credentials.password)
    throw unauthorised('the registry asks who pushes', reply)
  }

  /** Credentials of the registry go to the registry alone, wherever a Location leads. */
  const send = async (request: RegistryRequest): Promise<RegistryReply | Fault> => {
    const isOurs = new URL(request.url).origin === new URL(base).origin
    const sent = async () => {
      const used = isOurs ? authorization : undefined
      const headers = {...request.headers, ...(used && {authorization: used})}
      return {used, reply: await http.send({...request, ca, headers})}
    }
    const {used, reply} = await sent()
    if ('fault' in reply || reply.status !== 401 || !isOurs) return reply
    // a request beside this one may have been given a token meanwhile
    if (authorization === used) {
      const found = await answerTo(reply)
      // the same again would be refused the same way
      if (used && used.reveal() === found.reveal()) throw unauthorised('the registry refuses', reply)
      authorization = found
    }
    const second = (await sent()).reply
    if (!('fault' in second) && second.status === 401) throw unauthorised('the registry refuses', second)
    return second
  }

  const refused = (reply: RegistryReply, what: string): LkeobsError => {
    const {codes, text} = errorsIn(reply)
    const said = `HTTP ${reply.status}${text ? `: ${text}` : ''}`
    if (codes.some((code) => /^NAME_(UNKNOWN|INVALID)$/.test(code)) || reply.status === 404 || reply.status === 405)
      return new LkeobsError('LKO-4105', `${shown}: ${what}: ${said}.`)
    if (reply.status === 401 || reply.status === 403) return unauthorised(`the registry refuses ${what}`, reply)
    return new LkeobsError('LKO-4106', `${shown}: ${what}: ${said}.`)
  }

  const read = async (url: string, headers: Readonly<Record<string, string>> = {}): Promise<RegistryReply> => {
    for (let left = tries; ; left -= 1) {
      const reply = await send({method: 'HEAD', url, headers})
      const isPassing = 'fault' in reply ? isPassingFault(reply) : reply.status === 429 || reply.status >= 500
      if (!isPassing || left <= 1) {
        if ('fault' in reply) throw faultError(url, reply)
        return reply
      }
      await sleep(pauseMs)
    }
  }

  /** Tries what passes by itself again: the whole of it, since a registry keeps nothing of an upload that broke off. */
  const insist = async (
    what: string,
    work: () => Promise<RegistryReply | {readonly url: string; readonly fault: Fault}>,
  ): Promise<RegistryReply> => {
    for (let left = tries; ; left -= 1) {
      const reply = await work()
      const isPassing = 'fault' in reply ? isPassingFault(reply.fault) : reply.status === 429 || reply.status >= 500
      if (!isPassing || left <= 1) {
        if ('fault' in reply) throw faultError(reply.url, reply.fault)
        if (reply.status !== 201) throw refused(reply, what)
        return reply
      }
      await sleep(pauseMs)
    }
  }

  return {
    repository,
    async hasBlob({digest, size}) {
      const {status, headers} = await read(at(`blobs/${digest}`))
      // a registry that keeps blobs elsewhere leads there, and to what it has only
      if (status >= 300 && status < 400) return true
      if (status === 200) return headers['content-length'] === undefined || Number(headers['content-length']) === size
      if (status === 404) return false
      throw refused({status, headers, body: ''}, `${digest} cannot be looked for`)
    },
    async pushBlob({digest, size}, readContent, onSent) {
      await insist(`blob ${digest}`, async () => {
        const start = at('blobs/uploads/')
        const begun = await send({method: 'POST', url: start, mutates: true})
        if ('fault' in begun) return {url: start, fault: begun}
        if (begun.status === 201) return begun
        if (begun.status !== 202) return begun
        const location = new URL(begun.headers['location'] ?? '', start).href
        // its own parameters stay as they are: they may be signed
        const url = `${location}${location.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`
        const sent = await send({
          method: 'PUT',
          url,
          headers: {'content-type': 'application/octet-stream'},
          body: {size, read: readContent},
          mutates: true,
          ...(onSent && {onSent}),
        })
        return 'fault' in sent ? {url, fault: sent} : sent
      })
    },
    async manifestDigest(reference) {
      const accept = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json'
      const {status, headers} = await read(at(`manifests/${reference}`), {accept})
      if (status === 404) return undefined
      if (status !== 200) throw refused({status, headers, body: ''}, `${reference} cannot be looked for`)
      return headers['docker-content-digest'] ?? (reference.startsWith('sha256:') ? reference : undefined)
    },
    async pushManifest({text, descriptor}, reference) {
      const url = at(`manifests/${reference}`)
      const bytes = Buffer.from(text)
      const content = async function* () {
        yield bytes
      }
      const reply = await insist(`manifest ${reference}`, async () => {
        const sent = await send({
          method: 'PUT',
          url,
          headers: {'content-type': descriptor.mediaType},
          body: {size: bytes.length, read: content},
          mutates: true,
        })
        return 'fault' in sent ? {url, fault: sent} : sent
      })
      const digest = reply.headers['docker-content-digest']
      if (digest !== undefined && digest !== descriptor.digest)
        throw new LkeobsError('LKO-4106', `${shown}: the registry stored ${digest} instead of ${descriptor.digest}.`)
    },
  }
}
