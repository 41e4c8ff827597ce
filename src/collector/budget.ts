import type {Fleet} from '../fleet/schema.ts'
import {readDuration} from '../output.ts'
import {perSignal, type Signal, signals} from './config.ts'

/** What an item takes in a queue on disk, as OTLP without compression (measured with the load test's items). */
export const itemBytes = {metrics: 90, logs: 250, traces: 300} as const satisfies Record<Signal, number>

/** What an edge is taken to send where the fleet file does not say it, in items a second. */
export const usualRates = {metrics: 1000, logs: 200, traces: 100} as const satisfies Record<Signal, number>

/** A queue is never smaller, however little is declared. */
const leastQueueBytes = 256 * 2 ** 20

/** Dead letters of one queue at most. */
export const deadLetterBytes = 256 * 2 ** 20

type BySignal = Readonly<Record<Signal, number>>
type OfEdges = Pick<Fleet, 'outage' | 'rates' | 'share' | 'edges'>
export type BudgetFleet = OfEdges & Pick<Fleet, 'destinations'>
type Edge = Pick<Fleet['edges'][number], 'outage' | 'rates' | 'share'>

const secondsOf = (duration: string): number => readDuration(duration) ?? 0

/** How long a hub, a store or an edge may be away without a loss. */
export const outageOf = ({outage}: Pick<OfEdges, 'outage'>, own?: string): number => secondsOf(own ?? outage)

export const ratesOf = ({rates}: Pick<OfEdges, 'rates'>, edge: Edge | undefined): BySignal =>
  perSignal((signal) => edge?.rates?.[signal] ?? rates[signal])

const queueBytes = (rates: BySignal, seconds: number): BySignal =>
  perSignal((signal) => Math.max(leastQueueBytes, Math.ceil(rates[signal] * itemBytes[signal] * seconds)))

/** As many items as these bytes hold: what a queue that counts items is told. */
export const itemsIn = (bytes: BySignal): BySignal => perSignal((signal) => Math.floor(bytes[signal] / itemBytes[signal]))

/** What so many items take of each signal. */
export const bytesOf = (items: number): BySignal => perSignal((signal) => items * itemBytes[signal])

/** What the agents of an edge keep on disk at most, each, by signal. Kubernetes spreads an edge over nodes; any of them may have most of it. */
export const agentBudget = (fleet: OfEdges, edge?: Edge): BySignal => queueBytes(ratesOf(fleet, edge), outageOf(fleet, edge?.outage))

/** A share of an edge, in the queue's words. */
export type Share = {
  readonly items_per_second: number
  readonly bytes_per_second: number
  readonly series: number
  readonly streams: number
}

/** What any edge may send at least. A fleet that declares no rates carries what the load test's profile `target` sends. */
const leastShare: Share = {items_per_second: 100_000, bytes_per_second: 50_000_000, series: 200_000, streams: 10_000}
/** And one that declares little: an edge that sends the backlog of a day does it at this pace, so that the stores have time for others. */
const leastDeclared = {items_per_second: 5000, bytes_per_second: 2_500_000}

const shareOf = (fleet: OfEdges, edge?: Edge): Share => {
  const rates = ratesOf(fleet, edge)
  const sum = (of: (signal: Signal) => number) => signals.reduce((total, signal) => total + of(signal), 0)
  const wish = {...fleet.share, ...edge?.share}
  const least = signals.every((signal) => rates[signal] === usualRates[signal]) ? leastShare : leastDeclared
  return {
    // after an outage it sends what it has kept at this speed
    items_per_second: wish.itemsPerSecond ?? Math.max(least.items_per_second, 10 * sum((signal) => rates[signal])),
    bytes_per_second: wish.bytesPerSecond ?? Math.max(least.bytes_per_second, 10 * sum((signal) => rates[signal] * itemBytes[signal])),
    series: wish.series ?? Math.max(leastShare.series, 10 * rates.metrics),
    streams: wish.streams ?? leastShare.streams,
  }
}

export type GatewayBudget = {
  /** On disk at most, of each signal. */
  readonly bytes: BySignal
  /** Of each edge. */
  readonly edgeBytes: BySignal
  /** What waits for a destination at most, by its name. */
  readonly destinations: Readonly<Record<string, BySignal>>
  readonly shares: {readonly default: Share; readonly edges: Readonly<Record<string, Share>>}
  readonly late: LateData
}

