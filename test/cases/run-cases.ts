import {setTimeout as sleep} from 'node:timers/promises'
import {isDeepStrictEqual} from 'node:util'
import type {Signal} from '../../src/collector/config.ts'
import {createHttp} from '../../src/tools/http.ts'
import {countLinesLoki, countPrometheus, queryPrometheus, readTempo} from '../../src/tools/stores.ts'
import {type DataLab, type EdgeQueue, grown} from '../support/data-lab.ts'
import {countGood, type GoodResult, startGood} from '../support/good-traffic.ts'
import {postOtlp} from '../support/post-otlp.ts'
import {type Becomes, type Case, choicesOf, runOf} from './case.ts'

const http = createHttp()
const hourMs = 3_600_000
const everyMs = 200
const goodWithinMs = 10_000

/** What is done to the fleet while the items are on their way; ends when all is mended. */
export type Disturbance = (lab: DataLab, signals: readonly Signal[]) => Promise<void>

type Run = ReturnType<typeof runOf>

type Sent = {readonly accepted: number; readonly refusals: ReadonlyMap<string, number>}

const send = async (lab: DataLab, one: Case, run: Run): Promise<Sent> => {
  const refusals = new Map<string, number>()
  let accepted = 0
  const began = Date.now()
  for (let i = 0; i < (one.requests ?? 25); i++) {
    await sleep(Math.max(0, began + i * everyMs - Date.now()))
    const body = run.encoded(i)
    for (const edge of one.edges ?? ['edge-1']) {
      const answer = await postOtlp(lab.otlp(edge), one.signal, body)
      if (answer.status === 200) accepted++
      else refusals.set(answer.message, (refusals.get(answer.message) ?? 0) + 1)
    }
  }
  return {accepted, refusals}
}

const spansIn = async (lab: DataLab, ids: readonly string[]): Promise<number> => {
  let spans = 0
  const left = ids.values()
  const ask = async () => {
    for (const id of left) {
      const trace = await readTempo(http, lab.stores.tempo, id)
      spans += (trace?.split('"spanId"').length ?? 1) - 1
    }
  }
  await Promise.all(Array.from({length: 8}, ask))
  return spans
}

/** How many items of a case its store has. */
const storedOf = async (lab: DataLab, one: Case, run: Run): Promise<number | undefined> => {
  const [before, after] = one.within ?? [1, 0]
  const period = {fromMs: Date.now() - before * hourMs, toMs: Date.now() + after * hourMs + 1000}
  if (one.signal === 'metrics') {
    const selector = one.selector?.(run) ?? `{job="${run.workload}",__name__!="target_info"}`
    return countPrometheus(http, lab.stores.prometheus, selector, period)
  }
  if (one.signal === 'logs') {
    return countLinesLoki(http, lab.stores.loki, one.selector?.(run) ?? `{service_name="${run.workload}"}`, period)
  }
  return spansIn(lab, run.traceIds)
}

const times = (counts: Readonly<Record<string, number>> = {}, accepted: number) =>
  Object.fromEntries(Object.entries(counts).map(([reason, count]) => [reason, count * accepted]))

const countOf = (reasons: Readonly<Record<string, number>>) => Object.values(reasons).reduce((sum, count) => sum + count, 0)

export type Outcome = {
  readonly accepted: number
  readonly refusals: ReadonlyMap<string, number>
  readonly stored: number
  readonly deadLetters: Readonly<Record<string, number>>
  /** What edge-1's counters of the signal grew by; undefined where the gateway was started anew, or cases share the signal. */
  readonly counters?: Pick<EdgeQueue, 'accepted' | 'stored' | 'takenOut' | 'repaired' | 'dropped'>
}

const counted = (before: EdgeQueue | undefined, after: EdgeQueue | undefined): Outcome['counters'] =>
  before &&
  after && {
    accepted: after.accepted - before.accepted,
    stored: after.stored - before.stored,
    takenOut: grown(before.takenOut, after.takenOut),
    repaired: grown(before.repaired, after.repaired),
    dropped: grown(before.dropped, after.dropped),
  }

/** Why an outcome is not what this says, or undefined when it is. */
const differsFrom = (becomes: Becomes, {accepted, refusals, stored, deadLetters, counters}: Outcome): string | undefined => {
  const problems: string[] = []
  const differ = (what: string, is: unknown, wished: unknown) => {
    if (!isDeepStrictEqual(is, wished)) problems.push(`${what}: ${JSON.stringify(is)}, not ${JSON.stringify(wished)}`)
  }
  if (becomes.refused) {
    differ('accepted', accepted, 0)
    for (const message of refusals.keys()) if (!becomes.refused.test(message)) problems.push(`refused with: ${message}`)
  } else if (refusals.size > 0) problems.push(`refused: ${[...refusals].map(([message, count]) => `${count} × ${message}`).join('; ')}`)
  else differ('accepted by the agent', accepted > 0, true)
  differ('stored', stored, (becomes.stored ?? 0) * accepted)
  differ('dead letters', deadLetters, times(becomes.deadLetters, accepted))
  if (counters) {
    differ('counted as repaired', counters.repaired, times(becomes.repaired, accepted))
    differ('counted as taken out', counters.takenOut, times(becomes.deadLetters, accepted))
    differ('counted as dropped', counters.dropped, {})
    differ('accepted less taken out', counters.accepted - countOf(counters.takenOut), counters.stored)
  }
  return problems.length === 0 ? undefined : problems.join('; ')
}

