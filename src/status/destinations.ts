import type {Fleet} from '../clusters.ts'
import {counted, perSignal, type Signal, signals} from '../collector/config.ts'
import {feedOf} from '../collector/destinations.ts'
import {exporterOf, kindOf, signalsOf} from '../destinations/index.ts'
import {LkeobsError} from '../errors.ts'
import type {Destination} from '../fleet/schema.ts'
import type {HubCluster} from '../platforms/platform.ts'
import type {Http} from '../tools/http.ts'
import {queryPrometheus, type Sample, type Series, seriesPrometheus} from '../tools/stores.ts'
import {collectorOf} from './collectors.ts'
import {failuresIn, withoutSecrets} from './exporter-log.ts'
import {queuesInState} from './queues.ts'

/** Why items were dropped: there was no room in the queue, they were tried for maxAge, or the destination refuses them for good. */
export const reasons = ['queueFull', 'gaveUp', 'refused'] as const
export type Reason = (typeof reasons)[number]

export type Dropped = Readonly<Record<Reason, number>>

/** What an exporter of the gateway said when it last failed. */
export type LastError = {
  readonly at: string
  readonly secondsAgo: number
  readonly signal: Signal
  readonly message: string
  /** For how long the head of the queue has been refused. */
  readonly failingSeconds?: number
}

export type DestinationSeen = {
  readonly name: string
  readonly kind: string
  readonly at: string
  readonly signals: readonly Signal[]
  /** `waiting`: the oldest item has waited for longer than a batch is on its way; `dropping`: items were dropped within the last minute. */
  readonly state: 'sending' | 'idle' | 'waiting' | 'dropping' | 'unknown'
  /** Items a second that it took, and that were dropped, in the last minute; all signals and replicas together. */
  readonly sentPerSecond: number
  readonly failedPerSecond: number
  readonly queue: {
    /** Items that wait for it, also those on their way into its queue. */
    readonly items: number
    /** In items, or bytes: what the queue counts. */
    readonly unit: 'items' | 'bytes'
    readonly capacity: number
    /** Of the signal whose queue is fullest. */
    readonly percent: number
  }
  /** How long the oldest item had waited at the last report, in seconds; null where nothing is known of it. */
  readonly oldestSeconds: number | null
  /** Kept by the gateways since the destination refuses them for good; null where the collector keeps none. */
  readonly deadLetters: number | null
  /** By reason: what was taken out and kept, since the gateways started. */
  readonly takenOut: Readonly<Record<string, number>>
  /** By signal: what the gateways have dropped that were heard of within a week, each since it started. */
  readonly dropped: Readonly<Record<Signal, Dropped>>
  readonly lastError: LastError | null
}

/** A gateway reports every 10 s. What it reported longer ago than this is not so any more. */
const freshMs = 25_000
const minuteMs = 60_000
/** Two reports and a retry: what is older is not on its way, it waits. */
const waitingSeconds = 20
/** How far back the time is looked for at which the oldest item came. */
const backSeconds = 6 * 3600

type Wanted = {readonly measure: 'sent' | 'send_failed'; readonly signal: Signal} | {readonly measure: 'queue_size' | 'queue_capacity'}

const nameOf = (wanted: Wanted): string =>
  'signal' in wanted ? `otelcol_exporter_${wanted.measure}_${counted[wanted.signal]}_total` : `otelcol_exporter_${wanted.measure}`

/** What a gateway gave back at its end waits for the next one: it was neither sent nor dropped. */
const isDrop = ({labels}: Pick<Series, 'labels'>): boolean => labels['error_type'] !== 'Shutdown'

/** The last value of a series by then; undefined before its first. */
const valueBy = ({values}: Series, ms: number): readonly [ms: number, value: number] | undefined => {
  let [low, high] = [0, values.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((values[middle]?.[0] ?? 0) <= ms) low = middle + 1
    else high = middle
  }
  return values[low - 1]
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)

/** A counter begins at 0 with each process, which has a series of its own: what all have counted by then. */
const countBy = (all: readonly Series[], ms: number): number => sum(all.map((series) => valueBy(series, ms)?.[1] ?? 0))

/** What those say who were heard around then; undefined where nobody was. */
const gaugeAt = (all: readonly Series[], ms: number): number | undefined => {
  const heard = all.flatMap((series) => {
    const found = valueBy(series, ms)
    return found && found[0] > ms - freshMs ? [found[1]] : []
  })
  return heard.length === 0 ? undefined : sum(heard)
}

