import {setTimeout as sleep} from 'node:timers/promises'
import {type Signal, signals} from '../collector/config.ts'
import {messageOf} from '../errors.ts'
import type {EdgeCluster} from '../platforms/platform.ts'
import type {Tools} from '../tools/index.ts'
import {typed} from '../tools/shell.ts'
import {type Generated, type Load, readTelemetrygen, telemetrygenArgs} from '../tools/telemetrygen.ts'
import type {Profile} from './profile.ts'

/** How what is sent is called, and found again. */
export const service = 'lkeobs-loadtest'
const metric = 'lkeobs.loadtest'

/**
 * How much is asked of one process. A worker's limiter has a burst of one and sleeps between two items, so it reaches about 1,300
 * items a second. With `--unique-timeseries` the cost of a data point grows with how many its worker has made: few a worker.
 * Log records of one worker never have the same nanosecond, those of two may, and Loki keeps one of two that are equal.
 * Spans of all workers pass through one queue of 2,048, and what finds it full is dropped.
 */
const limits: Readonly<Record<Signal, {readonly perWorker: number; readonly workers: number}>> = {
  metrics: {perWorker: 250, workers: 50},
  logs: {perWorker: 1000, workers: 1},
  traces: {perWorker: 500, workers: 2},
}

/** No process lives longer, so that generators whose lkeobs was killed end by themselves, and the cost of unique series stays small. */
const longestShiftSeconds = 5

/** A worker sends what it has made after this time, or before. Larger requests come in bursts, smaller ones each cost a write to disk. */
const heldSeconds = 2

/** Until something is known of it: a worker does not make up for the ticks it misses while it sends. */
const firstFactor = 1.1
const factorAtMost = 2
/** A little more than is offered, for the moment in which a process starts. */
const aimedAt = 1.02

/** The processes for so many items a second: workers of each, and items a second of each worker. */
export const sizedFor = (signal: Signal, perSecond: number): readonly {readonly workers: number; readonly perWorker: number}[] => {
  if (perSecond <= 0) return []
  const {perWorker, workers} = limits[signal]
  const all = Math.ceil(perSecond / perWorker)
  const processes = Math.ceil(all / workers)
  return Array.from({length: processes}, (_, index) => ({
    workers: Math.floor((all + index) / processes),
    perWorker: perSecond / all,
  }))
}

/** What was made of one signal for one edge. */
export type Made = {
  readonly edge: string
  readonly signal: Signal
  /** Made and acknowledged, as the generator counts; null where it was ended before it said. */
  readonly acknowledged: number | null
  /** Made and not acknowledged. */
  readonly unsent: number
  readonly complaint: string | undefined
}

/** Where generators send: the agent of an edge, `host:port` of its OTLP receiver over gRPC. */
export type Target = {readonly name: string; readonly otlpGrpc: string}

export const targetsOf = (edges: readonly EdgeCluster[]): Promise<readonly Target[]> =>
  Promise.all(edges.map(async (edge) => ({name: edge.name, otlpGrpc: await edge.otlpGrpcFromHere()})))

type Way = {readonly edge: Target; readonly signal: Signal; readonly rate: number}

const waysOf = (profile: Profile, edges: readonly Target[]): readonly Way[] =>
  edges.flatMap((edge) =>
    signals.filter((signal) => profile.rates[signal] > 0).map((signal) => ({edge, signal, rate: profile.rates[signal] / edges.length})),
  )

/** What is asked of the processes of one shift of a way. */
const loadsOf = (
  profile: Profile,
  {edge, signal, rate}: Way,
  {named, seconds, number, factor}: {readonly named: string; readonly seconds: number; readonly number: number; readonly factor: number},
): readonly Load[] =>
  sizedFor(signal, rate).map(({workers, perWorker}, index) => ({
    signal,
    endpoint: edge.otlpGrpc,
    workers,
    perWorker: perWorker * factor,
    seconds,
    batchSize: Math.max(1, Math.min(profile.batch[signal], Math.ceil(perWorker * heldSeconds))),
    spansPerTrace: profile.spansPerTrace,
    service,
    metric,
    // two shifts may overlap for a moment, and must not write the same series
    resource: {'service.instance.id': `${edge.name}-${index}-${number % 2}`},
    attributes: {...profile.attributes, 'lkeobs.run': named},
  }))

