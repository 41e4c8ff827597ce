import {bytesOf} from '../collector/budget.ts'
import {type Signal, signals} from '../collector/config.ts'
import type {DestinationWish} from '../collector/destinations.ts'
import type {Destination} from '../fleet/schema.ts'
import {readDuration} from '../output.ts'
import type {Sighting} from '../platforms/platform.ts'
import type {Tls} from '../tools/tls.ts'
import {datadog} from './datadog.ts'
import type {DestinationKind} from './kind.ts'
import {otlp} from './otlp.ts'
import {splunk} from './splunk.ts'

/** Every kind of destination there is. One more is a file beside these, and a word here. */
export const kinds: readonly DestinationKind[] = [splunk, datadog, otlp]

/** Which kind a destination of the fleet file is of, and the settings of that. */
export const kindOf = (destination: Destination): {readonly kind: DestinationKind; readonly settings: object} => {
  const fields = destination as Readonly<Record<string, unknown>>
  const kind = kinds.find(({name}) => fields[name] !== undefined)
  if (!kind) throw new Error(`${destination.name} is of no kind`)
  return {kind, settings: fields[kind.name] as object}
}

/** What a destination is sent. */
export const signalsOf = (destination: Destination): readonly Signal[] => destination.signals ?? kindOf(destination).kind.usual

/** Its exporter in the gateway, as the collector names it in configuration, counters and log. */
export const exporterOf = (destination: Destination): string => {
  const {kind, settings} = kindOf(destination)
  return `${kind.rendered(settings, () => '').exporter}/${destination.name}`
}

/** What a destination is in the gateway that feeds it at this `host:port` of its own. */
export const wishOf = (
  destination: Destination,
  door: string,
  {
    closing = false,
    secret,
    queueBytes,
  }: {
    readonly closing?: boolean
    readonly secret: (destination: string) => (name: string) => string
    readonly queueBytes: DestinationWish['queueBytes']
  },
): DestinationWish => {
  const {kind, settings} = kindOf(destination)
  const {name, where, maxAge, queue} = destination
  return {
    name,
    signals: signals.filter((signal) => signalsOf(destination).includes(signal)),
    where,
    scrub: destination.scrub,
    ...(maxAge !== undefined && {maxAgeSeconds: readDuration(maxAge)}),
    queueItems: queue.items,
    queueBytes: queue.items === undefined ? queueBytes : bytesOf(queue.items),
    rendered: kind.rendered(settings, secret(name)),
    door,
    closing,
  }
}

/** The certificates that destinations show to who dials them, as this machine does. */
export const shownBy = (destinations: readonly Destination[], {served}: Tls): readonly Sighting[] =>
  destinations.flatMap((destination) => {
    const {kind, settings} = kindOf(destination)
    const at = kind.tlsAt(settings)
    return at === undefined ? [] : [{kind: 'destination', seen: 'served', at, which: destination.name, read: () => served(at)}]
  })
