import {type Settings, signals} from './config.ts'
import {type DestinationWish, freedOf, only} from './destinations.ts'
import {type Sink, synchronous} from './durable.ts'
import {scrub} from './scrub.ts'

type Pipeline = {readonly receivers: readonly string[]; readonly processors: readonly string[]; readonly exporters: readonly string[]}

/** The hub's own telemetry is in the same queue, and goes to its own stores only. */
const isOfTheHub = 'resource.attributes["lkeobs.edge"] == nil'

/**
 * A destination behind the gateway's durable queue: a sink with pipelines of its own, whose processors filter and scrub.
 * An item that they cannot look at is not let through: they stop its batch (`error_mode: propagate`), which is an error like the
 * destination's own. It is not for good, so the queue sends the rest of the batch and makes a dead letter of the item.
 */
const partsOf = (wish: DestinationWish) => {
  const {name, rendered, closing, maxAgeSeconds, queueBytes} = wish
  const exporter = `${rendered.exporter}/${name}`
  const others = wish.signals.includes('metrics') ? [isOfTheHub] : []
  const isFiltered = Object.keys(wish.where).length > 0 || others.length > 0
  const processors: Record<string, Settings> = {
    ...(isFiltered && {[`filter/${name}`]: only(wish.where, others)}),
    ...freedOf(name, rendered.obeys ?? []),
    ...(wish.scrub.length > 0 && {[`transform/${name}`]: scrub(wish.scrub)}),
  }
  const pipelines = signals.filter((signal) => wish.signals.includes(signal)).map((signal) => `${signal}/${name}`)
  const sink: Sink = {
    pipelines,
    exporter,
    consumers: 4,
    on_full: 'drop',
    // a queue that fills up with what waits for a destination would refuse what is for the stores
    max_bytes: Object.fromEntries(wish.signals.map((signal) => [signal, queueBytes[signal]])),
    ...(maxAgeSeconds !== undefined && {max_age: `${maxAgeSeconds}s`}),
    ...(closing && {closing: true}),
  }
  return {
    name,
    sink,
    processors,
    exporters: {[exporter]: {...rendered.settings, ...rendered.sizes, ...synchronous}},
    pipelines: (queue: string): Record<string, Pipeline> =>
      Object.fromEntries(
        pipelines.map((pipeline) => [pipeline, {receivers: [queue], processors: Object.keys(processors), exporters: [exporter]}]),
      ),
  }
}

/** What destinations add to a gateway with a durable queue. */
export const destinationSinks = (wishes: readonly DestinationWish[]) => {
  const all = wishes.map(partsOf)
  return {
    sinks: Object.fromEntries(all.map(({name, sink}) => [name, sink])),
    processors: Object.assign({}, ...all.map((parts) => parts.processors)) as Record<string, Settings>,
    exporters: Object.assign({}, ...all.map((parts) => parts.exporters)) as Record<string, Settings>,
    pipelines: (queue: string) => Object.assign({}, ...all.map((parts) => parts.pipelines(queue))) as Record<string, Pipeline>,
  }
}
