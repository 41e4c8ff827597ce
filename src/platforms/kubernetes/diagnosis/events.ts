import type {KubeObject} from '../../../tools/kube/kube.ts'
import {type Live, timeOf} from './live.ts'

export type RawEvent = KubeObject & {
  readonly involvedObject?: {readonly kind?: string; readonly name?: string; readonly uid?: string}
  readonly reason?: string
  readonly message?: string
  readonly count?: number
  readonly firstTimestamp?: string | null
  readonly lastTimestamp?: string | null
  readonly eventTime?: string | null
  readonly series?: {readonly count?: number; readonly lastObservedTime?: string}
}

/** When something was first and last seen, in ms. */
export type Span = {readonly first: number; readonly last: number}

export type Event = Span & {readonly about: NonNullable<RawEvent['involvedObject']>; readonly reason: string; readonly message: string}

/** Seen for long enough; what is older than the wait itself is first given time to go away. */
export type IsRipe = (span: Span, seconds: number) => boolean

const staleSeconds = 20

export const ripeness =
  (now: number, since = 0): IsRipe =>
  ({first, last}, wanted) =>
    now - first >= wanted * 1000 && (last >= since - 1000 || now - since >= staleSeconds * 1000)

export const eventOf = (raw: RawEvent): Event => {
  const first = timeOf(raw.firstTimestamp) ?? timeOf(raw.eventTime) ?? timeOf((raw as Live).metadata.creationTimestamp) ?? 0
  const last = timeOf(raw.series?.lastObservedTime) ?? timeOf(raw.lastTimestamp) ?? first
  const message = (raw.message ?? '').replace(/^\(combined from similar events\): /, '').trim()
  return {about: raw.involvedObject ?? {}, reason: raw.reason ?? '', message, first, last}
}

export const eventsOf = ({events}: {readonly events: readonly Event[]}, {kind, metadata}: Live, reason: RegExp): readonly Event[] =>
  events.filter(
    ({about, reason: why}) =>
      reason.test(why) &&
      (about.uid !== undefined && metadata.uid !== undefined
        ? about.uid === metadata.uid
        : about.kind === kind && about.name === metadata.name),
  )

export const newest = (spans: readonly Span[]): number => Math.max(0, ...spans.map(({last}) => last))

export const oldest = (spans: readonly Span[], otherwise = 0): number =>
  spans.length === 0 ? otherwise : Math.min(...spans.map(({first}) => first))

export const latest = (events: readonly Event[]): Event | undefined => events.toSorted((one, other) => other.last - one.last)[0]
