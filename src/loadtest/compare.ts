import {signals} from '../collector/config.ts'
import {LkeobsError} from '../errors.ts'
import type {Fingerprint, LoadTest, ProcessCost, Repetition} from './result.ts'

/** A load test before anybody has judged it. */
export type Measured = Omit<LoadTest, 'verdict'>

/** How a figure is written. */
export type Unit = 'items' | 'items/s' | 'ms' | 'ms CPU per 1,000 items' | 'bytes per item' | 'bytes'

/** A figure over the repetitions of a run. */
export type Spread = {readonly median: number; readonly least: number; readonly most: number}

/** A figure of two runs. `ratio` is that of the medians, second to first; null where the first is zero. */
export type Compared = {
  readonly figure: string
  readonly unit: Unit
  readonly first: Spread
  readonly second: Spread
  readonly ratio: number | null
  /** The share of the first median below which a difference says nothing. */
  readonly noise: number
  readonly result: 'no change' | 'better' | 'worse'
}

/** A member of the fingerprint in which two runs differ. */
export type Difference = {readonly member: string; readonly first: string; readonly second: string}

export type Comparison = {
  readonly first: string
  readonly second: string
  /** What differs although it was asked to compare: `--despite`. */
  readonly despite: readonly Difference[]
  readonly figures: readonly Compared[]
  /** Figures that only one of the runs has. */
  readonly missing: readonly string[]
  readonly result: 'no change' | 'better' | 'worse'
}

/** What a fingerprint is made of, as `--despite` names it. */
export const members = ['platform', 'machine', 'versions', 'configuration', 'profile', 'edges'] as const
export type Member = (typeof members)[number]

const flat = (value: unknown, name: string): readonly (readonly [string, string])[] =>
  typeof value === 'object' && value !== null
    ? Object.entries(value).flatMap(([key, inner]) => flat(inner, `${name}.${key}`))
    : [[name, String(value)]]

const printOf = ({fingerprint, edges, knee}: Measured): Readonly<Record<string, string>> => {
  // rates that are raised are another profile
  const profile = knee ? `${fingerprint.profile}, raised` : fingerprint.profile
  const whole: Fingerprint & {edges: number} = {...fingerprint, profile, edges: edges.length}
  return Object.fromEntries(members.flatMap((member) => flat(whole[member], member)))
}

/** In what two runs are not alike; empty where they may be compared. */
export const differences = (first: Measured, second: Measured): readonly Difference[] => {
  const [one, other] = [printOf(first), printOf(second)]
  return Object.keys({...one, ...other})
    .filter((member) => one[member] !== other[member])
    .map((member) => ({member, first: one[member] ?? 'none', second: other[member] ?? 'none'}))
}

type Figure = {
  readonly figure: string
  readonly unit: Unit
  readonly better: 'more' | 'less'
  /** The share of the median that two runs of the same thing differ by without a reason, where each has several repetitions. */
  readonly tolerance: number
  /** A difference below it is never worth a word, in the figure's own unit. */
  readonly floor: number
  readonly of: (repetition: Repetition) => number | null
}

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0)

/** CPU of all processes of that name for each 1,000 items that went through them, in milliseconds. */
const costOf = (processes: readonly ProcessCost[]): number | null => {
  const costs = processes.filter(({coresPer1000}) => coresPer1000 !== null && coresPer1000 > 0)
  const thousands = sum(costs.map(({cores, coresPer1000}) => cores / (coresPer1000 ?? 1)))
  return thousands > 0 ? (sum(costs.map(({cores}) => cores)) / thousands) * 1000 : null
}

/** They make the load, and are none of what it is made for. */
const beside = ['telemetrygen', 'lkeobs']

