import type {Canary} from './otlp.ts'

// Of the protocol buffers encoding: a field's number and type, then its length or its eight bytes (protobuf.dev/programming-guides/encoding).

const varint = (value: number): Buffer => {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest])
    bytes.push((rest % 128) + 128)
  }
}
const sized = (field: number, content: Uint8Array): Buffer => Buffer.concat([varint(field * 8 + 2), varint(content.length), content])
const message = (field: number, ...parts: readonly Buffer[]): Buffer => sized(field, Buffer.concat(parts))
const text = (field: number, value: string): Buffer => sized(field, Buffer.from(value))
const hex = (field: number, value: string): Buffer => sized(field, Buffer.from(value, 'hex'))
const number = (field: number, value: number): Buffer => Buffer.concat([varint(field * 8), varint(value)])
const fixed = (field: number, value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return Buffer.concat([varint(field * 8 + 1), bytes])
}
const double = (field: number, value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return Buffer.concat([varint(field * 8 + 1), bytes])
}

const attributes = (field: number, all: Readonly<Record<string, string>>): readonly Buffer[] =>
  Object.entries(all).map(([key, value]) => message(field, text(1, key), message(2, text(1, value))))

/** The item itself, by its fields in opentelemetry-proto. */
const items = {
  logs: ({traceId, spanId, name, attributes: own, time, text: body = name}: Canary) =>
    message(
      2,
      fixed(1, BigInt(time)),
      number(2, 9),
      text(3, 'INFO'),
      message(5, text(1, body)),
      ...attributes(6, own),
      hex(9, traceId),
      hex(10, spanId),
    ),
  traces: ({traceId, spanId, name, attributes: own, time}: Canary) =>
    message(
      2,
      hex(1, traceId),
      hex(2, spanId),
      text(5, name),
      number(6, 1),
      fixed(7, BigInt(time)),
      fixed(8, BigInt(time)),
      ...attributes(9, own),
    ),
  metrics: ({name, attributes: own, time, value = 1}: Canary) =>
    message(2, text(1, name), message(5, message(1, fixed(3, BigInt(time)), double(4, value), ...attributes(7, own)))),
} as const

/** One item as the request of OTLP for its signal, in protocol buffers. */
export const otlpMessage = (signal: keyof typeof items, canary: Canary): Buffer =>
  message(
    1,
    message(1, ...attributes(1, {'service.name': canary.service})),
    message(2, message(1, text(1, 'lkeobs')), items[signal](canary)),
  )

const services = {logs: 'logs.v1.LogsService', metrics: 'metrics.v1.MetricsService', traces: 'trace.v1.TraceService'} as const

/** Where gRPC takes it. */
export const otlpMethod = (signal: keyof typeof services): string => `/opentelemetry.proto.collector.${services[signal]}/Export`
