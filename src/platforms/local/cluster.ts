import path from 'node:path'
import {agentBudget, gatewayBudget} from '../../collector/budget.ts'
import {agent, hubCaFile} from '../../components/agent.ts'
import type {Component} from '../../components/component.ts'
import {environmentFor, inEnvironment} from '../../destinations/secrets.ts'
import {shownBy, wishOf} from '../../destinations/index.ts'
import {storeExporterNames} from '../../collector/gateway.ts'
import {queuedIn, queuedInAll} from '../../collector/queue.ts'
import {adminTokenFile, gateway, leafFile} from '../../components/gateway.ts'
import {loki} from '../../components/loki.ts'
import {prometheus} from '../../components/prometheus.ts'
import {tempo} from '../../components/tempo.ts'
import {vaultNode} from '../../components/vault.ts'
import type {FleetFile} from '../../fleet/load.ts'
import {buildOf, type Edge, leafSecondsOf} from '../../fleet/schema.ts'
import type {Step, Task} from '../../steps/step.ts'
import {Secret} from '../../secret.ts'
import type {Tools} from '../../tools/index.ts'
import {sendOtlp} from '../../tools/otlp.ts'
import {openQueueAdmin} from '../../tools/queue-admin.ts'
import {readCounters} from '../../tools/stores.ts'
import {adminLogin, adminPasswordFile, askedLogin, sealKeyFile} from '../../trust/admin.ts'
import {hubCaHanded, trustBundleFile} from '../../trust/bundle.ts'
import {tried} from '../../trust/credential.ts'
import type {LeafWish} from '../../trust/leaf.ts'
import {mayAsk} from '../../trust/register.ts'
import {shownWhereItRuns} from '../../trust/rotation.ts'
import {sealCaFile, sealKeyIdOf, sealTokenFile, type SealWish} from '../../trust/seal.ts'
import type {Cluster, EdgeCluster, HubCluster, Seal} from '../platform.ts'
import {generatorProcesses} from './generators.ts'
import {checkPorts, checkRoom, type LocalCluster, type Machine, machineOf, stateFolderOf} from './index.ts'
import {earlierQueueSent} from './earlier-queue.ts'
import {deliveredByAgent, leafAgent, leafRenewed} from './leaf.ts'
import {leaving} from './leaving.ts'
import {destinationPort} from './ports.ts'
import {held, served} from './sightings.ts'
import {serverNames, vaultCertificatesOf} from './vault-certificates.ts'

type Parts = {
  readonly file: FleetFile
  readonly cluster: LocalCluster
  readonly machine: Machine
  readonly tools: Tools
  readonly leaf: LeafWish
  readonly replicas: number
  /** Left out where holders unseal it. */
  readonly seal: SealWish | undefined
  readonly components: readonly Component[]
}

/** The seal of a cluster's nodes: an edge of the hub's, when that unseals it; none of their own where holders do. */
const sealOf = ({place, cluster}: Machine, seal: Seal, {sealsAt = {address: ''}}: Pick<HubCluster, 'sealsAt'>): SealWish | undefined => {
  if (seal === 'shamir') return undefined
  const {file} = place('vault')
  return seal === 'static'
    ? {type: 'static', keyId: sealKeyIdOf({}), key: file(sealKeyFile)}
    : {type: 'transit', edge: cluster, token: file(sealTokenFile), ca: file(sealCaFile), ...sealsAt}
}

const nodesOf = ({place}: Machine, replicas: number, seal: SealWish | undefined): readonly Component[] => {
  const names = Array.from({length: replicas}, (_, index) => `vault-${index}`)
  return names.map((name, index) =>
    vaultNode({
      name,
      at: place(name),
      // one that initialises itself joins nobody; the others find whichever was initialised
      joins: index === 0 && seal ? [] : names.filter((other) => other !== name).map((other) => place(other)),
      ca: place('ca').file('ca.pem'),
      self: seal && {seal, adminPassword: place('vault').file(adminPasswordFile)},
    }),
  )
}

