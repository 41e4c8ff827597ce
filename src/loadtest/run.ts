import {availableParallelism} from 'node:os'
import {setTimeout as sleep} from 'node:timers/promises'
import type {Fleet} from '../clusters.ts'
import {perSignal, type Signal, signals} from '../collector/config.ts'
import {LkeobsError, orElse} from '../errors.ts'
import {grouped} from '../output.ts'
import type {EdgeCluster, HubCluster, Stores} from '../platforms/platform.ts'
import type {Tools} from '../tools/index.ts'
import {newRun} from '../verify/verify.ts'
import {balanceOf, latencyOf, summed, together} from './balance.ts'
import type {Measured} from './compare.ts'
import {readDiscards, withDiscards} from './discards.ts'
import {fingerprintOf} from './fingerprint.ts'
import {generatorsOf, type Made, type Source, sourcesOf} from './generators.ts'
import {keptOf, type Sought} from './kept.ts'
import {brokeAt, kneeOf, kneePercents} from './knee.ts'
import {canariesThrough} from './latency.ts'
import {type Measuring, measuring} from './measure.ts'
import {type Profile, scaled} from './profile.ts'
import type {KneeStep, PerSignal, Repetition} from './result.ts'

export type LoadTestWish = {
  readonly tools: Tools
  readonly fleet: Fleet
  readonly edges: readonly EdgeCluster[]
  readonly profile: Profile
  readonly findKnee: boolean
  /** The version of lkeobs. */
  readonly version: string
  /** Asks to end early: what was measured until then is answered. */
  readonly over: AbortSignal
  /** How it goes, once a second. */
  readonly tell: (line: string) => void
}

type Pass = Omit<LoadTestWish, 'fleet' | 'findKnee' | 'version'> & {
  readonly hub: HubCluster
  readonly stores: Stores
  readonly sources: readonly Source[]
  readonly title: string
}

const lookMs = 1000
const restWithinMs = 30_000
/** After so long in which no less waited than before, it does not drain. */
const stalledMs = 60_000
/** What does not come for so long after everything is at rest does not come: Tempo lets a trace be found after up to 15 s. */
const patienceMs = 25_000
/** Who asked to end early waits less. */
const hastyMs = 15_000

/** Waits until it is so; how long that took, or null where it was given up. */
const until = async (isSo: () => boolean, goOn: (waitedMs: number) => boolean, tell: () => void): Promise<number | null> => {
  const started = Date.now()
  for (let still = 0; ; still = isSo() ? still + 1 : 0) {
    // twice: an item may be between two hops
    if (still === 2) return (Date.now() - started) / 1000
    if (!goOn(Date.now() - started)) return null
    tell()
    await sleep(lookMs)
  }
}

/** Whether less waits from time to time: how long the least that was seen has been the least. */
const stalling = (measure: Measuring) => {
  let least = Infinity
  let sinceMs = Date.now()
  return (): number => {
    const waiting = measure.sight().waiting ?? Infinity
    if (waiting < least) [least, sinceMs] = [waiting, Date.now()]
    return Date.now() - sinceMs
  }
}

/** Throws LKO-9011 where something waits before anything was sent, or somebody does not answer. */
const checkRest = async (measure: Measuring, tell: (line: string) => void): Promise<void> => {
  const rest = await until(
    measure.isAtRest,
    (waitedMs) => waitedMs < restWithinMs,
    () => tell('waiting for empty queues'),
  )
  if (rest !== null) return
  const {waiting} = measure.sight()
  throw new LkeobsError(
    'LKO-9011',
    waiting === null ? 'An agent or the gateway does not answer.' : `${grouped(waiting)} items wait in queues, or are under way.`,
    {next: ['lkeobs status']},
  )
}

