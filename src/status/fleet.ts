import {setTimeout as sleep} from 'node:timers/promises'
import type {Fleet} from '../clusters.ts'
import {atMost} from '../checks/check.ts'
import {itemBytes, ratesOf} from '../collector/budget.ts'
import {counted, perSignal, type Signal, signals} from '../collector/config.ts'
import {orElse} from '../errors.ts'
import type {EdgeCluster, Hand, HubCluster, Stores} from '../platforms/platform.ts'
import type {Http} from '../tools/http.ts'
import {queryPrometheus} from '../tools/stores.ts'
import {readCertificate} from '../tools/x509.ts'
import {type Attention, attentionOf, type QueueStatus} from './attention.ts'
import {type Collector, collectorOf, type SeenBuild} from './collectors.ts'
import {agentPaces, agentQueues, gatewayPace, noPace, type Pace} from './prometheus-queues.ts'
import {
  addReasons,
  type CollectorQueues,
  mayHang,
  noQueues,
  queuesInPage,
  queuesInState,
  type SinkQueue,
  together,
  unmoved,
} from './queues.ts'
import {hubSealFault, openness, type Openness} from './seals.ts'

/** `sending`: items of it left the agent within five minutes; `idle`: none did; `unknown`: the agent has not reported its counters. */
export type Flow = 'sending' | 'idle' | 'unknown'

/** What became of items of one signal of one edge in a collector, since its processes started. */
export type Passage = Pick<SinkQueue, 'accepted' | 'stored' | 'repaired' | 'takenOut' | 'dropped' | 'refused' | 'waiting' | 'oldestSeconds'>

/** In the edge's agents, on the way to the hub, and in the gateway, on the way to the store; null where it is not counted by edge. */
export type DataOfSignal = {readonly agent: Passage | null; readonly gateway: Passage | null}

export type EdgeStatus = {
  readonly name: string
  readonly ok: boolean
  readonly sending: Readonly<Record<Signal, Flow>>
  /** Age of the newest sample the hub has from it. */
  readonly freshSeconds?: number
  /** Items that wait in the agent's queue. */
  readonly queued?: number
  /** The queues of its agents, the fullest where they are several. */
  readonly queues: readonly QueueStatus[]
  /** What became of what it sent. */
  readonly data: Readonly<Record<Signal, DataOfSignal>>
  /** Of its Vault, which renews the certificate. */
  readonly vault: Openness
  readonly certificate?: {readonly expires: string; readonly leftSeconds: number}
  /** Why the edge's cluster could not be asked; what the hub has from it stands all the same. */
  readonly problem?: {readonly code: string; readonly message: string}
}

export type FleetStatus = {
  readonly fleet: string
  readonly ok: boolean
  /** All of it runs on this machine. */
  readonly lab: boolean
  readonly hub: {
    readonly name: string
    readonly components: Readonly<Record<string, string>>
    readonly vault: Openness
    /** The build of its gateways. */
    readonly collector: SeenBuild
    readonly queues: readonly QueueStatus[]
    /** Every sink of the gateways, destinations among them, with the edge whose items wait for it. */
    readonly sinks: readonly SinkQueue[]
  }
  readonly edges: readonly EdgeStatus[]
  /** What of the data path needs a person, the worst first. */
  readonly attention: readonly Attention[]
}

/** An agent reports every 10 s; one that was not heard for this long is silent. */
const silentSeconds = 60

/** The store of each signal, as the gateway's queue calls it. */
const storeOf = {metrics: 'prometheus', logs: 'loki', traces: 'tempo'} as const satisfies Record<Signal, string>
const isStore = (sink: string): boolean => sink === 'hub' || Object.values<string>(storeOf).includes(sink)

const logLines = 2000

/** The queues of a collector that was asked itself. */
const queuesOf = async (collector: Collector, log: () => Promise<readonly string[]>): Promise<CollectorQueues> => {
  const states = collector.processes.flatMap(({state}) => (state ? [queuesInState(state)] : []))
  if (states.length > 0) return together(states)
  const {page} = collector
  if (page === undefined) return noQueues
  const isWaiting = page.some(({name, value}) => name === 'otelcol_exporter_queue_size' && value > 0)
  return queuesInPage(page, isWaiting ? await orElse(log(), () => []) : [], Date.now())
}

const inOrder = <T extends {readonly signal: Signal}>(all: readonly T[]): readonly T[] =>
  all.toSorted((one, other) => signals.indexOf(one.signal) - signals.indexOf(other.signal))

