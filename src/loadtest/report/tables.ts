import {signals} from '../../collector/config.ts'
import {bytes, duration, grouped} from '../../output.ts'
import {type Compared, type Comparison, type Measured, spreadOf, type Unit} from '../compare.ts'
import type {Balance, Hop} from '../result.ts'
import {hopName} from '../verdict.ts'

/** A table as every report shows it: text first, then numbers from the column `numbers` on. */
export type Table = {
  readonly title: string
  readonly header: readonly string[]
  readonly rows: readonly (readonly string[])[]
  /** The first column that holds numbers. */
  readonly numbers: number
  /** What the columns mean. */
  readonly note: string
  /** Rows that should be seen: something was lost in them, or became worse. */
  readonly bad: readonly number[]
}

/** How a number is written where it could not be read, and where there is none. */
const items = (count: number | null | undefined): string =>
  count === undefined ? '' : count === null ? 'not read' : grouped(Math.round(count))
const time = (ms: number | null): string => (ms === null ? 'none' : duration(ms))
const median = (values: readonly number[]): number => spreadOf(values).median

/** The cost of an item, as it is read: 7.7 ms of CPU for 1,000 items. */
const perThousand = (coresPer1000: number | null): string => (coresPer1000 === null ? '' : `${(coresPer1000 * 1000).toFixed(1)} ms`)

const badRows = <T>(rows: readonly T[], isBad: (row: T) => boolean): readonly number[] =>
  rows.flatMap((row, index) => (isBad(row) ? [index] : []))

/** The signals that were sent at all. */
export const sentSignals = ({profile}: Measured) => signals.filter((signal) => profile.rates[signal] > 0)

/** Seconds of all windows together. */
const measuredSeconds = ({repetitions}: Measured): number => repetitions.reduce((all, {windowSeconds}) => all + windowSeconds, 0)

export const signalsTable = (run: Measured): Table => {
  const seconds = measuredSeconds(run)
  const rate = (count: number | null) => (count === null ? 'not read' : seconds === 0 ? '' : `${grouped(Math.round(count / seconds))}/s`)
  const sent = sentSignals(run)
  return {
    title: 'Signals',
    header: ['signal', 'offered', 'generated', 'stored', 'lost', 'p50', 'p99'],
    rows: sent.map((signal) => {
      const {offered, generated, stored, lost, latencyMs} = run.signals[signal]
      return [signal, rate(offered), rate(generated), rate(stored), items(lost), time(latencyMs.p50), time(latencyMs.p99)]
    }),
    numbers: 1,
    note: 'Offered: what the profile asks for. Generated: acknowledged to the generators by the agents. Stored: counted in the store itself. p50 and p99: from sent to found by a query.',
    bad: badRows(sent, (signal) => (run.signals[signal].lost ?? 1) > 0),
  }
}

/** What was reached at each rate that was tried, and what broke there. */
export const kneeTable = (run: Measured): Table => {
  const sent = sentSignals(run)
  const steps = run.knee?.steps ?? []
  return {
    title: 'Rates',
    header: ['rate', 'what broke', ...sent],
    rows: steps.map(({percent, broke}, index) => {
      const repetition = run.repetitions[index]
      const reached = sent.map((signal) =>
        repetition ? `${grouped(Math.round(repetition.signals[signal].generated / repetition.windowSeconds))}/s` : '',
      )
      return [`${percent} %`, broke.length === 0 ? 'nothing' : broke.join('; '), ...reached]
    }),
    numbers: 2,
    note: 'Share of the rates of the profile, and what the generators reached.',
    bad: badRows(steps, ({broke}) => broke.length > 0),
  }
}

/** The same place and reason in several repetitions is one line. */
const explainedOf = ({explained}: Balance) =>
  [...Map.groupBy(explained, ({where, why}) => `${where}: ${why}`)].map(([what, parts]) => ({
    what,
    items: parts.reduce((all, part) => all + part.items, 0),
  }))

