import {type Signal, signals} from '../collector/config.ts'
import {percentile} from './balance.ts'
import {count, duration, grouped} from '../output.ts'
import {type Compared, compare, differences, type Measured} from './compare.ts'
import type {Balance, Hop, LoadTest, Repetition, Verdict} from './result.ts'

/** What a run is judged by, beside that nothing is lost and nothing stays unexplained. */
const commitments = {
  /** The share of what was offered that the generators must have reached, for the rate to count as tried. */
  reached: 0.97,
  /** From sent to queryable. */
  p99Ms: 10_000,
  /** A hop that keeps up has never more waiting for longer than it takes to fill a batch. In seconds of the offered rate. */
  queueSeconds: 2,
} as const

/** What was found, and what it makes of the verdict; `told` makes nothing of it. */
type Finding = {readonly result: 'fail' | 'inconclusive' | 'told'; readonly reason: string}
const fail = (reason: string): Finding => ({result: 'fail', reason})
const inconclusive = (reason: string): Finding => ({result: 'inconclusive', reason})
const told = (reason: string): Finding => ({result: 'told', reason})

/** `agent edge-1`, `gateway hub`, `otlp_http/loki` */
export const hopName = ({hop, name}: Pick<Hop, 'hop' | 'name'>): string => (hop === 'exporter' ? name : `${hop} ${name}`)

const counters = ['accepted', 'refused', 'sent', 'failed', 'enqueueFailed', 'queued'] as const

const what = (items: number, signal: Signal, generated: number) => `${signal}: ${grouped(items)} of ${grouped(generated)}`

/** Nothing lost, nothing unexplained. */
const balanced = (signal: Signal, {generated, explained, unexplained, lost, stored}: Balance): readonly Finding[] => {
  const open = Math.max(unexplained ?? 0, 0)
  const known = (lost ?? 0) - open
  const kept = explained.filter(({items, isKept}) => items > 0 && isKept)
  const away = explained.filter(({items, isKept}) => items > 0 && !isKept)
  const parts = away.map(({where, why, items}) => `${away.length === 1 && items === known ? '' : `${grouped(items)} `}at ${where}: ${why}`)
  return [
    ...kept.map(({where, why, items}) => fail(`${what(items, signal, generated)} not stored, at ${where}: ${why}`)),
    ...(known > 0 ? [fail(`${what(known, signal, generated)} lost ${parts.length > 0 ? parts.join('; ') : 'on the way'}`)] : []),
    ...(open > 0 ? [fail(`${what(open, signal, generated)} lost, and no counter says where`)] : []),
    ...(stored === null ? [inconclusive(`${signal}: how many of ${grouped(generated)} are stored could not be asked`)] : []),
    ...(unexplained !== null && unexplained < 0
      ? [inconclusive(`${signal}: ${grouped(-unexplained)} more are stored than were generated, so a loss could hide among them`)]
      : []),
    ...(known > 0 ? [] : away.map(({where, why, items}) => told(`${what(items, signal, generated)} not stored, at ${where}: ${why}`))),
  ]
}

/** A rate that was not tried says nothing; one that the agents refused does. */
const offered = (signal: Signal, {generated, offered: wanted}: Balance, {hops, windowSeconds}: Repetition): readonly Finding[] => {
  const refusals = hops.filter((hop) => hop.hop === 'agent' && hop.signal === signal && (hop.refused ?? 0) > 0)
  const rate = (items: number) => `${grouped(Math.round(items / windowSeconds))}/s`
  return [
    ...refusals.map((hop) => fail(`${signal}: ${hopName(hop)} refused ${grouped(hop.refused ?? 0)} of ${grouped(wanted)} offered`)),
    ...(generated < wanted * commitments.reached && refusals.length === 0
      ? [
          inconclusive(
            `${signal}: the generators did not reach the offered rate: ${rate(generated)} of ${rate(wanted)} (${Math.floor((generated / wanted) * 100)} %)`,
          ),
        ]
      : []),
  ]
}

