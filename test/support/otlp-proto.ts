/**
 * Requests of OTLP in protocol buffers, from objects shaped as in OTLP/JSON. It checks nothing: what no SDK would send can be sent,
 * such as strings that are no UTF-8 (as bytes), ids of any length, and times of any size.
 * Field numbers: github.com/open-telemetry/opentelemetry-proto; encoding: protobuf.dev/programming-guides/encoding.
 */
import type {Signal} from '../../src/collector/config.ts'

type Scalar = 'string' | 'bytes' | 'bool' | 'varint' | 'sint32' | 'fixed32' | 'fixed64' | 'double'
type MessageName = keyof typeof messages
type Field = readonly [number: number, type: string, packing?: 'packed']

const messages = {
  AnyValue: {
    stringValue: [1, 'string'],
    boolValue: [2, 'bool'],
    intValue: [3, 'varint'],
    doubleValue: [4, 'double'],
    arrayValue: [5, 'ArrayValue'],
    kvlistValue: [6, 'KeyValueList'],
    bytesValue: [7, 'bytes'],
  },
  ArrayValue: {values: [1, 'AnyValue']},
  KeyValueList: {values: [1, 'KeyValue']},
  KeyValue: {key: [1, 'string'], value: [2, 'AnyValue']},
  InstrumentationScope: {name: [1, 'string'], version: [2, 'string'], attributes: [3, 'KeyValue']},
  Resource: {attributes: [1, 'KeyValue'], droppedAttributesCount: [2, 'varint']},

  LogsRequest: {resourceLogs: [1, 'ResourceLogs']},
  ResourceLogs: {resource: [1, 'Resource'], scopeLogs: [2, 'ScopeLogs'], schemaUrl: [3, 'string']},
  ScopeLogs: {scope: [1, 'InstrumentationScope'], logRecords: [2, 'LogRecord'], schemaUrl: [3, 'string']},
  LogRecord: {
    timeUnixNano: [1, 'fixed64'],
    severityNumber: [2, 'varint'],
    severityText: [3, 'string'],
    body: [5, 'AnyValue'],
    attributes: [6, 'KeyValue'],
    droppedAttributesCount: [7, 'varint'],
    flags: [8, 'fixed32'],
    traceId: [9, 'bytes'],
    spanId: [10, 'bytes'],
    observedTimeUnixNano: [11, 'fixed64'],
    eventName: [12, 'string'],
  },

  TracesRequest: {resourceSpans: [1, 'ResourceSpans']},
  ResourceSpans: {resource: [1, 'Resource'], scopeSpans: [2, 'ScopeSpans'], schemaUrl: [3, 'string']},
  ScopeSpans: {scope: [1, 'InstrumentationScope'], spans: [2, 'Span'], schemaUrl: [3, 'string']},
  Span: {
    traceId: [1, 'bytes'],
    spanId: [2, 'bytes'],
    traceState: [3, 'string'],
    parentSpanId: [4, 'bytes'],
    name: [5, 'string'],
    kind: [6, 'varint'],
    startTimeUnixNano: [7, 'fixed64'],
    endTimeUnixNano: [8, 'fixed64'],
    attributes: [9, 'KeyValue'],
    droppedAttributesCount: [10, 'varint'],
    events: [11, 'SpanEvent'],
    droppedEventsCount: [12, 'varint'],
    links: [13, 'SpanLink'],
    droppedLinksCount: [14, 'varint'],
    status: [15, 'Status'],
    flags: [16, 'fixed32'],
  },
  SpanEvent: {timeUnixNano: [1, 'fixed64'], name: [2, 'string'], attributes: [3, 'KeyValue']},
  SpanLink: {traceId: [1, 'bytes'], spanId: [2, 'bytes'], traceState: [3, 'string'], attributes: [4, 'KeyValue']},
  Status: {message: [2, 'string'], code: [3, 'varint']},

  MetricsRequest: {resourceMetrics: [1, 'ResourceMetrics']},
  ResourceMetrics: {resource: [1, 'Resource'], scopeMetrics: [2, 'ScopeMetrics'], schemaUrl: [3, 'string']},
  ScopeMetrics: {scope: [1, 'InstrumentationScope'], metrics: [2, 'Metric'], schemaUrl: [3, 'string']},
  Metric: {
    name: [1, 'string'],
    description: [2, 'string'],
    unit: [3, 'string'],
    gauge: [5, 'Gauge'],
    sum: [7, 'Sum'],
    histogram: [9, 'Histogram'],
    exponentialHistogram: [10, 'ExponentialHistogram'],
    summary: [11, 'Summary'],
  },
  Gauge: {dataPoints: [1, 'NumberDataPoint']},
  Sum: {dataPoints: [1, 'NumberDataPoint'], aggregationTemporality: [2, 'varint'], isMonotonic: [3, 'bool']},
  Histogram: {dataPoints: [1, 'HistogramDataPoint'], aggregationTemporality: [2, 'varint']},
  ExponentialHistogram: {dataPoints: [1, 'ExponentialHistogramDataPoint'], aggregationTemporality: [2, 'varint']},
  Summary: {dataPoints: [1, 'SummaryDataPoint']},
  NumberDataPoint: {
    startTimeUnixNano: [2, 'fixed64'],
    timeUnixNano: [3, 'fixed64'],
    asDouble: [4, 'double'],
    exemplars: [5, 'Exemplar'],
    asInt: [6, 'fixed64'],
    attributes: [7, 'KeyValue'],
    flags: [8, 'varint'],
  },
  HistogramDataPoint: {
    startTimeUnixNano: [2, 'fixed64'],
    timeUnixNano: [3, 'fixed64'],
    count: [4, 'fixed64'],
    sum: [5, 'double'],
    bucketCounts: [6, 'fixed64', 'packed'],
    explicitBounds: [7, 'double', 'packed'],
    exemplars: [8, 'Exemplar'],
    attributes: [9, 'KeyValue'],
    flags: [10, 'varint'],
    min: [11, 'double'],
    max: [12, 'double'],
  },
  ExponentialHistogramDataPoint: {
    attributes: [1, 'KeyValue'],
    startTimeUnixNano: [2, 'fixed64'],
    timeUnixNano: [3, 'fixed64'],
    count: [4, 'fixed64'],
    sum: [5, 'double'],
    scale: [6, 'sint32'],
    zeroCount: [7, 'fixed64'],
    positive: [8, 'Buckets'],
    negative: [9, 'Buckets'],
    flags: [10, 'varint'],
    exemplars: [11, 'Exemplar'],
    zeroThreshold: [14, 'double'],
  },
  Buckets: {offset: [1, 'sint32'], bucketCounts: [2, 'varint', 'packed']},
  SummaryDataPoint: {
    startTimeUnixNano: [2, 'fixed64'],
    timeUnixNano: [3, 'fixed64'],
    count: [4, 'fixed64'],
    sum: [5, 'double'],
    quantileValues: [6, 'ValueAtQuantile'],
    attributes: [7, 'KeyValue'],
    flags: [8, 'varint'],
  },
  ValueAtQuantile: {quantile: [1, 'double'], value: [2, 'double']},
  Exemplar: {
    timeUnixNano: [2, 'fixed64'],
    asDouble: [3, 'double'],
    spanId: [4, 'bytes'],
    traceId: [5, 'bytes'],
    asInt: [6, 'fixed64'],
    filteredAttributes: [7, 'KeyValue'],
  },
} as const satisfies Record<string, Record<string, Field>>

