import type {Rendered} from '../destinations/kind.ts'
import {itemsIn} from './budget.ts'
import {type Settings, type Signal, signals} from './config.ts'
import {durable} from './durable.ts'
import {maxStoreBytes} from './sizes.ts'
import {scrub} from './scrub.ts'

/** Which items a destination gets: of each key one of these values, in the resource or in the item. */
export type Where = Readonly<Record<string, readonly string[]>>

export type DestinationWish = {
  readonly name: string
  readonly signals: readonly Signal[]
  readonly where: Where
  readonly scrub: readonly string[]
  /** For how long a batch is tried before it is given up; for ever unless given. */
  readonly maxAgeSeconds?: number | undefined
  /** How many items wait for it at most, where the fleet file says so. */
  readonly queueItems?: number | undefined
  /** How many bytes of each signal wait for it at most. */
  readonly queueBytes: Readonly<Record<Signal, number>>
  readonly rendered: Rendered
  /** Where it is fed in the build upstream: `host:port` on loopback. */
  readonly door: string
  /** It is fed no more, and sends what it has. */
  readonly closing: boolean
}

/** What feeds a destination. */
export const feedOf = (name: string): string => `otlp_grpc/${name}-feed`
/** Where it is fed. */
const doorOf = (name: string): string => `otlp/${name}`

/** Names that something else in the gateway has, and the ends of names that a destination's own parts have. */
export const takenNames: readonly string[] = ['ask', 'edge', 'loki', 'nobody', 'own', 'prometheus', 'queue', 'tempo']
export const takenEnds: readonly string[] = ['-apm', '-feed']

/** How long a feed waits for its door before it gives an item up. Longer than a gateway takes to end, whatever hangs. */
const patienceMs = 5000
export const graceMs = 3000

/**
 * To the rest of the gateway a feed never fails: it has a queue of its own, which is emptied into the door of the destination on
 * loopback. Where the destination's queue is full the door refuses, and the feed drops what it holds after its patience, counted
 * as otelcol_exporter_send_failed. Until then an item waits in memory, so as many consumers as make 65,000 items a second.
 */
const feed = (door: string): Settings => ({
  ...durable,
  endpoint: door,
  tls: {insecure: true},
  compression: 'none',
  // the door answers when the item is on the disk
  timeout: '30s',
  retry_on_failure: {enabled: true, initial_interval: '200ms', max_interval: '400ms', max_elapsed_time: `${patienceMs}ms`},
  sending_queue: {...durable.sending_queue, num_consumers: 40},
})

/** What is too large for a door is refused for good: four times what a feed may send. */
const doorMib = (4 * maxStoreBytes) / 2 ** 20

/** One exporter has one length of queue for all its signals: the longest of them. */
const exporter = ({rendered: {settings, batch}, queueItems, queueBytes, signals: sent, maxAgeSeconds = 0}: DestinationWish): Settings => ({
  ...settings,
  retry_on_failure: {...durable.retry_on_failure, max_elapsed_time: maxAgeSeconds === 0 ? 0 : `${maxAgeSeconds}s`},
  sending_queue: {
    ...durable.sending_queue,
    queue_size: queueItems ?? Math.max(...sent.map((signal) => itemsIn(queueBytes)[signal])),
    block_on_overflow: false,
    batch: {...durable.sending_queue.batch, ...batch},
  },
})

const quoted = (text: string): string => JSON.stringify(text)

/** The condition that an item is none of these. `edge` is the edge it came from. */
const isOther = (where: Where, item: string): string => {
  const isOneOf = ([key, values]: readonly [string, readonly string[]]) => {
    const places =
      key === 'edge'
        ? ['resource.attributes["lkeobs.edge"]']
        : ['resource.attributes', `${item}.attributes`].map((at) => `${at}[${quoted(key)}]`)
    return `(${places.flatMap((place) => values.map((value) => `${place} == ${quoted(value)}`)).join(' or ')})`
  }
  return `not (${Object.entries(where).map(isOneOf).join(' and ')})`
}

/** Lets only those through; what it cannot look at goes to nobody. `others` are conditions of resources that do not go through either. */
export const only = (where: Where, others: readonly string[] = []): Settings => {
  const conditions = (item: string) => [...others, ...(Object.keys(where).length > 0 ? [isOther(where, item)] : [])]
  return {
    error_mode: 'propagate',
    metrics: {datapoint: conditions('datapoint')},
    logs: {log_record: conditions('log')},
    traces: {span: conditions('span')},
  }
}

