import type {Signal} from '../../src/collector/config.ts'
import {encodeOtlp} from '../support/otlp-proto.ts'

/** A generator of numbers that gives the same ones for a seed (mulberry32). */
const numbers = (seed: number) => {
  let state = seed >>> 0
  return (): number => {
    state = (state + 0x6d_2b_79_f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

type Fields = Readonly<Record<string, unknown>>

/** Values that nobody would send on purpose, all of them as valid protocol buffers. */
const hostile = (seed: number) => {
  const next = numbers(seed)
  const below = (count: number) => Math.floor(next() * count)
  const oneOf = <T>(all: readonly T[]): T => all[below(all.length)] as T
  const maybe = (share: number) => next() < share
  const several = <T>(most: number, make: (index: number) => T): T[] => Array.from({length: below(most + 1)}, (_, index) => make(index))
  const bytes = (count: number) => Buffer.from(Array.from({length: count}, () => below(256)))

  const now = () => BigInt(Date.now()) * 1_000_000n
  const time = (): bigint =>
    maybe(0.6)
      ? now() - BigInt(below(60_000)) * 1_000_000n
      : oneOf([
          () => 0n,
          () => 1n,
          () => now() / 1000n,
          () => now() / 1_000_000n,
          () => now() / 1_000_000_000n,
          () => now() - BigInt(below(30)) * 3_600_000_000_000n,
          () => now() - BigInt(below(900)) * 86_400_000_000_000n,
          () => now() + BigInt(below(900)) * 3_600_000_000_000n,
          () => now() * 1000n,
          () => 2n ** 63n - 1n,
          () => 2n ** 63n,
          () => 2n ** 64n - 1n,
        ])()

  const text = (): string | Uint8Array =>
    oneOf<() => string | Uint8Array>([
      () => '',
      () => 'plain',
      () => `word.${below(1000)}`,
      () => '注文',
      () => '%$/ \u0000\n\u2028',
      () => '__name__',
      () => 'le',
      () => '1',
      () => '\uFEFF\u202E{{.}}${env:PATH}',
      () => '\'; drop table \\ " }',
      () => bytes(below(12)),
      () => 'x'.repeat(below(200)),
      () => (maybe(0.004) ? 'y'.repeat(300_000) : 'y'.repeat(70)),
      () => '😀'.repeat(below(60)),
    ])()
  const integer = (): bigint => oneOf([0n, 1n, -1n, 7n, 2n ** 31n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)])
  const number = (): number =>
    oneOf([0, -0, 1, -1.5, 1e-320, 1e308, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.MAX_SAFE_INTEGER])
  const small = () => oneOf([0, 1, 2, 3, 9, 25, 99, -1, 2_147_483_647])

  const value = (depth = 0): Fields =>
    oneOf<() => Fields>([
      () => ({stringValue: text()}),
      () => ({stringValue: text()}),
      () => ({intValue: integer()}),
      () => ({doubleValue: number()}),
      () => ({boolValue: maybe(0.5)}),
      () => ({bytesValue: bytes(below(40))}),
      () => ({}),
      () => (depth > 4 ? {} : {arrayValue: {values: several(4, () => value(depth + 1))}}),
      () => (depth > 4 ? {} : {kvlistValue: {values: several(4, () => ({key: text(), value: value(depth + 1)}))}}),
      () => (maybe(0.1) ? deep(100) : {}),
    ])()
  const deep = (levels: number): Fields => (levels === 0 ? {intValue: 1} : {arrayValue: {values: [deep(levels - 1)]}})
  const attributes = (most = 6) => several(maybe(0.004) ? 300 : most, () => (maybe(0.03) ? {} : {key: text(), value: value()}))
  const id = (length: number): Uint8Array | undefined => (maybe(0.1) ? undefined : maybe(0.1) ? Buffer.alloc(length) : bytes(length))
  const traceId = () => id(16)
  const spanId = () => id(8)

  const exemplar = () => ({
    timeUnixNano: time(),
    asDouble: number(),
    spanId: spanId(),
    traceId: traceId(),
    filteredAttributes: attributes(2),
  })
  const common = () => ({startTimeUnixNano: time(), timeUnixNano: time(), attributes: attributes(), flags: maybe(0.9) ? 0 : small()})
  const numberPoint = () => ({...common(), ...(maybe(0.5) ? {asInt: integer()} : {asDouble: number()}), exemplars: several(2, exemplar)})
  const histogramPoint = () => ({
    ...common(),
    count: integer(),
    sum: number(),
    bucketCounts: several(6, integer),
    explicitBounds: several(5, number),
    exemplars: several(2, exemplar),
    min: number(),
    max: number(),
  })
  const buckets = () => ({offset: oneOf([0, 1, -7, 2_147_483_647, -2_147_483_648]), bucketCounts: several(8, () => BigInt(below(9)))})
  const exponentialPoint = () => ({
    ...common(),
    count: BigInt(below(40)),
    sum: number(),
    scale: oneOf([0, 2, 8, 20, -4, -11, 2_147_483_647]),
    zeroCount: BigInt(below(3)),
    positive: buckets(),
    negative: buckets(),
    zeroThreshold: number(),
  })
  const summaryPoint = () => ({
    ...common(),
    count: integer(),
    sum: number(),
    quantileValues: several(4, () => ({quantile: number(), value: number()})),
  })
  const temporality = () => ({aggregationTemporality: oneOf([0, 1, 2, 2, 2, 9])})
  const metric = () => ({
    name: text(),
    description: text(),
    unit: text(),
    ...oneOf<() => Fields>([
      () => ({gauge: {dataPoints: several(4, numberPoint)}}),
      () => ({sum: {dataPoints: several(4, numberPoint), isMonotonic: maybe(0.7), ...temporality()}}),
      () => ({histogram: {dataPoints: several(3, histogramPoint), ...temporality()}}),
      () => ({exponentialHistogram: {dataPoints: several(3, exponentialPoint), ...temporality()}}),
      () => ({summary: {dataPoints: several(3, summaryPoint)}}),
      () => ({}),
    ])(),
  })
  const logRecord = () => ({
    timeUnixNano: time(),
    observedTimeUnixNano: time(),
    severityNumber: small(),
    severityText: text(),
    body: maybe(0.9) ? value() : undefined,
    attributes: attributes(),
    flags: small(),
    traceId: traceId(),
    spanId: spanId(),
    eventName: text(),
  })
  const span = () => ({
    traceId: traceId(),
    spanId: spanId(),
    parentSpanId: spanId(),
    traceState: text(),
    name: text(),
    kind: small(),
    startTimeUnixNano: time(),
    endTimeUnixNano: time(),
    attributes: attributes(),
    events: several(3, () => ({timeUnixNano: time(), name: text(), attributes: attributes(3)})),
    links: several(3, () => ({traceId: traceId(), spanId: spanId(), traceState: text(), attributes: attributes(2)})),
    status: {code: small(), message: text()},
    flags: small(),
  })

  const resource = () => ({attributes: [...(maybe(0.8) ? [{key: 'service.name', value: value()}] : []), ...attributes(4)]})
  const scope = () => ({name: text(), version: text(), attributes: attributes(2)})
  const inResources = (key: string, scopes: string, items: string, make: () => object) => ({
    [key]: several(4, () => ({
      ...(maybe(0.9) && {resource: resource()}),
      [scopes]: several(2, () => ({...(maybe(0.8) && {scope: scope()}), schemaUrl: text(), [items]: several(8, make)})),
    })),
  })
  return {
    metrics: () => inResources('resourceMetrics', 'scopeMetrics', 'metrics', metric),
    logs: () => inResources('resourceLogs', 'scopeLogs', 'logRecords', logRecord),
    traces: () => inResources('resourceSpans', 'scopeSpans', 'spans', span),
  }
}

/** The hostile request of this seed and number: the same again whenever it is asked for, but for the times near now. */
export const hostileRequest = (signal: Signal, seed: number, number: number): Buffer =>
  encodeOtlp(signal, hostile(seed * 1_000_003 + number)[signal]())