const varint = (value: bigint): Buffer => {
  const bytes: number[] = []
  for (let rest = BigInt.asUintN(64, value); ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...bytes, Number(rest)])
    bytes.push(Number(rest & 127n) + 128)
  }
}
const eightBytes = (write: (bytes: Buffer) => void): Buffer => {
  const bytes = Buffer.alloc(8)
  write(bytes)
  return bytes
}
const fourBytes = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value >>> 0)
  return bytes
}

type Value = string | number | bigint | boolean | Uint8Array | object

const wireTypes: Readonly<Record<Scalar, number>> = {string: 2, bytes: 2, bool: 0, varint: 0, sint32: 0, fixed32: 5, fixed64: 1, double: 1}

const scalars: Readonly<Record<Scalar, (value: Value) => Uint8Array>> = {
  string: (value) => (value instanceof Uint8Array ? value : Buffer.from(value as string)),
  // ids are in hex, as in OTLP/JSON
  bytes: (value) => (value instanceof Uint8Array ? value : Buffer.from(value as string, 'hex')),
  bool: (value) => Buffer.from([value ? 1 : 0]),
  varint: (value) => varint(BigInt(value as number)),
  sint32: (value) => varint(BigInt(value as number) >= 0n ? BigInt(value as number) * 2n : BigInt(value as number) * -2n - 1n),
  fixed32: (value) => fourBytes(Number(value)),
  fixed64: (value) => eightBytes((bytes) => bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value as number)))),
  double: (value) => eightBytes((bytes) => bytes.writeDoubleLE(Number(value))),
}

