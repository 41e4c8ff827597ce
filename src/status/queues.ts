import {counted, type Signal, signals} from '../collector/config.ts'
import type {QueueState} from '../tools/queue-admin.ts'
import type {Counters} from '../tools/stores.ts'
import {failingIn} from './exporter-log.ts'

/** How many items, by reason. */
export type Reasons = Readonly<Record<string, number>>

/** What a collector did with items of one signal for one sink: a store, a destination, or the hub. Counts are since its processes started. */
export type SinkQueue = {
  readonly signal: Signal
  /** `loki`, `corp`, `hub` */
  readonly sink: string
  readonly exporter: string
  /** Whose items; null where the collector does not count by edge. */
  readonly edge: string | null
  /** null where the collector does not count it. */
  readonly accepted: number | null
  readonly stored: number | null
  readonly repaired: Reasons
  /** Kept as dead letters. */
  readonly takenOut: Reasons
  readonly dropped: Reasons
  /** Sent back to the sender, which sends them again. */
  readonly refused: Reasons
  readonly waiting: number
  readonly waitingBytes: number | null
  /** How long the oldest has waited; null where it is not known. */
  readonly oldestSeconds: number | null
  /** For how long what stands first was refused again and again; 0 when it moves. */
  readonly headFailingSeconds: number
  /** The last answer of the sink that was no yes, in full. */
  readonly lastError: string
}

/** The room of one queue: of a signal in a collector with queues of ours, of an exporter in the stock one. */
export type QueueRoom = {
  readonly signal: Signal
  /** Empty where all sinks of the signal share it. */
  readonly sink: string
  readonly unit: 'bytes' | 'items'
  readonly capacity: number
  readonly used: number
  /** Lost in damaged files of the queue; items are those that could be counted. */
  readonly lostItems: number
  readonly lostBytes: number
}

export type LettersKept = {
  readonly signal: Signal
  readonly sink: string
  readonly count: number
  readonly bytes: number
  readonly maxBytes: number
  /** Deleted to make room for newer ones. */
  readonly evicted: number
}

/** The queues of a collector, all its processes together. */
export type CollectorQueues = {
  readonly queues: readonly SinkQueue[]
  readonly rooms: readonly QueueRoom[]
  readonly letters: readonly LettersKept[]
}

export const noQueues: CollectorQueues = {queues: [], rooms: [], letters: []}

const added = (one: number | null, other: number | null): number | null => (one === null || other === null ? null : one + other)
const longest = (one: number | null, other: number | null): number | null =>
  one === null ? other : other === null ? one : Math.max(one, other)

export const addReasons = (one: Reasons, other: Reasons): Reasons => {
  const all = {...one}
  for (const [reason, items] of Object.entries(other)) all[reason] = (all[reason] ?? 0) + items
  return all
}

export const totalOf = (reasons: Reasons): number => Object.values(reasons).reduce((sum, items) => sum + items, 0)

const merged = <T>(all: readonly T[], key: (one: T) => string, merge: (one: T, other: T) => T): readonly T[] => {
  const byKey = new Map<string, T>()
  for (const one of all) {
    const before = byKey.get(key(one))
    byKey.set(key(one), before === undefined ? one : merge(before, one))
  }
  return [...byKey.values()]
}

/** The same queues of several processes as one. */
export const together = (all: readonly CollectorQueues[]): CollectorQueues => ({
  queues: merged(
    all.flatMap(({queues}) => queues),
    ({signal, sink, edge}) => JSON.stringify([signal, sink, edge]),
    (one, other) => {
      const worse = other.headFailingSeconds > one.headFailingSeconds ? other : one
      return {
        ...one,
        accepted: added(one.accepted, other.accepted),
        stored: added(one.stored, other.stored),
        repaired: addReasons(one.repaired, other.repaired),
        takenOut: addReasons(one.takenOut, other.takenOut),
        dropped: addReasons(one.dropped, other.dropped),
        refused: addReasons(one.refused, other.refused),
        waiting: one.waiting + other.waiting,
        waitingBytes: added(one.waitingBytes, other.waitingBytes),
        oldestSeconds: longest(one.oldestSeconds, other.oldestSeconds),
        headFailingSeconds: worse.headFailingSeconds,
        lastError: worse.lastError === '' ? one.lastError || other.lastError : worse.lastError,
      }
    },
  ),
  // the fullest counts: another process has its own disk
  rooms: merged(
    all.flatMap(({rooms}) => rooms),
    ({signal, sink}) => JSON.stringify([signal, sink]),
    (one, other) => {
      const fuller = other.used * one.capacity > one.used * other.capacity ? other : one
      return {...fuller, lostItems: one.lostItems + other.lostItems, lostBytes: one.lostBytes + other.lostBytes}
    },
  ),
  letters: merged(
    all.flatMap(({letters}) => letters),
    ({signal, sink}) => JSON.stringify([signal, sink]),
    (one, other) => ({
      ...one,
      count: one.count + other.count,
      bytes: one.bytes + other.bytes,
      maxBytes: one.maxBytes + other.maxBytes,
      evicted: one.evicted + other.evicted,
    }),
  ),
})

