import {setTimeout as sleep} from 'node:timers/promises'
import {type Signal, signals} from '../collector/config.ts'
import type {EdgeCluster} from '../platforms/platform.ts'
import type {Load} from '../tools/telemetrygen.ts'
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

/** A worker sends what it has made after this time, or before. Larger requests come in bursts, smaller ones each cost a write to disk. */
const heldSeconds = 2

/** Until something is known of it: a worker does not make up for the ticks it misses while it sends. */
const firstFactor = 1.1
const factorAtMost = 2
/** A little more than is offered, for the moment in which a process starts. */
const aimedAt = 1.02

/** The processes for so many items a second, as many for each agent, all alike: workers of each, and items a second of each worker. */
export const sizedFor = (
  signal: Signal,
  perSecond: number,
  agents = 1,
): {readonly processes: number; readonly workers: number; readonly perWorker: number} => {
  const {perWorker, workers: most} = limits[signal]
  const all = Math.ceil(perSecond / perWorker)
  const processes = Math.ceil(Math.ceil(all / most) / agents) * agents
  const workers = Math.ceil(all / processes)
  return {processes, workers, perWorker: perSecond / (processes * workers)}
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

/** Where load comes from: the generators of an edge, and how many agents share what they send. */
export type Source = Pick<EdgeCluster, 'name' | 'generators'> & {readonly agents: number}

export const sourcesOf = (edges: readonly EdgeCluster[]): Promise<readonly Source[]> =>
  Promise.all(edges.map(async ({name, generators}) => ({name, generators, agents: await generators.agents()})))

type Way = {readonly source: Source; readonly signal: Signal; readonly rate: number}

const waysOf = (profile: Profile, sources: readonly Source[]): readonly Way[] =>
  sources.flatMap((source) =>
    signals.filter((signal) => profile.rates[signal] > 0).map((signal) => ({source, signal, rate: profile.rates[signal] / sources.length})),
  )

type Shift = {readonly named: string; readonly seconds: number; readonly number: number; readonly factor: number}

/** What is asked of one shift of a way. */
const loadOf = (profile: Profile, {source, signal, rate}: Way, {named, seconds, number, factor}: Shift): Load => {
  const {processes, workers, perWorker} = sizedFor(signal, rate, source.agents)
  return {
    name: `${named}-${signal}-${number}`,
    signal,
    endpoint: source.generators.otlpGrpc,
    processes,
    workers,
    perWorker: perWorker * factor,
    seconds,
    batchSize: Math.max(1, Math.min(profile.batch[signal], Math.ceil(perWorker * heldSeconds))),
    spansPerTrace: profile.spansPerTrace,
    service,
    metric,
    // two shifts may overlap for a moment, and must not write the same series
    instance: `${source.name}-${number % 2}`,
    attributes: {...profile.attributes, 'lkeobs.run': named},
  }
}

/** The command lines of a first shift, for whoever only wants to see them. */
export const planned = (profile: Profile, sources: readonly Source[]): readonly string[] =>
  waysOf(profile, sources).flatMap((way) => {
    const seconds = Math.min(way.source.generators.shiftSeconds, profile.windowSeconds)
    return way.source.generators.typed(loadOf(profile, way, {named: '‹run›', seconds, number: 0, factor: 1}))
  })

export const plannedText = (processes: readonly string[]): string => processes.map((line) => `would run ${line}`).join('\n')

export type GeneratorsWish = {
  readonly profile: Profile
  readonly sources: readonly Source[]
  /** Ends them at once. */
  readonly over: AbortSignal
  /** Called with the id of each that is a process of this machine. */
  readonly onStart: (pid: number) => void
}

/** telemetrygen, in shifts. What one shift fell short of its rate the later ones make up for. */
export const generatorsOf = ({profile, sources, over, onStart}: GeneratorsWish) => {
  const factors = new Map<Way, number>()
  const ways = waysOf(profile, sources)
  // one shift that cannot be started ends all
  const failed = new AbortController()
  const ended = AbortSignal.any([over, failed.signal])

  const shift = async (way: Way, load: Load, factor: number): Promise<Made> => {
    const {source, signal, rate} = way
    const results = await source.generators.run(load, {over: ended, onStart})
    const made = results.some((result) => result.made === undefined) ? null : results.reduce((sum, result) => sum + (result.made ?? 0), 0)
    if (made !== null && made > 0) factors.set(way, Math.min(factorAtMost, Math.max(1, (factor * aimedAt * rate * load.seconds) / made)))
    const unsent = results.reduce((sum, result) => sum + result.unsent, 0)
    return {
      edge: source.name,
      signal,
      acknowledged: made === null ? null : made - unsent,
      unsent,
      complaint: results.find(({complaint}) => complaint !== undefined)?.complaint,
    }
  }

  let number = 0
  // the last two shifts of each way
  const last = new Map<Way, readonly Promise<unknown>[]>()
  return {
    /** Sends for so long, every item with this run's name on it. Returns when all of it is sent. Throws where a generator cannot be started. */
    async send(named: string, seconds: number): Promise<readonly Made[]> {
      const shifts = Math.ceil(seconds / Math.max(...sources.map(({generators}) => generators.shiftSeconds)))
      const each = seconds / shifts
      const startedMs = Date.now()
      const under: Promise<Made>[] = []
      // what the shifts that have ended fell short by, by way
      const short = new Map<Way, number>()
      const sent = async (way: Way, wish: Omit<Shift, 'factor'>, boost: number): Promise<Made> => {
        // the shift before the last has its name: late to start, it is late to end
        const [, sameName] = last.get(way) ?? []
        await sameName
        const factor = Math.min(factorAtMost, (factors.get(way) ?? firstFactor) * boost)
        const made = await shift(way, loadOf(profile, way, {...wish, factor}), factor)
        if (made.acknowledged !== null) short.set(way, (short.get(way) ?? 0) + way.rate * each - made.acknowledged - made.unsent)
        return made
      }
      for (let index = 0; index < shifts && !ended.aborted; index++) {
        const left = (shifts - index) * each
        for (const way of ways) {
          const one = sent(way, {named, seconds: each, number}, Math.max(0.9, 1 + (short.get(way) ?? 0) / (way.rate * left)))
          last.set(way, [one.catch(() => failed.abort()), ...(last.get(way) ?? []).slice(0, 1)])
          under.push(one)
        }
        number++
        await sleep(Math.max(0, startedMs + (index + 1) * each * 1000 - Date.now()), undefined, {signal: ended}).catch(() => undefined)
      }
      await Promise.allSettled(under)
      return Promise.all(under)
    },
  }
}
