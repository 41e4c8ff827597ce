import {execFile, spawn} from 'node:child_process'
import {generateKeyPairSync, randomBytes} from 'node:crypto'
import {once} from 'node:events'
import {existsSync, readFileSync} from 'node:fs'
import {mkdir, mkdtemp, readFile, writeFile} from 'node:fs/promises'
import https from 'node:https'
import {createServer, type AddressInfo} from 'node:net'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, beforeEach} from 'vitest'
import {typed} from '../../src/tools/shell.ts'
import type {KubeTarget} from '../../src/tools/kube/kube.ts'
import {createX509} from '../../src/tools/x509.ts'
import {programs, unavailable} from './programs.ts'

/**
 * Who asks: lkeobs works as `admin`, as `limited` without any right, and as `reader` and `permitted` with what a test gives them;
 * by hand works `person`, and in place of the cluster's controllers `controller`.
 */
const users = {
  admin: 'system:masters',
  limited: '',
  reader: '',
  permitted: '',
  person: 'system:masters',
  controller: 'system:masters',
} as const
export type User = keyof typeof users

type Answer = {readonly status: number; readonly body: unknown}
type Ended = {readonly code: number; readonly stdout: string; readonly stderr: string}

/** A real API server with nothing behind it: no node, no controller. */
export type Server = {
  /** Gone with the server. */
  readonly folder: string
  readonly kubeconfig: string
  /** Its contexts have the names of the users; `edge` is the admin once more. */
  target(user: User): KubeTarget
  request(method: string, at: string, body?: object, user?: User): Promise<Answer>
  /** By hand. Throws when it fails. */
  kubectl(...args: readonly string[]): Promise<string>
  /** The same with objects on stdin. */
  kubectlWith(input: readonly object[], ...args: readonly string[]): Promise<string>
  /** A line of a shell that finds kubectl and helm. */
  sh(line: string): Promise<Ended>
  /** What such a line prints when it is typed on a machine that knows of no cluster: one that lkeobs tells a person to type. */
  typed(line: string | undefined): Promise<string>
  /** What a user wrote meanwhile: `patch configmaps lkeobs/one`. */
  writes(user: User, work: () => Promise<unknown>): Promise<readonly string[]>
  /** All that was logged of requests. */
  audit(): string
  /** As `kill` to the API server: SIGSTOP, SIGCONT, SIGKILL. */
  signal(name: NodeJS.Signals): void
  end(): Promise<void>
}