/** generated = stored + where the others are, line by line. */
export const balanceTable = (run: Measured): Table => {
  const rows = sentSignals(run).flatMap((signal) => {
    const balance = run.signals[signal]
    return [
      {signal, what: 'generated', count: balance.generated, bad: false},
      {signal: '', what: '= stored', count: balance.stored, bad: balance.stored === null},
      ...explainedOf(balance).map(({what, items: count}) => ({signal: '', what: `+ ${what}`, count, bad: count > 0})),
      {signal: '', what: '+ unexplained', count: balance.unexplained, bad: balance.unexplained !== 0},
    ]
  })
  return {
    title: 'Balance',
    header: ['signal', '', 'items'],
    rows: rows.map(({signal, what, count}) => [signal, what, items(count)]),
    numbers: 2,
    note: 'What is negative is stored though it was not generated, or stored twice. Not read: a series or a store did not answer, which is not zero.',
    bad: badRows(rows, ({bad}) => bad),
  }
}

const counters = [
  'accepted',
  'refused',
  'sent',
  'failed',
  'enqueueFailed',
  'queued',
  'repaired',
  'takenOut',
  'dropped',
  'discarded',
] as const

const ownColumns = {repaired: 'repaired', takenOut: 'taken out', dropped: 'dropped', discarded: 'discarded'} as const

/** A counter over all repetitions: null where one of them could not be read, the last where it is what waits. */
const summed = (hops: readonly Hop[], counter: (typeof counters)[number]): number | null | undefined => {
  const values = hops.map((hop) => hop[counter])
  if (values.includes(null)) return null
  const known = values.filter((value) => typeof value === 'number')
  return known.length === 0 ? undefined : counter === 'queued' ? known.at(-1) : known.reduce((all, value) => all + value, 0)
}

export const hopsTable = ({repetitions}: Measured): Table => {
  const groups = [
    ...Map.groupBy(
      repetitions.flatMap(({hops}) => hops),
      (hop) => `${hopName(hop)} ${hop.signal}`,
    ).values(),
  ]
  const rows = groups.flatMap((hops) => {
    const [hop] = hops
    return hop ? [{hop, values: counters.map((counter) => summed(hops, counter))}] : []
  })
  // the stock collector counts none of these
  const shown = (Object.keys(ownColumns) as (keyof typeof ownColumns)[]).filter((counter) =>
    rows.some(({values}) => typeof values[counters.indexOf(counter)] === 'number'),
  )
  const isShown = (counter: (typeof counters)[number] | undefined) =>
    counter !== undefined && (!(counter in ownColumns) || shown.some((one) => one === counter))
  return {
    title: 'Hops',
    header: [
      'hop',
      'signal',
      'accepted',
      'refused',
      'sent',
      'failed',
      'queue full',
      'waiting',
      ...shown.map((counter) => ownColumns[counter]),
    ],
    rows: rows.map(({hop, values}) => [
      hopName(hop),
      hop.signal,
      ...values.flatMap((value, at) => (isShown(counters[at]) ? [items(value)] : [])),
    ]),
    numbers: 2,
    note: `Counted by each hop itself from the beginning of the window until all came to rest, what the fleet says of itself among it. Sent: the next hop has answered for it. Refused and queue full: the hop before has it back, and sends it again unless it cannot. Waiting: when the run ended.${shown.length > 0 ? ' Repaired: changed so that the store takes them. Taken out: kept as dead letters. Dropped: from a full queue, or too old. Discarded: by the store after it had acknowledged them.' : ''}`,
    bad: badRows(rows, ({values}) => values.includes(null) || [3, 5, 7, 8, 9].some((at) => (values[at] ?? 0) > 0)),
  }
}

/** What is measured of processes alone, and so of no pod. */
const ofPods = ({fingerprint}: Measured): string =>
  fingerprint.platform === 'kubernetes' ? ' Of processes of this machine; of pods it is not known.' : ''

