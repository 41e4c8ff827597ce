import {readFile} from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import {homedir} from 'node:os'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {LkeobsError, messageOf} from '../errors.ts'
import {nearest} from '../nearest.ts'
import {Secret} from '../secret.ts'
import {type Shell, typed} from './shell.ts'
import type {ProgramName} from '../programs/catalogue.ts'

/** A cluster, as a kubeconfig names it. Without a kubeconfig: KUBECONFIG, or ~/.kube/config. */
export type KubeTarget = {readonly context: string; readonly kubeconfig?: string}

/** An object of the Kubernetes API. */
export type KubeObject = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
    readonly [key: string]: unknown
  }
  readonly [key: string]: unknown
}

export type Kind = {readonly apiVersion: string; readonly kind: string}
export type Ref = Kind & {readonly name: string; readonly namespace?: string}

/** Whom to talk to: a pod, or any ready pod with these labels. */
export type PodAddress = {readonly namespace: string; readonly port: number} & ({readonly pod: string} | {readonly labels: string})

/** A question to the cluster: may I? */
export type Access = {
  readonly verb: string
  /** The empty group is the core. */
  readonly group?: string
  readonly resource: string
  readonly subresource?: string
  readonly namespace?: string
}

/**
 * A Kubernetes cluster: read through its API, written with kubectl. Throws LKO-3101 (no such context),
 * LKO-3102 (no answer) and LKO-3103 (not permitted).
 */
export type Kube = {
  readonly target: KubeTarget
  /** `v1.37.2` */
  version(): Promise<string>
  /** By how much the API server's clock is ahead of this machine's, in ms; to about a second. */
  clockAhead(): Promise<number>
  /** Undefined where there is none, or no such kind. */
  read<T extends KubeObject>(ref: Ref): Promise<T | undefined>
  /** Empty where there is no such kind. */
  list<T extends KubeObject>(kind: Kind, where?: {readonly namespace?: string; readonly labels?: string}): Promise<readonly T[]>
  may(access: Access): Promise<boolean>
  /** The last lines of a container; empty where it has none. */
  log(at: {
    readonly namespace: string
    readonly pod: string
    readonly container?: string
    readonly previous?: true
    readonly lines: number
  }): Promise<readonly string[]>
  /** An address on this machine (`127.0.0.1:port`) that leads there until `end`; every connection finds a ready pod anew. */
  forward(to: PodAddress): Promise<string>
  /** Runs a command in a container and returns what it wrote. Throws LKO-4003 when it fails. */
  exec(at: {readonly namespace: string; readonly pod: string; readonly container?: string}, command: readonly string[]): Promise<string>
  /**
   * Applies objects server-side as field manager `lkeobs`. `file` is where `render` writes the same objects: what a dry run
   * prints. `force` takes fields from whoever has them. Throws LKO-3108 (not admitted) and LKO-3109 (a field is someone else's).
   */
  apply(objects: readonly KubeObject[], options: {readonly file: string; readonly force?: boolean}): Promise<void>
  remove(ref: Ref): Promise<void>
  /** Sets an annotation of every pod with these labels: what is mounted into it is brought up to date at once, not within a minute. */
  nudge(pods: {readonly namespace: string; readonly labels: string}, annotation: string): Promise<void>
}

export type OpenKube = (target: KubeTarget) => Kube

/** Clusters opened, one Kube for each target. */
export type Clusters = {
  readonly open: OpenKube
  /** Ends every forward and lets go of every connection, so that nothing keeps the process alive. */
  end(): Promise<void>
}

const answerMs = 10_000
const noAnswerWithin = `no answer within ${answerMs / 1000} s`
const writeMs = 120_000
const execMs = 120_000
const pausesMs = [100, 300, 900] as const
const pageSize = 500

// --- the kubeconfig

type Named<K extends string, T> = {readonly name: string} & {readonly [key in K]?: T}
type ClusterEntry = {
  readonly server?: string
  readonly 'certificate-authority'?: string
  readonly 'certificate-authority-data'?: string
  readonly 'insecure-skip-tls-verify'?: boolean
  readonly 'tls-server-name'?: string
  readonly 'proxy-url'?: string
}
type UserEntry = {
  readonly token?: string
  readonly tokenFile?: string
  readonly 'client-certificate'?: string
  readonly 'client-certificate-data'?: string
  readonly 'client-key'?: string
  readonly 'client-key-data'?: string
  readonly username?: string
  readonly password?: string
  readonly as?: string
  readonly 'as-uid'?: string
  readonly 'as-groups'?: readonly string[]
  readonly exec?: {readonly apiVersion?: string; readonly command: string; readonly env?: readonly {name: string; value: string}[] | null}
  readonly 'auth-provider'?: {readonly name: string}
}
type Kubeconfig = {
  readonly contexts?: readonly Named<'context', {readonly cluster: string; readonly user?: string}>[]
  readonly clusters?: readonly Named<'cluster', ClusterEntry>[]
  readonly users?: readonly Named<'user', UserEntry>[]
}

