import {setTimeout as sleep} from 'node:timers/promises'
import type {Signal} from '../../src/collector/config.ts'
import {createHttp} from '../../src/tools/http.ts'
import {sendOtlp} from '../../src/tools/otlp.ts'
import {canaryOf, type Item, type Source, sourceOf} from '../../src/verify/proof/item.ts'
import {storedOf} from '../../src/verify/proof/stored.ts'
import type {DataLab} from './data-lab.ts'

const http = createHttp()

/** Numbered good items of one signal through one edge. */
export type GoodWay = {
  readonly edge: string
  readonly signal: Signal
  readonly source: Source
  /** What the agent said yes to. */
  readonly accepted: Item[]
  /** What it said otherwise, each once. */
  readonly refusals: Set<string>
}

type Wish = {readonly edges: readonly string[]; readonly signals: readonly Signal[]; readonly perSecond: number}

/** A workload that sends one item at a time and offers none twice: what is refused is not accepted. */
export const startGood = (lab: DataLab, {edges, signals, perSecond}: Wish) => {
  const run = Math.random().toString(16).slice(2, 10)
  let isOver = false
  const ways = edges.flatMap((edge) =>
    signals.map((signal): GoodWay => ({edge, signal, source: sourceOf(run, edge), accepted: [], refusals: new Set()})),
  )
  const flow = async (way: GoodWay, startMs: number): Promise<void> => {
    let ms = 0
    for (let sequence = 1; ; sequence++) {
      await sleep(Math.max(0, startMs + ((sequence - 1) * 1000) / perSecond - Date.now()))
      if (isOver) return
      ms = Math.max(ms + 1, Date.now())
      const item = {sequence, ms}
      const answer = await sendOtlp(http, lab.otlp(way.edge), way.signal, canaryOf(way.source, item))
      if (answer === true) way.accepted.push(item)
      else way.refusals.add(answer)
    }
  }
  const startMs = Date.now()
  const flowing = ways.map((way, index) => flow(way, startMs + (index * 1000) / perSecond / ways.length))
  return {
    ways: ways as readonly GoodWay[],
    async stop(): Promise<void> {
      isOver = true
      await Promise.all(flowing)
    },
  }
}

const missingIn = async (lab: DataLab, {signal, source}: GoodWay, items: readonly Item[]): Promise<readonly Item[]> => {
  const found = await storedOf[signal](http, lab.stores, source, items)
  return items.filter(({sequence}) => !found.has(sequence))
}

export type GoodResult = {
  readonly edge: string
  readonly signal: Signal
  readonly accepted: number
  readonly lost: number
  readonly refusals: readonly string[]
}

/** Asks the stores for all that was accepted, by its ids, until all is there or the time is over. */
export const countGood = async (lab: DataLab, ways: readonly GoodWay[], withinMs: number) => {
  const began = Date.now()
  const missing = new Map<GoodWay, readonly Item[]>(ways.map((way) => [way, way.accepted]))
  const left = () => [...missing.values()].reduce((sum, {length}) => sum + length, 0)
  for (;;) {
    for (const [way, items] of missing)
      // a store that starts again does not answer
      if (items.length > 0) missing.set(way, await missingIn(lab, way, items).catch(() => items))
    if (left() === 0 || Date.now() - began > withinMs) break
    await sleep(250)
  }
  const results = ways.map((way): GoodResult => {
    const {edge, signal, accepted, refusals} = way
    return {edge, signal, accepted: accepted.length, lost: missing.get(way)?.length ?? 0, refusals: [...refusals]}
  })
  return {results, ms: Date.now() - began, lost: left(), accepted: results.reduce((sum, {accepted}) => sum + accepted, 0)}
}

/** How long items take from their making until the store has them, in ms: looked for as fast as the store answers. */
export const watchLatency = (lab: DataLab, ways: readonly GoodWay[], everyMs = 100) => {
  const over = new AbortController()
  const watch = async (way: GoodWay): Promise<readonly (readonly [madeMs: number, tookMs: number])[]> => {
    const took: (readonly [number, number])[] = []
    let next = 0
    let pending: readonly Item[] = []
    while (!over.signal.aborted || pending.length > 0) {
      pending = [...pending, ...way.accepted.slice(next)]
      next = way.accepted.length
      if (pending.length > 0) {
        const missing = new Set(await missingIn(lab, way, pending).catch(() => pending))
        const now = Date.now()
        for (const item of pending) if (!missing.has(item)) took.push([item.ms, now - item.ms])
        pending = pending.filter((item) => missing.has(item))
        const giveUp = over.signal.aborted && pending.every(({ms}) => now - ms > 120_000)
        if (giveUp) return [...took, ...pending.map(({ms}) => [ms, Infinity] as const)]
      }
      await sleep(everyMs)
    }
    return took
  }
  const watching = ways.map(watch)
  return {
    /** By signal of each edge: the time each item was made, and how long it took. */
    async end() {
      over.abort()
      const all = await Promise.all(watching)
      return ways.map(({edge, signal}, index) => ({edge, signal, took: all[index] ?? []}))
    },
  }
}

export const percentile = (values: readonly number[], share: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}
