import {counted, type Signal, signals} from '../collector/config.ts'
import {toHub} from '../collector/queue.ts'
import {type Counters, processLabel} from '../tools/stores.ts'
import type {Hop} from './result.ts'

/** What a collector's page says of the ways through it, by `FIGURE SIGNAL` of its receivers and `FIGURE SIGNAL EXPORTER`. */
export type Figures = ReadonlyMap<string, number>

const added = (figures: Map<string, number>, key: string, value: number) => figures.set(key, (figures.get(key) ?? 0) + value)

const received = {accepted: 'otelcol_receiver_accepted', refused: 'otelcol_receiver_refused'} as const
const exported = {
  sent: 'otelcol_exporter_sent',
  failed: 'otelcol_exporter_send_failed',
  enqueueFailed: 'otelcol_exporter_enqueue_failed',
} as const

/** What the queues of the collector that lkeobs builds count: they take the place of what an exporter behind them says of each try. */
const queued = {
  sent: 'lkeobs_queue_stored_items',
  repaired: 'lkeobs_queue_repaired_items',
  takenOut: 'lkeobs_queue_taken_out_items',
  dropped: 'lkeobs_queue_dropped_items',
} as const
const queueRefused = 'lkeobs_queue_refused_items'
const queueLost = 'lkeobs_queue_lost_items'
const refusedBy = 'refusedBy'

/** The exporter behind a sink: a queue of ours says its size as that of the exporter, by the sink's name at its end. */
const exporterBySink = (page: Counters): ReadonlyMap<string, string> => {
  const sinks = new Set(page.flatMap(({name, labels}) => (name.startsWith('lkeobs_queue_') && labels['sink'] ? [labels['sink']] : [])))
  return new Map(
    page.flatMap(({name, labels: {exporter = ''}}) => {
      const sink = exporter.slice(exporter.indexOf('/') + 1)
      return name === 'otelcol_exporter_queue_size' && sinks.has(sink) ? [[sink, exporter] as const] : []
    }),
  )
}

/** Where generators send: nothing else of the fleet's own comes in by gRPC, neither canaries nor a collector's own telemetry. */
export const fromGenerators = 'generated'

/**
 * The figures of a page. A collector has a series of failures only from the first one on: where it says how much waits for an
 * exporter, and nothing of failures, there were none.
 */
const figuresOf = (page: Counters): Figures => {
  const figures = new Map<string, number>()
  const bySink = exporterBySink(page)
  const behindQueues = new Set(bySink.values())
  for (const {labels} of page.filter(({name}) => name === 'otelcol_exporter_queue_size'))
    for (const figure of Object.keys({...exported, ...(behindQueues.has(labels['exporter'] ?? '') && queued)}))
      figures.set(`${figure} ${labels['data_type']} ${labels['exporter']}`, 0)
  for (const {name, labels, value} of page) {
    const exporter = bySink.get(labels['sink'] ?? '')
    for (const [figure, series] of Object.entries(queued))
      if (name === series && exporter !== undefined) added(figures, `${figure} ${labels['signal']} ${exporter}`, value)
    if (name === queueRefused) added(figures, `${refusedBy} ${labels['signal']} ${labels['reason']}`, value)
    if (name === queueLost) added(figures, `lost ${labels['signal']}`, value)
  }
  for (const {name, labels, value} of page) {
    for (const signal of signals) {
      for (const [figure, series] of Object.entries(received))
        if (name === `${series}_${counted[signal]}`) added(figures, `${figure} ${signal}`, value)
      if (name === `${received.accepted}_${counted[signal]}` && labels['receiver'] === 'otlp' && labels['transport'] === 'grpc')
        added(figures, `${fromGenerators} ${signal}`, value)
      for (const [figure, series] of Object.entries(exported))
        if (!behindQueues.has(labels['exporter'] ?? '') && name === `${series}_${counted[signal]}`)
          added(figures, `${figure} ${signal} ${labels['exporter']}`, value)
    }
  }
  return figures
}

/** What waits now, by `SIGNAL EXPORTER`: in the queue, which counts an item until the other side has answered for it. */
export const queuesOf = (page: Counters): Figures => {
  const queues = new Map<string, number>()
  for (const {name, labels, value} of page)
    if (name === 'otelcol_exporter_queue_size') added(queues, `${labels['data_type']} ${labels['exporter']}`, value)
  return queues
}

/** Requests an exporter has under way: with a queue in memory they are no longer counted there. */
export const underWay = (page: Counters): number =>
  page.filter(({name}) => name === 'otelcol_exporter_in_flight_requests').reduce((sum, {value}) => sum + value, 0)

const uptimeOf = (page: Counters): number | undefined => {
  const uptimes = page.filter(({name}) => name === 'otelcol_process_uptime').map(({value}) => value)
  return uptimes.length === 0 ? undefined : Math.min(...uptimes)
}