/** Where kubectl looks, too. */
const kubeconfigsOf = ({kubeconfig}: KubeTarget): readonly string[] => {
  if (kubeconfig !== undefined) return [kubeconfig]
  const named = (process.env['KUBECONFIG'] ?? '').split(path.delimiter).filter(Boolean)
  return named.length > 0 ? named : [path.join(homedir(), '.kube', 'config')]
}

const readKubeconfig = async (file: string): Promise<{readonly config: Kubeconfig; readonly folder: string} | undefined> => {
  try {
    const [text, {parse}] = await Promise.all([readFile(file, 'utf8'), import('yaml')])
    return {config: (parse(text) ?? {}) as Kubeconfig, folder: path.dirname(path.resolve(file))}
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new LkeobsError('LKO-3101', `${file}: ${messageOf(error)}`)
  }
}

const flag = (target: KubeTarget): readonly string[] => (target.kubeconfig === undefined ? [] : ['--kubeconfig', target.kubeconfig])
const kubectlArgs = (target: KubeTarget): readonly string[] => ['--context', target.context, ...flag(target)]
const kubectl = (target: KubeTarget, ...words: readonly string[]): string =>
  typed({file: 'kubectl', args: [...kubectlArgs(target), ...words]})

type Options = Omit<https.RequestOptions, 'headers'> & {headers?: http.OutgoingHttpHeaders}
type Connection = {
  readonly server: string
  readonly proxy: string | undefined
  /** Whom to trust, and who we are: asked for before each request, because tokens run out. */
  options(): Promise<Options>
}

/** Programs and sign-in services that give credentials. */
const signIn = async (name: string, user: UserEntry): Promise<((options: Options) => Promise<void>) | undefined> => {
  const {exec, 'auth-provider': provider} = user
  if (exec) {
    const {ExecAuth} = await import('@kubernetes/client-node/dist/exec_auth.js')
    const auth = new ExecAuth()
    // some programs ask for it, and the library leaves it out
    const info = {name: 'KUBERNETES_EXEC_INFO', value: JSON.stringify({...exec, kind: 'ExecCredential', spec: {interactive: false}})}
    return (options) => auth.applyAuthentication({name, exec: {...exec, env: [info, ...(exec.env ?? [])]}}, options)
  }
  if (provider === undefined) return undefined
  if (provider.name !== 'oidc') throw new LkeobsError('LKO-3103', `user ${name}: the auth-provider ${provider.name} is not supported.`)
  const {OpenIDConnectAuth} = await import('@kubernetes/client-node/dist/oidc_auth.js')
  const auth = new OpenIDConnectAuth()
  return (options) => auth.applyAuthentication({name, authProvider: provider}, options)
}

