import {perSignal, type Signal} from '../collector/config.ts'
import type {Balance, Explained, Hop, Latency, PerSignal} from './result.ts'

/** The value at a share of the way through sorted values; null where there are none. */
export const percentile = (values: readonly number[], share: number): number | null => {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null
}

export const latencyOf = (values: readonly number[]): Latency => ({
  p50: percentile(values, 0.5),
  p99: percentile(values, 0.99),
  samples: values.length,
})

/** Where the store of a signal is written from. */
const storeOf: Readonly<Record<Signal, string>> = {
  metrics: 'otlp_http/prometheus',
  logs: 'otlp_http/loki',
  traces: 'otlp_grpc/tempo',
}

type Place = {readonly where: string; readonly why: string; readonly most: number; readonly isWaiting?: true; readonly isKept?: true}

/** What an exporter says of items that did not arrive; all of them passed it, so each is at most in one of these. */
const exporterPlaces = (where: string, {failed, enqueueFailed, queued, takenOut, dropped, discarded}: Hop): readonly Place[] => [
  {where, why: 'taken out alone, and kept as dead letters', most: takenOut ?? 0, isKept: true},
  {where, why: 'dropped from its queue, which was full or had them for too long', most: dropped ?? 0},
  {where, why: 'its queue was full, so they were dropped', most: enqueueFailed ?? 0},
  {where, why: 'dropped after the other side refused them or retrying ended', most: failed ?? 0},
  {where, why: 'still waiting in its queue', most: queued ?? 0, isWaiting: true},
  {where, why: 'discarded by the store after it had acknowledged them, as the store counts', most: discarded ?? 0},
]

const lostIn = (where: string, {lost}: Hop): Place => ({where, why: 'lost in damaged files of its queue', most: lost ?? 0})

/** What went in and neither came out nor waits, as where a process ended with items that were only in its memory. */
const vanished = (where: string, into: number | null | undefined, out: readonly (number | null | undefined)[]): readonly Place[] => {
  if (into === null || into === undefined || out.some((part) => part === null || part === undefined)) return []
  const left = into - out.reduce<number>((sum, part) => sum + (part ?? 0), 0)
  return left > 0 ? [{where, why: 'accepted, and neither sent nor dropped nor waiting: it was lost with its process', most: left}] : []
}

/** What left a queue of ours otherwise than to the next hop. */
const ownParts = ({takenOut = 0, dropped = 0, lost = 0}: Hop) => [takenOut, dropped, lost]

/** In the order of the way, where items of a signal can have gone. */
const placesOf = (signal: Signal, hops: readonly Hop[]): readonly Place[] => {
  const own = hops.filter((hop) => hop.signal === signal)
  const agents = own.filter(({hop}) => hop === 'agent')
  const gateway = own.find(({hop}) => hop === 'gateway')
  const store = own.find(({hop, name}) => hop === 'exporter' && name === storeOf[signal])
  return [
    ...agents.flatMap((agent) => [...exporterPlaces(`agent ${agent.name}`, agent), lostIn(`agent ${agent.name}`, agent)]),
    ...(gateway ? [lostIn(`gateway ${gateway.name}`, gateway)] : []),
    ...(store ? exporterPlaces(store.name, store) : []),
    ...agents.flatMap((agent) =>
      vanished(`agent ${agent.name}`, agent.accepted, [agent.sent, agent.failed, agent.enqueueFailed, agent.queued, ...ownParts(agent)]),
    ),
    ...(gateway && store
      ? vanished(`gateway ${gateway.name}`, gateway.accepted, [
          store.sent,
          store.failed,
          store.enqueueFailed,
          store.queued,
          ...ownParts(store),
          gateway.lost ?? 0,
        ])
      : []),
  ]
}

export type BalanceWish = {
  readonly signal: Signal
  readonly offered: number
  readonly generated: number
  readonly stored: number | null
  readonly hops: readonly Hop[]
  readonly latencyMs: Latency
  /** Everything came to rest: what waits no longer counts as lost only where it did not. */
  readonly isAtRest: boolean
}

/**
 * generated = stored + explained + unexplained. What is missing in the store is looked for along the way, and no hop explains more
 * than is missing: hops count all that passes them, the fleet's own telemetry too.
 */
export const balanceOf = ({signal, offered, generated, stored, hops, latencyMs, isAtRest}: BalanceWish): Balance => {
  const known = {offered, generated, stored, latencyMs}
  if (stored === null) return {...known, explained: [], unexplained: null, lost: null}
  let missing = generated - stored
  const explained: Explained[] = []
  let [waiting, kept] = [0, 0]
  for (const {where, why, most, isWaiting, isKept} of missing > 0 ? placesOf(signal, hops) : []) {
    const items = Math.min(most, missing)
    if (items <= 0) continue
    explained.push({where, why, items, ...(isWaiting && {isWaiting}), ...(isKept && {isKept})})
    missing -= items
    if (isWaiting) waiting += items
    if (isKept) kept += items
  }
  return {...known, explained, unexplained: missing, lost: Math.max(0, generated - stored) - kept - (isAtRest ? 0 : waiting)}
}

/** null where one is not known. */
export const summed = (values: readonly (number | null)[]): number | null =>
  values.reduce<number | null>((sum, value) => (sum === null || value === null ? null : sum + value), 0)

const median = (values: readonly (number | null)[]): number | null =>
  percentile(
    values.filter((value) => value !== null),
    0.5,
  )

/** Over all repetitions: sums of items, medians of latencies. */
export const together = (repetitions: readonly PerSignal<Balance>[]): PerSignal<Balance> => {
  const of = (signal: Signal): Balance => {
    const all = repetitions.map((balances) => balances[signal])
    const places = Map.groupBy(
      all.flatMap(({explained}) => explained),
      ({where, why}) => `${where}: ${why}`,
    )
    return {
      offered: all.reduce((sum, {offered}) => sum + offered, 0),
      generated: all.reduce((sum, {generated}) => sum + generated, 0),
      stored: summed(all.map(({stored}) => stored)),
      explained: [...places.values()].flatMap(([first, ...more]) =>
        first ? [{...first, items: more.reduce((sum, {items}) => sum + items, first.items)}] : [],
      ),
      unexplained: summed(all.map(({unexplained}) => unexplained)),
      lost: summed(all.map(({lost}) => lost)),
      latencyMs: {
        p50: median(all.map(({latencyMs}) => latencyMs.p50)),
        p99: median(all.map(({latencyMs}) => latencyMs.p99)),
        samples: all.reduce((sum, {latencyMs}) => sum + latencyMs.samples, 0),
      },
    }
  }
  return perSignal(of)
}