/** What is not as it should be with a case, in words; nothing when all is well. */
const problemsOf = async (lab: DataLab, one: Case, run: Run, outcome: Outcome): Promise<readonly string[]> => {
  const choices = choicesOf(one).map((becomes) => differsFrom(becomes, outcome))
  const problems = choices.includes(undefined) ? [] : choices.map((choice) => `${one.signal} ${one.name}: ${choice}`)
  if (!one.value) return problems
  const [sample] = (await queryPrometheus(http, lab.stores.prometheus, one.value.query(run))) ?? []
  const wished = one.value.is(outcome.accepted)
  return sample?.value === wished ? problems : [...problems, `${one.signal} ${one.name}: its value is ${sample?.value}, not ${wished}`]
}

export type Round = {
  readonly good: readonly GoodResult[]
  readonly goodMs: number
  readonly waiting: readonly string[]
  readonly outcomes: readonly Outcome[]
  /** What is not as it should be; nothing when all is well. */
  readonly problems: readonly string[]
}

/** Good numbered items of both edges, 20 a second each, while the items of the cases go through edge-1 as workloads of their own. */
export const runCases = async (lab: DataLab, cases: readonly Case[], disturbance?: Disturbance): Promise<Round> => {
  const signals = [...new Set(cases.map(({signal}) => signal))]
  const [only, ...more] = cases
  const alone = only && more.length === 0 && !disturbance && !only.edges ? only : undefined
  const before = alone && (await lab.edgeQueue('edge-1', alone.signal))
  const good = startGood(lab, {edges: lab.edges, signals, perSecond: 20})
  const runs = cases.map(runOf)
  const [sent] = await Promise.all([
    Promise.all(cases.map((one, index) => send(lab, one, runs[index] as Run))),
    disturbance?.(lab, signals),
    sleep(cases.every(({requests = 25}) => requests <= 25) ? 5000 : 0),
  ])
  await good.stop()
  const {results, ms, lost} = await countGood(lab, good.ways, goodWithinMs)
  const waiting = await lab.waiting(10_000, signals)

  const problems = [
    ...results
      .filter((way) => way.lost > 0)
      .map((way) => `${way.lost} of ${way.accepted} good ${way.signal} of ${way.edge} not stored in ${ms} ms`),
    ...results.flatMap(({edge, signal, refusals}) => refusals.map((refusal) => `good ${signal} of ${edge} refused: ${refusal}`)),
    ...results
      .filter(({accepted}) => accepted < 80)
      .map(({edge, signal, accepted}) => `only ${accepted} good ${signal} of ${edge} accepted`),
    ...waiting,
  ]
  if (lost > 0)
    problems.push(
      ...((await lab.queues('hub', 'gateway')) ?? []).flatMap(({sinks}) =>
        sinks.flatMap(({edges}) => edges.flatMap(({lastError}) => lastError ?? [])),
      ),
    )

  const letters = (await Promise.all(signals.map((signal) => lab.deadLetters(signal)))).flat()
  const outcomes: Outcome[] = []
  for (const [index, one] of cases.entries()) {
    const run = runs[index] as Run
    const {accepted, refusals} = sent[index] as Sent
    const own = letters.filter(({signal, workload}) => signal === one.signal && workload?.startsWith(run.workload))
    const deadLetters = Object.fromEntries([...Map.groupBy(own, ({reason}) => reason)].map(([reason, {length}]) => [reason, length]))
    const counters = alone && counted(before, await lab.edgeQueue('edge-1', one.signal))
    const wished = choicesOf(one).map(({stored = 0}) => stored * accepted)
    let stored = await storedOf(lab, one, run)
    for (const end = Date.now() + 8000; !wished.includes(stored ?? -1) && Date.now() < end; stored = await storedOf(lab, one, run))
      await sleep(400)
    const outcome: Outcome = {accepted, refusals, stored: stored ?? -1, deadLetters, ...(counters && {counters})}
    outcomes.push(outcome)
    problems.push(...(await problemsOf(lab, one, run, outcome)))
  }
  return {good: results, goodMs: ms, waiting, outcomes, problems}
}
