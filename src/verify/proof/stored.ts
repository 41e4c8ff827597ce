import type {Signal} from '../../collector/config.ts'
import {LkeobsError} from '../../errors.ts'
import type {Stores} from '../../platforms/platform.ts'
import type {Http} from '../../tools/http.ts'
import {linesLoki, samplesPrometheus, searchTempo, spansTempo, type Period} from '../../tools/stores.ts'
import {type Item, queries, sequenceOfText, sequenceOfTrace, type Source, traceIdOf} from './item.ts'
import type {Copies} from './tally.ts'

/** How often each of these items of a source is in the store. Throws LKO-2003 where the store does not answer: that is not zero. */
type Reader = (http: Http, stores: Stores, source: Source, items: readonly Item[]) => Promise<Copies>

type Items = readonly [Item, ...Item[]]

/** Items in their order, at most so many at once. */
const parts = (items: readonly Item[], most: number): readonly Items[] => {
  const [first, ...more] = items.slice(0, most)
  return first ? [[first, ...more], ...parts(items.slice(most), most)] : []
}

const periodOf = (items: Items): Period => ({fromMs: items[0].ms, toMs: (items.at(-1) ?? items[0]).ms})

/** What a store answered. */
const told = <T>(answer: T | undefined, store: string, base: string): T => {
  if (answer !== undefined) return answer
  throw new LkeobsError('LKO-2003', `${store} at ${base} does not answer, or not to this query.`, {next: ['lkeobs hub status']})
}

/** The copies of those that were asked for, whatever else is there. */
const counted = (items: readonly Item[], found: Iterable<readonly [sequence: number | undefined, copies: number]>): Copies => {
  const wanted = new Set(items.map(({sequence}) => sequence))
  const copies = new Map<number, number>()
  for (const [sequence, times] of found)
    if (sequence !== undefined && wanted.has(sequence) && times > 0) copies.set(sequence, (copies.get(sequence) ?? 0) + times)
  return copies
}

const samplesAtOnce = 10_000
/** The most that Loki returns for a query (limits_config.max_entries_limit_per_query). */
const linesAtMost = 5000
const tracesAtOnce = 2000
/** Fewer are asked for one by one: a search goes through all that the store has. */
const worthASearch = 50
/** A trace asked for by its id costs Tempo some milliseconds of a processor. */
const tracesSideBySide = 4

/** The sequence number is the sample's value. */
const inPrometheus: Reader = async (http, {prometheus}, source, items) => {
  const found: number[] = []
  for (const part of parts(items, samplesAtOnce)) {
    const values = await samplesPrometheus(http, prometheus, queries.metrics(source), periodOf(part))
    found.push(...told(values, 'Prometheus', prometheus))
  }
  return counted(
    items,
    found.map((sequence) => [sequence, 1]),
  )
}

/** The sequence number is in the line. An answer that is full may not be whole: it is asked for again in halves. */
const inLoki: Reader = async (http, {loki}, source, items) => {
  const linesOf = async (part: Items): Promise<readonly string[]> => {
    const lines = told(await linesLoki(http, loki, queries.logs(source), {...periodOf(part), limit: linesAtMost}), 'Loki', loki)
    if (lines.length < linesAtMost || part.length === 1) return lines
    const halves: string[] = []
    for (const half of parts(part, Math.ceil(part.length / 2))) halves.push(...(await linesOf(half)))
    return halves
  }
  const found: string[] = []
  for (const part of parts(items, linesAtMost - 1)) found.push(...(await linesOf(part)))
  return counted(
    items,
    found.map((line) => [sequenceOfText(source, line), 1]),
  )
}

/** What a search finds is there; what it does not find may have come just now, and is asked for by its id. */
const inTempo: Reader = async (http, {tempo}, source, items) => {
  const found = new Map<number | undefined, number>()
  for (const part of items.length < worthASearch ? [] : parts(items, tracesAtOnce)) {
    const wish = {...periodOf(part), limit: 2 * tracesAtOnce}
    const traces = told(await searchTempo(http, tempo, queries.traces(source), wish), 'Tempo', tempo)
    for (const [traceId, spans] of traces) found.set(sequenceOfTrace(source, traceId), spans)
  }
  const left = items.filter(({sequence}) => !found.has(sequence)).values()
  const askOneByOne = async () => {
    for (const {sequence} of left) {
      const spans = await spansTempo(http, tempo, traceIdOf(source, sequence), {key: 'lkeobs.edge', value: source.edge})
      found.set(sequence, told(spans, 'Tempo', tempo))
    }
  }
  await Promise.all(Array.from({length: tracesSideBySide}, askOneByOne))
  return counted(items, found)
}

export const storedOf: Readonly<Record<Signal, Reader>> = {metrics: inPrometheus, logs: inLoki, traces: inTempo}