/** How much a collector's counters have grown since the beginning, also where it was started anew meanwhile and began at zero. */
export type Growth = {
  /** Takes in a page; undefined where the collector does not answer. What it says of it: it is another process than before. */
  read(page: Counters | undefined): {readonly isNew: boolean}
  /** By how much each figure grew with the last page; none where there was no answer. */
  readonly latest: () => Figures
  /** Begins anew, from the last page. */
  begin(): void
  /** null where the collector never answered, or has no such counter. */
  of(figure: string): number | null
  /** All figures there are. */
  readonly figures: () => readonly string[]
  /** What waited when it last answered. */
  queued(queue: string): number | null
  readonly queues: () => readonly string[]
}

export const growth = (): Growth => {
  // each process on its own: one of several that does not answer once, or was started anew, says nothing of the others
  const last = new Map<string, {readonly figures: Figures; readonly uptime: number | undefined}>()
  let queues: Figures = new Map()
  let isBegun = false
  const grown = new Map<string, number>()
  let latest = new Map<string, number>()

  const readOne = (name: string, page: Counters): boolean => {
    const before = last.get(name)
    const [figures, uptime] = [figuresOf(page), uptimeOf(page)]
    const isNew = before?.uptime !== undefined && uptime !== undefined && uptime < before.uptime
    last.set(name, {figures, uptime: uptime ?? before?.uptime})
    for (const [figure, value] of figures) {
      const had = isNew ? 0 : (before?.figures.get(figure) ?? 0)
      // what fell has begun at zero, too
      added(latest, figure, value >= had ? value - had : value)
    }
    return isNew
  }

  return {
    read(page) {
      latest = new Map()
      if (page === undefined) return {isNew: false}
      const processes = [...Map.groupBy(page, ({labels}) => labels[processLabel] ?? '')]
      queues = queuesOf(page)
      const isNew = processes.map(([name, own]) => readOne(name, own)).includes(true)
      if (isBegun) for (const [figure, value] of latest) added(grown, figure, value)
      return {isNew}
    },
    latest: () => latest,
    begin() {
      grown.clear()
      for (const {figures} of last.values()) for (const figure of figures.keys()) grown.set(figure, 0)
      isBegun = last.size > 0
    },
    of: (figure) => grown.get(figure) ?? null,
    figures: () => [...grown.keys()],
    queued: (queue) => queues.get(queue) ?? null,
    queues: () => [...queues.keys()],
  }
}

/** The exporters of a collector that carry this signal. */
const exportersOf = (collector: Growth, signal: Signal): readonly string[] =>
  collector.queues().flatMap((queue) => (queue.startsWith(`${signal} `) ? [queue.slice(signal.length + 1)] : []))

/** What only a queue of ours counts. */
const queueFigures = (collector: Growth, signal: Signal, exporter: string): Partial<Hop> =>
  Object.fromEntries(
    (['repaired', 'takenOut', 'dropped'] as const).flatMap((figure) => {
      const items = collector.of(`${figure} ${signal} ${exporter}`)
      return items === null ? [] : [[figure, items]]
    }),
  )

/** What a queue of ours did not take, by reason; and what it lost with a damaged file. */
const refusals = (collector: Growth, signal: Signal): Partial<Hop> => {
  const prefix = `${refusedBy} ${signal} `
  const reasons = collector
    .figures()
    .flatMap((figure) =>
      figure.startsWith(prefix) && (collector.of(figure) ?? 0) > 0
        ? [[figure.slice(prefix.length), collector.of(figure) ?? 0] as const]
        : [],
    )
  const lost = collector.of(`lost ${signal}`) ?? 0
  return {...(reasons.length > 0 && {refusedBy: Object.fromEntries(reasons)}), ...(lost > 0 && {lost})}
}

const exporterFigures = (collector: Growth, signal: Signal, exporter: string) => ({
  sent: collector.of(`sent ${signal} ${exporter}`),
  failed: collector.of(`failed ${signal} ${exporter}`),
  enqueueFailed: collector.of(`enqueueFailed ${signal} ${exporter}`),
  queued: collector.queued(`${signal} ${exporter}`),
  ...queueFigures(collector, signal, exporter),
})

const receiverFigures = (collector: Growth, signal: Signal) => ({
  accepted: collector.of(`accepted ${signal}`),
  refused: collector.of(`refused ${signal}`),
  ...refusals(collector, signal),
})

const exporterHops = (collector: Growth, signal: Signal, except: string): readonly Hop[] =>
  exportersOf(collector, signal)
    .filter((exporter) => exporter !== except)
    .map((exporter) => ({hop: 'exporter', name: exporter, signal, ...exporterFigures(collector, signal, exporter)}))

/** All hops, from the agents to the exporters of the gateway. */
export const hopsOf = (agents: ReadonlyMap<string, Growth>, hub: string, gateway: Growth): readonly Hop[] =>
  signals.flatMap((signal) => [
    ...[...agents].flatMap(([name, agent]): readonly Hop[] => [
      {hop: 'agent', name, signal, ...receiverFigures(agent, signal), ...exporterFigures(agent, signal, toHub)},
      ...exporterHops(agent, signal, toHub),
    ]),
    {hop: 'gateway', name: hub, signal, ...receiverFigures(gateway, signal)},
    ...exporterHops(gateway, signal, ''),
  ])