/** What hub and edge have in common. */
const opened = ({
  file,
  cluster,
  machine,
  tools,
  leaf,
  replicas,
  seal,
  components,
}: Parts): Omit<Cluster, 'role'> & {readonly runs: readonly Step[]} => {
  const {place} = machine
  const addressOf = (node: string) => `https://${place(node).address('api')}`
  const login = seal ? adminLogin(machine) : askedLogin(tools.ask, cluster.name)
  const vault = tools.vault({address: addressOf('vault-0'), ca: machine.rootCa, login})
  const nodes = nodesOf(machine, replicas, seal)
  const keeper = leafAgent(place('leaf'), vault.address, place('ca').file('ca.pem'), leaf)
  const processes = [...nodes, keeper, ...components]
  const vaultCertificates = vaultCertificatesOf(
    machine,
    nodes.map(({name}) => name),
    tools,
  )
  return {
    name: cluster.name,
    processes,
    runs: components.map((component) => machine.runs(component)),
    programs: [...new Set(processes.map(({program}) => program))],
    async checked() {
      await checkRoom(file.folder, tools)
      const names = processes.map(({name}) => name)
      await checkPorts(cluster, names, tools, path.relative(process.cwd(), file.file) || file.file)
    },
    uid: machine.uid,
    prepared: () => [machine.hasUid()],
    tidied: () => [machine.logsBounded()],

    rootCa: machine.rootCa,
    hasRootCa: () => [machine.hasRootCa()],
    signCa: machine.signCa,
    read: machine.read,
    hand: machine.hand,

    vault,
    vaultReplicas: replicas,
    vaultNodes: () =>
      nodes.map(({name}) => {
        const target = {address: addressOf(name), ca: machine.rootCa}
        return {name, vault: tools.vault(target), admin: tools.vault({...target, login})}
      }),
    seal: seal?.type ?? 'shamir',
    vaultRuns: () => [
      ...nodes.map(({name}) => machine.hasServerCertificate(name, serverNames(machine, name))),
      // before it is asked for anything: nobody who trusts another root CA by now would believe it
      ...nodes.map(({name}) => shownWhereItRuns(cluster.name, name, vaultCertificates)),
      // all at once: a node that starts after the first has initialised itself waits out a retry before it joins
      {title: `Vault nodes on ${cluster.name}`, concurrency: nodes.length, steps: nodes.map((node) => machine.runs(node))},
    ],
    vaultCertificates,
    vaultSeals: () => Promise.all(nodes.map(({name}) => tools.vault({address: addressOf(name), ca: machine.rootCa}).sealStatus())),
    async vaultRestarted(name, tell) {
      await machine.stopped(name, '').apply(tell)
      for (const node of nodes) if (node.name === name) await machine.runs(node).apply(tell)
    },
    async vaultRemade(tell) {
      for (const {name} of nodes) {
        await machine.stopped(name, '').apply(tell)
        await tools.files.remove(place(name).file('data'))
      }
      await Promise.all(nodes.map((node) => machine.runs(node).apply(tell)))
    },

    leaf: async () => leaf,
    leafDelivered: () => deliveredByAgent(vault, machine, tools.files, leaf, keeper),
    leavesNow: async () => [{leaf: await tools.files.read(leaf.file)}],
    leafRenewed: () => leafRenewed(vault, machine, tools, leaf, keeper),
    certificates: () => [
      held(cluster, tools, 'leaf', leaf.file),
      ...nodes.map(({name}) => served(tools, 'vault', place(name).address('api'), name)),
      held(cluster, tools, 'root', place('ca').file('ca.pem')),
    ],
    renewedBy: {leaf: 'bao agent'},

    inspect: () => Promise.all(processes.map((component) => machine.inspect(component))),
    log: machine.log,
    counters: (collector) => readCounters(tools.http, `http://${place(collector).address('counters')}/metrics`),
    async queueAdmins() {
      // the stock collector has no port for it
      if (cluster.build !== 'lkeobs') return []
      const collector = cluster.role === 'hub' ? 'gateway' : 'agent'
      const token = (await machine.read(collector, adminTokenFile))?.trim()
      const secret = token === undefined || token === '' ? undefined : new Secret(token)
      return [
        openQueueAdmin(tools.http, {cluster: cluster.name, process: collector, address: place(collector).address('admin'), token: secret}),
      ]
    },
  }
}

