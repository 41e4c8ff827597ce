import type {Counters} from '../tools/stores.ts'
import {signals} from './config.ts'

/** Items that wait for any of a collector's exporters; undefined where it does not say it of all of these. */
export const queuedInAll = (counters: Counters | undefined, exporters: readonly string[]): number | undefined => {
  const sizes = (counters ?? []).filter(({name}) => name === 'otelcol_exporter_queue_size')
  if (!exporters.every((exporter) => sizes.some(({labels}) => labels['exporter'] === exporter))) return undefined
  return sizes.reduce((sum, {value}) => sum + value, 0)
}

/** An agent's exporter. */
export const toHub = 'otlp_grpc/hub'

/**
 * Items that an agent has accepted and its hub has not: those that wait and those that are on their way. The queue counts an
 * item until the hub has answered, and keeps the count on disk. Undefined where the agent does not say it of every signal.
 */
export const queuedIn = (counters: Counters | undefined): number | undefined => {
  const sizes = signals.map(
    (signal) =>
      counters?.find(
        ({name, labels}) => name === 'otelcol_exporter_queue_size' && labels['exporter'] === toHub && labels['data_type'] === signal,
      )?.value,
  )
  return sizes.reduce<number | undefined>((sum, size) => (sum === undefined || size === undefined ? undefined : sum + size), 0)
}
