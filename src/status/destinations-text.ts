import {signals} from '../collector/config.ts'
import {dim, duration, mark, nextCommands, table} from '../output.ts'
import {type DestinationSeen, type Reason, reasons} from './destinations.ts'

/** 5,000: with a comma for the thousands, as it is read aloud. */
const many = new Intl.NumberFormat('en', {maximumFractionDigits: 0})
const few = new Intl.NumberFormat('en', {maximumSignificantDigits: 2})

const perSecond = (rate: number): string => `${(rate < 10 ? few : many).format(rate)}/s`

const marks: Readonly<Record<DestinationSeen['state'], string>> = {
  sending: mark.so,
  idle: mark.skipped,
  waiting: mark.soon,
  dropping: mark.not,
  unknown: mark.skipped,
}

const words: Readonly<Record<Reason, string>> = {
  queueFull: 'queue full',
  gaveUp: 'gave up after maxAge',
  refused: 'refused by the destination',
}

/** `132,250 logs: queue full` */
const dropsText = ({dropped}: Pick<DestinationSeen, 'dropped'>): readonly string[] =>
  signals.flatMap((signal) =>
    reasons.flatMap((reason) => {
      const items = dropped[signal][reason]
      return items === 0 ? [] : [`${many.format(items)} ${signal}: ${words[reason]}`]
    }),
  )

const queueText = ({items, percent}: DestinationSeen['queue']): string =>
  items === 0 ? '0%' : `${percent < 1 ? few.format(percent) : Math.round(percent)}%, ${many.format(items)}`

const remarks = (seen: DestinationSeen): readonly string[] => {
  const {name, state, lastError} = seen
  return [
    ...(state === 'unknown' ? [`${marks.unknown} ${name}: the gateway has not reported of it within half a minute`] : []),
    ...dropsText(seen).map((drop) => `${marks[state === 'dropping' ? 'dropping' : 'waiting']} ${name}: dropped ${drop}`),
    ...(lastError
      ? [`${marks.waiting} ${name}: ${lastError.signal}, ${duration(lastError.secondsAgo * 1000)} ago: ${lastError.message}`]
      : []),
  ]
}

export const destinationsText = (destinations: readonly DestinationSeen[]): string => {
  if (destinations.length === 0) return `${dim('no destinations')}\n${nextCommands(['lkeobs dest add --help'])}`
  const rows = destinations.map((seen) => [
    `${marks[seen.state]} ${seen.name}`,
    seen.kind,
    seen.signals.join(' '),
    seen.state === 'unknown' ? '?' : perSecond(seen.sentPerSecond),
    seen.state === 'unknown' ? '?' : perSecond(seen.failedPerSecond),
    seen.state === 'unknown' ? '?' : queueText(seen.queue),
    seen.oldestSeconds === null ? '?' : seen.oldestSeconds === 0 ? '–' : duration(seen.oldestSeconds * 1000),
  ])
  const ailing = destinations.filter(({state}) => state === 'waiting' || state === 'dropping')
  return [
    table(['destination', 'kind', 'signals', 'sent', 'failed', 'queue', 'oldest'], rows),
    ...destinations.flatMap(remarks),
    ...(ailing.length === 0 ? [] : [nextCommands(ailing.map(({name}) => `lkeobs dest test ${name}`))]),
  ].join('\n')
}
