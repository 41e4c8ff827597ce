import {randomBytes} from 'node:crypto'
import type {Signal} from '../../src/collector/config.ts'
import {attributes, encodeOtlp} from '../support/otlp-proto.ts'

const second = 1_000_000_000n
export const hours = (count: number): bigint => BigInt(count) * 3600n * second
export const seconds = (count: number): bigint => BigInt(count) * second

/** What a request is made with. */
export type At = {
  /** The number of the request, from 0. */
  readonly i: number
  /** Now, in ns. No two requests of a case have the same. */
  readonly now: bigint
  /** Of this run of the case: for names that nobody else has. */
  readonly run: string
  /** The `service.name` by which what became of the item is found. */
  readonly workload: string
  /** A new trace id, which is looked for in Tempo afterwards. */
  traceId(): string
  /** One that all requests share. */
  readonly sharedTraceId: string
  spanId(): string
}

/** What becomes of the items of one request. What is not named is 0. */
export type Becomes = {
  /** Found in the store. Of metrics: samples that the case's selector finds. */
  readonly stored?: number
  /** Dead letters by reason. */
  readonly deadLetters?: Readonly<Record<string, number>>
  /** Stored, but not as it was sent: by reason. */
  readonly repaired?: Readonly<Record<string, number>>
  /** The agent refuses the request at once, and says this. */
  readonly refused?: RegExp
}

export type Case = {
  readonly name: string
  readonly signal: Signal
  /** `{resourceLogs: […]}` and so on. */
  readonly request: (at: At) => object
  /** Where the stores leave a choice: one of these. */
  readonly becomes: Becomes | readonly Becomes[]
  /** Requests, 5 a second; 25 unless given. */
  readonly requests?: number
  /** Where it is sent; edge-1 unless given. */
  readonly edges?: readonly string[]
  /** How it is found in the store, as PromQL or LogQL. By its workload unless given. */
  readonly selector?: (at: Pick<At, 'run' | 'workload'>) => string
  /** How far around now it is looked for, in hours: [before, after]. */
  readonly within?: readonly [before: number, after: number]
  /** A query of Prometheus that must come to this when so many requests were accepted. */
  readonly value?: {readonly query: (at: Pick<At, 'run' | 'workload'>) => string; readonly is: (accepted: number) => number}
  /** It is tried with a store away and a gateway killed in every run, not only when all are. */
  readonly always?: true
}

type Fields = Readonly<Record<string, unknown>>
type Keys = Parameters<typeof attributes>[0]

export const resource = (workload: string, more: Keys = {}) => ({
  attributes: [...attributes({'service.name': workload}), ...attributes(more)],
})

/** Requests with one resource. */
export const metricsOf = ({workload}: At, ...metrics: readonly Fields[]) => ({
  resourceMetrics: [{resource: resource(workload), scopeMetrics: [{metrics}]}],
})
export const logsOf = ({workload}: At, ...logRecords: readonly Fields[]) => ({
  resourceLogs: [{resource: resource(workload), scopeLogs: [{logRecords}]}],
})
export const spansOf = ({workload}: At, ...spans: readonly Fields[]) => ({
  resourceSpans: [{resource: resource(workload), scopeSpans: [{spans}]}],
})

/** A gauge with one point of now; fields of the point may be others. */
export const gauge = ({now, i}: At, name: string | Uint8Array, point: Fields = {}) => ({
  name,
  gauge: {dataPoints: [{timeUnixNano: now, asInt: i, ...point}]},
})
export const record = ({now, run, i}: At, fields: Fields = {}) => ({
  timeUnixNano: now,
  severityNumber: 9,
  body: {stringValue: `case ${run} ${i}`},
  ...fields,
})
export const span = (at: At, fields: Fields = {}) => ({
  traceId: at.traceId(),
  spanId: at.spanId(),
  name: 'case',
  kind: 1,
  startTimeUnixNano: at.now,
  endTimeUnixNano: at.now + 1_000_000n,
  ...fields,
})

export const numberedAttributes = (count: number) =>
  attributes(Object.fromEntries(Array.from({length: count}, (_, index) => [`attribute.${index}`, 'value'])))

/** Bytes that are no UTF-8: a continuation byte first, then one that never occurs. */
export const noUtf8 = (before: string): Buffer => Buffer.concat([Buffer.from(before), Buffer.from([0x80, 0xff])])

export const choicesOf = ({becomes}: Case): readonly Becomes[] => (Array.isArray(becomes) ? becomes : [becomes as Becomes])

/** A case as it is sent: each request once, encoded. */
export const runOf = (one: Case) => {
  const run = randomBytes(4).toString('hex')
  const workload = `case-${one.name}-${run}`
  const sharedTraceId = randomBytes(16).toString('hex')
  const traceIds = [sharedTraceId]
  let last = 0n
  return {
    run,
    workload,
    /** All trace ids that were given out. */
    traceIds: traceIds as readonly string[],
    encoded(i: number): Buffer {
      const now = BigInt(Date.now()) * 1_000_000n
      last = now > last ? now : last + 1_000_000n
      const at: At = {
        i,
        now: last,
        run,
        workload,
        sharedTraceId,
        traceId() {
          const id = randomBytes(16).toString('hex')
          traceIds.push(id)
          return id
        },
        spanId: () => randomBytes(8).toString('hex'),
      }
      return encodeOtlp(one.signal, one.request(at))
    },
  }
}
