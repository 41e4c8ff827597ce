import {randomBytes} from 'node:crypto'
import {setTimeout as sleep} from 'node:timers/promises'
import type {Signal} from '../../src/collector/config.ts'
import {createHttp} from '../../src/tools/http.ts'
import {linesLoki, readTempo, samplesPrometheus} from '../../src/tools/stores.ts'
import type {DataLab} from './data-lab.ts'
import {attributes, encodeOtlp} from './otlp-proto.ts'
import {postOtlp} from './post-otlp.ts'

const http = createHttp()
const nsPerMs = 1_000_000n

type Numbered = {readonly sequence: number; readonly ns: bigint}

/** Numbered items of one workload, of a size: what was accepted, and how they are found again. */
export type Bulk = {
  readonly signal: Signal
  readonly edge: string
  readonly run: string
  readonly service: string
  readonly accepted: Numbered[]
  /** What an agent said that did not take a request, and how often. */
  readonly refusals: Map<string, number>
}

export type BulkWish = {
  readonly signal: Signal
  readonly edge: string
  readonly count: number
  /** Of the text of one item. */
  readonly bytes: number
  readonly perRequest?: number
  /** Requests a second; as fast as they are answered unless given. */
  readonly perSecond?: number
  /** Spans of one trace. */
  readonly inTrace?: number
  /** When an item was made, in ns; now unless given. Later ones have later times. */
  readonly at?: (sequence: number) => bigint
  /** What is refused is offered again after a while, as an SDK would, until it is accepted or this returns true. */
  readonly givesUp?: (message: string) => boolean
}

const words = ['at', 'com.example.orders', 'Handler', 'invoke', 'Native Method', 'line', 'caused by', 'timeout', 'retry']

/** Text that compresses as stack traces do. */
const textOf = (head: string, sequence: number, bytes: number): string => {
  let text = `${head} `
  for (let state = sequence + 1; text.length < bytes;) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    text += `${words[state % words.length]} ${state.toString(36)} `
  }
  return text.slice(0, Math.max(bytes, head.length + 1))
}

const traceOf = (run: string, sequence: number, inTrace: number): string =>
  `${run}${Math.floor(sequence / inTrace)
    .toString(16)
    .padStart(24, '0')}`
const spanOf = (sequence: number): string => (sequence + 1).toString(16).padStart(16, '0')

export const newBulk = ({signal, edge}: Pick<BulkWish, 'signal' | 'edge'>): Bulk => {
  const run = randomBytes(4).toString('hex')
  return {signal, edge, run, service: `bulk-${run}`, accepted: [], refusals: new Map()}
}

const requestOf = ({signal, run, service}: Bulk, items: readonly Numbered[], bytes: number, inTrace: number): Buffer => {
  const resource = {attributes: attributes({'service.name': service})}
  if (signal === 'logs') {
    const logRecords = items.map(({sequence, ns}) => ({
      timeUnixNano: ns,
      severityNumber: 9,
      body: {stringValue: textOf(`bulk ${run} ${sequence}`, sequence, bytes)},
    }))
    return encodeOtlp('logs', {resourceLogs: [{resource, scopeLogs: [{logRecords}]}]})
  }
  if (signal === 'traces') {
    const spans = items.map(({sequence, ns}) => ({
      traceId: traceOf(run, sequence, inTrace),
      spanId: spanOf(sequence),
      name: 'bulk',
      kind: 3,
      startTimeUnixNano: ns,
      endTimeUnixNano: ns + 1000n,
      attributes: attributes({'db.query.text': textOf('select', sequence, bytes)}),
    }))
    return encodeOtlp('traces', {resourceSpans: [{resource, scopeSpans: [{spans}]}]})
  }
  const dataPoints = items.map(({sequence, ns}) => ({timeUnixNano: ns, asDouble: sequence}))
  return encodeOtlp('metrics', {resourceMetrics: [{resource, scopeMetrics: [{metrics: [{name: `bulk.${run}`, gauge: {dataPoints}}]}]}]})
}