/**
 * How long the oldest item of a queue had waited at the last report, in ms. What comes in first goes out first: the oldest came in
 * when as many had come (gone and waiting together) as have gone by then; between two reports as many each ms. No longer than what
 * is looked back at; undefined where nobody reports.
 */
export const oldestMs = (gone: readonly Series[], size: readonly Series[], nowMs: number): number | undefined => {
  const waiting = gaugeAt(size, nowMs)
  if (waiting === undefined) return undefined
  if (waiting === 0) return 0
  const times = [...new Set(size.flatMap(({values}) => values.map(([ms]) => ms)))].toSorted((one, other) => other - one)
  const lastMs = times[0] ?? nowMs
  const goneByLast = countBy(gone, lastMs)
  let later: {readonly ms: number; readonly come: number} | undefined
  for (const ms of times) {
    const then = gaugeAt(size, ms)
    if (then === undefined) continue
    const come = countBy(gone, ms) + then
    if (come <= goneByLast) return lastMs - ms - (later ? ((goneByLast - come) / (later.come - come)) * (later.ms - ms) : 0)
    later = {ms, come}
  }
  return lastMs - (times.at(-1) ?? lastMs)
}

const rate = (all: readonly Series[], nowMs: number): number =>
  Math.max(0, countBy(all, nowMs) - countBy(all, nowMs - minuteMs)) / (minuteMs / 1000)

const atMost = 300

/** The last time that the exporter said why an item did not get through. */
export const lastErrorIn = (log: readonly string[], exporter: string, nowMs: number): LastError | null => {
  const [last] = failuresIn(log, exporter)
  if (!last) return null
  const {atMs, signal, error} = last
  return {
    at: new Date(atMs).toISOString(),
    secondsAgo: Math.max(0, Math.round((nowMs - atMs) / 1000)),
    signal,
    message: error.length > atMost ? `${error.slice(0, atMost)}…` : error,
  }
}

/** Why an exporter dropped what this sample counts. */
const reasonOf = (exporter: string, destination: Destination, {labels}: Sample): Reason =>
  exporter === feedOf(destination.name) ? 'queueFull' : labels['error_permanent'] === 'true' ? 'refused' : 'gaveUp'

const droppedOf = (destination: Destination, failed: Readonly<Record<Signal, readonly Sample[]>>): DestinationSeen['dropped'] => {
  const of = (signal: Signal, reason: Reason) =>
    sum(
      failed[signal]
        .filter((sample) => {
          const {exporter = ''} = sample.labels
          const isOwn = exporter === feedOf(destination.name) || exporter === exporterOf(destination)
          return isOwn && isDrop(sample) && reasonOf(exporter, destination, sample) === reason
        })
        .map(({value}) => value),
    )
  const bySignal = (signal: Signal): Dropped => ({
    queueFull: of(signal, 'queueFull'),
    gaveUp: of(signal, 'gaveUp'),
    refused: of(signal, 'refused'),
  })
  return {metrics: bySignal('metrics'), logs: bySignal('logs'), traces: bySignal('traces')}
}

/** What a queue of ours has dropped: the oldest where it was full, and what was older than its maxAge. */
export const droppedByQueue = (destination: Destination, dropped: readonly Sample[]): DestinationSeen['dropped'] =>
  perSignal((signal) => {
    const own = dropped.filter(({labels}) => labels['sink'] === destination.name && labels['signal'] === signal)
    const old = sum(own.filter(({labels}) => labels['reason'] === 'too-old').map(({value}) => value))
    return {queueFull: sum(own.map(({value}) => value)) - old, gaveUp: old, refused: 0}
  })

const stateOf = (seen: Pick<DestinationSeen, 'sentPerSecond' | 'failedPerSecond' | 'oldestSeconds'>): DestinationSeen['state'] => {
  if (seen.oldestSeconds === null) return 'unknown'
  if (seen.failedPerSecond > 0) return 'dropping'
  if (seen.oldestSeconds > waitingSeconds) return 'waiting'
  return seen.sentPerSecond > 0 ? 'sending' : 'idle'
}

