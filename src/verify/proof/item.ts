import {randomBytes} from 'node:crypto'
import type {Canary} from '../../tools/otlp.ts'

/** One item of the traffic: the same number on all three signals. Within an edge, later ones have later times, each its own ms. */
export type Item = {readonly sequence: number; readonly ms: number}

/** Whose items they are. */
export type Source = {
  readonly run: string
  readonly edge: string
  /** What its trace ids begin with. */
  readonly key: string
}

const service = 'lkeobs-proof'
const metric = 'lkeobs.proof'

export const sourceOf = (run: string, edge: string): Source => ({run, edge, key: randomBytes(8).toString('hex')})

/** A trace of its own for each item: its id ends with the sequence number. */
export const traceIdOf = ({key}: Source, sequence: number): string => `${key}${sequence.toString(16).padStart(16, '0')}`
export const sequenceOfTrace = ({key}: Source, traceId: string): number | undefined =>
  traceId.startsWith(key) ? Number.parseInt(traceId.slice(key.length), 16) : undefined

const textOf = ({run}: Source, sequence: number): string => `proof ${run} ${sequence}`
export const sequenceOfText = ({run}: Source, text: string): number | undefined => {
  const [, found, sequence] = text.split(' ')
  return found === run ? Number(sequence) : undefined
}

/** How the stores are asked for the items of a source. */
export const queries = {
  metrics: ({run, edge}: Source): string => `lkeobs_proof{lkeobs_run="${run}",lkeobs_edge="${edge}"}`,
  // with ids of its own every line would come back as a stream of its own
  logs: ({run, edge}: Source): string =>
    `{service_name="${service}", lkeobs_edge="${edge}"} | lkeobs_run="${run}" | drop trace_id, span_id`,
  traces: ({run, edge}: Source): string =>
    `{ resource.service.name = "${service}" && resource.lkeobs.edge = "${edge}" && span.lkeobs.run = "${run}" }`,
} as const

/** As it is sent. Nothing but time, value and ids differs between two items: one series, one stream. */
export const canaryOf = (source: Source, {sequence, ms}: Item): Canary => ({
  traceId: traceIdOf(source, sequence),
  spanId: sequence.toString(16).padStart(16, '0'),
  name: metric,
  service,
  attributes: {'lkeobs.run': source.run},
  time: `${ms}000000`,
  value: sequence,
  text: textOf(source, sequence),
})
