import type {Http} from './http.ts'

type Attributes = Readonly<Record<string, string>>

/** What a canary is made of; times are in ns since 1970, as decimal text. */
export type Canary = {
  readonly traceId: string
  readonly spanId: string
  readonly name: string
  readonly service: string
  readonly attributes: Attributes
  readonly time: string
  /** Of the data point; 1 unless given. */
  readonly value?: number
  /** Of the log record; its name unless given. */
  readonly text?: string
}

const listed = (attributes: Attributes) => Object.entries(attributes).map(([key, value]) => ({key, value: {stringValue: value}}))
const scope = {name: 'lkeobs'}

/** Items of a signal in the OTLP/HTTP JSON encoding (opentelemetry-proto docs/specification.md). */
const bodies = {
  traces: (items: readonly Canary[], resource: object) => {
    const spans = items.map(({traceId, spanId, name, attributes, time}) => {
      return {traceId, spanId, name, kind: 1, startTimeUnixNano: time, endTimeUnixNano: time, attributes: listed(attributes)}
    })
    return {resourceSpans: [{resource, scopeSpans: [{scope, spans}]}]}
  },
  logs: (items: readonly Canary[], resource: object) => {
    const logRecords = items.map(({traceId, spanId, name, attributes, time, text = name}) => {
      const body = {stringValue: text}
      return {timeUnixNano: time, severityNumber: 9, severityText: 'INFO', body, traceId, spanId, attributes: listed(attributes)}
    })
    return {resourceLogs: [{resource, scopeLogs: [{scope, logRecords}]}]}
  },
  metrics: (items: readonly Canary[], resource: object) => {
    const metrics = [...Map.groupBy(items, ({name}) => name)].map(([name, points]) => {
      const dataPoints = points.map(({attributes, time, value = 1}) => {
        return {timeUnixNano: time, asDouble: value, attributes: listed(attributes)}
      })
      return {name, gauge: {dataPoints}}
    })
    return {resourceMetrics: [{resource, scopeMetrics: [{scope, metrics}]}]}
  },
} as const

/** Sends items of one service to an OTLP/HTTP receiver, in one request. `true` when they were accepted, otherwise why not. */
export const sendOtlp = async (
  http: Http,
  base: string,
  signal: keyof typeof bodies,
  ...items: readonly [Canary, ...Canary[]]
): Promise<true | string> => {
  const body = bodies[signal](items, {attributes: listed({'service.name': items[0].service})})
  const answer = await http.post(`${base}/v1/${signal}`, body)
  if (answer === undefined) return `nothing answers at ${base}`
  return answer.status === 200 ? true : `${base} refused it: ${answer.status} ${answer.body.slice(0, 120)}`
}
