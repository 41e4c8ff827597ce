import type {ClientRequest} from 'node:http'
import https from 'node:https'
import {setTimeout as sleep} from 'node:timers/promises'
import type {TLSSocket} from 'node:tls'
import {LkeobsError, messageOf} from '../errors.ts'
import {revealed, Secret} from '../secret.ts'

export type SealStatus = {
  readonly type: string
  readonly initialized: boolean
  readonly sealed: boolean
  readonly version: string
  /** How many shares open it, how many there are, and how many the attempt under way has; of a Vault that holders open. */
  readonly t?: number
  readonly n?: number
  readonly progress?: number
  /** Of the attempt under way; empty where there is none. */
  readonly nonce?: string
  /** OpenBao has it; Vault says `build_date`. */
  readonly commit_date?: string
}

/** A request as it is, for what node-vault has no command for. */
export type VaultRequest = {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly data?: Readonly<Record<string, unknown>>
  /** Whose: a token, the administrator's login, or nobody's. */
  readonly as?: Secret | 'administrator'
}
/** Its answer, whatever the status. `errors` are Vault's words, with nothing in them that was sent. */
export type VaultAnswer = {readonly status: number; readonly data: Readonly<Record<string, unknown>>; readonly errors: readonly string[]}

/** Which Vault, whom to trust when it answers, and how to log in. */
export type VaultTarget = {
  /** `https://host:port` */
  readonly address: string
  /** On which cluster that address is, where it is not one of this machine's. */
  readonly where?: string
  /** The `host:port` that leads there from here, where the address itself does not. */
  readonly dial?: () => Promise<string>
  /** The name in its certificate, where that is not the address's. */
  readonly serverName?: string
  /** PEM of the CA that signed its certificate; asked for at the first request. */
  readonly ca: () => Promise<string>
  /** Left out where only the seal is asked about. */
  readonly login?: {readonly username: string; readonly password: () => Promise<Secret>}
}

/** Vault or OpenBao over HTTP. A refusal is LKO-5002, silence LKO-5001; neither repeats what was sent. */
export type Vault = {
  readonly address: string
  /** Undefined when nobody answers. Needs no login. */
  sealStatus(): Promise<SealStatus | undefined>
  /** The `data` of the answer, or undefined where the path holds nothing (404). */
  read<T extends object>(path: string): Promise<T | undefined>
  /** The names below a path; empty where there are none. */
  list(path: string): Promise<readonly string[]>
  /** The `data` of the answer, or its `auth` where a token was made. */
  write<T extends object>(path: string, data?: Readonly<Record<string, unknown>>): Promise<T>
  /** What is not there is gone already. */
  remove(path: string): Promise<void>
  /** A question that Vault wants as a POST: it changes nothing. Undefined where there is no answer. */
  lookup<T extends object>(path: string, data: Readonly<Record<string, unknown>>): Promise<T | undefined>
  /** Whether the login is accepted. Throws LKO-5001 when nobody answers. */
  accepts(): Promise<boolean>
  /**
   * One request as it is, for what is not JSON and for what is answered to anybody, whatever the status says. Undefined
   * when nobody answers. A login that is refused is LKO-5002.
   */
  raw(path: string, request?: RawRequest): Promise<RawAnswer | undefined>
  /** One request of src/tools/vault-sys.ts. Throws LKO-5001 when nobody answers. */
  request(request: VaultRequest): Promise<VaultAnswer>
}

export type RawRequest = {
  /** `POST` changes something. */
  readonly method?: 'GET' | 'POST'
  readonly body?: Uint8Array
  /** With the administrator's token; without a login unless given. */
  readonly loggedIn?: boolean
  /** With this token. */
  readonly as?: Secret
  /** How long nothing may come or go. */
  readonly timeoutMs?: number
}

export type RawAnswer = {
  readonly status: number
  readonly body: Buffer
  /** The certificate that was presented (PEM). */
  readonly certificate: string
}

export type OpenVault = (target: VaultTarget) => Vault

