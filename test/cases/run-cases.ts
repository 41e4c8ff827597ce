import {setTimeout as sleep} from 'node:timers/promises'
import {isDeepStrictEqual} from 'node:util'
import type {Signal} from '../../src/collector/config.ts'
import {createHttp} from '../../src/tools/http.ts'
import {countLinesLoki, queryPrometheus, readTempo, searchTempo} from '../../src/tools/stores.ts'
import {type DataLab, type EdgeQueue, grown} from '../support/data-lab.ts'
import {countGood, startGood} from '../support/good-traffic.ts'
import {postOtlp} from '../support/post-otlp.ts'
import {type Becomes, type Case, choicesOf, runOf} from './case.ts'

const http = createHttp()
const hourMs = 3_600_000
const everyMs = 200
/** More are searched for, and not asked for one by one. */
const tracesAtOnce = 2000
const goodMs = 5000
const goodWithinMs = 10_000
/** After a store was away its gRPC client dials again up to 16 s later (grpc-go's connection backoff), and what Tempo lost is sent again. */
const goodAgainMs = 45_000

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

type Trace = {readonly batches?: readonly {readonly scopeSpans: readonly {readonly spans: readonly {readonly spanId: string}[]}[]}[]}

/** A span that was delivered twice, which a killed gateway may do, is one. */
const spansIn = async (lab: DataLab, ids: readonly string[]): Promise<number> => {
  let spans = 0
  const left = ids.values()
  const ask = async () => {
    for (const id of left) {
      const {batches = []} = JSON.parse((await readTempo(http, lab.stores.tempo, id)) ?? '{}') as Trace
      const found = batches.flatMap(({scopeSpans}) => scopeSpans.flatMap((scope) => scope.spans.map(({spanId}) => spanId)))
      spans += new Set(found).size
    }
  }
  await Promise.all(Array.from({length: 4}, ask))
  return spans
}

/** Every sample and histogram of a selector: what counts them in a query would take series of two names for one. */
const samplesIn = async (base: string, selector: string, seconds: number, endMs: number): Promise<number | undefined> => {
  type Answer = {
    readonly data: {readonly result: readonly {readonly values?: readonly object[]; readonly histograms?: readonly object[]}[]}
  }
  const parameters = new URLSearchParams({query: `${selector}[${seconds}s]`, time: (endMs / 1000).toFixed(3)})
  const answer = await http.get(`${base}/api/v1/query?${parameters.toString()}`, 30_000)
  if (answer?.status !== 200) return undefined
  const {result} = (JSON.parse(answer.body) as Answer).data
  return result.reduce((sum, {values = [], histograms = []}) => sum + values.length + histograms.length, 0)
}

/** How many items of a case its store has. */
const storedOf = async (lab: DataLab, one: Case, run: Run): Promise<number | undefined> => {
  const [before, after] = one.within ?? [1, 0]
  const period = {fromMs: Date.now() - before * hourMs, toMs: Date.now() + after * hourMs + 1000}
  if (one.signal === 'metrics') {
    const selector = one.selector?.(run) ?? `{job="${run.workload}",__name__!="target_info"}`
    return samplesIn(lab.stores.prometheus, selector, (period.toMs - period.fromMs) / 1000, period.toMs)
  }
  if (one.signal === 'logs') return countLinesLoki(http, lab.stores.loki, one.selector?.(run) ?? `{service_name="${run.workload}"}`, period)
  if (run.traceIds.length < tracesAtOnce) return spansIn(lab, run.traceIds)
  const found = await searchTempo(http, lab.stores.tempo, `{ resource.service.name = "${run.workload}" }`, {
    ...period,
    limit: 2 * run.traceIds.length,
  })
  return found && [...found.values()].reduce((sum, spans) => sum + spans, 0)
}

const times = (counts: Readonly<Record<string, number>> = {}, accepted: number) =>
  Object.fromEntries(Object.entries(counts).map(([reason, count]) => [reason, count * accepted]))

const countOf = (reasons: Readonly<Record<string, number>>) => Object.values(reasons).reduce((sum, count) => sum + count, 0)

type Counters = Pick<EdgeQueue, 'accepted' | 'stored' | 'takenOut' | 'repaired' | 'dropped'>

type Outcome = {
  readonly accepted: number
  readonly refusals: ReadonlyMap<string, number>
  readonly stored: number
  readonly deadLetters: Readonly<Record<string, number>>
}

const counted = (before: EdgeQueue | undefined, after: EdgeQueue | undefined): Counters | undefined =>
  before &&
  after && {
    accepted: after.accepted - before.accepted,
    stored: after.stored - before.stored,
    takenOut: grown(before.takenOut, after.takenOut),
    repaired: grown(before.repaired, after.repaired),
    dropped: grown(before.dropped, after.dropped),
  }

const addsUp = ({accepted, stored, takenOut, dropped}: Counters) => accepted === stored + countOf(takenOut) + countOf(dropped)

/** Why an outcome is not what this says; nothing when it is. */
const differencesFrom = (becomes: Becomes, {accepted, refusals, stored, deadLetters}: Outcome): readonly string[] => {
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
  return problems
}

const added = (all: readonly Readonly<Record<string, number>>[]): Readonly<Record<string, number>> => {
  const sum: Record<string, number> = {}
  for (const one of all) for (const [reason, count] of Object.entries(one)) if (count > 0) sum[reason] = (sum[reason] ?? 0) + count
  return sum
}