/** What was changed on the way, and what a queue sent back: neither is a loss, and both say something of the load or of the shares. */
const handled = (signal: Signal, {hops}: Repetition): readonly Finding[] =>
  hops
    .filter((hop) => hop.signal === signal)
    .flatMap((hop) => [
      ...((hop.repaired ?? 0) > 0 ? [told(`${signal}: ${grouped(hop.repaired ?? 0)} repaired before ${hopName(hop)} took them`)] : []),
      ...(hop.hop === 'gateway'
        ? Object.entries(hop.refusedBy ?? {}).map(([reason, items]) =>
            told(`${signal}: ${hopName(hop)} sent ${grouped(items)} back (${reason}), and the agents sent them again`),
          )
        : []),
    ])

/** Every hop, and every counter of it: a missing one is not zero. */
const counted = (signal: Signal, {hops}: Repetition, edges: readonly string[]): readonly Finding[] => {
  const here = hops.filter((hop) => hop.signal === signal)
  const expected = [
    ...edges.map((edge) => ({is: here.some(({hop, name}) => hop === 'agent' && name === edge), hop: `agent ${edge}`})),
    {is: here.some(({hop}) => hop === 'gateway'), hop: 'the gateway'},
    {is: here.some(({hop}) => hop === 'exporter'), hop: 'the exporters of the gateway'},
  ]
  return [
    ...expected.filter(({is}) => !is).map(({hop}) => inconclusive(`${signal}: nothing was counted by ${hop}`)),
    ...here.flatMap((hop) => {
      const unread = counters.filter((name) => hop[name] === null)
      return unread.length === 0 ? [] : [inconclusive(`${signal}: ${unread.join(', ')} of ${hopName(hop)} could not be read`)]
    }),
  ]
}

/** What still waits is not lost, and not delivered either. */
const rested = ({drainSeconds, hops}: Repetition): readonly Finding[] => {
  if (drainSeconds !== null) return []
  const waiting = hops.filter(({queued}) => (queued ?? 0) > 0)
  return waiting.length === 0
    ? [inconclusive('not everything came to rest after the window, and no hop says what waits')]
    : waiting.map((hop) => fail(`${hop.signal}: ${grouped(hop.queued ?? 0)} still wait at ${hopName(hop)}`))
}

/** A canary that waited while something happened says how long that was, not how fast the way is. */
const timely = (signal: Signal, {latencyMs: {p99, samples}}: Balance, isDisturbed: boolean): readonly Finding[] => {
  if (p99 === null) return [inconclusive(`${signal}: no canary was read back, so its latency is not known`)]
  if (p99 <= commitments.p99Ms) return []
  const reason = `${signal}: p99 ${duration(p99)} from sent to queryable, of ${count(samples, 'canary', 'canaries')}`
  return [
    isDisturbed
      ? told(`${reason}; not judged, since something happened in the window`)
      : fail(`${reason}; at most ${duration(commitments.p99Ms)}`),
  ]
}

/** What waited in each queue in the first and in the last third of the window; a queue that was not seen in both is left out. */
export const queueThirds = ({timeline, warmUpSeconds, windowSeconds}: Repetition) =>
  timeline.queues.flatMap(({name, values}) => {
    const third = (which: 0 | 2) =>
      values.filter((value, index): value is number => {
        const second = (timeline.seconds[index] ?? 0) - warmUpSeconds
        return value !== null && second >= (which * windowSeconds) / 3 && second < ((which + 1) * windowSeconds) / 3
      })
    const [begun, ended] = [third(0), third(2)]
    return begun.length > 0 && ended.length > 0 ? [{name, begun, ended}] : []
  })

/** A queue grows where the least of its last third is above what it held in the first by more than the committed seconds of traffic. */
const steady = (repetition: Repetition): readonly Finding[] => {
  const {windowSeconds, signals: balances} = repetition
  return queueThirds(repetition).flatMap(({name, begun, ended}) => {
    const own = signals.find((signal) => name.endsWith(` ${signal}`))
    const through: readonly Signal[] = own ? [own] : signals
    const perSecond = through.reduce((all, signal) => all + balances[signal].offered / windowSeconds, 0)
    const grown = Math.min(...ended) - (percentile(begun, 0.5) ?? 0)
    return grown > perSecond * commitments.queueSeconds
      ? [
          fail(
            `the queue of ${name} grew by ${grouped(Math.round(grown))} in ${duration(windowSeconds * 1000)}: what it sends to does not keep up`,
          ),
        ]
      : []
  })
}

