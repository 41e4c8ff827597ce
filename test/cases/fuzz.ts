import {readFile} from 'node:fs/promises'
import {setTimeout as sleep} from 'node:timers/promises'
import type {Signal} from '../../src/collector/config.ts'
import {type DataLab, grown} from '../support/data-lab.ts'
import {countGood, startGood} from '../support/good-traffic.ts'
import {postOtlp} from '../support/post-otlp.ts'
import {hostileRequest} from './hostile.ts'

type Wish = {readonly signal: Signal; readonly requests: number; readonly seed: number; readonly perSecond?: number}

export type Fuzzed = {
  readonly signal: Signal
  readonly seed: number
  readonly accepted: number
  readonly refused: number
  readonly good: number
  readonly goodLost: number
  /** Until the last good item was stored, from the last request. */
  readonly goodMs: number
  /** Of edge-1, as the gateway counts them. */
  readonly items: number
  readonly stored: number
  readonly dropped: number
  readonly repaired: number
  readonly deadLetters: Readonly<Record<string, number>>
  /** What is not as it should be; nothing when all is well. */
  readonly problems: readonly string[]
}

const sum = (counts: Readonly<Record<string, number>> = {}) => Object.values(counts).reduce((all, count) => all + count, 0)

/** Hostile requests through edge-1 while good numbered items go through all edges. */
export const fuzz = async (lab: DataLab, {signal, requests, seed, perSecond = 40}: Wish): Promise<Fuzzed> => {
  const collectors = [['hub', 'gateway'] as const, ...lab.edges.map((edge) => [edge, 'agent'] as const)]
  const pids = () => Promise.all(collectors.map(([cluster, component]) => lab.pidOf(cluster, component)))
  const before = await pids()
  const countersBefore = await lab.edgeQueue('edge-1', signal)
  const good = startGood(lab, {edges: lab.edges, signals: [signal], perSecond: 20})
  const problems: string[] = []
  let accepted = 0
  let refused = 0
  const began = Date.now()
  for (let number = 0; number < requests; number++) {
    await sleep(Math.max(0, began + (number * 1000) / perSecond - Date.now()))
    const {status, message} = await postOtlp(lab.otlp('edge-1'), signal, hostileRequest(signal, seed, number))
    if (status === 200) accepted++
    else if (status === 400) refused++
    else problems.push(`request ${number}: ${message}`)
  }
  await good.stop()
  const {lost, ms, accepted: sent} = await countGood(lab, good.ways, 20_000)
  if (lost > 0) problems.push(`${lost} of ${sent} good items not stored ${ms} ms after the last request`)
  problems.push(...good.ways.flatMap(({edge, refusals}) => [...refusals].map((refusal) => `good items of ${edge} refused: ${refusal}`)))
  problems.push(...(await lab.waiting(30_000, [signal])))

  const after = await pids()
  for (const [index, [cluster, component]] of collectors.entries()) {
    if (before[index] !== after[index]) problems.push(`the ${component} of ${cluster} was started anew`)
    const log = await readFile(lab.state(cluster, 'logs', `${component}.log`), 'utf8')
    if (/^(panic|fatal error):/m.test(log)) problems.push(`the ${component} of ${cluster} panicked`)
  }
  const tally = async () => {
    const now = await lab.edgeQueue('edge-1', signal)
    const of = (key: 'repaired' | 'takenOut' | 'dropped') => grown(countersBefore?.[key] ?? {}, now?.[key] ?? {})
    const counted = {
      items: (now?.accepted ?? 0) - (countersBefore?.accepted ?? 0),
      stored: (now?.stored ?? 0) - (countersBefore?.stored ?? 0),
    }
    return {...counted, repaired: sum(of('repaired')), deadLetters: of('takenOut'), dropped: sum(of('dropped'))}
  }
  let told = await tally()
  const addsUp = () => told.items === told.stored + sum(told.deadLetters) + told.dropped
  // telemetry of the edge itself is on its way at most moments
  for (const end = Date.now() + 10_000; !addsUp() && Date.now() < end; told = await tally()) await sleep(200)
  if (!addsUp()) problems.push(`what became of edge-1's items does not add up: ${JSON.stringify(told)}`)
  return {signal, seed, accepted, refused, good: sent, goodLost: lost, goodMs: ms, ...told, problems}
}
