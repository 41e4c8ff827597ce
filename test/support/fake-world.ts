import {AsyncLocalStorage} from 'node:async_hooks'
import path from 'node:path'
import {onTestFinished, vi} from 'vitest'
import {decodeProtectedHeader} from 'jose'
import {parse} from 'yaml'
import {LkeobsError} from '../../src/errors.ts'
import {parseFleet} from '../../src/fleet/load.ts'
import type {FleetFile} from '../../src/fleet/load.ts'
import {Secret} from '../../src/secret.ts'
import {run} from '../../src/steps/run.ts'
import {flatten, isGroup, type Plan, type Task} from '../../src/steps/step.ts'
import type {Tools} from '../../src/tools/index.ts'
import type {Launch} from '../../src/tools/processes.ts'
import type {OpenVault} from '../../src/tools/vault.ts'
import {createX509, isSignedBy, readCertificate, type X509} from '../../src/tools/x509.ts'
import {type ClusterData, fakeClusters} from './fake-kube.ts'
import {copied, emptyVault, issueLeaf, lineOf, mayWrite, refused, type VaultData, vaultApi} from './fake-vault.ts'

/** Where the fleet of every fake world lies. Nothing is ever written there. */
const home = path.resolve('lab')
export const fleetPath = path.join(home, 'lkeobs.yaml')
const state = path.join(home, '.lkeobs')

/** A fleet file's text, as loaded from there. */
export const fleetOf = (text: string): FleetFile => ({fleet: parseFleet(text, fleetPath), file: fleetPath, folder: home, text})

const binaries: Readonly<Record<string, string>> = {openbao: 'bao'}

type Process = Launch & {
  readonly pid: number
  alive: boolean
  readonly listens: readonly string[]
  /** Vault's certificate, as it read it when it started or was told to. */
  certificate: string
}

/** What a program listens on and which files it cannot start without, by its own configuration. */
const configured = ({file, args}: Launch, read: (file: string) => string): {listens: readonly string[]; needs: readonly string[]} => {
  const flags = new Map(args.map((arg) => [arg.replace(/^-+/, '').split('=')[0] ?? '', arg.slice(arg.indexOf('=') + 1)]))
  const config = read(flags.get('config') ?? flags.get('config.file') ?? flags.get('config-file') ?? '')
  const program = path.basename(file)
  if (program === 'prometheus') return {listens: [`${flags.get('web.listen-address')}/-/ready`], needs: []}
  if (program === 'bao') {
    const {listener, seal} = parse(config) as {
      listener?: [{tcp: Record<string, string>}]
      seal?: [{static?: {current_key: string}; transit?: {token: string; tls_ca_cert: string}}]
    }
    const {address = '', tls_cert_file: tls = ''} = listener?.[0].tcp ?? {}
    const {static: own, transit} = seal?.[0] ?? {}
    const opens = transit ? [transit.token, transit.tls_ca_cert] : [own?.current_key ?? '']
    return listener ? {listens: [address], needs: [tls, ...opens.map((name) => name.replace('file://', ''))]} : {listens: [], needs: []}
  }
  if (program === 'otelcol') {
    const {extensions, receivers, service} = parse(config) as {
      service: {telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: string; port: number}}}}]}}}
      extensions: {health_check: {endpoint: string}}
      receivers: {'otlp/ask'?: {protocols: {http: {endpoint: string}}}}
    }
    const counters = service.telemetry.metrics.readers[0].pull.exporter.prometheus
    const door = receivers['otlp/ask']?.protocols.http.endpoint
    return {
      listens: [extensions.health_check.endpoint, `${counters.host}:${counters.port}/metrics`, ...(door ? [door] : [])],
      needs: config.match(/(?<=: )\/\S+\.(pem|jwks|jwt)$/gm) ?? [],
    }
  }
  const {server} = parse(config) as {server: {http_listen_address: string; http_listen_port: number}}
  return {listens: [`${server.http_listen_address}:${server.http_listen_port}/ready`], needs: []}
}

