import {perSignal, type Signal, signals} from '../collector/config.ts'
import type {Fleet} from '../fleet/schema.ts'
import {readDuration} from '../output.ts'

type BySignal = Readonly<Record<Signal, number>>
type Rates = Partial<BySignal>
/** The keys of the fleet file that say what an edge sends, and for how long nothing may be lost. */
type Declared = {readonly outage?: string; readonly rates?: Rates; readonly edges?: readonly {readonly name: string; readonly rates?: Rates; readonly outage?: string}[]}

const usualRates: BySignal = {metrics: 1000, logs: 200, traces: 100}
const itemBytes: BySignal = {metrics: 90, logs: 250, traces: 300}
const leastQueueBytes = 256 * 2 ** 20

/** What the fleet file declares of an edge: items a second. */
export const declaredRates = (fleet: Pick<Fleet, 'edges'>, edge: string): BySignal => {
  const {rates, edges = []} = fleet as Declared
  const own = edges.find(({name}) => name === edge)?.rates
  return perSignal((signal) => own?.[signal] ?? rates?.[signal] ?? usualRates[signal])
}

/** What an item takes in a queue on disk. */
export const bytesOfItem = (signal: Signal): number => itemBytes[signal]

export const outageSecondsOf = (fleet: Pick<Fleet, 'edges'>, edge?: string): number => {
  const {outage = '24h', edges = []} = fleet as Declared
  return readDuration(edges.find(({name}) => name === edge)?.outage ?? outage) ?? 0
}

/** What the queues of an edge's agents, or of a gateway, take of the disk when they are full. */
export const queueBytesOf = (fleet: Pick<Fleet, 'edges'>, edge?: string): number => {
  const names = edge === undefined ? fleet.edges.map(({name}) => name) : [edge]
  const of = (name: string, signal: Signal) =>
    Math.max(leastQueueBytes, declaredRates(fleet, name)[signal] * itemBytes[signal] * outageSecondsOf(fleet, name))
  return names.reduce((total, name) => signals.reduce((sum, signal) => sum + of(name, signal), total), 0)
}
