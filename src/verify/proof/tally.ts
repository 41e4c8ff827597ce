import {perSignal, type Signal, signals} from '../../collector/config.ts'
import type {Item} from './item.ts'
import type {Way} from './traffic.ts'

export type Counts = Readonly<Record<Signal, number>>

/** How often each item is in a store, by sequence number; what is not there is left out. */
export type Copies = ReadonlyMap<number, number>

/** `sent` is `stored` and `lost` together. */
export type Tally = {
  /** Accepted by the agent. */
  readonly sent: Counts
  /** Of these, found in the store of the hub by their ids. */
  readonly stored: Counts
  readonly lost: Counts
  /**
   * Of these, found more than once. No store keeps the same item twice (a sample of the same time and value, a line of the
   * same time and text, a span of the same id), so a repeated delivery alone duplicates nothing: what is counted here got
   * other labels on the way, as through two agents.
   */
  readonly duplicated: Counts
  /** Offered again and again and never accepted. A workload would still have them: they are not lost. */
  readonly refused: Counts
}

/** Consecutive items that are lost; `second` is when the first of them was made, from the beginning of the proof. */
export type Gap = {readonly first: number; readonly last: number; readonly second: number}

/** What became of the items of one way. */
export type Fate = Readonly<Record<keyof Tally, number>> & {readonly signal: Signal; readonly missing: readonly Gap[]}

/** What is not there, in the order it was made. */
export const missingOf = (items: readonly Item[], copies: Copies): readonly Item[] => items.filter(({sequence}) => !copies.has(sequence))

const gapsOf = (missing: readonly Item[], startedMs: number): readonly Gap[] => {
  const gaps: Gap[] = []
  for (const {sequence, ms} of missing) {
    const open = gaps.at(-1)
    if (open?.last === sequence - 1) gaps[gaps.length - 1] = {...open, last: sequence}
    else gaps.push({first: sequence, last: sequence, second: (ms - startedMs) / 1000})
  }
  return gaps
}

export const fateOf = (
  {signal, accepted, waiting}: Pick<Way, 'signal' | 'accepted' | 'waiting'>,
  copies: Copies,
  startedMs: number,
): Fate => {
  const missing = missingOf(accepted, copies)
  return {
    signal,
    sent: accepted.length,
    stored: accepted.length - missing.length,
    lost: missing.length,
    duplicated: accepted.filter(({sequence}) => (copies.get(sequence) ?? 0) > 1).length,
    refused: waiting.length,
    missing: gapsOf(missing, startedMs),
  }
}

/** Of each signal, what several ways have together. */
const added = (fates: readonly Fate[], figure: keyof Tally): Counts => {
  return perSignal((wanted) => fates.reduce((sum, fate) => (fate.signal === wanted ? sum + fate[figure] : sum), 0))
}

export const tallyOf = (fates: readonly Fate[]): Tally => ({
  sent: added(fates, 'sent'),
  stored: added(fates, 'stored'),
  lost: added(fates, 'lost'),
  duplicated: added(fates, 'duplicated'),
  refused: added(fates, 'refused'),
})

/** All three signals together. */
export const together = (counts: Counts): number => signals.reduce((sum, signal) => sum + counts[signal], 0)
