import type {Cluster, EdgeCluster, HubCluster} from '../platforms/platform.ts'
import {counted, type Signal} from '../collector/config.ts'
import {toHub} from '../collector/queue.ts'
import {orElse} from '../errors.ts'
import {count} from '../output.ts'
import type {Counters} from '../tools/stores.ts'

/** The collectors' own counters on a canary's way, read at one moment. Undefined: the collector does not answer. */
export type Snapshot = {readonly agent: Counters | undefined; readonly gateway: Counters | undefined}

/** Where a canary was last counted, and what is known of why it went no further. */
export type LastHop = {readonly hop: string; readonly reason: string}

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

/** Follows a canary that the agent accepted and the store does not return. */
export const lastHop = async (hub: HubCluster, edge: EdgeCluster, signal: Signal, before: Snapshot, sinceMs: number): Promise<LastHop> => {
  const now = await snapshot(hub, edge)
  if (now.agent === undefined) return {hop: 'agent', reason: 'it stopped answering after it had accepted the canary'}
  if (!passed(before.agent, now.agent, signal, toGateway)) {
    const queued = queuedAt(now.agent, signal, toGateway)
    return {hop: 'agent', reason: `${await complaint(edge, 'agent', toGateway, sinceMs)}; ${count(queued, 'item')} in its queue`}
  }
  if (now.gateway === undefined) return {hop: 'agent', reason: 'the gateway does not answer'}
  const exporter = toStore[signal]
  if (!passed(before.gateway, now.gateway, signal, exporter)) {
    const queued = queuedAt(now.gateway, signal, exporter)
    return {hop: 'gateway', reason: `${await complaint(hub, 'gateway', exporter, sinceMs)}; ${count(queued, 'item')} in its queue`}
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

/** What an exporter last complained about in the collector's log. */
export const complaint = async (cluster: Cluster, collector: string, exporter: string, sinceMs: number): Promise<string> => {
  const lines = await cluster.log(collector, 400)
  // an exporter that retries says so only every few seconds
  const recent = lines.filter(
    (line) => line.includes(exporter) && line.includes('"error"') && Date.parse(line.split('\t')[0] ?? '') > sinceMs - 30_000,
  )
  const errors = recent.flatMap((line) => /"error": "((?:[^"\\]|\\.)*)"/.exec(line)?.[1] ?? [])
  // the same refusal is told in several ways: the one that says most is the reason
  const told = known.find(([pattern]) => errors.some((error) => pattern.test(error)))?.[1]
  const last = errors.at(-1)?.replaceAll(String.raw`\"`, '"')
  return told ?? last?.slice(0, 200) ?? 'it has not sent it on'
}