type Request = {readonly method: string; readonly uri: string; readonly headers?: Record<string, string>; readonly json?: unknown}
type Reply = {readonly statusCode: number; readonly body: unknown; readonly request: {readonly path: string}}
type Client = {
  token: string | undefined
  namespace: string | undefined
  pathPrefix: string
  read(path: string): Promise<unknown>
  list(path: string): Promise<unknown>
  write(path: string, data: unknown): Promise<unknown>
  delete(path: string): Promise<unknown>
  request(options: {method: string; path: string; json?: unknown; headers?: Record<string, string>}): Promise<unknown>
}

const timeoutMs = 10_000
// the administrator's tokens live 15 minutes; a run may take longer
const tokenIsGoodMs = 10 * 60_000

/** Whom to believe, by which name. */
type Trust = {readonly ca: string; readonly serverName: string | undefined}

const agentFor = ({ca, serverName}: Trust): https.Agent =>
  new https.Agent({
    ca,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    keepAlive: false,
    ...(serverName !== undefined && {servername: serverName}),
  })
/** The option `timeout` alone does not count while a connection is being made: one that takes it and says nothing would be waited for. */
const connectsWithin = (request: ClientRequest, ms: number): void => {
  const timer = setTimeout(() => request.destroy(new Error(`no answer within ${ms / 1000} s`)), ms)
  const end = () => clearTimeout(timer)
  request.on('socket', (socket) => socket.once('secureConnect', end))
  request.on('close', end)
}

/**
 * node-vault's transport: plain https with the one CA it may trust. Its own (axios) keeps token and
 * body in the errors it throws and takes proxies and certificate checking from the environment.
 */
const transport = (tls: Trust) => {
  const agent = agentFor(tls)
  return ({method, uri, headers, json}: Request): Promise<Reply> =>
    new Promise((resolve, reject) => {
      const body = json === undefined || json === true ? undefined : revealed(json)
      // with its length: Node would send the body of a DELETE without saying that there is one
      const request = https.request(
        uri,
        {
          method,
          agent,
          timeout: timeoutMs,
          headers: {...headers, ...(body !== undefined && {'content-type': 'application/json', 'content-length': Buffer.byteLength(body)})},
        },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('error', reject)
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString()
            let parsed: unknown = text
            try {
              parsed = text === '' ? undefined : JSON.parse(text)
            } catch {
              // not JSON: a proxy or another server; the status says enough
            }
            resolve({statusCode: response.statusCode ?? 0, body: parsed, request: {path: new URL(uri).pathname}})
          })
        },
      )
      connectsWithin(request, timeoutMs)
      request.on('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)))
      request.on('error', reject)
      request.end(body)
    })
}

const connect = async ({address, ca, dial, serverName}: VaultTarget): Promise<Client> => {
  const {default: nodeVault} = await import('node-vault')
  const request = transport({ca: await ca(), serverName})
  const client: unknown = nodeVault({
    endpoint: dial ? `https://${await dial()}` : address,
    // it would print what it sends
    debug: () => undefined,
    'request-promise': {defaults: () => request},
  })
  // it takes these from VAULT_* in the environment; ours come from the fleet
  return Object.assign(client as Client, {token: undefined, namespace: undefined, pathPrefix: ''})
}

const pemOf = (socket: TLSSocket): string => {
  const {raw} = socket.getPeerCertificate()
  const lines = raw?.toString('base64').match(/.{1,64}/g) ?? []
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
}

type Bare = RawRequest & Trust & {readonly token: string | undefined}

/** The request without node-vault, which takes every body for text. */
const bare = (uri: string, {method = 'GET', body, token, ca, serverName, timeoutMs: ms = timeoutMs}: Bare): Promise<RawAnswer> =>
  new Promise((resolve, reject) => {
    const agent = agentFor({ca, serverName})
    const headers = {...(token !== undefined && {'x-vault-token': token}), 'x-vault-request': 'true'}
    const request = https.request(uri, {method, agent, timeout: ms, headers}, (response) => {
      const certificate = pemOf(response.socket as TLSSocket)
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => resolve({status: response.statusCode ?? 0, body: Buffer.concat(chunks), certificate}))
    })
    connectsWithin(request, timeoutMs)
    request.on('timeout', () => request.destroy(new Error('no answer')))
    request.on('error', reject)
    request.end(body)
  })