const freePorts = async (count: number): Promise<readonly number[]> => {
  const servers = Array.from({length: count}, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

const policy = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived', 'ResponseStarted', 'Panic'],
  rules: [{level: 'Metadata'}],
}

type Command = {readonly name: string; readonly file: string; readonly args: Readonly<Record<string, string | number>>}

/** Ends with its stdin, which is with whoever started it, however that one ends; then nothing of it is left. */
const guard = (folder: string, commands: readonly Command[]): string =>
  [
    `cd ${folder} || exit`,
    ...commands.map(({name, file, args}) => {
      const flags = Object.entries(args).map(([flag, value]) => `--${flag}=${value}`)
      return `${typed({file, args: flags})} >${name}.log 2>&1 & echo $! >${name}.pid; pids="$pids $!"`
    }),
    'echo started; cat >/dev/null; kill -KILL $pids; wait; cd /',
    `rm -rf ${folder}`,
  ].join('\n')

/** What it writes, in the words of the audit log. */
const written: ReadonlySet<string> = new Set(['create', 'update', 'patch', 'delete', 'deletecollection'])
/** Questions are posted. */
const questions: ReadonlySet<string> = new Set(['authorization.k8s.io', 'authentication.k8s.io'])

type Line = {
  readonly user: {readonly username: string}
  readonly verb: string
  readonly objectRef?: {
    readonly apiGroup?: string
    readonly resource?: string
    readonly subresource?: string
    readonly namespace?: string
    readonly name?: string
  }
}

const shown = ({verb, objectRef: {resource = '', subresource, namespace, name = ''} = {}}: Line): string =>
  `${verb} ${[resource, subresource].filter(Boolean).join('/')} ${namespace === undefined ? '' : `${namespace}/`}${name}`

const startWithinMs = 60_000

const startServer = async (): Promise<Server> => {
  const {etcd, apiserver, kubectl, helm} = await programs()
  const folder = await mkdtemp(path.join(tmpdir(), 'lkeobs-apiserver-'))
  const file = (name: string) => path.join(folder, name)
  const [clientPort = 0, peerPort = 0, port = 0] = await freePorts(3)
  const x509 = createX509()
  const ca = await x509.createCa({commonName: 'ca', days: 1, pathLength: 0})
  const certificate = await x509.issueServer(ca, {commonName: 'kube-apiserver', names: ['localhost', '127.0.0.1'], days: 1})
  const accounts = generateKeyPairSync('ec', {namedCurve: 'P-256'}).privateKey.export({type: 'sec1', format: 'pem'})
  const names = Object.keys(users) as User[]
  const tokens = Object.fromEntries(names.map((name) => [name, randomBytes(16).toString('hex')])) as Record<User, string>
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'loopback',
        cluster: {
          server: `https://127.0.0.1:${port}`,
          'certificate-authority-data': Buffer.from(ca.certificate).toString('base64'),
        },
      },
    ],
    users: names.map((name) => ({name, user: {token: tokens[name]}})),
    contexts: [
      ...names.map((name) => ({name, context: {cluster: 'loopback', user: name}})),
      // a fleet has a context for each of its clusters
      {name: 'edge', context: {cluster: 'loopback', user: 'admin'}},
    ],
    'current-context': 'person',
  }
  await mkdir(file('home'))
  const files = {
    'audit.json': JSON.stringify(policy),
    'tokens.csv': names.map((name) => `${tokens[name]},${name},${name},"${users[name]}"`).join('\n'),
    'server.pem': certificate.certificate,
    'server.key': certificate.key.reveal(),
    'accounts.key': accounts.toString(),
    kubeconfig: JSON.stringify(kubeconfig),
  }
  await Promise.all(Object.entries(files).map(([name, text]) => writeFile(file(name), text, {mode: 0o600})))

  const own = [
    {
      name: 'etcd',
      file: etcd,
      args: {
        'data-dir': file('etcd'),
        'listen-client-urls': `http://127.0.0.1:${clientPort}`,
        'advertise-client-urls': `http://127.0.0.1:${clientPort}`,
        'listen-peer-urls': `http://127.0.0.1:${peerPort}`,
        'log-level': 'warn',
        'unsafe-no-fsync': 'true',
      },
    },
    {
      name: 'kube-apiserver',
      file: apiserver,
      args: {
        'etcd-servers': `http://127.0.0.1:${clientPort}`,
        'bind-address': '127.0.0.1',
        'secure-port': port,
        // nobody is told of it: there is no Service to fill
        'advertise-address': '192.0.2.1',
        'endpoint-reconciler-type': 'none',
        'service-cluster-ip-range': '10.96.0.0/16',
        'tls-cert-file': file('server.pem'),
        'tls-private-key-file': file('server.key'),
        'service-account-issuer': 'https://kubernetes.default.svc',
        'service-account-key-file': file('accounts.key'),
        'service-account-signing-key-file': file('accounts.key'),
        'token-auth-file': file('tokens.csv'),
        'authorization-mode': 'RBAC',
        'audit-policy-file': file('audit.json'),
        'audit-log-path': file('audit.log'),
      },
    },
  ]
  const guardian = spawn('/bin/sh', ['-c', guard(folder, own)], {detached: true, stdio: ['pipe', 'pipe', 'ignore']})
  await once(guardian.stdout, 'data')
  const end = async () => {
    guardian.stdin.end()
    if (guardian.exitCode === null) await once(guardian, 'exit')
  }
  const pid = Number(readFileSync(file('kube-apiserver.pid'), 'utf8'))

  const environment = {
    ...process.env,
    HOME: file('home'),
    KUBECONFIG: file('kubeconfig'),
    PATH: [path.dirname(kubectl), path.dirname(helm), process.env['PATH']].join(path.delimiter),
  }
  const request = (method: string, at: string, body?: object, user: User = 'person'): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const headers = {
        authorization: `Bearer ${tokens[user]}`,
        'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
      }
      const sent = https.request(`https://127.0.0.1:${port}${at}`, {method, headers, ca: ca.certificate, timeout: 30_000}, (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => (text += chunk.toString()))
        response.on('error', reject)
        response.on('end', () => {
          const isJson = response.headers['content-type']?.includes('json') === true
          resolve({status: response.statusCode ?? 0, body: isJson ? (JSON.parse(text) as unknown) : text})
        })
      })
      sent.on('error', reject)
      sent.end(body && JSON.stringify(body))
    })
  const execute = (program: string, args: readonly string[], input = ''): Promise<Ended> =>
    new Promise((resolve) => {
      const child = execFile(program, args, {cwd: folder, env: environment, maxBuffer: 64e6}, (error, stdout, stderr) =>
        resolve({code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr}),
      )
      // a program that has said no already reads nothing more
      child.stdin?.on('error', () => undefined)
      child.stdin?.end(input)
    })
  const sh = (line: string) => execute('/bin/sh', ['-c', line])
  const kubectlWith = async (input: readonly object[], ...args: readonly string[]): Promise<string> => {
    const {code, stdout, stderr} = await execute(kubectl, args, input.map((object) => JSON.stringify(object)).join('\n---\n'))
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`)
    return stdout
  }
  const audit = () => readFileSync(file('audit.log'), 'utf8')
  /** Where the log is now, once all that was answered before stands in it. */
  const marked = async (): Promise<number> => {
    const name = `mark-${randomBytes(6).toString('hex')}`
    await request('GET', `/api/v1/namespaces/default/configmaps/${name}`)
    for (;;) {
      const at = audit().indexOf(name)
      if (at >= 0) return at
      await sleep(20)
    }
  }

  const server: Server = {
    folder,
    kubeconfig: file('kubeconfig'),
    target: (user) => ({context: user, kubeconfig: file('kubeconfig')}),
    request,
    kubectl: (...args) => kubectlWith([], ...args),
    kubectlWith,
    sh,
    async typed(line = 'false') {
      const {stdout, stderr} = await sh(`KUBECONFIG=/dev/null; ${line}`)
      return stdout + stderr
    },
    async writes(user, work) {
      const from = await marked()
      await work()
      const to = await marked()
      return audit()
        .slice(from, to)
        .split('\n')
        .slice(1, -1)
        .map((line) => JSON.parse(line) as Line)
        .filter(
          ({user: {username}, verb, objectRef}) => username === user && written.has(verb) && !questions.has(objectRef?.apiGroup ?? ''),
        )
        .map(shown)
    },
    audit,
    signal: (name) => void process.kill(pid, name),
    end,
  }
  const isReady = () =>
    request('GET', '/readyz').then(
      ({status}) => status === 200,
      () => false,
    )
  for (const until = Date.now() + startWithinMs; !(await isReady()); await sleep(50)) {
    if (existsSync(`/proc/${pid}`) && Date.now() < until) continue
    const log = await readFile(file('kube-apiserver.log'), 'utf8')
    await end()
    throw new Error(`the API server does not start:\n${log.split('\n').slice(-10).join('\n')}`)
  }
  return server
}

/** A server for the tests of a file; they are skipped where there can be none. */
export const useServer = (prepare: (server: Server) => Promise<void> = async () => undefined): (() => Server) => {
  let server: Server | undefined
  beforeAll(async () => {
    if (unavailable !== undefined) return
    server = await startServer()
    await prepare(server)
  })
  beforeEach(({skip}) => skip(unavailable !== undefined, unavailable))
  afterAll(() => server?.end())
  return () => {
    if (!server) throw new Error('there is no server yet')
    return server
  }
}
