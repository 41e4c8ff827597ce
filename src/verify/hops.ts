import type {Cluster, EdgeCluster, HubCluster} from '../platforms/platform.ts'
import {counted, type Signal} from '../collector/config.ts'
import {toHub} from '../collector/queue.ts'
import {orElse} from '../errors.ts'
import {count, duration, grouped} from '../output.ts'
import {type Collector, collectorOf} from '../status/collectors.ts'
import {queuesInState, type SinkQueue, together} from '../status/queues.ts'
import type {DeadLetter, QueueAdmin} from '../tools/queue-admin.ts'
import type {Counters} from '../tools/stores.ts'

/** The collectors' own counters on a canary's way, read at one moment. Undefined: the collector does not answer. */
export type Snapshot = {readonly agent: Counters | undefined; readonly gateway: Counters | undefined}

/** A queue in which a canary waits. */
export type Waiting = {
  readonly sink: string
  /** How many items of the edge wait, the canary among them. */
  readonly items: number
  readonly oldestSeconds: number | null
  /** For how long what stands first has been refused; 0 where it moves. */
  readonly headFailingSeconds: number
  /** The last answer of the sink that was no yes, in full. */
  readonly answer: string
}

/** Where a canary was last counted, and what is known of why it went no further. */
export type LastHop = {
  readonly hop: string
  readonly reason: string
  readonly waiting?: Waiting
  /** The id of the dead letter that the canary became. */
  readonly deadLetter?: string
}

/** A canary, as it is found again in a queue. */
export type Sent = {readonly service: string; readonly run: string; readonly sinceMs: number}

/** The exporters on the way, by collector. */
const toGateway = toHub
const toStore = {metrics: 'otlp_http/prometheus', logs: 'otlp_http/loki', traces: 'otlp_grpc/tempo'} as const satisfies Record<
  Signal,
  string
>

/** A cluster that cannot be asked is one that does not answer. */
const countersOf = (cluster: Cluster, collector: string) => orElse(cluster.counters(collector), () => undefined)

export const snapshot = async (hub: HubCluster, edge: EdgeCluster): Promise<Snapshot> => {
  const [agent, gateway] = await Promise.all([countersOf(edge, 'agent'), countersOf(hub, 'gateway')])
  return {agent, gateway}
}