type Refusal = {readonly response: {readonly statusCode: number; readonly body?: unknown}; readonly message: string}
const isRefusal = (error: unknown): error is Refusal => error instanceof Error && 'response' in error

/** Vault's nodes choose a leader anew, and have done nothing of what was asked. On a busy machine that takes some seconds. */
const hasNoLeader = (error: Refusal): boolean =>
  error.response.statusCode >= 500 && /node not active|active cluster node not found|not the leader/.test(error.message)
const leaderWithinMs = 30_000
const leaderPollMs = 500

/** One request, its failure put into our words. `cause` is left out: it may hold the request. */
const asked = async <T>(
  address: string,
  what: string,
  work: () => Promise<unknown>,
  giveUpAt = Date.now() + leaderWithinMs,
): Promise<T | undefined> => {
  try {
    return (await work()) as T
  } catch (error) {
    if (isRefusal(error)) {
      if (error.response.statusCode === 404) return undefined
      if (hasNoLeader(error) && Date.now() < giveUpAt) {
        await sleep(leaderPollMs)
        return asked(address, what, work, giveUpAt)
      }
      throw new LkeobsError('LKO-5002', `${what} at ${address}: ${error.response.statusCode} ${error.message}`)
    }
    throw new LkeobsError('LKO-5001', `${address}: ${messageOf(error)}`, {
      next: [address.includes(' on ') ? 'lkeobs hub status' : 'lkeobs lab status'],
    })
  }
}

/** Vault repeats what it was sent in a few of its errors. */
const withoutSecrets = (text: string, {data = {}, as}: VaultRequest): string =>
  [...Object.values(data), as].reduce<string>(
    (rest, value) => (value instanceof Secret ? rest.replaceAll(value.reveal(), '[redacted]') : rest),
    text,
  )

type Body = {readonly data?: object | null; readonly auth?: object | null; readonly errors?: readonly string[]} | string | undefined

const answerOf = (status: number, body: Body, request: VaultRequest): VaultAnswer => {
  const {data, auth, errors = [], ...rest} = typeof body === 'object' ? body : {}
  return {status, data: {...(data ?? auth ?? rest)}, errors: errors.map((text) => withoutSecrets(text.trim(), request))}
}

export const openVault: OpenVault = (target) => {
  const {address: own, where, login} = target
  const address = where === undefined ? own : `${own} on ${where}`
  let client: Promise<Client> | undefined
  let loggedInAt = 0
  let loggingIn: Promise<void> | undefined
  /** One client, however many ask for it side by side. A CA that could not be read is read again. */
  const anonymous = (): Promise<Client> =>
    (client ??= connect(target).catch((error: unknown) => {
      client = undefined
      throw error
    }))
  const logIn = async (vault: Client, {username, password}: NonNullable<VaultTarget['login']>): Promise<void> => {
    // the one that logs in has no token; the other keeps what it has until there is a new one
    const [other, word] = [await connect(target), await password()]
    const answer = await asked<{auth: {client_token: string}}>(address, `log in as ${username}`, () =>
      other.write(`auth/userpass/login/${username}`, {password: word}),
    )
    vault.token = answer?.auth.client_token
    loggedInAt = Date.now()
  }
  const loggedIn = async (): Promise<Client> => {
    const vault = await anonymous()
    if (!login || Date.now() - loggedInAt <= tokenIsGoodMs) return vault
    // requests side by side log in once
    await (loggingIn ??= logIn(vault, login).finally(() => (loggingIn = undefined)))
    return vault
  }
  return {
    address: own,
    async sealStatus() {
      try {
        return (await (await anonymous()).read('sys/seal-status')) as SealStatus
      } catch {
        return undefined
      }
    },
    async read<T>(path: string) {
      const vault = await loggedIn()
      return (await asked<{data: T}>(address, `read ${path}`, () => vault.read(path)))?.data
    },
    async list(path) {
      const vault = await loggedIn()
      return (await asked<{data: {keys: string[]}}>(address, `list ${path}`, () => vault.list(path)))?.data.keys ?? []
    },
    async write<T>(path: string, data: Readonly<Record<string, unknown>> = {}) {
      const vault = await loggedIn()
      const answer = await asked<{data?: T; auth?: T} | ''>(address, `write ${path}`, () => vault.write(path, data))
      const {data: kept, auth} = answer === '' || answer === undefined ? {} : answer
      return (kept ?? auth ?? {}) as T
    },
    async remove(path) {
      const vault = await loggedIn()
      await asked(address, `remove ${path}`, () => vault.delete(path))
    },
    async lookup<T>(path: string, data: Readonly<Record<string, unknown>>) {
      const vault = await loggedIn()
      const answer = await asked<{data?: T} | ''>(address, `look up ${path}`, () => vault.write(path, data))
      return answer === '' ? undefined : answer?.data
    },
    async accepts() {
      try {
        return (await loggedIn()).token !== undefined
      } catch (error) {
        if (error instanceof LkeobsError && error.code === 'LKO-5002') return false
        throw error
      }
    },
    async raw(path, request = {}) {
      const token = request.as ? request.as.reveal() : request.loggedIn === true ? (await loggedIn()).token : undefined
      try {
        const at = target.dial ? `https://${await target.dial()}` : own
        return await bare(`${at}/v1/${path}`, {...request, ca: await target.ca(), serverName: target.serverName, token})
      } catch {
        return undefined
      }
    },
    async request(request) {
      const {method, path, data, as} = request
      // a client of its own: a token that is given must not stay in the one that logs in
      const session = as === 'administrator' ? await loggedIn() : await connect(target)
      if (as instanceof Secret) session.token = as.reveal()
      try {
        return answerOf(200, (await session.request({method, path: `/${path}`, ...(data && {json: data})})) as Body, request)
      } catch (error) {
        if (isRefusal(error)) return answerOf(error.response.statusCode, error.response.body as Body, request)
        throw new LkeobsError('LKO-5001', `${address}: ${messageOf(error)}`, {next: ['lkeobs vault unseal --wait']})
      }
    },
  }
}