/** What the kubeconfigs say of a context. As with kubectl the first file that has a name counts, and one that is missing is passed over. */
const connectionOf = async (target: KubeTarget): Promise<Connection> => {
  const files = kubeconfigsOf(target)
  const read = (await Promise.all(files.map(readKubeconfig))).filter((found) => found !== undefined)
  const all = read.flatMap(({config}) => config.contexts ?? [])
  const context = all.find(({name}) => name === target.context)?.context
  if (context === undefined) {
    const names = [...new Set(all.map(({name}) => name))]
    const [near] = nearest(target.context, names)
    const meant = near === undefined ? '' : ` Did you mean ${near}?`
    const there = read.length === 0 ? 'there is no such file' : `its contexts: ${names.join(', ') || 'none'}`
    throw new LkeobsError('LKO-3101', `${target.context} is not a context of ${files.join(', ')} (${there}).${meant}`)
  }
  const of = <T>(pick: (config: Kubeconfig) => T | undefined) => {
    for (const {config, folder} of read) {
      const found = pick(config)
      if (found !== undefined) return {found, folder}
    }
    return undefined
  }
  const cluster = of(({clusters}) => clusters?.find(({name}) => name === context.cluster)?.cluster)
  const user = of(({users}) => users?.find(({name}) => name === context.user)?.user)
  const {server, ...how} = cluster?.found ?? {}
  if (server === undefined)
    throw new LkeobsError('LKO-3101', `context ${target.context}: ${files.join(', ')} has no cluster ${context.cluster}.`)
  const pem = async (at: {readonly folder: string} | undefined, file: string | undefined, data: string | undefined) => {
    if (data) return Buffer.from(data, 'base64')
    if (!file || at === undefined) return undefined
    try {
      return await readFile(path.resolve(at.folder, file))
    } catch (error) {
      throw new LkeobsError('LKO-3101', `context ${target.context}: ${messageOf(error)}`)
    }
  }
  const who = user?.found ?? {}
  const [ca, cert, key, authenticate] = await Promise.all([
    pem(cluster, how['certificate-authority'], how['certificate-authority-data']),
    pem(user, who['client-certificate'], who['client-certificate-data']),
    pem(user, who['client-key'], who['client-key-data']),
    signIn(context.user ?? '', who),
  ])
  const fixed: Options = {
    ...(ca && {ca}),
    ...(cert && {cert}),
    ...(key && {key}),
    ...(how['tls-server-name'] !== undefined && {servername: how['tls-server-name']}),
    ...(how['insecure-skip-tls-verify'] === true && {rejectUnauthorized: false}),
    ...(who.username !== undefined && {auth: `${who.username}:${who.password ?? ''}`}),
  }
  const headers = {
    ...(who.as !== undefined && {'impersonate-user': who.as}),
    ...(who['as-uid'] !== undefined && {'impersonate-uid': who['as-uid']}),
    ...(who['as-groups'] !== undefined && {'impersonate-group': [...who['as-groups']]}),
  }
  return {
    server: server.replace(/\/$/, ''),
    proxy: how['proxy-url'],
    async options() {
      const options: Options = {...fixed, headers: {...headers}}
      try {
        await authenticate?.(options)
      } catch (error) {
        throw new LkeobsError('LKO-3103', `user ${context.user}: the kubeconfig gives no credentials: ${messageOf(error)}`)
      }
      const token = who.token ?? (await pem(user, who.tokenFile, undefined))?.toString().trim()
      return token === undefined ? options : {...options, headers: {...options.headers, authorization: `Bearer ${token}`}}
    },
  }
}

// --- what went wrong, in our words

const silent = (target: KubeTarget, what: string): LkeobsError =>
  new LkeobsError('LKO-3102', `${target.context}: ${what}`, {next: [kubectl(target, 'get', '--raw', '/readyz')]})

/** Who may not do what, as the API server says it: it names user, verb and resource. */
const forbidden = (target: KubeTarget, said: string): LkeobsError => {
  const [, verb = '', resource = '', group = '', , namespace] =
    /cannot (\S+) resource "([^"]+)" in API group "([^"]*)"( in the namespace "([^"]+)")?/.exec(said) ?? []
  const [name = '', subresource] = resource.split('/')
  const question =
    resource === ''
      ? ['whoami']
      : [
          'can-i',
          verb,
          group === '' ? name : `${name}.${group}`,
          ...(subresource === undefined ? [] : [`--subresource=${subresource}`]),
          ...(namespace === undefined ? [] : ['--namespace', namespace]),
        ]
  return new LkeobsError('LKO-3103', `${target.context}: ${said}`, {next: [kubectl(target, 'auth', ...question)]})
}

const reasonOf = (error: unknown): string => {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'its host name is not known here'
  return messageOf(error) || code
}

type Conflict = {readonly manager: string; readonly fields: readonly string[]}

/** The conflicts of each object that kubectl or helm tells of, in their order: `conflict with "kubectl" using apps/v1: .spec.replicas`. */
const conflictsIn = (text: string): readonly (readonly Conflict[])[] =>
  text
    .split(/Apply failed with \d+ conflicts?: /)
    .slice(1)
    .map((part) =>
      [...part.matchAll(/conflicts? with "([^"]+)"[^:\n]*:((?: \.\S.*)|(?:\n- \..*)+)/g)].map(([, manager = '', fields = '']) => ({
        manager,
        fields: [...fields.matchAll(/(?:^|- ) ?(\..*)$/gm)].map(([, field = '']) => field),
      })),
    )

const conflicted = (text: string, candidates: readonly string[]): LkeobsError => {
  const conflicts = conflictsIn(text)
  // helm says which object it is, kubectl does not
  const told = [...text.matchAll(/applying object (\S+) \S+ Kind=(\w+): Apply failed/g)].map(([, name, kind]) => `${kind} ${name}`)
  const names = told.length > 0 ? told : candidates
  const ofAll = names.length === conflicts.length ? undefined : names.join(' or ')
  const lines = conflicts.flatMap((one, index) =>
    one.map(({manager, fields}) => `${ofAll ?? names[index] ?? ''}: ${fields.join(', ')} is applied by ${manager}`),
  )
  return new LkeobsError('LKO-3109', [...new Set(lines)].join('\n'))
}