/** Of all samples of a name with these labels. */
export const sum = (counters: Counters, name: string, labels: Readonly<Record<string, string>>): number =>
  counters
    .filter((sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
    .reduce((total, {value}) => total + value, 0)

const sentBy = (counters: Counters, signal: Signal, exporter: string) =>
  sum(counters, `otelcol_exporter_sent_${counted[signal]}`, {exporter})
const queuedAt = (counters: Counters, signal: Signal, exporter: string) =>
  sum(counters, 'otelcol_exporter_queue_size', {exporter, data_type: signal})

/** How many items wait in the agent of an edge; undefined when it does not answer. */
export const queueOf = async (edge: EdgeCluster): Promise<number | undefined> => {
  const counters = await countersOf(edge, 'agent')
  return counters && sum(counters, 'otelcol_exporter_queue_size', {exporter: toGateway})
}

/**
 * Whether the exporter has sent on what the canary was among: more was sent than waited before it
 * came, or something was sent and nothing waits any more. With several consumers a canary can overtake what is retried, so this is a close guess, not a proof.
 */
const passed = (before: Counters | undefined, now: Counters, signal: Signal, exporter: string): boolean => {
  const sentNow = sentBy(now, signal, exporter)
  const [sent, queued] = before === undefined ? [0, 0] : [sentBy(before, signal, exporter), queuedAt(before, signal, exporter)]
  // one that was restarted meanwhile counts from nothing again
  const base = sentNow < sent ? 0 : sent
  return sentNow > base + queued || (sentNow > base && queuedAt(now, signal, exporter) === 0)
}

/** The sink of a canary's store in the gateway's queue. */
const storeSink = {metrics: 'prometheus', logs: 'loki', traces: 'tempo'} as const satisfies Record<Signal, string>

/** The queue of an edge's items of a signal for a sink, over all processes of a collector; undefined where it has none of ours. */
const ownQueue = ({processes}: Collector, signal: Signal, sink: string, edge: string | undefined): SinkQueue | undefined => {
  const states = processes.flatMap(({state}) => (state ? [queuesInState(state)] : []))
  return together(states).queues.find((one) => one.signal === signal && one.sink === sink && (edge === undefined || one.edge === edge))
}

/** What comes in first goes out first: a queue whose oldest item came before the canary may have it, and one whose oldest came later has not. */
const mayHold = ({waiting, oldestSeconds}: SinkQueue, sinceMs: number): boolean =>
  waiting > 0 && (oldestSeconds === null || oldestSeconds * 1000 >= Date.now() - sinceMs - clockMs)
/** Seconds are rounded, and an answer takes its time. */
const clockMs = 1500

const waitingIn = (where: string, signal: Signal, queue: SinkQueue): Pick<LastHop, 'reason' | 'waiting'> => {
  const {sink, waiting, oldestSeconds, headFailingSeconds, lastError} = queue
  const before = waiting - 1
  const behind = before > 0 ? `behind ${grouped(before)} other ${before === 1 ? 'item' : 'items'}` : 'as the only item'
  const oldest = oldestSeconds === null ? '' : `, the oldest for ${duration(oldestSeconds * 1000)}`
  // what was answered before the head came is another item's
  const answer = headFailingSeconds > 0 ? lastError : ''
  const head =
    headFailingSeconds > 0
      ? `; ${sink} has not taken the head of the queue for ${duration(headFailingSeconds * 1000)}${answer === '' ? '' : `: ${explained(answer)}`}`
      : ''
  return {
    reason: `it waits in the queue of ${signal} for ${sink} ${where}, ${behind}${oldest}${head}`,
    waiting: {sink, items: waiting, oldestSeconds, headFailingSeconds, answer},
  }
}

/** How many dead letters are looked through for a canary, and how many of canaries are looked into. */
const mostPages = 100
const mostLetters = 200

const canaryLetters = async (admin: QueueAdmin, signal: Signal, {service, sinceMs}: Sent): Promise<readonly DeadLetter[]> => {
  const found: DeadLetter[] = []
  let after: string | undefined
  for (let at = 0; at < mostPages; at++) {
    const page = await orElse(admin.deadLetters({signal, limit: 1000, ...(after !== undefined && {after})}), () => undefined)
    found.push(...(page?.deadLetters ?? []).filter(({workload, time}) => workload === service && Date.parse(time) >= sinceMs - 5000))
    if (!page?.next || page.next === after) break
    after = page.next
  }
  return found.slice(-mostLetters)
}

/** The dead letter that the canary became, in any process of a collector. */
const deadLetterOf = async (collector: Collector, signal: Signal, sent: Sent) => {
  for (const {admin, state} of collector.processes) {
    if (state === undefined) continue
    for (const {id} of await canaryLetters(admin, signal, sent)) {
      const letter = await orElse(admin.deadLetter(id), () => undefined)
      if (letter && JSON.stringify(letter.item).includes(JSON.stringify(sent.run))) return letter
    }
  }
  return undefined
}

const isDead = (
  hop: string,
  where: string,
  {id, sink, reason, detail}: {id: string; sink: string; reason: string; detail: string},
): LastHop => ({
  hop,
  reason: `it is dead letter ${id} ${where}: taken out for ${sink}, ${reason}${detail === '' ? '' : `: ${detail}`}`,
  deadLetter: id,
})

/** Items of the store's signal that the stock exporter has dropped since then. */
const droppedBetween = (before: Counters | undefined, now: Counters, signal: Signal, exporter: string): number => {
  const failed = (page: Counters) => sum(page, `otelcol_exporter_send_failed_${counted[signal]}`, {exporter})
  return Math.max(0, failed(now) - (before === undefined ? 0 : failed(before)))
}

/** Follows a canary that the agent accepted and the store does not return. */
export const lastHop = async (hub: HubCluster, edge: EdgeCluster, signal: Signal, before: Snapshot, sent: Sent): Promise<LastHop> => {
  const {sinceMs} = sent
  const [now, agent, gateway] = await Promise.all([snapshot(hub, edge), collectorOf(edge), collectorOf(hub)])
  if (now.agent === undefined && agent.build === 'unknown')
    return {hop: 'agent', reason: 'it stopped answering after it had accepted the canary'}
  const atAgent = ownQueue(agent, signal, 'hub', undefined)
  if (agent.build === 'lkeobs' && atAgent) {
    const letter = await deadLetterOf(agent, signal, sent)
    if (letter) return isDead('agent', `of the agent on ${edge.name}`, letter)
    if (mayHold(atAgent, sinceMs)) return {hop: 'agent', ...waitingIn(`in the agent on ${edge.name}`, signal, atAgent)}
  } else if (now.agent !== undefined && !passed(before.agent, now.agent, signal, toGateway)) {
    const queued = queuedAt(now.agent, signal, toGateway)
    return {hop: 'agent', reason: `${await complaint(edge, 'agent', toGateway, sinceMs)}; ${count(queued, 'item')} in its queue`}
  }
  if (now.gateway === undefined && gateway.build === 'unknown') return {hop: 'agent', reason: 'the gateway does not answer'}
  if (gateway.build === 'lkeobs') return inOwnGateway(gateway, hub.name, edge.name, signal, sent)
  if (now.gateway === undefined) return {hop: 'agent', reason: 'the gateway does not answer'}
  return inStockGateway(hub, signal, before.gateway, now.gateway, sinceMs)
}

const inOwnGateway = async (gateway: Collector, hub: string, edge: string, signal: Signal, sent: Sent): Promise<LastHop> => {
  const letter = await deadLetterOf(gateway, signal, sent)
  if (letter) return isDead('gateway', `of the gateway on ${hub}`, letter)
  const sink = storeSink[signal]
  const queue = ownQueue(gateway, signal, sink, edge)
  if (queue && mayHold(queue, sent.sinceMs)) return {hop: 'gateway', ...waitingIn(`in the gateway on ${hub}`, signal, queue)}
  if (gateway.problem) return {hop: 'gateway', reason: `what became of it there is not known: ${gateway.problem.message}`}
  if (!queue) return {hop: 'agent', reason: `the gateway on ${hub} has taken in no ${signal} of ${edge} since it started`}
  return {hop: 'gateway', reason: `${sink} has acknowledged it, and does not return it`}
}

/** The stock gateway does not tell one item from another: what is certain is said, and no more. */
const inStockGateway = async (
  hub: HubCluster,
  signal: Signal,
  before: Counters | undefined,
  now: Counters,
  sinceMs: number,
): Promise<LastHop> => {
  const exporter = toStore[signal]
  const sink = storeSink[signal]
  const queued = queuedAt(now, signal, exporter)
  if (!passed(before, now, signal, exporter))
    return {hop: 'gateway', reason: `${await complaint(hub, 'gateway', exporter, sinceMs)}; ${count(queued, 'item')} in its queue`}
  const lost = droppedBetween(before, now, signal, exporter)
  if (lost > 0)
    return {
      hop: 'gateway',
      reason: `it dropped ${count(lost, 'item')} that ${sink} refused for good, and the canary may be among them: ${await complaint(hub, 'gateway', exporter, sinceMs)}`,
    }
  if (queued > 0)
    return {
      hop: 'gateway',
      reason: `it has sent other items on, and ${count(queued, 'item')} ${queued === 1 ? 'waits' : 'wait'} in its queue, the canary perhaps among them: ${await complaint(hub, 'gateway', exporter, sinceMs)}`,
    }
  return {hop: 'gateway', reason: 'it sent the canary on, and the store does not return it'}
}

/** The sentences people know for what Go's TLS and gRPC say; the ones that say most come first. */
const known: readonly (readonly [RegExp, string])[] = [
  [
    /unknown certificate authority|bad certificate|certificate required/,
    'the gateway refuses its certificate: signed by an issuer the gateway does not trust',
  ],
  [/no public keys able to verify|token is expired|authentication didn't succeed/, 'the gateway does not know its credential'],
  [/expired certificate|certificate has expired/, 'a certificate on the way has expired'],
  [/certificate signed by unknown authority/, 'it does not trust the certificate it is shown'],
  [/connection refused/, 'nothing listens where it sends'],
  [/broken pipe|connection reset|server preface: EOF/, 'the gateway hung up on it, as it does when it refuses a certificate'],
]

/** An answer in full, after the sentence people know for it. */
const explained = (answer: string): string => {
  const told = known.find(([pattern]) => pattern.test(answer))?.[1]
  return told === undefined ? answer : `${told} (${answer})`
}

/** What an exporter of ours was last told, where its collector's queue knows it. */
const lastAnswer = async (cluster: Cluster, exporter: string): Promise<string | undefined> => {
  const {processes} = await collectorOf(cluster)
  const queues = processes.flatMap(({state}) => (state ? queuesInState(state).queues : []))
  return queues
    .filter((queue) => queue.exporter === exporter && queue.lastError !== '' && queue.waiting > 0)
    .toSorted((one, other) => other.headFailingSeconds - one.headFailingSeconds)[0]?.lastError
}

/** What an exporter last complained about in the collector's log, or in its queue. */
export const complaint = async (cluster: Cluster, collector: string, exporter: string, sinceMs: number): Promise<string> => {
  const [lines, answer] = await Promise.all([cluster.log(collector, 400), lastAnswer(cluster, exporter)])
  // an exporter that retries says so only every few seconds
  const recent = lines.filter(
    (line) => line.includes(exporter) && line.includes('"error"') && Date.parse(line.split('\t')[0] ?? '') > sinceMs - 30_000,
  )
  const errors = [
    ...recent.flatMap((line) => /"error": "((?:[^"\\]|\\.)*)"/.exec(line)?.[1] ?? []),
    ...(answer === undefined ? [] : [answer]),
  ]
  // the same refusal is told in several ways: the one that says most is the reason
  const told = known.find(([pattern]) => errors.some((error) => pattern.test(error)))?.[1]
  const last = answer ?? errors.at(-1)?.replaceAll(String.raw`\"`, '"')
  return told ?? last ?? 'it has not sent it on'
}
