/** A component's settings, by their names in the collector's documentation. */
export type Settings = {readonly [key: string]: unknown}

/** A collector configuration: what is defined, and which pipelines use it. */
export type CollectorConfig = {
  readonly extensions: Readonly<Record<string, Settings>>
  readonly receivers: Readonly<Record<string, Settings>>
  readonly processors: Readonly<Record<string, Settings>>
  readonly exporters: Readonly<Record<string, Settings>>
  /** Left out where there are none. */
  readonly connectors?: Readonly<Record<string, Settings>>
  readonly service: {
    readonly extensions: readonly string[]
    readonly pipelines: Readonly<
      Record<string, {readonly receivers: readonly string[]; readonly processors: readonly string[]; readonly exporters: readonly string[]}>
    >
    readonly telemetry: Settings
  }
}

/** The three signals, in the order every screen shows them. */
export const signals = ['metrics', 'logs', 'traces'] as const
export type Signal = (typeof signals)[number]

/** The same of each signal. */
export const perSignal = <T>(of: (signal: Signal) => T): Readonly<Record<Signal, T>> => ({
  metrics: of('metrics'),
  logs: of('logs'),
  traces: of('traces'),
})

/** How a signal is spelt in the collector's own counters (otelcol_receiver_accepted_…). */
export const counted = {metrics: 'metric_points', logs: 'log_records', traces: 'spans'} as const satisfies Record<Signal, string>

/** A variable of the collector's environment, inside a value. */
export const environment = (name: string): string => `\uE000${name}\uE001`

/** A value as the collector reads it: it expands ${…} in every string, so a dollar sign is doubled and only `environment` expands. */
export const literal = <T>(value: T): T =>
  JSON.parse(JSON.stringify(value), (_, found: unknown) =>
    typeof found === 'string' ? found.replaceAll('$', '$$$$').replaceAll(/\uE000(\w+)\uE001/g, '$${env:$1}') : found,
  ) as T