export const costTable = (run: Measured): Table => {
  const groups = [
    ...Map.groupBy(
      run.repetitions.flatMap(({processes}) => processes),
      ({process, cluster}) => `${process} ${cluster}`,
    ).values(),
  ]
  return {
    title: 'Cost',
    header: ['process', 'cluster', 'cores', 'at most', 'CPU per 1,000 items', 'memory at most'],
    rows: groups.map((costs) => {
      const per = costs.flatMap(({coresPer1000}) => (coresPer1000 === null ? [] : [coresPer1000]))
      return [
        costs[0]?.process ?? '',
        costs[0]?.cluster ?? '',
        median(costs.map(({cores}) => cores)).toFixed(2),
        Math.max(...costs.map(({coresMost}) => coresMost)).toFixed(2),
        perThousand(per.length === 0 ? null : median(per)),
        bytes(Math.max(...costs.map(({residentBytesMost}) => residentBytesMost))),
      ]
    }),
    numbers: 2,
    note: `Cores: CPU seconds for each second of the window. Per 1,000 items: of those that went through the process.${ofPods(run)}`,
    bad: [],
  }
}

export const wireTable = (run: Measured): Table => ({
  title: 'Wire',
  header: ['hop', 'bytes per item', 'bytes', 'items'],
  rows: [
    ...Map.groupBy(
      run.repetitions.flatMap(({wire}) => wire),
      ({hop}) => hop,
    ),
  ].map(([hop, wires]) => [
    hop,
    median(wires.map(({bytesPerItem}) => bytesPerItem)).toFixed(1),
    bytes(wires.reduce((all, wire) => all + wire.bytes, 0)),
    items(wires.reduce((all, wire) => all + wire.items, 0)),
  ]),
  numbers: 1,
  note: `Bytes on the wire, all signals together.${ofPods(run)}`,
  bad: [],
})

const figure: Readonly<Record<Unit, (value: number) => string>> = {
  items: (value) => grouped(Math.round(value)),
  'items/s': (value) => `${grouped(Math.round(value))}/s`,
  ms: duration,
  'ms CPU per 1,000 items': (value) => `${value.toFixed(1)} ms/1,000`,
  'bytes per item': (value) => `${value.toFixed(1)} B/item`,
  bytes,
}

/** −3 %: how far the second is from the first. */
const effect = ({ratio}: Pick<Compared, 'ratio'>): string => {
  if (ratio === null) return ''
  const percent = (ratio - 1) * 100
  return `${percent > 0 ? '+' : percent < 0 ? '−' : ''}${Math.abs(percent).toFixed(Math.abs(percent) < 10 ? 1 : 0)} %`
}

export const comparisonTable = ({first, second, figures}: Comparison): Table => ({
  title: `Against ${first}`,
  header: ['figure', first, second, 'effect', 'noise', ''],
  rows: figures.map((compared) => [
    compared.figure,
    figure[compared.unit](compared.first.median),
    figure[compared.unit](compared.second.median),
    effect(compared),
    compared.noise === 0 ? '' : `± ${(compared.noise * 100).toFixed(0)} %`,
    compared.result,
  ]),
  numbers: 1,
  note: `Medians of ${first} and ${second}. Noise: the larger of the tolerance of a figure and the spread of the repetitions; a difference within it is no change.`,
  bad: badRows(figures, ({result}) => result === 'worse'),
})

/** What was run, and on what, in a few words. */
export const headline = ({profile, edges, fingerprint: {platform, machine}, run}: Measured): readonly string[] => [
  profile.name,
  `${edges.length > 3 ? `${edges.length} edges` : edges.join(', ')} → hub`,
  `${duration(profile.windowSeconds * 1000)}${profile.repetitions > 1 ? ` × ${profile.repetitions}` : ''}`,
  `${platform}, ${machine.cores} cores`,
  `run ${run}`,
]