/** The command lines of a first shift, for whoever only wants to see them. */
export const planned = (profile: Profile, edges: readonly Target[]): readonly string[] =>
  waysOf(profile, edges)
    .flatMap((way) =>
      loadsOf(profile, way, {named: '‹run›', seconds: Math.min(longestShiftSeconds, profile.windowSeconds), number: 0, factor: 1}),
    )
    .map((load) => typed({file: 'telemetrygen', args: telemetrygenArgs(load)}))

export const plannedText = (processes: readonly string[]): string => processes.map((line) => `would run ${line}`).join('\n')

export type GeneratorsWish = {
  readonly tools: Pick<Tools, 'shell' | 'program'>
  readonly profile: Profile
  readonly targets: readonly Target[]
  /** Ends them at once. */
  readonly over: AbortSignal
  /** Called with the process id of each that is started. */
  readonly onStart: (pid: number) => void
}

/** The processes of telemetrygen on this machine, in shifts. What one shift fell short of its rate the later ones make up for. */
export const generatorsOf = async ({tools, profile, targets, over, onStart}: GeneratorsWish) => {
  const program = await tools.program('telemetrygen')
  const factors = new Map<string, number>()
  const ways = waysOf(profile, targets)

  const run = async (load: Load): Promise<Generated> => {
    const lines: string[] = []
    const onLine = (line: string) => {
      if (/ generated\t|exporter failed/.test(line)) lines.push(line)
    }
    try {
      await tools.shell.run({file: program, args: telemetrygenArgs(load), onLine, onStart, signal: over})
      return readTelemetrygen(lines, load)
    } catch (error) {
      const {unsent, complaint} = readTelemetrygen(lines, load)
      return {made: undefined, unsent, complaint: complaint ?? messageOf(error).split('\n').at(-1)}
    }
  }

  const shift = async (way: Way, named: string, seconds: number, number: number, boost: number): Promise<Made> => {
    const {edge, signal, rate} = way
    const key = `${edge.name} ${signal}`
    const factor = Math.min(factorAtMost, (factors.get(key) ?? firstFactor) * boost)
    const results = await Promise.all(loadsOf(profile, way, {named, seconds, number, factor}).map(run))
    const made = results.some((result) => result.made === undefined) ? null : results.reduce((sum, result) => sum + (result.made ?? 0), 0)
    if (made !== null && made > 0) factors.set(key, Math.min(factorAtMost, Math.max(1, (factor * aimedAt * rate * seconds) / made)))
    const unsent = results.reduce((sum, result) => sum + result.unsent, 0)
    return {
      edge: edge.name,
      signal,
      acknowledged: made === null ? null : made - unsent,
      unsent,
      complaint: results.find(({complaint}) => complaint !== undefined)?.complaint,
    }
  }

  let number = 0
  return {
    /** Sends for so long, every item with this run's name on it. Returns when all of it is sent. */
    async send(named: string, seconds: number): Promise<readonly Made[]> {
      const shifts = Math.ceil(seconds / longestShiftSeconds)
      const each = seconds / shifts
      const startedMs = Date.now()
      const under: Promise<Made>[] = []
      // what the shifts that have ended fell short by, by way
      const short = new Map<Way, number>()
      const sent = async (way: Way, boost: number): Promise<Made> => {
        const made = await shift(way, named, each, number, boost)
        if (made.acknowledged !== null) short.set(way, (short.get(way) ?? 0) + way.rate * each - made.acknowledged - made.unsent)
        return made
      }
      for (let index = 0; index < shifts && !over.aborted; index++) {
        const left = (shifts - index) * each
        for (const way of ways) under.push(sent(way, Math.max(0.9, 1 + (short.get(way) ?? 0) / (way.rate * left))))
        number++
        await sleep(Math.max(0, startedMs + (index + 1) * each * 1000 - Date.now()), undefined, {signal: over}).catch(() => undefined)
      }
      return Promise.all(under)
    },
  }
}