const roomsOf = (
  of: Pick<QueueStatus, 'cluster' | 'collector'>,
  {rooms, queues}: CollectorQueues,
  {growth, incoming}: Pace,
  declared: Readonly<Record<Signal, number>>,
): readonly QueueStatus[] =>
  inOrder(rooms).map(({signal, sink, unit, capacity, used, ...lost}) => {
    const own = queues.filter((queue) => queue.signal === signal && (sink === '' || queue.sink === sink))
    const waiting = own.reduce((sum, queue) => sum + queue.waiting, 0)
    const waitingBytes = own.reduce((sum, queue) => sum + (queue.waitingBytes ?? 0), 0)
    const itemSize = unit === 'items' ? 1 : waiting > 1000 && waitingBytes > 0 ? waitingBytes / waiting : itemBytes[signal]
    const grows = waiting === 0 ? 0 : (growth.get(sink === '' ? signal : `${signal} ${sink}`) ?? 0)
    // less than one item a second is what comes and goes
    const isGrowing = grows > itemSize
    // a quiet hour says little of an outage: it is what the file declares at least
    const perSecond = isGrowing ? grows : Math.max(incoming[signal] ?? 0, declared[signal]) * itemSize
    return {
      ...of,
      signal,
      sink,
      unit,
      capacity,
      used,
      percent: capacity === 0 ? 0 : (100 * used) / capacity,
      fullInSeconds: perSecond > 0 ? Math.max(0, Math.round((capacity - used) / perSecond)) : null,
      fullInWhen: isGrowing ? ('growing' as const) : ('outage' as const),
      ...lost,
    }
  })

const edgeIn = ({edges}: Fleet['file']['fleet'], name: string) => edges.find((edge) => edge.name === name)

const levels = ['failed', 'soon'] as const
const edgesAtOnce = 16

const lookAgainMs = 1500

/** The queues of the gateway; looked at once more where one of them may hang. */
const lookedAtTwice = async (hub: HubCluster, first: CollectorQueues): Promise<CollectorQueues> => {
  if (!first.queues.some(mayHang)) return first
  await sleep(lookAgainMs)
  const second = await queuesOf(await collectorOf(hub), async () => [])
  return second.queues.length === 0 ? first : unmoved(first, second)
}

/** The fleet as its hub sees it, and what its collectors say of their queues. */
export const fleetStatus = async (http: Http, {file, hub, edges}: Fleet): Promise<FleetStatus> => {
  const stores = await hub.stores()
  const [fault, own, gateway, reported, pace, paces] = await Promise.all([
    hubSealFault(hub),
    openness(hub),
    collectorOf(hub),
    agentQueues(http, stores),
    gatewayPace(http, stores),
    agentPaces(http, stores),
  ])
  const gatewayQueues = await lookedAtTwice(hub, await queuesOf(gateway, () => hub.log('gateway', logLines)))
  const declared = perSignal((signal) => edges.reduce((sum, {name}) => sum + ratesOf(file.fleet, edgeIn(file.fleet, name))[signal], 0))
  const rooms = roomsOf({cluster: hub.name, collector: 'gateway'}, gatewayQueues, pace, declared)
  const [states, seen] = await Promise.all([
    hub.inspect(),
    atMost(edgesAtOnce, edges, (edge) =>
      edgeStatus({
        http,
        stores,
        edge,
        fault,
        reported: reported.get(edge.name),
        pace: paces.get(edge.name),
        declared: ratesOf(file.fleet, edgeIn(file.fleet, edge.name)),
        gateway: gatewayQueues,
      }),
    ),
  ])
  const attention = [
    ...(gateway.problem ? [unreached(gateway)] : []),
    ...attentionOf({cluster: hub.name, collector: 'gateway'}, gatewayQueues, rooms, isStore),
    ...seen.flatMap((one) => one.attention),
  ].toSorted((one, other) => levels.indexOf(one.level) - levels.indexOf(other.level))
  // who keeps the leaf fresh is seen by the leaf
  const components = states.filter(({component}) => component !== 'leaf').map(({component, state}) => [component, state] as const)
  const isStuck = (edge: string) => attention.some(({level, edge: whose}) => level === 'failed' && whose === edge)
  const all = seen.map(({status}) => ({...status, ok: status.ok && !isStuck(status.name)}))
  return {
    fleet: file.fleet.fleet,
    lab: [hub, ...edges].every(({processes}) => processes !== undefined),
    ok:
      components.every(([, state]) => state === 'ready') &&
      own.open &&
      attention.every(({level}) => level !== 'failed') &&
      all.every(({ok, vault, problem}) => ok && (vault.open || problem !== undefined)),
    hub: {
      name: hub.name,
      components: Object.fromEntries(components),
      vault: own,
      collector: gateway.build,
      queues: rooms,
      sinks: inOrder(gatewayQueues.queues),
    },
    edges: all,
    attention,
  }
}

const unreached = ({cluster, component, problem}: Collector): Attention => ({
  level: 'soon',
  kind: 'unreached',
  cluster,
  collector: component,
  what: `the queues of the ${component} on ${cluster} could not be asked: ${problem?.message ?? 'it does not answer'}`,
})