/** The hub, on this machine. */
export const openLocalHub = (file: FleetFile, firstPort: number, tools: Tools): HubCluster => {
  const {hub} = file.fleet
  const endpoint = hub.endpoint ?? ''
  const {destinations} = file.fleet
  const build = buildOf(file.fleet, 'local')
  const budget = gatewayBudget(file.fleet)
  const cluster: LocalCluster = {
    name: hub.name,
    role: 'hub',
    firstPort,
    build,
    destinations: destinations.length,
    stateFolder: stateFolderOf(file.folder),
  }
  const machine = machineOf(cluster, tools)
  const {place} = machine
  const http = (component: string) => `http://${place(component).address('http')}`
  const stores = {prometheus: http('prometheus'), loki: http('loki'), tempo: http('tempo')}
  const host = endpoint.slice(0, endpoint.lastIndexOf(':')).replace(/^\[|\]$/g, '')
  const isAddress = /^[\d.]+$|:/.test(host)
  const leaf: LeafWish = {
    issuePath: 'pki_hub/issue/gateway',
    commonName: `gateway.${hub.name}.lkeobs`,
    names: isAddress ? ['localhost'] : ['localhost', host],
    addresses: isAddress && host !== '127.0.0.1' ? ['127.0.0.1', host] : ['127.0.0.1'],
    ttlSeconds: leafSecondsOf(file.fleet),
    file: place('gateway').file(leafFile),
  }
  // where destinations are fed in the build upstream
  const doors = machineOf({...cluster, build: 'upstream'}, tools).place('gateway')
  const door = (name: string) => doors.address(destinationPort(destinations.findIndex((destination) => destination.name === name)))
  const gatewayThat = (asks: boolean, closing: readonly string[] = [], closed = false) =>
    gateway(place('gateway'), {
      build,
      closed,
      budget,
      hub: hub.name,
      stores: {...stores, tempo: place('tempo').address('otlp'), tempoHttp: stores.tempo},
      asks,
      destinations: destinations.map((destination) =>
        wishOf(destination, door(destination.name), {
          closing: closing.includes(destination.name),
          secret: inEnvironment,
          queueBytes: budget.destinations[destination.name] ?? budget.bytes,
        }),
      ),
      ...(destinations.length > 0 && {environment: () => environmentFor(base.vault, destinations)}),
    })
  const components = [
    prometheus(place('prometheus'), budget.late),
    loki(place('loki'), budget.late),
    tempo(place('tempo'), budget.late),
    gatewayThat(true),
  ]
  const {runs, ...base} = opened({
    file,
    cluster,
    machine,
    tools,
    leaf,
    replicas: hub.vault.replicas,
    seal: sealOf(machine, hub.vault.seal, {}),
    components,
  })
  const {vaultRemade, ...lasting} = base
  const earlier = earlierQueueSent({
    machine,
    tools,
    draining: gatewayThat(false, [], true),
    queued: async () => queuedInAll(await base.counters('gateway'), storeExporterNames),
  })
  // made anew, it would not have the keys of the edges that it unseals
  const unsealsOthers = file.fleet.edges.some(({vault}) => vault.seal === 'transit')
  // of one that holders unseal, it is only done when they say so
  const isRemade = !unsealsOthers || hub.vault.seal === 'shamir'
  return {
    ...lasting,
    ...(isRemade && vaultRemade && {vaultRemade}),
    role: 'hub',
    rootRotation: machine.rootRotation,
    sealsAt:
      hub.vault.endpoint === undefined
        ? {address: base.vault.address, here: true}
        : {address: `https://${hub.vault.endpoint}`, serverName: 'localhost'},
    endpoint: async () => endpoint,
    served: () =>
      tools.tls.served(endpoint).then(
        (pem) => [pem],
        () => [],
      ),
    certificates: () => [
      ...base.certificates(),
      served(tools, 'gateway', endpoint),
      held(cluster, tools, 'trusted', place('gateway').file(trustBundleFile)),
      ...shownBy(destinations, tools.tls),
    ],
    stores: async () => stores,
    storesRun: () => runs.slice(0, 3),
    gatewayRuns: ({closing} = {closing: []}) => [
      ...(build === 'lkeobs' ? [earlier] : []),
      eitherStep(() => mayAsk(base.vault), machine.runs(gatewayThat(true, closing)), machine.runs(gatewayThat(false, closing))),
    ],
    async exporters() {
      const {shell, program} = tools
      const known = await shell.run({file: await program('otelcol'), args: ['components'], timeoutMs: 10_000})
      const [, listed = ''] = /^exporters:\n((?:[ ].*\n)*)/m.exec(known) ?? []
      return [...listed.matchAll(/^ +- name: (\S+)/gm)].map(([, type = '']) => type)
    },
    door: async (name) => (build === 'lkeobs' ? undefined : door(name)),
    destinationGone: (name) => [queuesGone(tools.files, place('gateway').file('queue'), name)],
    knock: async (token) => [await tried(tools.http, place('gateway').address('ask'), token)],
  }
}