/** What is known of a destination by the series of its exporters. */
export const seenBy = (
  destination: Destination,
  series: readonly Series[],
  nowMs: number,
): Omit<DestinationSeen, 'dropped' | 'lastError'> => {
  const exporter = exporterOf(destination)
  const feed = feedOf(destination.name)
  const of = (from: string, wanted: Wanted): readonly Series[] =>
    series.filter((one) => one.labels['__name__'] === nameOf(wanted) && one.labels['exporter'] === from && isDrop(one))
  const queueOf = (from: string, signal: Signal, measure: 'queue_size' | 'queue_capacity'): readonly Series[] =>
    of(from, {measure}).filter(({labels}) => labels['data_type'] === signal)
  const sent = signals.flatMap((signal) => of(exporter, {measure: 'sent', signal}))
  const failed = signals.flatMap((signal) => [exporter, feed].flatMap((from) => of(from, {measure: 'send_failed', signal})))
  const queues = signals.map((signal) => ({
    size: gaugeAt(queueOf(exporter, signal, 'queue_size'), nowMs) ?? 0,
    onTheWay: gaugeAt(queueOf(feed, signal, 'queue_size'), nowMs) ?? 0,
    capacity: gaugeAt(queueOf(exporter, signal, 'queue_capacity'), nowMs) ?? 0,
    oldest: oldestMs(
      [...of(exporter, {measure: 'sent', signal}), ...of(exporter, {measure: 'send_failed', signal})],
      queueOf(exporter, signal, 'queue_size'),
      nowMs,
    ),
  }))
  const ages = queues.flatMap(({oldest}) => (oldest === undefined ? [] : [oldest]))
  const {kind, settings} = kindOf(destination)
  const found = {
    sentPerSecond: rate(sent, nowMs),
    failedPerSecond: rate(failed, nowMs),
    oldestSeconds: ages.length === 0 ? null : Math.round(Math.max(...ages) / 100) / 10,
  }
  return {
    name: destination.name,
    kind: kind.name,
    at: kind.at(settings),
    signals: signalsOf(destination),
    state: stateOf(found),
    ...found,
    queue: {
      items: sum(queues.map(({size, onTheWay}) => size + onTheWay)),
      unit: 'items',
      capacity: sum(queues.map(({capacity}) => capacity)),
      percent: Math.max(...queues.map(({size, capacity}) => (capacity === 0 ? 0 : (100 * size) / capacity))),
    },
    deadLetters: null,
    takenOut: {},
  }
}

const queueNames = 'stored_items_total|dropped_items_total|taken_out_items_total|waiting_items|waiting_bytes|oldest_seconds|dead_letters'

/** What is known of a destination by a queue of ours; undefined where the gateways have none. */
export const seenByQueue = (
  destination: Destination,
  series: readonly Series[],
  nowMs: number,
): Omit<DestinationSeen, 'dropped' | 'lastError'> | undefined => {
  const of = (name: string) =>
    series.filter(({labels}) => labels['__name__'] === `lkeobs_queue_${name}` && labels['sink'] === destination.name)
  const rooms = series.filter(({labels}) => labels['__name__'] === 'lkeobs_queue_capacity_bytes')
  if (rooms.length === 0) return undefined
  const {kind, settings} = kindOf(destination)
  // a gateway tells of a sink as soon as something was for it
  const items = gaugeAt(of('waiting_items'), nowMs) ?? (gaugeAt(rooms, nowMs) === undefined ? undefined : 0)
  const ages = of('oldest_seconds').flatMap((one) => {
    const found = valueBy(one, nowMs)
    return found && found[0] > nowMs - freshMs ? [found[1]] : []
  })
  const capacity = signalsOf(destination).map((signal) => {
    const room = rooms.filter(({labels}) => labels['signal'] === signal)
    const bytes = of('waiting_bytes').filter(({labels}) => labels['signal'] === signal)
    return {bytes: gaugeAt(bytes, nowMs) ?? 0, capacity: gaugeAt(room, nowMs) ?? 0}
  })
  const takenOut: Record<string, number> = {}
  for (const one of of('taken_out_items_total')) {
    const {reason = ''} = one.labels
    takenOut[reason] = (takenOut[reason] ?? 0) + (valueBy(one, nowMs)?.[1] ?? 0)
  }
  const found = {
    sentPerSecond: rate(of('stored_items_total'), nowMs),
    failedPerSecond: rate(of('dropped_items_total'), nowMs),
    oldestSeconds: items === undefined ? null : items === 0 ? 0 : ages.length === 0 ? null : Math.round(Math.max(...ages) * 10) / 10,
  }
  return {
    name: destination.name,
    kind: kind.name,
    at: kind.at(settings),
    signals: signalsOf(destination),
    state: stateOf(found),
    ...found,
    queue: {
      items: items ?? 0,
      unit: 'bytes',
      capacity: sum(capacity.map((one) => one.capacity)),
      percent: Math.max(0, ...capacity.map((one) => (one.capacity === 0 ? 0 : (100 * one.bytes) / one.capacity))),
    },
    deadLetters: gaugeAt(of('dead_letters'), nowMs) ?? 0,
    takenOut,
  }
}