/** How many items have left a queue, wherever to. */
const goneFrom = ({stored, takenOut, dropped}: SinkQueue): number => (stored ?? 0) + totalOf(takenOut) + totalOf(dropped)

/** A store that hangs refuses nothing: a queue out of which nothing went between two looks has not moved since its oldest item came. */
export const unmoved = (first: CollectorQueues, second: CollectorQueues): CollectorQueues => ({
  ...second,
  queues: second.queues.map((now) => {
    const before = first.queues.find(({signal, sink, edge}) => signal === now.signal && sink === now.sink && edge === now.edge)
    const hangs = before !== undefined && mayHang(before) && mayHang(now) && goneFrom(before) === goneFrom(now)
    return hangs ? {...now, headFailingSeconds: now.oldestSeconds ?? 0, lastError: ''} : now
  }),
})

/** Whether a queue may hang: its oldest item has waited for longer than a store takes for an answer, and no answer was a no. */
export const mayHang = ({waiting, oldestSeconds, headFailingSeconds}: SinkQueue): boolean =>
  waiting > 0 && headFailingSeconds === 0 && (oldestSeconds ?? 0) > 15

/** As the queue administration of a process tells it. */
export const queuesInState = ({queues}: QueueState): CollectorQueues => ({
  queues: queues.flatMap(({signal, sinks}) =>
    sinks.flatMap(({name: sink, exporter, edges}) =>
      edges.map(({waitingItems, edge, accepted, stored, repaired, takenOut, dropped, refused, ...one}) => ({
        signal,
        sink,
        exporter,
        edge,
        accepted,
        stored,
        repaired,
        takenOut,
        dropped,
        refused,
        waiting: waitingItems,
        waitingBytes: one.waitingBytes,
        oldestSeconds: waitingItems === 0 ? 0 : one.oldestSeconds,
        headFailingSeconds: one.headFailingSeconds,
        lastError: one.lastError,
      })),
    ),
  ),
  rooms: queues.map(({signal, capacityBytes, diskBytes, lostItems, lostBytes}) => ({
    signal,
    sink: '',
    unit: 'bytes',
    capacity: capacityBytes,
    used: diskBytes,
    lostItems,
    lostBytes,
  })),
  letters: queues.flatMap(({signal, sinks}) => sinks.map(({name: sink, deadLetters}) => ({signal, sink, ...deadLetters}))),
})

const isSignal = (text: string | undefined): text is Signal => signals.some((signal) => signal === text)

/** The samples of a page whose name begins so, by the rest of the name. */
const own = (page: Counters, prefix: string) =>
  page.flatMap(({name, ...sample}) => (name.startsWith(prefix) ? [{...sample, name: name.slice(prefix.length)}] : []))

