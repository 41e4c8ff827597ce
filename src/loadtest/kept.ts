import type {Signal} from '../collector/config.ts'
import type {Stores} from '../platforms/platform.ts'
import type {Http} from '../tools/http.ts'
import {countLinesLoki, countPrometheus, type Period, searchTempo, spansTempo} from '../tools/stores.ts'
import {service} from './generators.ts'

/** What is looked for: the name of the run on each item, and how many spans each of its traces has. */
export type Sought = {readonly run: string; readonly period: Period; readonly spansPerTrace: number; readonly generated: number}

/** How many items of a run the store has; null where it does not answer. */
type Count = (http: Http, stores: Stores, sought: Sought) => Promise<number | null>

/** Periods of at most so long, each beginning where the one before ends. */
const periodsOf = ({fromMs, toMs}: Period, longestMs: number): readonly Period[] =>
  Array.from({length: Math.ceil((toMs - fromMs) / longestMs)}, (_, index) => ({
    fromMs: fromMs + index * longestMs,
    toMs: Math.min(toMs, fromMs + (index + 1) * longestMs),
  }))

const minuteMs = 60_000

/** Minute by minute, so that no query touches more samples than a store allows. */
const summed = async (period: Period, count: (part: Period) => Promise<number | undefined>): Promise<number | null> => {
  let sum = 0
  for (const part of periodsOf(period, minuteMs)) {
    const found = await count(part)
    if (found === undefined) return null
    sum += found
  }
  return sum
}

const secondsAtOnce = 5

/** A trace asked for by its id costs Tempo some milliseconds of a processor. */
const tracesSideBySide = 4

/**
 * Tempo counts spans only for those who run its metrics generator. A search names the traces of some seconds, and of each how many
 * spans match; a trace at the border is found twice, and counted once. Of one that came in two requests a search may see one part
 * only: each that seems not whole is asked for by its id.
 */
const inTempo: Count = async (http, {tempo}, {run, period, spansPerTrace, generated}) => {
  const spans = new Map<string, number>()
  for (const part of periodsOf(period, secondsAtOnce * 1000)) {
    const query = `{ resource.service.name = "${service}" && span.lkeobs.run = "${run}" }`
    const found = await searchTempo(http, tempo, query, {...part, limit: Math.max(1000, generated)})
    if (found === undefined) return null
    for (const [trace, matched] of found) spans.set(trace, Math.max(matched, spans.get(trace) ?? 0))
  }
  const parts = [...spans].filter(([, matched]) => matched !== spansPerTrace).values()
  const askOneByOne = async () => {
    for (const [trace, matched] of parts) {
      const whole = await spansTempo(http, tempo, trace, {key: 'service.name', value: service})
      spans.set(trace, Math.max(matched, whole ?? 0))
    }
  }
  await Promise.all(Array.from({length: tracesSideBySide}, askOneByOne))
  return [...spans.values()].reduce((sum, matched) => sum + matched, 0)
}

/** Counted in the stores themselves, each item by the run it names. */
export const keptOf: Readonly<Record<Signal, Count>> = {
  metrics: (http, {prometheus}, {run, period}) =>
    summed(period, (part) => countPrometheus(http, prometheus, `{__name__="lkeobs_loadtest",lkeobs_run="${run}"}`, part)),
  logs: (http, {loki}, {run, period}) =>
    summed(period, (part) => countLinesLoki(http, loki, `{service_name="${service}"} | lkeobs_run="${run}"`, part)),
  traces: inTempo,
}