/** There is room for as many edges, so that one that joins does not restart the gateway. */
const edgesInStep = 16

/**
 * What a gateway keeps on disk at most. A record is kept until stores and destinations have it: what waits for a destination has
 * room of its own, and the oldest of it is dropped before it takes that of the stores. `volumeBytes` is what the disk has.
 */
export const gatewayBudget = (fleet: BudgetFleet, volumeBytes = Number.POSITIVE_INFINITY): GatewayBudget => {
  const room = Math.ceil(Math.max(1, fleet.edges.length) / edgesInStep) * edgesInStep
  const edges: readonly (Edge | undefined)[] = Array.from({length: room}, (_, at) => fleet.edges[at])
  const sum = (all: readonly BySignal[]) => perSignal((signal) => all.reduce((total, one) => total + one[signal], 0))
  const most = (all: readonly BySignal[]) => perSignal((signal) => Math.max(0, ...all.map((one) => one[signal])))
  const forDestination = (edge: Edge | undefined, own: string | undefined) => queueBytes(ratesOf(fleet, edge), outageOf(fleet, own))
  const destinations = fleet.destinations.map(({name, outage}) => [name, sum(edges.map((edge) => forDestination(edge, outage)))] as const)
  const stores = edges.map((edge) => agentBudget(fleet, edge))
  const ofEdges = edges.map((edge, at) =>
    sum([stores[at] ?? agentBudget(fleet), most(fleet.destinations.map(({outage}) => forDestination(edge, outage)))]),
  )
  const bytes = sum([sum(stores), most(destinations.map(([, one]) => one))])
  const all = signals.reduce((total, signal) => total + bytes[signal], 0)
  // the rest of a volume is for dead letters, and for what is put aside
  const usable = Math.max(volumeBytes * 0.1, (volumeBytes - signals.length * deadLetterBytes) * 0.9)
  const part = Math.min(1, usable / all)
  const scaled = (of: BySignal): BySignal => perSignal((signal) => Math.floor(of[signal] * part))
  const declared = fleet.edges.filter(({rates, share}) => rates !== undefined || share !== undefined)
  return {
    bytes: scaled(bytes),
    // a volume that has not room for all of an outage of all is shared by those that need it: each may have half
    edgeBytes: perSignal((signal) => Math.floor(Math.max(part < 1 ? bytes[signal] * part * 0.5 : 0, most(ofEdges)[signal] * part))),
    destinations: Object.fromEntries(destinations.map(([name, one]) => [name, scaled(one)])),
    shares: {default: shareOf(fleet), edges: Object.fromEntries(declared.map((edge) => [edge.name, shareOf(fleet, edge)]))},
    late: lateData(fleet),
  }
}

const hour = 3600
const week = 168 * hour

/** For how long after its time an item is still taken, in seconds, by who takes it. */
export type LateData = {
  /** Prometheus, behind the newest sample it has. Its head keeps more in memory the longer this is: about two bytes a sample of an edge that was away. */
  readonly prometheusSeconds: number
  /** Loki, behind the newest record of the stream: half of what a chunk may live, so chunks of slow streams stay in memory for that long. */
  readonly lokiStreamSeconds: number
  /** Loki, behind now. */
  readonly lokiSeconds: number
  /** Tempo, for blocks to be found by the time of their spans. */
  readonly tempoSeconds: number
  /** What the gateway takes out, with its reason, before a store refuses it. */
  readonly rules: {readonly metrics: number; readonly logs: number}
}

/** By the longest outage of the fleet. An hour more: an edge that is back takes time to send what it has. */
export const lateData = (fleet: Pick<OfEdges, 'outage' | 'edges'>): LateData => {
  const outage = Math.max(outageOf(fleet), ...fleet.edges.map((edge) => outageOf(fleet, edge.outage)))
  const logs = Math.max(week, outage + hour)
  return {
    prometheusSeconds: outage + 2 * hour,
    lokiStreamSeconds: outage + hour,
    lokiSeconds: logs + hour,
    tempoSeconds: outage + 2 * hour,
    rules: {metrics: outage + hour, logs},
  }
}

/** How often Tempo writes down the spans it has in memory. */
export const tempoSweepSeconds = 5
