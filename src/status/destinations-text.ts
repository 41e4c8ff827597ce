import {signals} from '../collector/config.ts'
import {count, dim, duration, grouped, mark, nextCommands, printable, table} from '../output.ts'
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
  const {name, state, lastError, deadLetters, takenOut} = seen
  const reasonsText = Object.entries(takenOut)
    .filter(([, items]) => items > 0)
    .map(([reason, items]) => `${printable(reason)} ${grouped(items)}`)
    .join(', ')
  return [
    ...(state === 'unknown' ? [`${marks.unknown} ${name}: the gateway has not reported of it within half a minute`] : []),
    ...dropsText(seen).map((drop) => `${marks[state === 'dropping' ? 'dropping' : 'waiting']} ${name}: dropped ${drop}`),
    ...(deadLetters !== null && deadLetters > 0
      ? [
          `${marks.waiting} ${name}: ${count(deadLetters, 'dead letter')}${reasonsText === '' ? '' : `; taken out since the gateway started: ${reasonsText}`}`,
        ]
      : []),
    ...(lastError
      ? [
          `${marks.waiting} ${name}: ${lastError.signal}, ${lastError.failingSeconds === undefined ? `${duration(lastError.secondsAgo * 1000)} ago` : `refused for ${duration(lastError.failingSeconds * 1000)}`}: ${printable(lastError.message, {lines: true})}`,
        ]
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
    ...destinations.flatMap(({name, deadLetters}) =>
      (deadLetters ?? 0) > 0 ? [nextCommands([`lkeobs dead-letters list --sink ${name}`])] : [],
    ),
  ].join('\n')
}