/** Takes these attributes out of resources and items. */
export const freedOf = (name: string, keys: readonly string[]): Record<string, Settings> => {
  const deletions = keys.map((key) => ({key, action: 'delete'}))
  return keys.length === 0 ? {} : {[`resource/${name}`]: {attributes: deletions}, [`attributes/${name}`]: {actions: deletions}}
}

type Pipeline = {readonly receivers: readonly string[]; readonly processors: readonly string[]; readonly exporters: readonly string[]}

/** What a destination adds to the gateway. */
type Parts = {
  readonly receivers: Record<string, Settings>
  readonly processors: Record<string, Settings>
  readonly exporters: Record<string, Settings>
  readonly connectors: Record<string, Settings>
  readonly pipelines: Record<string, Pipeline>
}

const nobody = 'otlp/nobody'

const partsOf = (wish: DestinationWish): Parts => {
  const {name, rendered, closing} = wish
  const isFiltered = Object.keys(wish.where).length > 0
  const isScrubbed = wish.scrub.length > 0
  const [forward, filter, scrubs, sends] = [`forward/${name}`, `filter/${name}`, `transform/${name}`, `${rendered.exporter}/${name}`]
  const isCounted = rendered.connector !== undefined && wish.signals.includes('traces')
  const counts = `${rendered.connector}/${name}-apm`
  const feeding = (signal: Signal): Record<string, Pipeline> => {
    // a pipeline has to have a receiver: this one is on a port that nobody is told of
    if (closing) return {[`${signal}/${name}-feed`]: {receivers: [nobody], processors: [], exporters: [feedOf(name)]}}
    return isFiltered ? {[`${signal}/${name}-feed`]: {receivers: [forward], processors: [filter], exporters: [feedOf(name)]}} : {}
  }
  // no memory limiter: what it refused here would be dropped, and the one at the gateway's own door has let it in already
  const freed = freedOf(name, rendered.obeys ?? [])
  const processors = [...Object.keys(freed), ...(isScrubbed ? [scrubs] : [])]
  const sending = (signal: Signal): Record<string, Pipeline> => ({
    [`${signal}/${name}`]: {
      receivers: [...(wish.signals.includes(signal) ? [doorOf(name)] : []), ...(isCounted && signal === 'metrics' ? [counts] : [])],
      processors,
      exporters: [sends, ...(isCounted && signal === 'traces' ? [counts] : [])],
    },
  })
  const sent = signals.filter((signal) => wish.signals.includes(signal) || (isCounted && signal === 'metrics'))
  return {
    receivers: {
      [doorOf(name)]: {protocols: {grpc: {endpoint: wish.door, max_recv_msg_size_mib: doorMib}}},
      ...(closing && {[nobody]: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}),
    },
    processors: {...(isFiltered && !closing && {[filter]: only(wish.where)}), ...freed, ...(isScrubbed && {[scrubs]: scrub(wish.scrub)})},
    exporters: {[feedOf(name)]: feed(wish.door), [sends]: exporter(wish)},
    connectors: {...(isFiltered && !closing && {[forward]: {}}), ...(isCounted && {[counts]: {}})},
    pipelines: Object.assign({}, ...wish.signals.map(feeding), ...sent.map(sending)) as Parts['pipelines'],
  }
}

/** What all destinations add, and what of it the gateway's own pipelines send to, by signal. */
export const destinationParts = (wishes: readonly DestinationWish[]): Parts & {readonly fed: (signal: Signal) => readonly string[]} => {
  const all = wishes.map(partsOf)
  const merged = <Key extends keyof Parts>(key: Key): Parts[Key] => Object.assign({}, ...all.map((parts) => parts[key])) as Parts[Key]
  return {
    receivers: merged('receivers'),
    processors: merged('processors'),
    exporters: merged('exporters'),
    connectors: merged('connectors'),
    pipelines: merged('pipelines'),
    fed: (signal) =>
      wishes
        .filter((wish) => wish.signals.includes(signal) && !wish.closing)
        .map(({name, where}) => (Object.keys(where).length > 0 ? `forward/${name}` : feedOf(name))),
  }
}
