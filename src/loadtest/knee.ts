import {signals} from '../collector/config.ts'
import {duration, grouped} from '../output.ts'
import type {Measured} from './compare.ts'
import type {Knee, KneeStep, LoadTest, Repetition, Verdict} from './result.ts'
import {hopName, queueThirds, verdictOf} from './verdict.ts'

/** The rates that are tried, in percent of the profile's. */
export const kneePercents = [25, 50, 75, 100, 125, 150, 200] as const

/** Below this share of the offered rate the generator itself has given out. */
const reached = 0.95
/** The p99 of the first step, times this, is too long; less than a second never is. */
const slower = 2
const quickMs = 1000

/** From this share of the processors on, on average over the window, whoever wants one waits for it. */
const busy = 0.85

/** The queues of which nothing is sent on faster than it comes: the least of the last third is above the most of the first. */
const growing = (step: Repetition): readonly string[] =>
  queueThirds(step).flatMap(({name, begun, ended}) => (Math.min(...ended) > Math.max(...begun) ? [name] : []))

/** What broke at a step; nothing where it held. `first` is the lowest rate that was tried. */
export const brokeAt = (step: Repetition, first: Repetition): readonly string[] => [
  ...signals.flatMap((signal) => {
    const {offered, generated, lost, latencyMs} = step.signals[signal]
    const before = first.signals[signal].latencyMs.p99
    const p99 = latencyMs.p99
    return [
      ...((lost ?? 0) > 0 ? [`${signal}: ${grouped(lost ?? 0)} lost`] : []),
      ...(generated < offered * reached
        ? [`${signal}: the generators reached ${Math.floor((generated / offered) * 100)} % of the rate`]
        : []),
      ...(p99 !== null && before !== null && p99 > Math.max(quickMs, before * slower)
        ? [`${signal}: p99 ${duration(p99)}, ${duration(before)} at the first step`]
        : []),
    ]
  }),
  ...step.hops.flatMap((hop) => ((hop.refused ?? 0) > 0 ? [`${hop.signal}: ${hopName(hop)} refused ${grouped(hop.refused ?? 0)}`] : [])),
  ...growing(step).map((queue) => `the queue of ${queue} only grew`),
  ...(step.drainSeconds === null ? ['not everything came to rest'] : []),
]

/** The first thing that gave out: what refuses or drops, then the processors, then a queue, then the generator. */
const saturatedAt = (step: Repetition, cores: number): string => {
  const used = step.processes.reduce((sum, process) => sum + process.cores, 0)
  const [most] = step.processes.toSorted((one, other) => other.cores - one.cores)
  const refusing = step.hops.find(({failed, enqueueFailed, refused}) => (failed ?? 0) + (enqueueFailed ?? 0) + (refused ?? 0) > 0)
  const [queue] = growing(step)
  if (refusing) return `${hopName(refusing)} refused or dropped ${refusing.signal}`
  if (used > cores * busy && most)
    return `the processors: ${used.toFixed(2)} of ${cores} cores in use, most by ${most.process} (${most.cores.toFixed(2)})`
  if (queue !== undefined) return `the queue of ${queue}`
  const short = signals.find((signal) => step.signals[signal].generated < step.signals[signal].offered * reached)
  return short ? `the generator of ${short}` : `latency, with ${used.toFixed(2)} of ${cores} cores in use`
}

/** What the steps say. `last` is the repetition of the last of them. */
export const kneeOf = (steps: readonly KneeStep[], last: Repetition | undefined, cores: number): Knee => {
  const broken = steps.at(-1)
  return {
    held: steps.findLast(({broke}) => broke.length === 0)?.percent ?? null,
    saturated: broken && broken.broke.length > 0 && last ? saturatedAt(last, cores) : null,
    steps,
  }
}

/** Whoever looks for the knee wants it above the profile's own rate. */
const kneeVerdict = ({held, saturated, steps}: Knee): Verdict => {
  const broken = steps.findLast(({broke}) => broke.length > 0)
  return {
    result: held === null || held < 100 ? 'fail' : 'pass',
    reasons: [
      held === null ? 'no rate held' : `the highest rate that held is ${held} % of the profile's`,
      ...(broken && saturated !== null
        ? [`at ${broken.percent} %, the first to give out: ${saturated}`, ...broken.broke]
        : ['nothing gave out']),
    ],
  }
}

/** A run with its verdict. */
export const judged = (run: Measured, baseline: LoadTest | undefined): LoadTest => {
  const {knee} = run
  const early: Verdict = {result: 'inconclusive', reasons: ['ended before its time']}
  const verdict = knee ? (run.partial ? early : kneeVerdict(knee)) : verdictOf(run, baseline)
  return {...run, verdict}
}