/** Whether the CA signed the certificate; asked at every request, worked out once. */
const trusted = (certificate: string, ca: string): boolean => {
  const key = certificate + ca
  const known = verdicts.get(key)
  if (known !== undefined) return known
  const [own, root] = [readCertificate(certificate), readCertificate(ca)]
  const verdict = own !== undefined && root !== undefined && isSignedBy(own, root)
  verdicts.set(key, verdict)
  return verdict
}
const verdicts = new Map<string, boolean>()

type Options = {
  readonly x509?: X509
  /** Keys of CAs inside Vault are made anew each time; otherwise worlds share them, which is quicker. */
  readonly alwaysNewKeys?: boolean
  /** The clusters that the kubeconfig has. */
  readonly contexts?: readonly string[]
}

/** A machine in memory: what is written is there to be read, what is started runs, and every write is one line of the transcript. */
export const fakeWorld = ({x509 = createX509(), alwaysNewKeys = false, contexts = ['hub', 'edge-1', 'edge-2']}: Options = {}) => {
  const files = new Map<string, string>()
  const processes = new Map<string, Process>()
  const vaults = new Map<string, VaultData>()
  const secrets = new Set<string>()
  const lines: {readonly step: number; readonly line: string}[] = []
  const currentStep = new AsyncLocalStorage<number>()
  const making = {x509, alwaysNewKeys}
  let pids = 100
  // clients are of one run: after restore() they log in anew
  let life = 0
  let hurried = false
  let beforeWrite = (_line: string): void => undefined

  const named = (text: string) => text.replaceAll(`${state}/`, '').replaceAll(`${home}/`, '').replaceAll(state, '.lkeobs')

  const keepSecret = (value: string) => {
    secrets.add(value)
    const seen = lines.find(({line}) => line.includes(value))
    if (seen) throw new Error(`a secret stands in the transcript: ${seen.line}`)
  }
  const noSecretIn = (text: string) => {
    for (const secret of secrets) if (text.includes(secret)) throw new Error(`a secret is about to be seen: ${text.slice(0, 200)}`)
  }
  const record = (line: string) => {
    noSecretIn(line)
    beforeWrite(named(line))
    lines.push({step: currentStep.getStore() ?? -1, line: named(line)})
  }

  /** Which process was fed at which door. */
  const fed = new Set<string>()
  const running = () => [...processes.values()].filter(({alive}) => alive)
  const configFileOf = ({args}: Launch) => args.find((arg) => arg.includes('config'))?.split('=')[1] ?? ''
  const configOf = (launch: Launch) => files.get(configFileOf(launch)) ?? ''
  type InitialRequests = Record<string, {path: string; data: Record<string, unknown>}>
  type VaultConfig = {
    storage: {raft: {path: string; node_id: string; retry_join?: {leader_api_addr: string}[] | null}}
    listener: [{tcp: {tls_cert_file: string}}]
    seal?: [object]
    initialize?: Initialize
  }
  type Initialize = {administrator: {request: InitialRequests[]}}[]

  /** A Vault as its first node makes it. */
  const initialised = (initialize: Initialize, read: (file: string) => string): VaultData => {
    const own = emptyVault()
    for (const [name, {path: at, data}] of Object.entries(
      Object.assign({}, ...(initialize[0]?.administrator.request ?? [])) as InitialRequests,
    )) {
      if (at === 'sys/auth/userpass') own.auth.add('userpass')
      else if (at.startsWith('sys/policies/acl/')) own.policies.set(at, data)
      else if (at.startsWith('auth/userpass/users/')) own.users.set(path.basename(at), read((data['password'] as {path: string}).path))
      else throw new Error(`the fake Vault does not know how to initialise ${name}`)
    }
    return own
  }

  const clusters = fakeClusters({
    contexts,
    x509,
    record: (line) => record(line),
    keepSecret: (value) => keepSecret(value),
    noSecretIn: (text) => noSecretIn(text),
    async leaf({context, path: issuePath, params}) {
      const data = vaults.get(vaultFolderOf(context))
      return data && /^pki\w*$/.test(issuePath.split('/')[0] ?? '') && data.mounts.has(issuePath.split('/')[0] ?? '')
        ? issueLeaf(data, issuePath, params, making)
        : undefined
    },
  })
  const vaultFolderOf = (context: string) => path.join(state, context, 'kubernetes')
  /** The pod of Vault that a forward leads to. */
  const vaultPodAt = (address: string): {readonly data: VaultData | undefined; readonly certificate: string} | undefined => {
    const node = clusters.vaultNode(address.replace('https://', ''))
    if (!node) return undefined
    const folder = vaultFolderOf(node.context)
    const initialize = node.self['initialize'] as Initialize | undefined
    if (!vaults.has(folder) && initialize)
      vaults.set(
        folder,
        initialised(initialize, (file) => node.file(file)),
      )
    const data = vaults.get(folder)
    data?.members.add(node.name)
    return {data, certificate: node.certificate}
  }

  const certificateOf = (launch: Launch): string => {
    if (path.basename(launch.file) !== 'bao') return ''
    const {listener} = JSON.parse(configOf(launch)) as Partial<VaultConfig>
    return files.get(listener?.[0].tcp.tls_cert_file ?? '') ?? ''
  }

  /** The node that listens there, with the data it shares with those it joined. */
  const vaultAt = (address: string): {data: VaultData | undefined; certificate: string; seal: string | undefined} | undefined => {
    const node = running().find(({file, listens}) => path.basename(file) === 'bao' && listens.includes(address.replace('https://', '')))
    if (!node) return undefined
    const {storage, initialize, seal} = JSON.parse(configOf(node)) as VaultConfig
    const {path: folder, node_id: id, retry_join: peers} = storage.raft
    if (!vaults.has(folder) && initialize) {
      vaults.set(
        folder,
        initialised(initialize, (file) => files.get(file) ?? ''),
      )
    }
    if (!vaults.has(folder)) {
      const found = (peers ?? []).map((peer) => running().find(({listens}) => listens.includes(peer.leader_api_addr.slice(8))))
      const joined = found.map((peer) => peer && vaults.get((JSON.parse(configOf(peer)) as VaultConfig).storage.raft.path)).find(Boolean)
      if (joined) vaults.set(folder, joined)
    }
    const data = vaults.get(folder)
    if (data) files.set(path.join(folder, 'raft.db'), '')
    data?.members.add(id)
    return {data, certificate: node.certificate, seal: Object.keys(seal?.[0] ?? {})[0]}
  }

  /** What a process shows who connects there; undefined where none listens. */
  const shownAt = (address: string): string | undefined => {
    type Gateway = {receivers?: {otlp?: {protocols: {grpc?: {endpoint: string; tls?: {cert_file: string}}}}}}
    const leaves = running()
      .filter(({file}) => path.basename(file) === 'otelcol')
      .map((each) => (parse(configOf(each)) as Gateway).receivers?.otlp?.protocols.grpc)
    return files.get(leaves.find((grpc) => grpc?.endpoint === address)?.tls?.cert_file ?? '') ?? vaultAt(address)?.certificate
  }

  /** `bao agent`: logs in, and writes the leaf its template asks for, unless a valid one is there. */
  const keepLeaf = async (launch: Launch): Promise<void> => {
    type Config = {
      vault: [{address: string}]
      auto_auth: {method: {config: {role_id_file_path: string; secret_id_file_path: string}[]}[]}[]
      template: [{contents: string; destination: string}]
    }
    const {vault, auto_auth: auth, template} = JSON.parse(configOf(launch)) as Config
    const [{contents, destination}] = template
    const login = auth[0]?.method[0]?.config[0]
    const data = vaultAt(vault[0].address)?.data
    const [issuePath = '', ...words] = [...contents.matchAll(/"([^"]+)"/g)].map(([, word]) => word ?? '')
    const there = readCertificate(files.get(destination) ?? '')
    if (there && Date.parse(there.validTo) > Date.now()) return
    const roleId = files.get(login?.role_id_file_path ?? '') ?? ''
    if (!data || !mayWrite(data, roleId, files.get(login?.secret_id_file_path ?? '') ?? '', issuePath)) return
    const leaf = await issueLeaf(data, issuePath, Object.fromEntries(words.map((word) => word.split('=') as [string, string])), making)
    if (leaf !== undefined) files.set(destination, leaf)
  }

  const openTools = (): Tools => {
    const reading =
      <A extends readonly unknown[], T>(work: (...args: A) => T) =>
      async (...args: A): Promise<T> =>
        work(...args)
    const nobody = (what: string) => async (): Promise<never> => {
      throw new Error(`nothing was said about ${what}`)
    }
    const vault: OpenVault = ({address, ca, dial, login}) => {
      let trusts: Promise<string> | undefined
      let token: VaultData | undefined
      let openedIn = life
      const at = async () => {
        if (openedIn !== life) [trusts, token, openedIn] = [undefined, undefined, life]
        const root = await (trusts ??= ca())
        const node = dial ? vaultPodAt(await dial()) : vaultAt(address)
        if (!node || !trusted(node.certificate, root)) throw new LkeobsError('LKO-5001', address)
        return node.data
      }
      const loggedIn = async (): Promise<VaultData> => {
        const data = await at()
        if (data === undefined) throw refused(503, 'Vault is sealed')
        if (token === undefined && login) {
          const password = (await login.password()).reveal()
          keepSecret(password)
          if (data.users.get(login.username) !== password) throw refused(400, 'invalid username or password')
          token = data
        }
        if (token !== data) throw refused(403, 'permission denied')
        return data
      }
      const cluster = () => named([...vaults].find(([, data]) => data === token)?.[0] ?? '').split('/')[0] ?? ''
      const api = vaultApi(
        loggedIn,
        (where, values) => {
          for (const value of Object.values(values)) if (value instanceof Secret) keepSecret(value.reveal())
          record(`vault of ${cluster()}: ${lineOf(where, values)}`)
        },
        making,
      )
      // kept beside the policies
      const isServiceAccountLogin = (where: string) => where.startsWith('auth/kubernetes/')
      return {
        address,
        async sealStatus() {
          if (hurried) vi.setSystemTime(Date.now() + 5000)
          try {
            const data = await at()
            return {
              type: (dial ? undefined : vaultAt(address)?.seal) ?? 'static',
              initialized: data !== undefined,
              sealed: data === undefined,
              version: '2.7.2',
            }
          } catch (error) {
            if (error instanceof LkeobsError || String(error).includes('has no root CA yet')) return undefined
            throw error
          }
        },
        // what is not JSON is tried on the real one; every node says that it leads
        async raw(where) {
          const data = await at().catch(() => undefined)
          if (data === undefined || !/^sys\/(seal-status|leader)$/.test(where)) return undefined
          const body = {type: 'static', initialized: true, sealed: false, version: '2.7.2', is_self: true, leader_address: address}
          return {status: 200, body: Buffer.from(JSON.stringify(body)), certificate: ''}
        },
        async accepts() {
          try {
            return (await loggedIn()) !== undefined
          } catch (error) {
            if (error instanceof LkeobsError && error.code === 'LKO-5002') return false
            throw error
          }
        },
        ...api,
        async remove(where) {
          const data = await loggedIn()
          record(`vault of ${cluster()}: remove ${where}`)
          data.mounts.get(where.split('/')[0] ?? '')?.values.delete(where)
        },
        // what anybody is told
        async request({method, path: where, as}) {
          const data = await at()
          if (method !== 'GET' || as !== undefined || !/^pki\w*\/cert\/ca$/.test(where)) return nobody('a request')()
          if (data === undefined) return {status: 503, data: {}, errors: ['Vault is sealed']}
          const mount = data.mounts.get(where.split('/')[0] ?? '')
          const issuer = mount?.issuers.get(mount.issuer)
          return issuer
            ? {status: 200, data: {certificate: issuer.certificate}, errors: []}
            : {status: mount ? 500 : 403, data: {}, errors: ['there is no issuer']}
        },
        read: async <T extends object>(where: string) =>
          isServiceAccountLogin(where) ? ((await loggedIn()).policies.get(where) as T | undefined) : api.read<T>(where),
        async write<T extends object>(where: string, values: Readonly<Record<string, unknown>> = {}) {
          if (!isServiceAccountLogin(where)) return api.write<T>(where, values)
          const data = await loggedIn()
          if (!data.auth.has('kubernetes')) throw refused(404, `no handler for route "${where}"`)
          record(`vault of ${cluster()}: ${lineOf(where, values)}`)
          data.policies.set(where, values)
          return {} as T
        },
      }
    }
    return {
      files: {
        read: reading((file: string) => files.get(file)),
        readBytes: reading((file: string) => {
          const text = files.get(file)
          return text === undefined ? undefined : Buffer.from(text)
        }),
        exists: reading((target: string) => [...files.keys()].some((file) => file === target || file.startsWith(`${target}/`))),
        list: reading((folder: string) => [
          ...new Set(
            [...files.keys()]
              .filter((file) => file.startsWith(`${folder}/`))
              .map((file) => file.slice(folder.length + 1).split('/')[0] ?? ''),
          ),
        ]),
        async write(file, content, mode = 0o600) {
          const value = content instanceof Secret ? content.reveal() : Buffer.from(content).toString()
          if (content instanceof Secret) keepSecret(value)
          else noSecretIn(value)
          const notes = [content instanceof Secret ? 'secret' : '', mode === 0o600 ? '' : `0${mode.toString(8)}`].filter(Boolean)
          record(`write ${file}${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`)
          files.set(file, value)
        },
        stream: nobody('a file that is streamed'),
        async update(file, change) {
          const text = change(files.get(file))
          noSecretIn(text)
          record(`add to ${file}`)
          files.set(file, text)
        },
        async makeFolder(folder) {
          record(`mkdir ${folder}`)
        },
        free: async () => 1e12,
        async remove(target) {
          record(`remove ${target}`)
          for (const map of [files, vaults])
            for (const key of map.keys()) if (key === target || key.startsWith(`${target}/`)) map.delete(key)
        },
      },
      processes: {
        find: reading((at: string) => {
          const found = processes.get(at)
          return found?.alive && files.has(at) ? {pid: found.pid, started: String(found.pid), wish: found.wish} : undefined
        }),
        connectionsTo: () => [],
        async start(launch) {
          record(
            `start ${path.dirname(path.dirname(launch.record))}/${path.basename(launch.record)}: ${path.basename(launch.file)} ${launch.args.join(' ')}`,
          )
          const {listens, needs} = configured(launch, (file) => {
            const content = files.get(file)
            if (content === undefined) throw new Error(`${launch.file} has no configuration ${file}`)
            return content
          })
          const taken = listens.filter((address) => running().some((other) => other.listens.includes(address)))
          const missing = needs.filter((file) => !files.has(file))
          const alone = taken.length === 0 && missing.length === 0
          processes.set(launch.record, {...launch, pid: (pids += 1), alive: alone, listens, certificate: certificateOf(launch)})
          files.set(launch.record, '')
          files.set(launch.log, alone ? '' : `taken: ${taken.join(', ')} missing: ${missing.join(', ')}`)
          if (launch.args[0] === 'agent') await keepLeaf(launch)
        },
        async stop(at) {
          const found = processes.get(at)
          if (found?.alive && files.has(at)) record(`stop ${path.dirname(path.dirname(at))}/${path.basename(at)}`)
          if (found) found.alive = false
          files.delete(at)
        },
        async reload(at) {
          record(`reload ${path.dirname(path.dirname(at))}/${path.basename(at)}`)
          const found = processes.get(at)
          if (found) found.certificate = certificateOf(found)
        },
        overgrown: reading(() => []),
        async cutShort(log) {
          record(`cut short ${log}`)
        },
        holder: reading((port: number) => {
          const found = running().find(({listens}) => listens.some((at) => new RegExp(`:${port}\\b`).test(at)))
          return found && {pid: found.pid, shown: found.file}
        }),
        freePorts: reading((count: number) => Array.from({length: count}, (_, index) => 40_000 + index)),
        usage: () => ({residentBytes: 1e6, upMs: 1000}),
        cpuSeconds: () => 1,
        tail: reading((log: string) => (files.get(log) ?? '').split('\n')),
      },
      vault,
      x509,
      tls: {
        async served(address) {
          const shown = shownAt(address) ?? clusters.gatewayLeaf(address) ?? vaultPodAt(address)?.certificate
          if (shown === undefined) throw new Error(`connect ECONNREFUSED ${address}`)
          return shown
        },
      },
      // who is asked takes everything, as Splunk and OTLP say it
      wire: {
        async ask({url}) {
          record(`ask ${url}`)
          return {status: 200, contentType: 'application/x-protobuf', body: Buffer.from('{"text":"Success","code":0}'), latencyMs: 1}
        },
        async grpc({url, path: method}) {
          record(`grpc ${url} ${method}`)
          for (const process of running()) if (counted(process).doors.includes(url.replace('http://', ''))) fed.add(`${process.pid} ${url}`)
          return {httpStatus: 200, contentType: 'application/grpc', status: 0, message: '', latencyMs: 1}
        },
      },
      http: {
        get: reading((url: string) => {
          const process = running().find(({listens}) => listens.includes(url.replace('http://', '')))
          return process && {status: 200, body: url.endsWith('/metrics') ? counted(process).page : ''}
        }),
        async post(url, _body, {token} = {}) {
          const [, address = ''] = /^http:\/\/(.+)\/v1\/logs$/.exec(url) ?? []
          const gateway = running().find(({listens}) => listens.includes(address))
          const keys = gateway ? files.get(path.join(path.dirname(configFileOf(gateway)), 'edges.jwks')) : clusters.keysAt(address)
          if (keys === undefined) return undefined
          const {kid} = token ? decodeProtectedHeader(token.reveal()) : {}
          return {status: kid !== undefined && keys.includes(kid) ? 200 : 401, body: ''}
        },
      },
      registry: {send: nobody('a registry')},
      unverified: nobody('a server that proves nothing'),
      shell: {run: nobody('a program that is run')},
      download: {dry: false, toFile: nobody('a download')},
      ask: {
        text: async () => undefined,
        confirm: nobody('a question'),
        password: nobody('a password'),
        again: nobody('a password'),
        secret: nobody('a secret'),
      },
      program: reading((name: string) => `/programs/${binaries[name] ?? name}`),
      kube: clusters.kube,
      helm: clusters.helm,
      end: async () => undefined,
    }
  }

  const copyOf = (then: {
    readonly files: ReadonlyMap<string, string>
    readonly processes: ReadonlyMap<string, Process>
    readonly vaults: ReadonlyMap<string, VaultData>
    readonly clusters: ReadonlyMap<string, ClusterData>
  }) => {
    const copies = new Map([...new Set(then.vaults.values())].map((data) => [data, copied(data)]))
    return {
      files: new Map(then.files),
      processes: new Map([...then.processes].map(([at, found]) => [at, {...found}])),
      vaults: new Map([...then.vaults].map(([at, data]) => [at, copies.get(data) ?? data])),
      // objects are replaced, never changed
      clusters: new Map([...then.clusters].map(([context, data]) => [context, new Map(data)])),
    }
  }
  /** The doors of a gateway's destinations, and the page of its counters: of a destination that was fed, all has been sent. */
  const counted = ({pid, args, file}: Process) => {
    if (!file.endsWith('otelcol')) return {doors: [], page: ''}
    const {receivers, exporters} = parse(files.get((args[0] ?? '').replace('--config=', '')) ?? '') as {
      receivers: Record<string, {protocols?: {grpc?: {endpoint: string}}}>
      exporters: Record<string, object>
    }
    const doors = Object.entries(receivers).flatMap(([name, {protocols}]) =>
      name.startsWith('otlp/') && protocols?.grpc ? [{name: name.slice('otlp/'.length), at: protocols.grpc.endpoint}] : [],
    )
    const sent = Object.keys(exporters).filter((exporter) => {
      const door = doors.find(({name}) => exporter.endsWith(`/${name}`))
      return door && fed.has(`${pid} http://${door.at}`)
    })
    const page = sent.flatMap((exporter) =>
      ['log_records', 'spans', 'metric_points'].map((items) => `otelcol_exporter_sent_${items}{exporter="${exporter}"} 1`),
    )
    return {doors: doors.map(({at}) => at), page: page.join('\n')}
  }
  const snapshot = () => copyOf({files, processes, vaults, clusters: clusters.clusters})
  const refill = <T>(map: Map<string, T>, from: ReadonlyMap<string, T>) => {
    map.clear()
    for (const [key, value] of from) map.set(key, value)
  }

  return {
    folder: state,
    files,
    processes,
    vaults,
    /** The objects of each cluster on Kubernetes, by its context. */
    clusters: clusters.clusters,
    tools: openTools(),
    /** Every write so far, a line each. */
    get transcript(): readonly string[] {
      return lines.map(({line}) => line)
    },
    /** Called before each write with its line; what it throws is what the write throws. */
    set beforeWrite(told: (line: string) => void) {
      beforeWrite = told
    },
    /** Five seconds go by whenever a seal is asked for: for what is given up only after a while. */
    hurry() {
      vi.useFakeTimers({toFake: ['Date']})
      onTestFinished(() => void vi.useRealTimers())
      hurried = true
    },
    snapshot,
    /** The world as it was then, met by a new run. */
    restore(then: ReturnType<typeof snapshot>) {
      const copy = copyOf(then)
      refill(files, copy.files)
      refill(processes, copy.processes)
      refill(vaults, copy.vaults)
      refill(clusters.clusters, copy.clusters)
      life += 1
    },
    /** The state before each write of the plan, with the line of that write: every moment at which a run may be killed. */
    async momentsOf(plan: Plan) {
      const moments: {readonly line: string; readonly state: ReturnType<typeof snapshot>}[] = []
      beforeWrite = (line) => void moments.push({line, state: snapshot()})
      await this.play(plan)
      beforeWrite = () => undefined
      return moments
    },
    /** What is there, without what is random: files, what runs, what the Vaults hold. */
    shape() {
      const isPlain = (file: string) => /\.(json|yaml)$|ignore$/.test(file)
      const clusterOf = (folder: string) => named(folder).replace('/data', '')
      return {
        files: [...files].map(([file, content]) => (isPlain(file) ? `${named(file)}: ${content}` : named(file))).toSorted(),
        running: running()
          .map(({file, args}) => named([file, ...args].join(' ')))
          .toSorted(),
        vaults: Object.fromEntries(
          [...vaults].map(([folder, {members, mounts, auth, policies, users, roles}]) => [
            clusterOf(folder),
            {
              members: [...members].toSorted(),
              mounts: [...mounts].map(([at, {type, maxLease, issuer, values}]) => [at, type, maxLease, issuer !== '', [...values.keys()]]),
              auth,
              policies,
              users: [...users.keys()],
              roles: [...roles].map(([name, {settings}]) => [name, settings]),
            },
          ]),
        ),
      }
    },
    /** Ends a process as the system would. */
    kill(component: string) {
      for (const [at, found] of processes) if (named(at) === component.replace('/', '/run/')) found.alive = false
    },
    /** Runs the plan and tells what it wrote: the steps in their order, and under each its writes. */
    async play(plan: Plan): Promise<string> {
      const from = lines.length
      const steps = flatten(plan.steps)
      let at = -1
      const inStep = (task: Task): Task => {
        if (isGroup(task)) return {...task, steps: task.steps.map(inStep)}
        const index = (at += 1)
        return {...task, apply: (tell) => currentStep.run(index, () => task.apply(tell))}
      }
      await run({...plan, steps: plan.steps.map(inStep)}, 'silent')
      const written = lines.slice(from)
      return steps
        .map(({title}, index) => ({title, own: written.filter(({step}) => step === index).map(({line}) => `  ${line}`)}))
        .filter(({own}) => own.length > 0)
        .map(({title, own}) => [title, ...own].join('\n'))
        .join('\n')
    },
  }
}

/** What a leaf agent wrote for this component. */
export const leafOf = ({files}: FakeWorld, cluster: string, component: string): string =>
  files.get(path.join(state, cluster, component, 'leaf.pem')) ?? ''

export type FakeWorld = ReturnType<typeof fakeWorld>

/** The same keys and certificates for the same wishes: for tests that make a world many times over. */
export const remembered = (x509: X509): X509 => {
  const made = new Map<string, Promise<unknown>>()
  const once = <T>(work: () => Promise<T>, ...wish: readonly unknown[]): Promise<T> => {
    const key = JSON.stringify(wish)
    const known = (made.get(key) as Promise<T> | undefined) ?? work()
    made.set(key, known)
    return known
  }
  return {
    createCa: (wish) => once(() => x509.createCa(wish), 'ca', wish),
    issueServer: (ca, wish) => once(() => x509.issueServer(ca, wish), ca.certificate, wish),
    signCa: (ca, request, wish) => once(() => x509.signCa(ca, request, wish), ca.certificate, request, wish),
  }
}