/** Counters of ours, as a page or the hub's Prometheus has them; they do not tell what a sink answered. */
const queuesOfOurs = (page: Counters): CollectorQueues => {
  const samples = own(page, 'lkeobs_queue_').filter(({labels}) => isSignal(labels['signal']))
  const exporterOf = (sink: string) =>
    page.find(({name, labels}) => name === 'otelcol_exporter_queue_size' && labels['exporter']?.endsWith(`/${sink}`) === true)?.labels[
      'exporter'
    ] ?? ''
  // dead letters are counted for all edges together
  const keys = samples.flatMap(({labels: {signal, sink, edge}}) =>
    isSignal(signal) && sink && edge !== undefined ? [{signal, sink, edge}] : [],
  )
  const sinks = merged(
    keys,
    (key) => JSON.stringify(key),
    (one) => one,
  )
  return {
    queues: sinks.map(({signal, sink, edge}) => {
      const of = (name: string, ofSink = true) =>
        samples.filter(
          ({name: own_, labels}) =>
            own_ === name && labels['signal'] === signal && labels['edge'] === edge && (!ofSink || labels['sink'] === sink),
        )
      const total = (name: string, ofSink = true) => of(name, ofSink).reduce((sum, {value}) => sum + value, 0)
      const most = (name: string) => Math.max(0, ...of(name).map(({value}) => value))
      const reasons = (name: string, ofSink = true) =>
        of(name, ofSink).reduce<Reasons>(
          (all, {labels, value}) => (value > 0 ? addReasons(all, {[labels['reason'] ?? '']: value}) : all),
          {},
        )
      return {
        signal,
        sink,
        exporter: exporterOf(sink),
        edge,
        accepted: total('accepted_items', false),
        stored: total('stored_items'),
        repaired: reasons('repaired_items'),
        takenOut: reasons('taken_out_items'),
        dropped: reasons('dropped_items'),
        refused: reasons('refused_items', false),
        waiting: total('waiting_items'),
        waitingBytes: total('waiting_bytes'),
        oldestSeconds: most('oldest_seconds'),
        headFailingSeconds: most('head_failing_seconds'),
        lastError: '',
      }
    }),
    rooms: signals.flatMap((signal) => {
      const of = (name: string) => samples.filter((sample) => sample.name === name && sample.labels['signal'] === signal)
      const sum = (name: string) => of(name).reduce((all, {value}) => all + value, 0)
      if (of('capacity_bytes').length === 0) return []
      return [
        {
          signal,
          sink: '',
          unit: 'bytes' as const,
          capacity: sum('capacity_bytes'),
          used: sum('disk_bytes'),
          lostItems: sum('lost_items'),
          lostBytes: sum('lost_bytes'),
        },
      ]
    }),
    letters: merged(
      sinks,
      ({signal, sink}) => `${signal} ${sink}`,
      (one) => one,
    ).map(({signal, sink}) => ({
      signal,
      sink,
      count: samples
        .filter(({name, labels}) => name === 'dead_letters' && labels['signal'] === signal && labels['sink'] === sink)
        .reduce((sum, {value}) => sum + value, 0),
      bytes: 0,
      maxBytes: 0,
      evicted: 0,
    })),
  }
}

/**
 * The queues of the stock collector: what waits for each exporter, and since when its log says that it fails. It counts by no edge,
 * and says of an item that was refused for good only that it was not sent.
 */
const queuesOfStock = (page: Counters, log: readonly string[], nowMs: number): CollectorQueues => {
  const sizes = page.filter(({name, labels}) => name === 'otelcol_exporter_queue_size' && isSignal(labels['data_type']))
  const keys = merged(
    sizes,
    ({labels}) => JSON.stringify([labels['data_type'], labels['exporter']]),
    (one, other) => ({
      ...one,
      value: one.value + other.value,
    }),
  )
  const queues = keys.flatMap(({labels: {data_type: signal, exporter = ''}, value: waiting}) => {
    if (!isSignal(signal)) return []
    const total = (name: string) =>
      page
        // what it gave back at its end waits for the next one
        .filter((sample) => sample.name === name && sample.labels['exporter'] === exporter && sample.labels['error_type'] !== 'Shutdown')
        .reduce((sum, {value}) => sum + value, 0)
    const failing = waiting > 0 ? failingIn(log, exporter, signal, nowMs) : undefined
    const refused = total(`otelcol_exporter_send_failed_${counted[signal]}`)
    const full = total(`otelcol_exporter_enqueue_failed_${counted[signal]}`)
    const queue: SinkQueue = {
      signal,
      sink: exporter.slice(exporter.indexOf('/') + 1),
      exporter,
      edge: null,
      accepted: null,
      stored: total(`otelcol_exporter_sent_${counted[signal]}`),
      repaired: {},
      takenOut: {},
      dropped: {...(refused > 0 && {refused}), ...(full > 0 && {full})},
      refused: {},
      waiting,
      waitingBytes: null,
      oldestSeconds: waiting === 0 ? 0 : null,
      headFailingSeconds: failing?.seconds ?? 0,
      lastError: failing?.error ?? '',
    }
    return [queue]
  })
  return {
    queues,
    rooms: queues.flatMap(({signal, sink, exporter, waiting}) => {
      const capacity = page
        .filter(
          ({name, labels}) =>
            name === 'otelcol_exporter_queue_capacity' && labels['exporter'] === exporter && labels['data_type'] === signal,
        )
        .reduce((sum, {value}) => sum + value, 0)
      return capacity === 0 ? [] : [{signal, sink, unit: 'items' as const, capacity, used: waiting, lostItems: 0, lostBytes: 0}]
    }),
    letters: [],
  }
}

/** The queues of a collector of either build by its counters, and by its log where they say nothing of failures. */
export const queuesInPage = (page: Counters, log: readonly string[], nowMs: number): CollectorQueues =>
  page.some(({name}) => name.startsWith('lkeobs_queue_')) ? queuesOfOurs(page) : queuesOfStock(page, log, nowMs)