/** All that is compared of a run. The tolerances are those of a small machine that is shared with others. */
const figuresOf = ({repetitions}: Measured): readonly Figure[] => {
  const names = (of: (repetition: Repetition) => readonly string[]) => [...new Set(repetitions.flatMap(of))]
  const named = ({processes}: Repetition, name: string) => processes.filter(({process}) => process === name)
  const each = signals.filter((signal) => repetitions.some((repetition) => repetition.signals[signal].offered > 0))
  const processes = names(({processes: costs}) => costs.map(({process}) => process)).filter((name) => !beside.includes(name))
  return [
    ...each.flatMap((signal): readonly Figure[] => [
      {
        figure: `${signal} lost`,
        unit: 'items',
        better: 'less',
        tolerance: 0,
        floor: 0,
        of: (repetition) => repetition.signals[signal].lost,
      },
      {
        figure: `${signal} stored`,
        unit: 'items/s',
        better: 'more',
        tolerance: 0.05,
        floor: 1,
        of: ({signals: {[signal]: balance}, windowSeconds}) => (balance.stored === null ? null : balance.stored / windowSeconds),
      },
      ...(['p50', 'p99'] as const).map((quantile): Figure => ({
        figure: `${signal} latency ${quantile}`,
        unit: 'ms',
        better: 'less',
        tolerance: quantile === 'p50' ? 0.25 : 0.5,
        floor: quantile === 'p50' ? 250 : 500,
        of: (repetition) => repetition.signals[signal].latencyMs[quantile],
      })),
    ]),
    ...processes.flatMap((name): readonly Figure[] => [
      {
        figure: `${name} CPU`,
        unit: 'ms CPU per 1,000 items',
        better: 'less',
        tolerance: 0.15,
        floor: 0.5,
        of: (repetition) => costOf(named(repetition, name)),
      },
      {
        figure: `${name} memory`,
        unit: 'bytes',
        better: 'less',
        // it depends on what the process did before
        tolerance: 0.5,
        floor: 50e6,
        of: (repetition) => Math.max(...named(repetition, name).map(({residentBytesMost}) => residentBytesMost)),
      },
    ]),
    ...names(({wire}) => wire.map(({hop}) => hop)).map((hop): Figure => ({
      figure: `${hop} wire`,
      unit: 'bytes per item',
      better: 'less',
      tolerance: 0.05,
      floor: 1,
      of: ({wire}) => wire.find((found) => found.hop === hop)?.bytesPerItem ?? null,
    })),
  ]
}

/** The median is the middle of an odd number of values, the mean of the two middle ones otherwise; NaN of none. */
export const spreadOf = (values: readonly number[]): Spread => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (index: number) => sorted[index] ?? Number.NaN
  const middle = (sorted.length - 1) / 2
  return {median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2, least: at(0), most: at(sorted.length - 1)}
}

const spreadIn = ({repetitions}: Measured, {of}: Figure): Spread | undefined => {
  const values = repetitions.map(of).filter((value) => value !== null && Number.isFinite(value))
  return values.length === 0 ? undefined : spreadOf(values as readonly number[])
}

/**
 * A difference counts when it is more than the tolerance of its figure, more than what the repetitions of both runs
 * spread by, and more than the floor. One repetition shows no spread, so there the tolerance is doubled.
 */
const comparedOf = (figure: Figure, first: Spread, second: Spread, single: boolean): Compared => {
  const apart = second.median - first.median
  const spread = (first.most - first.least + second.most - second.least) / 2
  const tolerance = figure.tolerance * (single ? 2 : 1)
  const noise = Math.max(tolerance, first.median === 0 ? 0 : spread / first.median)
  const isNoise = Math.abs(apart) <= Math.max(tolerance * first.median, spread, figure.floor)
  const result = isNoise ? 'no change' : apart > 0 === (figure.better === 'more') ? 'better' : 'worse'
  const ratio = first.median === 0 ? null : second.median / first.median
  return {figure: figure.figure, unit: figure.unit, first, second, ratio, noise, result}
}

/** The second run against the first. Throws LKO-9002 where they are not alike in anything but what `despite` names. */
export const compare = (first: Measured, second: Measured, despite: readonly Member[] = []): Comparison => {
  const differ = differences(first, second)
  const unlike = differ.filter(({member}) => !despite.some((name) => member === name || member.startsWith(`${name}.`)))
  if (unlike.length > 0)
    throw new LkeobsError(
      'LKO-9002',
      [
        `${first.run} and ${second.run} differ in what they measured:`,
        ...unlike.map((difference) => `  ${difference.member}: ${difference.first} and ${difference.second}`),
      ].join('\n'),
      {next: ['lkeobs loadtest list']},
    )
  const single = Math.min(first.repetitions.length, second.repetitions.length) < 2
  const known = new Map([...figuresOf(first), ...figuresOf(second)].map((figure) => [figure.figure, figure]))
  const both = [...known.values()].map((figure) => ({figure, one: spreadIn(first, figure), other: spreadIn(second, figure)}))
  const figures = both.flatMap(({figure, one, other}) => (one && other ? [comparedOf(figure, one, other, single)] : []))
  const missing = both.filter(({one, other}) => !one !== !other).map(({figure: {figure}}) => figure)
  const result = (['worse', 'better'] as const).find((word) => figures.some((figure) => figure.result === word)) ?? 'no change'
  return {first: first.run, second: second.run, despite: differ, figures, missing, result}
}