const noise =
  /^(error: |Error: |Error from server( \([A-Za-z]+\))?: )|UPGRADE FAILED: |error validating .*: failed to download openapi: |; if you choose to ignore .*$/g
const terminating = /because it is being terminated/
// an admission plugin says "is forbidden" too; a missing permission names the user
const notAdmitted = /denied (the )?request|violates PodSecurity|exceeded quota|failed calling webhook|is forbidden: (?!User ")/
const notPermitted = /is forbidden: User "|provide credentials|Unauthorized|\(Forbidden\)/
const noContext = /context "?[^"]*"? does not exist/
const noAnswer =
  /Unable to connect to the server|cluster unreachable|connection refused|i\/o timeout|no such host|failed to verify certificate|handshake timeout|context deadline exceeded|no route to host|network is unreachable|connection reset by peer|Client\.Timeout/

/** What kubectl or helm was refused, in our words; undefined where it is something else. `names` are the objects it may be about. */
export const refusal = (target: KubeTarget, text: string, names: readonly string[]): LkeobsError | undefined => {
  const lines = text.split('\n').filter((line) => !/^(E\d{4} |level=)/.test(line))
  const saying = (pattern: RegExp) => [...new Set(lines.filter((line) => pattern.test(line)).map((line) => line.replaceAll(noise, '')))]
  if (/Apply failed with \d+ conflict/.test(text)) return conflicted(lines.join('\n'), names)
  const [held] = saying(terminating)
  if (held !== undefined) {
    const [, namespace = ''] = /in namespace (\S+) because/.exec(held) ?? []
    return new LkeobsError('LKO-3111', held, {next: [kubectl(target, 'get', 'namespace', namespace, '-o', 'yaml')]})
  }
  const refused = saying(notAdmitted)
  if (refused.length > 0) return new LkeobsError('LKO-3108', refused.join('\n'))
  const [may] = saying(notPermitted)
  if (may !== undefined) return forbidden(target, may)
  const [missing] = saying(noContext)
  if (missing !== undefined) return new LkeobsError('LKO-3101', missing)
  const [quiet] = saying(noAnswer)
  return quiet === undefined ? undefined : silent(target, quiet)
}

// --- objects, as kubectl takes them

/** JSON, which is YAML as well, with its Secrets revealed: for the stdin of a program and nothing else. */
export const revealed = (value: unknown): string =>
  JSON.stringify(value, function (this: Record<string, unknown>, key, made: unknown) {
    const original = this[key]
    return original instanceof Secret ? original.reveal() : made
  })

const secretsIn = (value: unknown): readonly string[] => {
  if (value instanceof Secret) return [value.reveal()]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(secretsIn) : []
}

/** What a program said, without the secrets that were handed to it. */
const without = (secrets: readonly string[], text: string): string =>
  secrets
    .flatMap((secret) => [secret, Buffer.from(secret).toString('base64')])
    .filter(({length}) => length > 3)
    .reduce((left, secret) => left.replaceAll(secret, '[redacted]'), text)

/** `stringData` is written as `data`: server-side apply would never take a key away that was written the other way. */
const asKept = (object: KubeObject): KubeObject => {
  const {stringData, ...rest} = object as KubeObject & {
    readonly stringData?: Readonly<Record<string, string | Secret>>
    readonly data?: object
  }
  if (object.kind !== 'Secret' || stringData === undefined) return object
  const encoded = Object.entries(stringData).map(([key, value]) => {
    const text = value instanceof Secret ? value.reveal() : value
    return [key, new Secret(Buffer.from(text).toString('base64'))]
  })
  return {...rest, data: {...rest.data, ...(Object.fromEntries(encoded) as Record<string, Secret>)}}
}

const shown = ({kind, metadata: {name, namespace}}: KubeObject): string =>
  `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`

/** `deployment.v1.apps`, `configmap` */
const typeOf = ({apiVersion, kind}: Kind): string => {
  const [group = '', version] = apiVersion.split('/')
  return version === undefined ? kind.toLowerCase() : `${kind.toLowerCase()}.${version}.${group}`
}

const applyArgs = (force: boolean | undefined, file: string): readonly string[] => [
  'apply',
  '--server-side',
  '--field-manager=lkeobs',
  ...(force === true ? ['--force-conflicts'] : []),
  '-f',
  file,
]
const nudgeArgs = ({namespace, labels}: {readonly namespace: string; readonly labels: string}, annotation: string): readonly string[] => [
  'annotate',
  'pods',
  '--namespace',
  namespace,
  '--selector',
  labels,
  '--overwrite',
  annotation,
]
const removeArgs = (ref: Ref): readonly string[] => [
  'delete',
  typeOf(ref),
  ref.name,
  ...(ref.namespace === undefined ? [] : ['--namespace', ref.namespace]),
  '--wait=false',
  '--ignore-not-found',
]