const answered = <T>(answer: T | undefined, base: string): T => {
  if (answer !== undefined) return answer
  throw new LkeobsError('LKO-2003', `Prometheus at ${base} does not answer, or not to this query.`, {next: ['lkeobs hub status']})
}

/** A destination that fails says so with every try: about as many lines as an hour of that has. */
const linesOfLog = 4000

/** What a destination that items wait for last answered, as the queue of the gateway knows it. */
const lastAnswerOf = async (hub: HubCluster, destination: Destination): Promise<LastError | null> => {
  const {processes} = await collectorOf(hub)
  const [worst] = processes
    .flatMap(({state}) => (state ? queuesInState(state).queues : []))
    .filter(({sink, lastError, waiting}) => sink === destination.name && lastError !== '' && waiting > 0)
    .toSorted((one, other) => other.headFailingSeconds - one.headFailingSeconds)
  if (!worst) return null
  const {signal, lastError, headFailingSeconds} = worst
  // when it was told is not known, but that nothing else was told since
  return {
    at: new Date().toISOString(),
    secondsAgo: 0,
    signal,
    message: withoutSecrets(lastError),
    ...(headFailingSeconds > 0 && {failingSeconds: headFailingSeconds}),
  }
}

const destinationSeen = async (http: Http, hub: HubCluster, destination: Destination, log: readonly string[]) => {
  const {prometheus} = await hub.stores()
  const exporters = `job="gateway",exporter=~"${exporterOf(destination)}|${feedOf(destination.name)}"`
  const names = 'otelcol_exporter_((sent|send_failed)_.+_total|queue_size|queue_capacity)'
  const ofQueue = `{__name__=~"lkeobs_queue_(${queueNames})",job="gateway",sink="${destination.name}"}`
  const [queue, room] = await Promise.all([
    seriesPrometheus(http, prometheus, ofQueue, 2 * (minuteMs / 1000)),
    seriesPrometheus(http, prometheus, 'lkeobs_queue_capacity_bytes{job="gateway"}', minuteMs / 1000),
  ])
  const own = seenByQueue(destination, [...answered(queue, prometheus), ...answered(room, prometheus)], Date.now())
  const lastError = async () => (own ? await lastAnswerOf(hub, destination) : null) ?? lastErrorIn(log, exporterOf(destination), Date.now())
  if (own) return {...own, lastError: await lastError()}
  const series = await seriesPrometheus(http, prometheus, `{__name__=~"${names}",${exporters}}`, backSeconds)
  return {...seenBy(destination, answered(series, prometheus), Date.now()), lastError: await lastError()}
}

/**
 * The destinations of the fleet file as the gateways of the hub report them. Their own telemetry is in the hub's Prometheus, so
 * replicas are summed, and a gateway that was started anew has not forgotten what the one before it dropped.
 * Throws LKO-2003 when Prometheus does not answer.
 */
export const destinationsOf = async (http: Http, {file, hub}: Fleet): Promise<readonly DestinationSeen[]> => {
  const {destinations} = file.fleet
  if (destinations.length === 0) return []
  const {prometheus} = await hub.stores()
  const [log, ...failed] = await Promise.all([
    hub.log('gateway', linesOfLog),
    ...signals.map(async (signal) => {
      const series = `otelcol_exporter_send_failed_${counted[signal]}_total{job="gateway"}`
      return [signal, answered(await queryPrometheus(http, prometheus, `max_over_time(${series}[7d])`), prometheus)] as const
    }),
  ])
  const bySignal = Object.fromEntries(failed) as Record<Signal, readonly Sample[]>
  const byQueue = answered(
    await queryPrometheus(http, prometheus, 'max_over_time(lkeobs_queue_dropped_items_total{job="gateway"}[7d])'),
    prometheus,
  )
  return Promise.all(
    destinations.map(async (destination) => {
      const seen = await destinationSeen(http, hub, destination, log)
      // behind a queue of ours an exporter fails with every try, and nothing is dropped for that
      return {...seen, dropped: seen.deadLetters === null ? droppedOf(destination, bySignal) : droppedByQueue(destination, byQueue)}
    }),
  )
}