/** No queue of the destination is left: it would be sent to the next of that name. */
const queuesGone = ({list, remove}: Tools['files'], folder: string, name: string): Step => {
  // exporter_otlp_grpc_NAME-feed_logs, exporter_splunk_hec_NAME_logs: as the storage extension names them
  const own = async () =>
    (await list(folder)).filter((file) => new RegExp(`^exporter_.*_${name}(-feed)?_(metrics|logs|traces)$`).test(file))
  return {
    title: `no queue of ${name}`,
    done: async () => ((await own()).length === 0 ? true : 'there is one'),
    async apply() {
      for (const file of await own()) await remove(path.join(folder, file))
    },
  }
}

/** One step or the other, as the world is when it is asked. */
const eitherStep = (isFirst: () => Promise<boolean>, first: Step, second: Step): Step => {
  const chosen = async () => ((await isFirst()) ? first : second)
  return {
    ...first,
    done: async () => (await chosen()).done(),
    apply: async (tell) => (await chosen()).apply(tell),
    watch: async () => (await chosen()).watch?.(),
  }
}

/** An edge, on this machine. */
export const openLocalEdge = (
  file: FleetFile,
  edge: Edge,
  firstPort: number,
  above: Pick<HubCluster, 'sealsAt'>,
  tools: Tools,
): EdgeCluster => {
  const {name, logs, vault} = edge
  const build = buildOf(file.fleet, 'local')
  const cluster: LocalCluster = {name, role: 'edge', firstPort, build, stateFolder: stateFolderOf(file.folder)}
  const machine = machineOf(cluster, tools)
  const {place} = machine
  const leaf: LeafWish = {
    issuePath: 'pki/issue/agent',
    commonName: `${name}.edge.lkeobs`,
    ttlSeconds: leafSecondsOf(file.fleet),
    file: place('agent').file(leafFile),
  }
  // its Vault's log always has something to say; the agent's own would feed on itself
  const ownLogs = path.join(path.dirname(place('agent').folder), 'logs', 'vault-0.log')
  const otlp = `http://${place('agent').address('http')}`
  const wish = {
    build,
    queueBytes: agentBudget(file.fleet, edge),
    edge: name,
    gateway: file.fleet.hub.endpoint ?? '',
    logs: [ownLogs, ...logs],
  }
  const component = agent(place('agent'), wish)
  const {runs, ...base} = opened({
    file,
    cluster,
    machine,
    tools,
    leaf,
    replicas: 1,
    seal: sealOf(machine, vault.seal, above),
    components: [component],
  })
  const draining = agent(place('agent'), {...wish, build: 'upstream', closed: true})
  const earlier =
    build === 'lkeobs' ? [earlierQueueSent({machine, tools, draining, queued: async () => queuedIn(await base.counters('agent'))})] : []
  return {
    ...base,
    role: 'edge',
    otlp,
    otlpFromHere: async () => otlp,
    generators: generatorProcesses(tools, place('agent').address('grpc')),
    certificates: () => [
      ...base.certificates(),
      held(cluster, tools, 'hub-ca', place('agent').file(hubCaFile)),
      ...(vault.seal === 'transit' ? [held(cluster, tools, 'seal-ca', place('vault').file(sealCaFile))] : []),
    ],
    agentRuns: (hub): readonly Task[] => [hubCaHanded(hub, base), ...earlier, ...runs],
    diallersSeen: () => [],
    async diallers() {
      const {pid} = await machine.inspect(component)
      const port = Number(wish.gateway.slice(wish.gateway.lastIndexOf(':') + 1))
      const connections = pid === undefined ? [] : tools.processes.connectionsTo(pid, port)
      return connections && [{leaf: await tools.files.read(leaf.file), connections: connections.map(String)}]
    },
    sendCanary: (signal, canary) => sendOtlp(tools.http, otlp, signal, canary),
    ...leaving({machine, tools, cluster, earlier, closedAgent: agent(place('agent'), {...wish, closed: true}), counters: base.counters}),
  }
}