const passageOf = (queues: readonly SinkQueue[]): Passage | null => {
  const [first, ...more] = queues
  return first
    ? more.reduce<Passage>(
        (all, one) => ({
          ...all,
          stored: (all.stored ?? 0) + (one.stored ?? 0),
          repaired: addReasons(all.repaired, one.repaired),
          takenOut: addReasons(all.takenOut, one.takenOut),
          dropped: addReasons(all.dropped, one.dropped),
          waiting: all.waiting + one.waiting,
          oldestSeconds: Math.max(all.oldestSeconds ?? 0, one.oldestSeconds ?? 0),
        }),
        (({accepted, stored, repaired, takenOut, dropped, refused, waiting, oldestSeconds}: SinkQueue) => ({
          accepted,
          stored,
          repaired,
          takenOut,
          dropped,
          refused,
          waiting,
          oldestSeconds,
        }))(first),
      )
    : null
}

/** What an agent calls itself in its queue is of no matter: all of it is its edge's. */
const ofEdge = (all: CollectorQueues, edge: string): CollectorQueues =>
  together([{...all, queues: all.queues.map((one) => ({...one, edge}))}])

/** An item of an agent that waits for longer is worth a question to the agent itself. */
const oldSeconds = 10

type EdgeWish = {
  readonly http: Http
  readonly stores: Stores
  readonly edge: EdgeCluster
  readonly fault: string | undefined
  /** What its agents last told the hub of their queues. */
  readonly reported: CollectorQueues | undefined
  readonly pace: Pace | undefined
  readonly declared: Readonly<Record<Signal, number>>
  readonly gateway: CollectorQueues
}

const edgeStatus = async ({
  http,
  stores,
  edge,
  fault,
  reported = noQueues,
  pace = noPace,
  declared,
  gateway,
}: EdgeWish): Promise<{readonly status: EdgeStatus; readonly attention: readonly Attention[]}> => {
  const {name, leavesNow} = edge
  const ask = async (query: string) => (await queryPrometheus(http, stores.prometheus, query))?.[0]?.value
  const heard = `{__name__=~"otelcol_exporter_queue_size|lkeobs_canary",lkeobs_edge="${name}"}`
  const of = `{lkeobs_edge="${name}",exporter="otlp_grpc/hub"}`
  const [vault, freshSeconds, queued, leaf, ...flows] = await Promise.all([
    openness(edge, fault),
    ask(`time() - (max(timestamp(${heard})) or max(max_over_time(timestamp(${heard})[1h:15s])))`),
    ask(`sum(otelcol_exporter_queue_size${of})`),
    orElse<{leaves?: readonly Hand[]; problem?: EdgeStatus['problem']}>(
      leavesNow().then((leaves) => ({leaves})),
      ({code, message}) => ({problem: {code, message}}),
    ),
    ...signals.map(async (signal): Promise<Flow> => {
      const sent = await ask(`sum(increase(otelcol_exporter_sent_${counted[signal]}_total${of}[5m]))`)
      return sent === undefined ? 'unknown' : sent > 0 ? 'sending' : 'idle'
    }),
  ])
  // of several the one that ends first
  const [certificate] = (leaf.leaves ?? [])
    .flatMap((hand) => readCertificate(hand.leaf ?? '') ?? [])
    .toSorted((a, b) => Date.parse(a.validTo) - Date.parse(b.validTo))
  const isHeard = freshSeconds !== undefined && freshSeconds < silentSeconds
  const isOld = reported.queues.some(({oldestSeconds}) => (oldestSeconds ?? 0) > oldSeconds)
  // what a silent one said last is not so any more
  const asked = edge.processes !== undefined || !isHeard || isOld ? await collectorOf(edge) : undefined
  const isAnswered = asked !== undefined && asked.build !== 'unknown'
  const agent = ofEdge(isAnswered ? await queuesOf(asked, () => edge.log('agent', logLines)) : reported, name)
  const itsAgent = {cluster: name, collector: 'agent'} as const
  const rooms = roomsOf(itsAgent, agent, pace, declared)
  const waits = agent.queues.reduce((sum, {waiting}) => sum + waiting, 0)
  const status: EdgeStatus = {
    name,
    ok: isHeard,
    queues: rooms,
    data: perSignal((signal) => ({
      agent: passageOf(agent.queues.filter((queue) => queue.signal === signal)),
      gateway: passageOf(
        gateway.queues.filter((queue) => queue.signal === signal && queue.sink === storeOf[signal] && queue.edge === name),
      ),
    })),
    // where the cluster cannot be asked, nothing is known of its Vault
    vault: leaf.problem ? {open: false, reason: `unknown: ${leaf.problem.code}`} : vault,
    sending: Object.fromEntries(signals.map((signal, index) => [signal, flows[index] ?? 'unknown'])) as Record<Signal, Flow>,
    ...(freshSeconds !== undefined && {freshSeconds}),
    ...(isAnswered ? {queued: waits} : queued !== undefined && {queued}),
    ...(leaf.problem && {problem: leaf.problem}),
    ...(certificate && {
      certificate: {
        expires: new Date(certificate.validTo).toISOString(),
        leftSeconds: Math.round((Date.parse(certificate.validTo) - Date.now()) / 1000),
      },
    }),
  }
  return {
    status,
    attention: [...(asked?.problem && isHeard ? [unreached(asked)] : []), ...attentionOf(itsAgent, agent, rooms, isStore)],
  }
}
