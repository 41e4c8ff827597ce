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
}

const listed = (attributes: Attributes) => Object.entries(attributes).map(([key, value]) => ({key, value: {stringValue: value}}))
const scope = {name: 'lkeobs'}

/** One item a signal in the OTLP/HTTP JSON encoding (opentelemetry-proto docs/specification.md). */
const bodies = {
  traces: ({traceId, spanId, name, attributes, time}: Canary, resource: object) => ({
    resourceSpans: [
      {
        resource,
        scopeSpans: [
          {
            scope,
            spans: [{traceId, spanId, name, kind: 1, startTimeUnixNano: time, endTimeUnixNano: time, attributes: listed(attributes)}],
          },
        ],
      },
    ],
  }),
  logs: ({traceId, spanId, name, attributes, time}: Canary, resource: object) => ({
    resourceLogs: [
      {
        resource,
        scopeLogs: [
          {
            scope,
            logRecords: [
              {
                timeUnixNano: time,
                severityNumber: 9,
                severityText: 'INFO',
                body: {stringValue: name},
                traceId,
                spanId,
                attributes: listed(attributes),
              },
            ],
          },
        ],
      },
    ],
  }),
  metrics: ({name, attributes, time}: Canary, resource: object) => ({
    resourceMetrics: [
      {
        resource,
        scopeMetrics: [
          {scope, metrics: [{name, gauge: {dataPoints: [{timeUnixNano: time, asDouble: 1, attributes: listed(attributes)}]}}]},
        ],
      },
    ],
  }),
} as const

/** Sends one item to an OTLP/HTTP receiver. `true` when it was accepted, otherwise why not. */
export const sendOtlp = async (http: Http, base: string, signal: keyof typeof bodies, canary: Canary): Promise<true | string> => {
  const body = bodies[signal](canary, {attributes: listed({'service.name': canary.service})})
  const answer = await http.post(`${base}/v1/${signal}`, body)
  if (answer === undefined) return `nothing answers at ${base}`
  return answer.status === 200 ? true : `${base} refused it: ${answer.status} ${answer.body.slice(0, 120)}`
}