const combinations = <T>(all: readonly (readonly T[])[]): readonly (readonly T[])[] =>
  all.reduce<readonly (readonly T[])[]>((found, choices) => found.flatMap((one) => choices.map((choice) => [...one, choice])), [[]])

type Told = {readonly one: Case; readonly run: Run; readonly outcome: Outcome}

/** What is not as it should be with what became of the cases of a signal, in words; nothing when all is well. */
const problemsOf = async (lab: DataLab, told: readonly Told[], counters: Counters | undefined): Promise<readonly string[]> => {
  const problems: string[] = []
  const fitting = told.map(({one, outcome}) => {
    const choices = choicesOf(one).map((becomes) => ({becomes, accepted: outcome.accepted, why: differencesFrom(becomes, outcome)}))
    const fits = choices.filter(({why}) => why.length === 0)
    if (fits.length === 0) problems.push(...choices.map(({why}) => `${one.signal} ${one.name}: ${why.join('; ')}`))
    return fits
  })
  for (const {one, run, outcome} of told) {
    if (!one.value) continue
    const [sample] = (await queryPrometheus(http, lab.stores.prometheus, one.value.query(run))) ?? []
    const wished = one.value.is(outcome.accepted)
    if (sample?.value !== wished) problems.push(`${one.signal} ${one.name}: its value is ${sample?.value}, not ${wished}`)
  }
  if (!counters || problems.length > 0) return problems
  const sums = combinations(fitting).map((choices) => ({
    repaired: added(choices.map(({becomes, accepted}) => times(becomes.repaired, accepted))),
    takenOut: added(choices.map(({becomes, accepted}) => times(becomes.deadLetters, accepted))),
  }))
  const {repaired, takenOut} = counters
  if (!sums.some((sum) => isDeepStrictEqual(sum, {repaired, takenOut})))
    problems.push(`counted: ${JSON.stringify({repaired, takenOut})}, not ${sums.map((sum) => JSON.stringify(sum)).join(' or ')}`)
  if (!addsUp(counters)) problems.push(`does not add up: ${JSON.stringify(counters)}`)
  return problems
}

/**
 * Good numbered items of both edges, 20 a second each, while the items of the cases go through edge-1 as workloads of their own.
 * Answers what is not as it should be; nothing when all is well. Cases of one signal in a round have the counters of edge-1 for
 * themselves where nobody else runs a round of it and nothing is disturbed.
 */
export const runCases = async (lab: DataLab, cases: readonly Case[], disturbance?: Disturbance): Promise<readonly string[]> => {
  const signals = [...new Set(cases.map(({signal}) => signal))]
  const before = new Map(await Promise.all(signals.map(async (signal) => [signal, await lab.edgeQueue('edge-1', signal)] as const)))
  const good = startGood(lab, {edges: lab.edges, signals, perSecond: 20})
  const runs = cases.map(runOf)
  const [sent] = await Promise.all([
    Promise.all(cases.map((one, index) => send(lab, one, runs[index] as Run))),
    disturbance?.(lab, signals),
    sleep(goodMs),
  ])
  await good.stop()
  const {results, ms, lost} = await countGood(lab, good.ways, disturbance ? goodAgainMs : goodWithinMs)
  const waiting = await lab.waiting(10_000, signals)

  const problems = [
    ...results
      .filter((way) => way.lost > 0)
      .map((way) => `${way.lost} of ${way.accepted} good ${way.signal} of ${way.edge} not stored in ${ms} ms`),
    ...results.flatMap(({edge, signal, refusals}) => refusals.map((refusal) => `good ${signal} of ${edge} refused: ${refusal}`)),
    ...results
      .filter(({accepted}) => accepted < 30)
      .map(({edge, signal, accepted}) => `only ${accepted} good ${signal} of ${edge} accepted`),
    ...waiting,
  ]
  if (lost > 0)
    for (const {sinks} of (await lab.queues('hub', 'gateway')) ?? [])
      for (const {edges} of sinks) problems.push(...edges.flatMap(({lastError}) => (lastError ? [lastError] : [])))

  const letters = (await Promise.all(signals.map((signal) => lab.deadLetters(signal)))).flat()
  for (const wanted of signals) {
    const told: Told[] = []
    for (const [index, one] of cases.entries()) {
      if (one.signal !== wanted) continue
      const run = runs[index] as Run
      const {accepted, refusals} = sent[index] as Sent
      const own = letters.filter(({signal, workload}) => signal === wanted && workload?.startsWith(run.workload))
      const deadLetters = Object.fromEntries([...Map.groupBy(own, ({reason}) => reason)].map(([reason, {length}]) => [reason, length]))
      const wished = choicesOf(one).map(({stored = 0}) => stored * accepted)
      let stored = await storedOf(lab, one, run)
      for (const end = Date.now() + 8000; !wished.includes(stored ?? -1) && Date.now() < end; stored = await storedOf(lab, one, run))
        await sleep(400)
      told.push({one, run, outcome: {accepted, refusals, stored: stored ?? -1, deadLetters}})
    }
    let counters: Counters | undefined
    if (!disturbance) {
      // telemetry of the edge itself is on its way at most moments
      for (const end = Date.now() + 10_000; !(counters && addsUp(counters)) && Date.now() < end; await sleep(200))
        counters = counted(before.get(wanted), await lab.edgeQueue('edge-1', wanted))
    }
    problems.push(...(await problemsOf(lab, told, counters)))
  }
  return problems
}
