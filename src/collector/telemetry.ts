import type {Settings} from './config.ts'

/** A collector's own counters: on a port for whoever checks a hop, and by OTLP into its own pipeline, so that the hub has them too. */
export const ownTelemetry = (at: {
  readonly host: string
  readonly counters: number
  /** `http://host:port` of an OTLP receiver of its own; left out where it has none. */
  readonly otlp?: string
  /** Says of a failure, too, whether it was for good: at other levels the collector leaves that out. */
  readonly tellsFailures?: boolean
  readonly resource: Readonly<Record<string, string>>
}): Settings => ({
  resource: at.resource,
  logs: {level: 'info', encoding: 'console'},
  metrics: {
    level: at.tellsFailures ? 'detailed' : 'normal',
    readers: [
      {pull: {exporter: {prometheus: {host: at.host, port: at.counters, without_type_suffix: true, without_units: true}}}},
      ...(at.otlp === undefined ? [] : [{periodic: {interval: 10_000, exporter: {otlp: {protocol: 'http/protobuf', endpoint: at.otlp}}}}]),
    ],
  },
})