/** What was acknowledged of each signal: as the generators say where they could, otherwise as the agents counted it. */
const generatedOf = (made: readonly Made[], measure: Measuring): PerSignal<number> => {
  const of = (signal: Signal): number => {
    const own = made.filter((one) => one.signal === signal)
    const accepted = measure.accepted(signal)
    const unsent = own.reduce((sum, one) => sum + one.unsent, 0)
    const said = summed(own.map(({acknowledged}) => acknowledged))
    const complaint = own.find((one) => one.complaint !== undefined)?.complaint
    if (unsent > 0) measure.happened(`${signal}: ${grouped(unsent)} items were not acknowledged: ${complaint ?? 'no reason given'}`)
    else if (complaint !== undefined) measure.happened(`${signal}: a generator ended before its time: ${complaint}`)
    if (said === null || unsent > 0) return accepted ?? said ?? 0
    // spans that its queue has no room for telemetrygen drops, and counts
    return signal === 'traces' ? Math.min(said, accepted ?? said) : said
  }
  return perSignal(of)
}

/** Asks the stores until they have all of it, or nothing more comes. */
const storedOf = async (
  {tools, stores, over, tell}: Pass,
  sought: Omit<Sought, 'generated'>,
  generated: PerSignal<number>,
): Promise<PerSignal<number | null>> => {
  const found: Record<keyof PerSignal<number>, number | null> = {metrics: null, logs: null, traces: null}
  let changedMs = Date.now()
  for (;;) {
    for (const signal of signals) {
      if (generated[signal] === 0) found[signal] = 0
      if (found[signal] !== null && found[signal] >= generated[signal]) continue
      const now = await keptOf[signal](tools.http, stores, {...sought, generated: generated[signal]})
      if (now !== found[signal]) changedMs = Date.now()
      found[signal] = now
    }
    const missing = signals.filter((signal) => (found[signal] ?? -1) < generated[signal])
    if (missing.length === 0 || Date.now() - changedMs > (over.aborted ? hastyMs : patienceMs)) return found
    tell(
      `counting what is stored: ${missing.map((signal) => `${signal} ${grouped(found[signal] ?? 0)} of ${grouped(generated[signal])}`).join(', ')}`,
    )
    await sleep(lookMs * 2)
  }
}

/** One pass over a profile: from rest to rest. */
const repeated = async (pass: Pass, named: string, isFirst: boolean): Promise<Repetition | undefined> => {
  const {tools, hub, edges, sources, stores, profile, over, title} = pass
  const measure = await measuring({tools, hub, edges})
  const tell = (what: string) => pass.tell(`${title}  ${what}`)
  const watched = (what: string) => {
    const {rates, waiting} = measure.sight()
    const shown = signals.map((signal) => `${signal} ${grouped(Math.round(rates[signal]))}/s`).join('  ')
    tell(`${what}  ${shown}  queued ${waiting === null ? '?' : grouped(waiting)}`)
  }
  const showing = async <T>(what: string, seconds: number, work: Promise<T>): Promise<T> => {
    const began = Date.now()
    const timer = setInterval(() => watched(`${what} ${Math.round((Date.now() - began) / 1000)}s of ${seconds}s`), lookMs)
    return work.finally(() => clearInterval(timer))
  }
  try {
    if (isFirst) await checkRest(measure, tell)
    const generators = generatorsOf({profile, sources, over, onStart: measure.generator})
    await showing('warm-up', profile.warmUpSeconds, generators.send(`${named}-warm`, profile.warmUpSeconds))
    if (
      (await until(
        measure.isAtRest,
        (waitedMs) => waitedMs < (over.aborted ? 0 : restWithinMs),
        () => watched('settling'),
      )) === null &&
      !over.aborted
    )
      measure.happened('what the warm-up had sent was still under way when the window began')
    if (over.aborted) return undefined

    await measure.begin()
    const discardedBefore = await readDiscards(tools.http, stores)
    const warmUpSeconds = measure.elapsed()
    const startedAt = new Date()
    const wanted = signals.filter((signal) => profile.rates[signal] > 0)
    const canaries = canariesThrough(tools.http, edges, stores, wanted, measure.elapsed)
    const made = await showing('window', profile.windowSeconds, generators.send(named, profile.windowSeconds))
    await measure.endOfWindow()
    canaries.end()
    // what was ended early is measured as long as it was
    const windowSeconds = over.aborted ? (Date.now() - startedAt.getTime()) / 1000 : profile.windowSeconds
    const toMs = Date.now()
    const stalled = stalling(measure)
    const drainSeconds = await until(
      measure.isAtRest,
      () => stalled() < (over.aborted ? hastyMs : stalledMs),
      () => watched('draining'),
    )
    await measure.end()
    await canaries.letGo()
    const generated = generatedOf(made, measure)
    const hops = withDiscards(measure.hops(), discardedBefore, await readDiscards(tools.http, stores))
    const period = {fromMs: startedAt.getTime() - 2000, toMs: toMs + 2000}
    const stored = await storedOf(pass, {run: named, period, spansPerTrace: profile.spansPerTrace}, generated)
    const balances = perSignal((signal) => {
      const ms = canaries.heard.filter((heard) => heard.signal === signal).map((heard) => heard.ms)
      return balanceOf({
        signal,
        offered: Math.round(profile.rates[signal] * windowSeconds),
        generated: generated[signal],
        stored: stored[signal],
        hops,
        latencyMs: latencyOf(ms),
        isAtRest: drainSeconds !== null,
      })
    })
    const {processes, wire, timeline, happenings} = measure.seen(
      windowSeconds,
      hops,
      signals.reduce((sum, signal) => sum + generated[signal], 0),
    )
    const latency = wanted.map((signal) => ({
      name: signal,
      values: timeline.seconds.map(
        (second, index) =>
          canaries.heard.find(
            (heard) => heard.signal === signal && heard.second <= second && heard.second > (timeline.seconds[index - 1] ?? -1),
          )?.ms ?? null,
      ),
    }))
    return {
      startedAt: startedAt.toISOString(),
      warmUpSeconds,
      windowSeconds,
      drainSeconds,
      signals: balances,
      hops,
      processes,
      wire,
      timeline: {...timeline, latency},
      happenings,
    }
  } finally {
    await measure.end()
  }
}