/** Sends as many items; may be called again for more of the same. Ends when all were offered, and accepted where it does not give up. */
export const sendBulk = async (lab: DataLab, bulk: Bulk, wish: BulkWish): Promise<void> => {
  const {count, bytes, perRequest = 200, perSecond, inTrace = 200, at, givesUp = () => false} = wish
  const first = (bulk.accepted.at(-1)?.sequence ?? -1) + 1
  const began = Date.now()
  let ns = 0n
  for (let from = 0; from < count; from += perRequest) {
    if (perSecond !== undefined) await sleep(Math.max(0, began + (from / perRequest / perSecond) * 1000 - Date.now()))
    const items = Array.from({length: Math.min(perRequest, count - from)}, (_, index): Numbered => {
      const sequence = first + from + index
      // each its own ms: a store keeps one sample of a series in it
      const made = at?.(sequence) ?? BigInt(Date.now()) * nsPerMs
      ns = made > ns ? made : ns + nsPerMs
      return {sequence, ns}
    })
    const body = requestOf(bulk, items, bytes, inTrace)
    for (;;) {
      const {status, message} = await postOtlp(lab.otlp(wish.edge), bulk.signal, body)
      if (status === 200) {
        bulk.accepted.push(...items)
        break
      }
      bulk.refusals.set(message, (bulk.refusals.get(message) ?? 0) + 1)
      if (givesUp(message)) break
      await sleep(500)
    }
  }
}

const linesAtMost = 5000

/** The sequence numbers found in Loki, each as often as it is there. */
const inLoki = async (lab: DataLab, {run, service}: Bulk, items: readonly Numbered[]): Promise<number[]> => {
  const found: number[] = []
  for (let from = 0; from < items.length; from += linesAtMost - 1) {
    const part = items.slice(from, from + linesAtMost - 1)
    const query = `{service_name="${service}"} | line_format "{{ __line__ | trunc 40 }}"`
    const [fromMs, toMs] = [Number((part[0]?.ns ?? 0n) / nsPerMs), Number((part.at(-1)?.ns ?? 0n) / nsPerMs) + 1]
    const lines = await linesLoki(http, lab.stores.loki, query, {fromMs, toMs, limit: linesAtMost})
    if (!lines) throw new Error('Loki does not answer')
    found.push(...lines.flatMap((line) => (line.startsWith(`bulk ${run} `) ? [Number(line.split(' ')[2])] : [])))
  }
  return found
}

const inTempo = async (lab: DataLab, {run}: Bulk, items: readonly Numbered[], inTrace: number): Promise<number[]> => {
  const ids = [...new Set(items.map(({sequence}) => traceOf(run, sequence, inTrace)))].values()
  const found: number[] = []
  const ask = async () => {
    for (const id of ids) {
      const trace = (await readTempo(http, lab.stores.tempo, id)) ?? ''
      // ids are in base64 there
      for (const [, spanId = ''] of trace.matchAll(/"spanId":"([^"]+)"/g))
        found.push(Number.parseInt(Buffer.from(spanId, 'base64').toString('hex'), 16) - 1)
    }
  }
  await Promise.all(Array.from({length: 6}, ask))
  return found
}

const inPrometheus = async (lab: DataLab, {run, edge}: Bulk, items: readonly Numbered[]): Promise<number[]> => {
  const found: number[] = []
  for (let from = 0; from < items.length; from += 20_000) {
    const part = items.slice(from, from + 20_000)
    const period = {fromMs: Number((part[0]?.ns ?? 0n) / nsPerMs), toMs: Number((part.at(-1)?.ns ?? 0n) / nsPerMs)}
    const values = await samplesPrometheus(http, lab.stores.prometheus, `bulk_${run}{lkeobs_edge="${edge}"}`, period)
    if (!values) throw new Error('Prometheus does not answer')
    found.push(...values)
  }
  return found
}

export type BulkResult = {
  readonly accepted: number
  readonly stored: number
  readonly missing: readonly number[]
  readonly twice: number
  readonly ms: number
}

/** Looks for all that was accepted, by its numbers, until all is there or the time is over. */
export const countBulk = async (lab: DataLab, bulk: Bulk, withinMs: number, inTrace = 200): Promise<BulkResult> => {
  const began = Date.now()
  for (;;) {
    const items = bulk.accepted
    const asked =
      bulk.signal === 'logs'
        ? inLoki(lab, bulk, items)
        : bulk.signal === 'traces'
          ? inTempo(lab, bulk, items, inTrace)
          : inPrometheus(lab, bulk, items)
    const found = await asked.catch((): number[] => [])
    const distinct = new Set(found)
    const missing = items.filter(({sequence}) => !distinct.has(sequence)).map(({sequence}) => sequence)
    const ms = Date.now() - began
    if (missing.length === 0 || ms > withinMs)
      return {accepted: items.length, stored: items.length - missing.length, missing, twice: found.length - distinct.size, ms}
    await sleep(1000)
  }
}

/** One line of figures, for the record. */
export const figures = (what: string, values: object): void => console.log(`${what}: ${JSON.stringify(values)}`)