const isScalar = (type: string): type is Scalar => type in scalars
const tag = (number: number, wireType: number): Buffer => varint(BigInt(number * 8 + wireType))
const sized = (number: number, content: Uint8Array): readonly Uint8Array[] => [tag(number, 2), varint(BigInt(content.length)), content]

const encoded = (name: MessageName, object: object): Buffer => {
  const fields: Readonly<Record<string, Field>> = messages[name]
  const parts: Uint8Array[] = []
  for (const [key, given] of Object.entries(object) as [string, Value | undefined][]) {
    if (given === undefined) continue
    const field = fields[key]
    if (!field) throw new Error(`${name} has no field ${key}`)
    const [number, type, packing] = field
    const values = (Array.isArray(given) ? given : [given]) as readonly Value[]
    if (packing && isScalar(type)) parts.push(...sized(number, Buffer.concat(values.map((value) => scalars[type](value)))))
    else
      for (const value of values) {
        if (!isScalar(type)) parts.push(...sized(number, encoded(type as MessageName, value as object)))
        else if (wireTypes[type] === 2) parts.push(...sized(number, scalars[type](value)))
        else parts.push(tag(number, wireTypes[type]), scalars[type](value))
      }
  }
  return Buffer.concat(parts)
}

const requests = {metrics: 'MetricsRequest', logs: 'LogsRequest', traces: 'TracesRequest'} as const

/** A request of a signal: `{resourceLogs: […]}` and so on. */
export const encodeOtlp = (signal: Signal, request: object): Buffer => encoded(requests[signal], request)

type AnyValue = Readonly<Record<string, unknown>>

/** What JavaScript calls it, as OTLP does. */
const anyValue = (value: unknown): AnyValue => {
  if (typeof value === 'string') return {stringValue: value}
  if (typeof value === 'boolean') return {boolValue: value}
  if (typeof value === 'bigint') return {intValue: value}
  if (typeof value === 'number') return Number.isInteger(value) ? {intValue: value} : {doubleValue: value}
  if (value instanceof Uint8Array) return {bytesValue: value}
  if (Array.isArray(value)) return {arrayValue: {values: value.map(anyValue)}}
  if (value === undefined || value === null) return {}
  return {kvlistValue: {values: attributes(value)}}
}

/** Attributes from an object, or from pairs where a key comes twice or is no UTF-8. */
export const attributes = (all: object | readonly (readonly [key: string | Uint8Array, value: unknown])[]) =>
  (Array.isArray(all) ? (all as readonly (readonly [string | Uint8Array, unknown])[]) : Object.entries(all)).map(([key, value]) => ({
    key,
    value: anyValue(value),
  }))