/** A thing that happened between the beginning of the window and the end of the drain. */
const happened = ({happenings, warmUpSeconds}: Repetition) => happenings.filter(({second}) => second >= warmUpSeconds)

const judged = (repetition: Repetition, edges: readonly string[]): readonly Finding[] => {
  const events = happened(repetition)
  const tried = signals.filter((signal) => repetition.signals[signal].offered > 0)
  return [
    ...events.map(({second, what: event}) => told(`${Math.round(second - repetition.warmUpSeconds)} s into the window: ${event}`)),
    ...tried.flatMap((signal) => {
      const balance = repetition.signals[signal]
      return [
        ...balanced(signal, balance),
        ...offered(signal, balance, repetition),
        ...handled(signal, repetition),
        ...counted(signal, repetition, edges),
        ...timely(signal, balance, events.length > 0),
      ]
    }),
    ...rested(repetition),
    ...(events.length > 0 ? [] : steady(repetition)),
  ]
}

const change = ({figure, ratio, first, second}: Compared): string =>
  `${figure} ${ratio === null ? `${first.median} → ${second.median}` : `${ratio.toFixed(2)}×`}`

/** Figures of a run that was ended, or in which something happened, are not those of the fleet as it is. */
const against = (run: Measured, baseline: LoadTest): readonly Finding[] => {
  if (run.partial || run.repetitions.some((repetition) => happened(repetition).length > 0))
    return [
      told(`not compared with ${baseline.run}, since ${run.partial ? 'it was ended before its time' : 'something happened in the window'}`),
    ]
  const [unlike] = differences(baseline, run)
  if (unlike) return [told(`not compared with ${baseline.run}: ${unlike.member} differs (${unlike.first} and ${unlike.second})`)]
  const {result, figures} = compare(baseline, run)
  const worse = figures.filter((figure) => figure.result === 'worse')
  return worse.length > 0
    ? worse.map((figure) => fail(`worse than ${baseline.run}: ${change(figure)}`))
    : [
        told(
          `against ${baseline.run}: ${
            result === 'better'
              ? figures
                  .filter((figure) => figure.result === 'better')
                  .map(change)
                  .join(', ')
              : result
          }`,
        ),
      ]
}

const summary = ({signals: balances}: Measured): Finding => {
  const generated = signals.reduce((all, signal) => all + balances[signal].generated, 0)
  return told(`nothing lost of ${grouped(generated)} items, nothing unexplained`)
}

/** The commitments, and the baseline where there is an alike one. What failed counts more than what is not known. */
export const verdictOf = (run: Measured, baseline?: LoadTest): Verdict => {
  const several = run.repetitions.length > 1
  const measured = run.repetitions.reduce((all, {windowSeconds}) => all + windowSeconds, 0)
  const wanted = run.profile.windowSeconds * run.profile.repetitions
  const ended =
    measured < wanted
      ? `ended before its time: ${duration(measured * 1000)} of ${duration(wanted * 1000)} measured`
      : 'ended before everything had come to rest'
  const findings = [
    ...(run.partial ? [inconclusive(ended)] : []),
    ...(run.repetitions.length === 0 ? [inconclusive('nothing was measured')] : []),
    ...run.repetitions.flatMap((repetition, index) =>
      judged(repetition, run.edges).map(({result, reason}) => ({result, reason: several ? `repetition ${index + 1}, ${reason}` : reason})),
    ),
    ...(baseline && run.repetitions.length > 0 ? against(run, baseline) : []),
  ]
  const result = (['fail', 'inconclusive'] as const).find((word) => findings.some((finding) => finding.result === word)) ?? 'pass'
  const order = ['fail', 'inconclusive', 'told'] as const
  const ordered = order.flatMap((word) => findings.filter((finding) => finding.result === word))
  return {result, reasons: (result === 'pass' ? [summary(run), ...ordered] : ordered).map(({reason}) => reason)}
}