/** Answers of writes that were not made: every field is a word that stands for it. */
const standIn = <T extends object>(path: string): T => new Proxy({} as T, {get: (_, field) => `‹${String(field)} of ${path}›`})

/** What a Vault that is not there yet would answer. */
const orNothing = async <T>(nothing: T, work: Promise<T>): Promise<T> => {
  try {
    return await work
  } catch (error) {
    if (error instanceof LkeobsError && error.code === 'LKO-5002') throw error
    return nothing
  }
}

export const dryVault =
  (open: OpenVault, record: (line: string) => void): OpenVault =>
  (target) => {
    const vault = open(target)
    return {
      ...vault,
      read: <T extends object>(path: string) => orNothing(undefined, vault.read<T>(path)),
      list: (path) => orNothing([], vault.list(path)),
      lookup: <T extends object>(path: string, data: Readonly<Record<string, unknown>>) =>
        orNothing(undefined, vault.lookup<T>(path, data)),
      accepts: () => orNothing(false, vault.accepts()),
      async raw(path, request = {}) {
        if (request.method !== 'POST') return orNothing(undefined, vault.raw(path, request))
        record(`curl -X POST ${target.address}/v1/${path}${request.body ? ' --data-binary @-' : ''}`)
        return {status: 204, body: Buffer.alloc(0), certificate: ''}
      },
      async write<T extends object>(path: string, data: Readonly<Record<string, unknown>> = {}) {
        const words = Object.entries(data).map(([key, value]) => {
          const text = value instanceof Secret ? '‹secret›' : typeof value === 'string' ? value : JSON.stringify(value)
          return `${key}=${text.includes('\n') || text.startsWith('[{') ? `‹${key}›` : /\s/.test(text) ? `'${text}'` : text}`
        })
        record(`bao write -address=${target.address} ${[path, ...words].join(' ')}`)
        return standIn<T>(path)
      },
      async remove(path) {
        record(`bao delete -address=${target.address} ${path}`)
      },
      async request(request) {
        if (request.method === 'GET') return vault.request(request)
        record(`bao ${request.method === 'DELETE' ? 'delete' : 'write'} -address=${target.address} ${request.path}`)
        return {status: 204, data: standIn(request.path), errors: []}
      },
    }
  }