/** The writes, as a person would type them. */
export const lines = {
  apply: (target: KubeTarget, {file, force}: {readonly file: string; readonly force?: boolean}): string =>
    kubectl(target, ...applyArgs(force, file)),
  remove: (target: KubeTarget, ref: Ref): string => kubectl(target, ...removeArgs(ref)),
  nudge: (target: KubeTarget, pods: {readonly namespace: string; readonly labels: string}, annotation: string): string =>
    kubectl(target, ...nudgeArgs(pods, annotation)),
}

// --- the API

type Reply = {readonly status: number; readonly body: string; readonly retryAfterMs: number; readonly aheadMs: number}
type Status = {
  readonly status?: string
  readonly message?: string
  readonly details?: {readonly causes?: readonly {reason?: string; message?: string}[]}
}
type Resource = {readonly name: string; readonly kind: string; readonly namespaced: boolean}
type Pod = KubeObject & {readonly status?: {readonly conditions?: readonly {readonly type: string; readonly status: string}[]}}

/** The part of a WebSocket (package ws) that is used here. */
type Socket = {
  send(data: Buffer, sent: () => void): void
  pause(): void
  resume(): void
  terminate(): void
  addEventListener(event: 'close', told: () => void): void
}

const basePath = (apiVersion: string): string => (apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`)
const query = (words: Readonly<Record<string, string | number | boolean | undefined>>): string => {
  const given = Object.entries(words).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]]))
  return given.length === 0 ? '' : `?${new URLSearchParams(Object.fromEntries(given)).toString()}`
}
const statusIn = (body: string): Status => {
  try {
    return JSON.parse(body) as Status
  } catch {
    return {}
  }
}

const isReady = ({metadata, status}: Pod): boolean =>
  metadata['deletionTimestamp'] === undefined && (status?.conditions ?? []).some(({type, status: is}) => type === 'Ready' && is === 'True')

/** The API server of a context: requests, and sockets that lead into its pods. */
const openApi = (target: KubeTarget) => {
  let connection: Promise<Connection> | undefined
  let agent: http.Agent | undefined
  const connected = () => (connection ??= connectionOf(target))
  const agentFor = ({server, proxy}: Connection, keepAlive: boolean): http.Agent => {
    if (proxy?.startsWith('socks')) throw silent(target, `its kubeconfig names the proxy ${proxy}, but only http proxies are spoken to`)
    const proxyEnv = proxy === undefined ? process.env : {HTTP_PROXY: proxy, HTTPS_PROXY: proxy}
    return server.startsWith('http:') ? new http.Agent({keepAlive, proxyEnv}) : new https.Agent({keepAlive, proxyEnv})
  }

  const once = async (method: string, at: string, body?: string): Promise<Reply> => {
    const to = await connected()
    const options = await to.options()
    agent ??= agentFor(to, true)
    const {request: send} = to.server.startsWith('http:') ? http : https
    const sent = Date.now()
    return new Promise((resolve, reject) => {
      const headers = {...options.headers, accept: 'application/json', ...(body !== undefined && {'content-type': 'application/json'})}
      const request = send(`${to.server}${at}`, {...options, agent, method, headers, timeout: answerMs}, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: Buffer.concat(chunks).toString(),
            retryAfterMs: Math.min(Number(response.headers['retry-after'] ?? 0) * 1000, 5000) || 0,
            // the header has whole seconds, and was written somewhere between question and answer
            aheadMs: Date.parse(response.headers.date ?? '') + 500 - (sent + Date.now()) / 2,
          }),
        )
      })
      const quiet = () => request.destroy(new Error(noAnswerWithin))
      // the option `timeout` alone does not count while the connection is being made
      const timer = setTimeout(quiet, answerMs)
      request.on('response', () => clearTimeout(timer))
      request.on('timeout', quiet)
      request.on('error', (error) => {
        clearTimeout(timer)
        reject(error)
      })
      request.end(body)
    })
  }

  /** Asks until there is an answer that stands: only what changes nothing may be asked this way. */
  const ask = async (method: string, at: string, body?: string): Promise<Reply> => {
    for (const pauseMs of [...pausesMs, undefined]) {
      try {
        const reply = await once(method, at, body)
        if (reply.status !== 429 && reply.status < 500) return reply
        if (pauseMs === undefined) throw silent(target, `${at}: HTTP ${reply.status} ${statusIn(reply.body).message ?? ''}`.trim())
        await sleep(Math.max(pauseMs, reply.retryAfterMs))
      } catch (error) {
        if (error instanceof LkeobsError) throw error
        const passing = error instanceof Error && 'code' in error && ['ECONNRESET', 'EPIPE'].includes(String(error.code))
        if (pauseMs === undefined || !passing) throw silent(target, `${(await connected()).server}: ${reasonOf(error)}`)
        await sleep(pauseMs)
      }
    }
    throw new Error('the last round returns or throws')
  }

  const judged = ({status, body}: Reply, at: string): string | undefined => {
    if (status === 404) return undefined
    if (status < 300) return body
    const said = statusIn(body).message ?? body.slice(0, 300)
    if (status === 401) throw forbidden(target, 'the cluster does not know the user of this context (401 Unauthorized)')
    if (status === 403) throw forbidden(target, said)
    throw new Error(`${target.context}: ${at}: ${status} ${said}`)
  }

  return {
    /** Throws where the kubeconfig does not have the context. */
    async reachable(): Promise<void> {
      await connected()
    },
    /** Undefined where there is none (404). */
    async get<T>(at: string): Promise<T | undefined> {
      const body = judged(await ask('GET', at), at)
      return body === undefined ? undefined : (JSON.parse(body) as T)
    },
    /** The bare answer, for what is not JSON or may be refused for a reason that is no mistake. */
    async text(at: string): Promise<string | undefined> {
      const reply = await ask('GET', at)
      return reply.status === 400 ? undefined : judged(reply, at)
    },
    async aheadMs(): Promise<number> {
      return (await ask('GET', '/version')).aheadMs
    },
    /** A question that the API wants as a POST: it changes nothing. */
    async question<T>(at: string, body: object): Promise<T> {
      return JSON.parse(judged(await ask('POST', at, JSON.stringify(body)), at) ?? '{}') as T
    },
    /** A WebSocket; `told` gets each message with its channel. */
    async socket(at: string, told: (channel: number, data: Buffer) => void): Promise<Socket> {
      const [to, {WebSocketHandler}, {PassThrough}] = await Promise.all([
        connected(),
        import('@kubernetes/client-node/dist/web-socket-handler.js'),
        import('node:stream'),
      ])
      const control = new AbortController()
      const options = {...(await to.options()), agent: agentFor(to, false), signal: control.signal, perMessageDeflate: false}
      type Handler = ConstructorParameters<typeof WebSocketHandler>
      // of a KubeConfig, whose module takes half a second to load, it only asks this
      const config = {
        getCurrentCluster: () => ({server: to.server}),
        applyToHTTPSOptions: async (given: object) => void Object.assign(given, options),
      } as unknown as Handler[0]
      // it would close those of this process
      const streams = {stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough()}
      const timer = setTimeout(() => control.abort(), answerMs)
      try {
        const socket: unknown = await new WebSocketHandler(config, undefined, streams).connect(at, null, (channel, data) => {
          told(channel, data)
          return true
        })
        return socket as Socket
      } catch (error) {
        if (error instanceof LkeobsError) throw error
        // it rejects with the event, not the error
        const {message} = error as {readonly message: string}
        throw new Error(control.signal.aborted ? noAnswerWithin : message.replace('Unexpected server response: ', 'HTTP '), {cause: error})
      } finally {
        clearTimeout(timer)
      }
    },
    end() {
      agent?.destroy()
      agent = undefined
    },
  }
}
type Api = ReturnType<typeof openApi>

// --- forwards

const portForwardHeader = 2

/** Leads one connection into a pod. Whatever goes wrong on the way ends it. */
const lead = async (connection: net.Socket, api: Api, at: string, onSocket: (socket: Socket) => void): Promise<void> => {
  const headerSeen = new Set<number>()
  let socket: Socket | undefined
  try {
    socket = await api.socket(at, (channel, data) => {
      // the first message of each channel is the port's number
      const content = headerSeen.has(channel) ? data : data.subarray(portForwardHeader)
      headerSeen.add(channel)
      if (content.length === 0) return
      // channel 1 tells why the pod cannot be reached
      if (channel !== 0) connection.destroy()
      else if (!connection.write(content)) socket?.pause()
    })
  } catch {
    connection.destroy()
    return
  }
  const open = socket
  onSocket(open)
  open.addEventListener('close', () => connection.end())
  if (connection.destroyed) return open.terminate()
  connection.on('drain', () => open.resume())
  connection.on('close', () => open.terminate())
  connection.on('data', (chunk) => {
    connection.pause()
    open.send(Buffer.concat([Buffer.of(0), chunk]), () => connection.resume())
  })
  connection.resume()
}

/** Addresses on this machine that lead into pods. */
const openForwards = (api: Api, podsOf: (to: PodAddress) => Promise<readonly string[]>) => {
  const servers = new Map<string, {readonly server: net.Server; readonly address: Promise<string>}>()
  const alive = new Set<{destroy(): void}>()
  const keep = (thing: {destroy(): void}, closed: (forget: () => void) => void) => {
    alive.add(thing)
    closed(() => alive.delete(thing))
  }
  const listen = (to: PodAddress) => {
    let turn = 0
    const accept = async (connection: net.Socket) => {
      connection.on('error', () => connection.destroy())
      keep(connection, (forget) => connection.on('close', forget))
      try {
        const pods = await podsOf(to)
        const pod = pods[turn++ % pods.length]
        if (pod === undefined) throw new Error('no pod is ready')
        const at = `/api/v1/namespaces/${to.namespace}/pods/${pod}/portforward?ports=${to.port}`
        await lead(connection, api, at, (socket) =>
          keep({destroy: () => socket.terminate()}, (forget) => void connection.on('close', forget)),
        )
      } catch {
        // whoever connected sees the connection end, and says what it was for
        connection.destroy()
      }
    }
    const server = net.createServer({pauseOnConnect: true, noDelay: true}, (connection) => void accept(connection))
    const address = new Promise<string>((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', () => resolve(`127.0.0.1:${(server.address() as net.AddressInfo).port}`))
    })
    // a forward that nobody uses is no reason to go on
    server.unref()
    return {server, address}
  }
  return {
    to(address: PodAddress): Promise<string> {
      const key = JSON.stringify([address.namespace, address.port, 'pod' in address ? `pod ${address.pod}` : address.labels])
      const known = servers.get(key) ?? listen(address)
      servers.set(key, known)
      return known.address
    },
    end() {
      for (const {server} of servers.values()) server.close()
      servers.clear()
      for (const thing of alive) thing.destroy()
      alive.clear()
    },
  }
}

// --- the cluster

type Programs = {readonly shell: Shell; readonly program: (name: ProgramName) => Promise<string>}

const openOne = (target: KubeTarget, {shell, program}: Programs): {readonly kube: Kube; readonly end: () => void} => {
  const api = openApi(target)

  const known = new Map<string, readonly Resource[]>()
  /** Where objects of this kind are; asked again for a kind that was not there before, because an operator may have brought it. */
  const resourceOf = async ({apiVersion, kind}: Kind): Promise<Resource | undefined> => {
    const find = (resources: readonly Resource[] | undefined) =>
      resources?.find((resource) => resource.kind === kind && !resource.name.includes('/'))
    const found = find(known.get(apiVersion))
    if (found) return found
    const {resources = []} = (await api.get<{readonly resources?: readonly Resource[]}>(basePath(apiVersion))) ?? {}
    known.set(apiVersion, resources)
    return find(resources)
  }
  const pathOf = async (kind: Kind, namespace: string | undefined): Promise<string | undefined> => {
    const resource = await resourceOf(kind)
    if (resource === undefined) return undefined
    const within = resource.namespaced && namespace !== undefined ? `/namespaces/${namespace}` : ''
    return `${basePath(kind.apiVersion)}${within}/${resource.name}`
  }

  type List<T> = {readonly items: readonly T[]; readonly metadata: {readonly continue?: string}}
  const list = async <T extends KubeObject>(
    kind: Kind,
    {namespace, labels}: {readonly namespace?: string; readonly labels?: string} = {},
  ) => {
    const at = await pathOf(kind, namespace)
    const found: T[] = []
    let next: string | undefined
    do {
      const page: List<T> | undefined =
        at === undefined ? undefined : await api.get(`${at}${query({limit: pageSize, labelSelector: labels, continue: next})}`)
      // items of a list do not say what they are
      for (const item of page?.items ?? []) found.push({...item, ...kind})
      next = page?.metadata.continue
    } while (next)
    return found
  }

  const forwards = openForwards(api, async (to) => {
    if ('pod' in to) return [to.pod]
    const pods = await list<Pod>({apiVersion: 'v1', kind: 'Pod'}, {namespace: to.namespace, labels: to.labels})
    return pods.filter(isReady).map(({metadata}) => metadata.name)
  })

  /** Runs kubectl; `objects` are what it is about. */
  const write = async (args: readonly string[], objects: readonly KubeObject[], input?: Secret): Promise<void> => {
    const said: string[] = []
    await api.reachable()
    try {
      await shell.run({
        file: await program('kubectl'),
        args: [...kubectlArgs(target), ...args],
        timeoutMs: writeMs,
        mutates: true,
        onLine: (line) => void said.push(line),
        ...(input && {input}),
      })
    } catch (error) {
      if (!(error instanceof LkeobsError) || error.code !== 'LKO-4003') throw error
      const secrets = secretsIn(objects)
      const isDone = ({kind, metadata: {name}}: KubeObject) =>
        said.some((line) => line.startsWith(kind.toLowerCase()) && line.includes(`/${name} `))
      const names = objects.filter((object) => !isDone(object)).map(shown)
      throw refusal(target, without(secrets, said.join('\n')), names) ?? new LkeobsError('LKO-4003', without(secrets, error.message))
    }
  }

  const kube: Kube = {
    target,
    async version() {
      return (await api.get<{readonly gitVersion: string}>('/version'))?.gitVersion ?? ''
    },
    clockAhead: () => api.aheadMs(),
    async read<T extends KubeObject>(ref: Ref) {
      const at = await pathOf(ref, ref.namespace ?? 'default')
      return at === undefined ? undefined : api.get<T>(`${at}/${ref.name}`)
    },
    list,
    async may({verb, group = '', resource, subresource, namespace}) {
      const resourceAttributes = {verb, group, resource, subresource, namespace}
      const {status} = await api.question<{readonly status: {readonly allowed: boolean}}>(
        '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        {apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec: {resourceAttributes}},
      )
      return status.allowed
    },
    async log({namespace, pod, container, previous, lines: tailLines}) {
      const text = await api.text(`/api/v1/namespaces/${namespace}/pods/${pod}/log${query({container, previous, tailLines})}`)
      return (text ?? '').split('\n').filter((line, index, all) => line !== '' || index < all.length - 1)
    },
    forward: (to) => forwards.to(to),
    async exec({namespace, pod, container}, command) {
      const words = new URLSearchParams([
        ['stdout', 'true'],
        ['stderr', 'true'],
        ...(container === undefined ? [] : [['container', container] as [string, string]]),
        ...command.map((word): [string, string] => ['command', word]),
      ])
      const written: Record<number, Buffer[]> = {1: [], 2: [], 3: []}
      const line = kubectl(
        target,
        'exec',
        '--namespace',
        namespace,
        pod,
        ...(container === undefined ? [] : ['-c', container]),
        '--',
        ...command,
      )
      const text = (channel: number) => Buffer.concat(written[channel] ?? []).toString()
      let socket: Socket
      try {
        socket = await api.socket(`/api/v1/namespaces/${namespace}/pods/${pod}/exec?${words.toString()}`, (channel, data) =>
          written[channel]?.push(data),
        )
      } catch (error) {
        if (error instanceof LkeobsError) throw error
        const why = messageOf(error)
        if (why === 'HTTP 403' || why === 'HTTP 401')
          throw forbidden(target, `cannot create resource "pods/exec" in API group "" in the namespace "${namespace}" (${why})`)
        if (why.startsWith('HTTP '))
          throw new LkeobsError('LKO-4003', `${line}\nthere is no such pod or container, or it does not run (${why})`)
        throw silent(target, why)
      }
      const ended = await new Promise<string | undefined>((resolve) => {
        const timer = setTimeout(() => {
          resolve(`did not end within ${execMs / 1000} s`)
          socket.terminate()
        }, execMs)
        socket.addEventListener('close', () => {
          clearTimeout(timer)
          const {status, message = 'the connection ended before the command did'} = statusIn(text(3))
          resolve(status === 'Success' ? undefined : message)
        })
      })
      if (ended === undefined) return text(1)
      const last = `${text(1)}${text(2)}`.trimEnd().split('\n').slice(-20).join('\n')
      throw new LkeobsError('LKO-4003', `${line}\n${ended}${last && `:\n${last}`}`)
    },
    apply: (objects, {force}) =>
      write(applyArgs(force, '-'), objects, new Secret(objects.map((object) => revealed(asKept(object))).join('\n---\n'))),
    nudge: (pods, annotation) => write(nudgeArgs(pods, annotation), []),
    async remove(ref) {
      try {
        await write(removeArgs(ref), [])
      } catch (error) {
        // what has no kind is not there
        if (!(error instanceof LkeobsError && /doesn't have a resource type/.test(error.message))) throw error
      }
    },
  }
  return {
    kube,
    end() {
      forwards.end()
      api.end()
    },
  }
}

export const createClusters = (programs: Programs): Clusters => {
  const opened = new Map<string, ReturnType<typeof openOne>>()
  return {
    open(target) {
      const key = JSON.stringify([target.context, target.kubeconfig])
      const one = opened.get(key) ?? openOne(target, programs)
      opened.set(key, one)
      return one.kube
    },
    async end() {
      for (const {end} of opened.values()) end()
    },
  }
}

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
      async remove(ref) {
        record(lines.remove(target, ref))
      },
      async nudge(pods, annotation) {
        record(lines.nudge(target, pods, annotation))
      },
    }
  }
}
