import type {Signal} from '../collector/config.ts'
import {bytes, count, duration, grouped, printable} from '../output.ts'
import {type CollectorQueues, type Reasons, type SinkQueue, totalOf} from './queues.ts'

/** Something of the data path that needs a person: `failed` now, `soon` before it becomes a loss or since something lies there. */
export type Attention = {
  readonly level: 'failed' | 'soon'
  readonly kind: 'stuck' | 'waiting' | 'lost' | 'dropped' | 'dead-letters' | 'filling' | 'refusing' | 'unreached'
  readonly cluster: string
  readonly collector: 'gateway' | 'agent'
  readonly signal?: Signal
  readonly sink?: string
  readonly edge?: string
  /** One line. */
  readonly what: string
  /** What the store or destination answers, in full. */
  readonly answer?: string
}

/** How full a queue is, and when it has no room left. */
export type QueueStatus = {
  readonly cluster: string
  readonly collector: 'gateway' | 'agent'
  readonly signal: Signal
  /** Empty where all sinks of the signal share the queue. */
  readonly sink: string
  readonly unit: 'bytes' | 'items'
  readonly capacity: number
  readonly used: number
  readonly percent: number
  /** null where it never is, as far as is known. */
  readonly fullInSeconds: number | null
  /** `growing`: at the rate at which it grew in the last minutes. `outage`: if nothing left it from now on, at the usual rate. */
  readonly fullInWhen: 'growing' | 'outage'
  readonly lostItems: number
  readonly lostBytes: number
}

/** A head that is tried again is not stuck at once: the second try is due after a second, the fifth after 15. */
const stuckSeconds = 15
const waitsSeconds = 60
/** A queue that grows and is full sooner than this needs somebody. */
const fillingSeconds = 4 * 3600
const fullPercent = 80

const whose = (edge: string | null): string => (edge === null ? '' : ` of ${printable(edge)}`)
const reasonsText = (reasons: Reasons): string =>
  Object.entries(reasons)
    .toSorted(([, one], [, other]) => other - one)
    .map(([reason, items]) => `${printable(reason)} ${grouped(items)}`)
    .join(', ')

type Of = {readonly cluster: string; readonly collector: 'gateway' | 'agent'}

const stuckOrWaiting = (of: Of, queue: SinkQueue): readonly Attention[] => {
  const {signal, sink, edge, waiting, oldestSeconds, headFailingSeconds, lastError} = queue
  if (waiting === 0) return []
  const known = {...of, signal, sink, ...(edge !== null && {edge}), ...(lastError !== '' && {answer: lastError})}
  const where = of.collector === 'gateway' ? `the gateway on ${of.cluster}` : `the agent on ${of.cluster}`
  const items = `${grouped(waiting)} ${waiting === 1 ? 'item waits' : 'items wait'}${oldestSeconds ? `, the oldest for ${duration(oldestSeconds * 1000)}` : ''}`
  if (headFailingSeconds > stuckSeconds)
    return [
      {
        ...known,
        level: 'failed',
        kind: 'stuck',
        what: `${signal}${whose(edge)} in ${where} do not move: ${sink} has taken nothing from the head of the queue for ${duration(headFailingSeconds * 1000)}; ${items}`,
      },
    ]
  if ((oldestSeconds ?? 0) <= waitsSeconds) return []
  return [
    {
      ...known,
      level: of.collector === 'agent' ? 'failed' : 'soon',
      kind: 'waiting',
      what: `${signal}${whose(edge)} wait in ${where} for ${sink}: ${items}`,
    },
  ]
}

/** `queues` are those that the hub depends on; what a destination does is for `dest list`, but for a head that does not move. */
export const attentionOf = (
  of: Of,
  {queues, letters}: CollectorQueues,
  rooms: readonly QueueStatus[],
  isStore: (sink: string) => boolean,
): readonly Attention[] => [
  ...queues.flatMap((queue) => stuckOrWaiting(of, queue)),
  ...rooms.flatMap(({signal, lostItems, lostBytes}): readonly Attention[] =>
    lostItems === 0 && lostBytes === 0
      ? []
      : [
          {
            ...of,
            level: 'failed',
            kind: 'lost',
            signal,
            what: `${lostItems === 0 ? 'an unknown number of items' : count(lostItems, 'item')} of ${signal}${lostBytes > 0 ? ` (${bytes(lostBytes)})` : ''} were lost in damaged queue files of the ${of.collector} on ${of.cluster}; the files are kept in damaged/ of its queue folder`,
          },
        ],
  ),
  ...queues.flatMap(({signal, sink, edge, dropped}): readonly Attention[] =>
    totalOf(dropped) === 0 || !isStore(sink)
      ? []
      : [
          {
            ...of,
            level: 'failed',
            kind: 'dropped',
            signal,
            sink,
            ...(edge !== null && {edge}),
            what: `${grouped(totalOf(dropped))} ${signal}${whose(edge)} for ${sink} were dropped by the ${of.collector} on ${of.cluster} since it started: ${reasonsText(dropped)}`,
          },
        ],
  ),
  ...rooms.flatMap((room): readonly Attention[] => {
    const {signal, sink, percent, fullInSeconds, fullInWhen} = room
    const isFilling = fullInWhen === 'growing' && fullInSeconds !== null && fullInSeconds < fillingSeconds
    if (percent < fullPercent && !isFilling) return []
    return [
      {
        ...of,
        level: 'soon',
        kind: 'filling',
        signal,
        ...(sink !== '' && {sink}),
        what: `the queue of ${signal}${sink === '' ? '' : ` for ${sink}`} of the ${of.collector} on ${of.cluster} is ${Math.round(percent)}% full${isFilling ? `, full in ${duration(fullInSeconds * 1000)}` : ''}; then it refuses, and the sender keeps the data`,
      },
    ]
  }),
  ...letters.flatMap(({signal, sink, count: kept, bytes: size, maxBytes, evicted}): readonly Attention[] => {
    if (kept === 0 && evicted === 0) return []
    const reasons = queues
      .filter((queue) => queue.signal === signal && queue.sink === sink)
      .reduce<Record<string, number>>((all, {takenOut}) => {
        for (const [reason, items] of Object.entries(takenOut)) all[reason] = (all[reason] ?? 0) + items
        return all
      }, {})
    const gone = evicted > 0 ? `; ${grouped(evicted)} older ones were deleted to make room` : ''
    return [
      {
        ...of,
        level: 'soon',
        kind: 'dead-letters',
        signal,
        sink,
        what: `${count(kept, 'dead letter')} of ${signal} for ${sink} in the ${of.collector} on ${of.cluster}${maxBytes > 0 ? ` (${bytes(size)} of ${bytes(maxBytes)})` : ''}${totalOf(reasons) > 0 ? `; taken out since it started: ${reasonsText(reasons)}` : ''}${gone}`,
      },
    ]
  }),
]