/**
 * Sends a profile through the edges and measures every hop. Throws LKO-9011 where the fleet is not at rest, LKO-4001 without a
 * generator, LKO-3104 to LKO-3108 and LKO-9012 where a cluster does not run one.
 */
export const runLoadTest = async ({fleet, findKnee, version, ...wish}: LoadTestWish): Promise<Measured> => {
  const {profile, edges, over} = wish
  const {hub} = fleet
  const run = newRun()
  const startedAt = new Date().toISOString()
  const fingerprint = await fingerprintOf({...fleet, edges}, profile, version)
  await Promise.all(edges.map(({generators}) => generators.ready()))
  const [stores, sources] = await Promise.all([hub.stores(), sourcesOf(edges)])
  const passes = findKnee
    ? kneePercents.map((percent) => ({title: `${percent} %`, profile: scaled(profile, percent / 100), percent}))
    : Array.from({length: profile.repetitions}, (_, index) => ({
        title: profile.repetitions === 1 ? profile.name : `${profile.name} ${index + 1} of ${profile.repetitions}`,
        profile,
        percent: 100,
      }))
  const repetitions: Repetition[] = []
  const steps: KneeStep[] = []
  try {
    for (const [index, {title, profile: own, percent}] of passes.entries()) {
      if (over.aborted) break
      const repetition = await repeated({...wish, hub, stores, sources, title, profile: own}, `${run}-${index + 1}`, index === 0)
      if (repetition) repetitions.push(repetition)
      if (!findKnee || !repetition) continue
      const step = {percent, broke: brokeAt(repetition, repetitions[0] ?? repetition)}
      steps.push(step)
      if (step.broke.length > 0) break
    }
  } finally {
    // what cannot be removed now removes itself soon
    await Promise.all(edges.map(({generators}) => orElse(generators.cleared(), () => undefined)))
  }
  const {name, rates, warmUpSeconds, windowSeconds} = profile
  return {
    run,
    startedAt,
    fleet: fleet.file.fleet.fleet,
    edges: edges.map((edge) => edge.name),
    profile: {name, rates, warmUpSeconds, windowSeconds, repetitions: findKnee ? passes.length : profile.repetitions},
    fingerprint,
    partial: over.aborted,
    signals: together(repetitions.map((repetition) => repetition.signals)),
    repetitions,
    ...(findKnee && {knee: kneeOf(steps, repetitions.at(-1), availableParallelism())}),
  }
}
