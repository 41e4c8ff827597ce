import type {Signal} from '../collector/config.ts'

/** What processes of telemetrygen send beside each other, each the same. */
export type Load = {
  /** No two loads share it, as long as lkeobs lives and after: `4b1f09ce-1-metrics-3`. */
  readonly name: string
  readonly signal: Signal
  /** An OTLP receiver over gRPC, plain: `host:port`. */
  readonly endpoint: string
  readonly processes: number
  /** Of each process. */
  readonly workers: number
  /** Items a second of each worker: data points, records, spans. */
  readonly perWorker: number
  readonly seconds: number
  readonly batchSize: number
  readonly spansPerTrace: number
  readonly service: string
  /** The name of the metric, as OTLP has it. */
  readonly metric: string
  /** Who sends; the number of the process follows. Two that send at one time must not share it: they would write the same series. */
  readonly instance: string
  /** Of each item. */
  readonly attributes: Readonly<Record<string, string>>
}

type Attributes = Readonly<Record<string, string>>

const listed = (flag: string, attributes: Attributes): readonly string[] =>
  Object.entries(attributes).flatMap(([key, value]) => [flag, `${key}=${JSON.stringify(value)}`])

/** What the process of this number is called. */
export const instanceOf = ({instance}: Load, number: number | string): string => `${instance}-${number}`

/** The command line of the process of this number (telemetrygen 0.161.0, cmd/telemetrygen/internal/config); `resource` is added to what it is of. */
export const telemetrygenArgs = (load: Load, number: number | string, resource: Attributes = {}): readonly string[] => [
  load.signal,
  '--otlp-endpoint',
  load.endpoint,
  '--otlp-insecure',
  '--workers',
  String(load.workers),
  '--rate',
  load.perWorker.toFixed(3),
  '--duration',
  `${Math.round(load.seconds * 1000)}ms`,
  '--batch-size',
  String(load.batchSize),
  // one batch that is refused must not end the run
  '--allow-export-failures',
  '--service',
  load.service,
  // without it all workers of a process write one series, at times twice in a millisecond, and Prometheus refuses the whole request
  ...(load.signal === 'metrics' ? ['--otlp-metric-name', load.metric, '--unique-timeseries'] : []),
  ...(load.signal === 'traces' ? ['--child-spans', String(load.spansPerTrace - 1)] : []),
  ...listed('--otlp-attributes', {'service.instance.id': instanceOf(load, number), ...resource}),
  ...listed('--telemetry-attributes', load.attributes),
]

/** What a process said of itself. */
export type Generated = {
  /** Items its workers have made; undefined where it was ended before it said so. */
  readonly made: number | undefined
  /** Of these, in batches that were not acknowledged. */
  readonly unsent: number
  /** The last refusal. */
  readonly complaint: string | undefined
}

/**
 * Its log, line by line. It counts what its loops have made: data points, records, traces. A batch that is not acknowledged it
 * logs, for metrics with its size; spans that it drops itself, because its queue of 2,048 is full, it does not.
 */
export const readTelemetrygen = (lines: readonly string[], {workers, batchSize, spansPerTrace, signal}: Load): Generated => {
  const counts = lines.flatMap((line) => /\t(?:metrics|logs|traces) generated\t.*"(?:metrics|logs|traces)": ?(\d+)/.exec(line)?.[1] ?? [])
  const refused = lines.filter((line) => line.includes('exporter failed'))
  const unsent = refused.reduce((sum, line) => sum + Number(/"count": ?(\d+)/.exec(line)?.[1] ?? batchSize), 0)
  const each = signal === 'traces' ? spansPerTrace : 1
  return {
    made: counts.length < workers ? undefined : counts.reduce((sum, made) => sum + Number(made), 0) * each,
    unsent,
    complaint: /"error": ?"((?:[^"\\]|\\.)*)"/.exec(refused.at(-1) ?? '')?.[1],
  }
}
