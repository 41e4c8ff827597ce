import {type Signal, signals} from '../collector/config.ts'
import type {Stores} from '../platforms/platform.ts'
import type {Http} from '../tools/http.ts'
import {type Counters, queryPrometheus, type Sample} from '../tools/stores.ts'
import {type CollectorQueues, queuesInPage} from './queues.ts'

const pageOf = (samples: readonly Sample[]): Counters =>
  samples.map(({labels: {__name__: name = '', ...labels}, value}) => ({name: name.replace(/_total$/, ''), labels, value}))

/** What waited longest counts, not how long all waited together. */
const mostOf = 'lkeobs_queue_(oldest|head_failing)_seconds'
const sumOf =
  'lkeobs_queue_.+_(items|bytes)|lkeobs_queue_.+_items_total|lkeobs_queue_dead_letters|otelcol_exporter_(queue_size|queue_capacity|(sent|send_failed|enqueue_failed)_.+_total)'

/** The queues of all agents as they have told the hub, by edge; an agent that is cut off has told it before. */
export const agentQueues = async (http: Http, {prometheus}: Stores): Promise<ReadonlyMap<string, CollectorQueues>> => {
  const by = '__name__,lkeobs_edge,edge,signal,sink,reason,exporter,data_type'
  const found = await Promise.all([
    queryPrometheus(http, prometheus, `sum by (${by}) ({__name__=~"${sumOf}",job="agent"})`),
    queryPrometheus(http, prometheus, `max by (${by}) ({__name__=~"${mostOf}",job="agent"})`),
  ])
  const edges = Map.groupBy(
    found.flatMap((samples) => samples ?? []),
    ({labels}) => labels['lkeobs_edge'] ?? '',
  )
  return new Map([...edges].map(([edge, samples]) => [edge, queuesInPage(pageOf(samples), [], 0)]))
}

export type Pace = {
  /** By how much a queue grows, bytes a second of one of ours and items a second of the stock one, by `SIGNAL` or `SIGNAL SINK`. */
  readonly growth: ReadonlyMap<string, number>
  /** What comes in, items a second. */
  readonly incoming: Readonly<Partial<Record<Signal, number>>>
}

const signalOf = (text: string | undefined) => signals.find((signal) => signal === text)

/** How the gateway's queues went in the last minutes; empty where Prometheus does not answer. */
export const gatewayPace = async (http: Http, {prometheus}: Stores): Promise<Pace> => {
  const [own = [], stock = [], accepted = []] = await Promise.all([
    queryPrometheus(http, prometheus, 'sum by (signal, sink) (deriv(lkeobs_queue_waiting_bytes{job="gateway"}[3m]))'),
    queryPrometheus(http, prometheus, 'sum by (data_type, exporter) (deriv(otelcol_exporter_queue_size{job="gateway"}[3m]))'),
    queryPrometheus(http, prometheus, 'sum by (signal) (rate(lkeobs_queue_accepted_items_total{job="gateway"}[5m]))'),
  ])
  const growth = new Map<string, number>()
  // a record is kept until the last sink has it
  for (const {labels, value} of own) growth.set(labels['signal'] ?? '', Math.max(growth.get(labels['signal'] ?? '') ?? 0, value))
  for (const {labels, value} of stock) {
    const {exporter = '', data_type: signal = ''} = labels
    growth.set(`${signal} ${exporter.slice(exporter.indexOf('/') + 1)}`, value)
  }
  return {
    growth,
    incoming: Object.fromEntries(accepted.flatMap(({labels, value}) => (signalOf(labels['signal']) ? [[labels['signal'], value]] : []))),
  }
}

/** The same of the agents' queues, by edge. */
export const agentPaces = async (http: Http, {prometheus}: Stores): Promise<ReadonlyMap<string, Pace>> => {
  const [growth = [], accepted = []] = await Promise.all([
    queryPrometheus(http, prometheus, 'sum by (lkeobs_edge, signal) (deriv(lkeobs_queue_waiting_bytes{job="agent"}[3m]))'),
    queryPrometheus(http, prometheus, 'sum by (lkeobs_edge, signal) (rate(lkeobs_queue_accepted_items_total{job="agent"}[5m]))'),
  ])
  const edges = new Set([...growth, ...accepted].map(({labels}) => labels['lkeobs_edge'] ?? ''))
  const bySignal = (samples: readonly Sample[], edge: string) =>
    samples.flatMap(({labels, value}) => {
      const signal = signalOf(labels['signal'])
      return signal && labels['lkeobs_edge'] === edge ? [[signal, value] as const] : []
    })
  return new Map(
    [...edges].map((edge) => [
      edge,
      {growth: new Map<string, number>(bySignal(growth, edge)), incoming: Object.fromEntries(bySignal(accepted, edge))},
    ]),
  )
}

export const noPace: Pace = {growth: new Map(), incoming: {}}
