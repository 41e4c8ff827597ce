import {setTimeout as sleep} from 'node:timers/promises'
import type {Signal} from '../../collector/config.ts'
import type {EdgeCluster, HubCluster} from '../../platforms/platform.ts'
import type {Http} from '../../tools/http.ts'
import {newRun, patientTimeoutMs} from '../verify.ts'
import {countingOf} from './counting.ts'
import {watchQueues} from './queues.ts'
import {type Fate, fateOf, type Gap, tallyOf, type Tally} from './tally.ts'
import {startTraffic} from './traffic.ts'

export type EdgeProof = Tally & {
  readonly edge: string
  /** What is lost, by sequence number. */
  readonly missing: Readonly<Record<Signal, readonly Gap[]>>
  /** The most items that were seen to wait in its agent; null when the agent never answered. */
  readonly queuePeak: number | null
}

/** A moment that the work named, in seconds from the beginning. */
export type Mark = {readonly second: number; readonly what: string}

/** One second, all edges together: items accepted by the agents, and what waited in them; null where one did not answer. */
export type Moment = {readonly second: number; readonly sent: number; readonly queue: number | null}

/** Traffic that was sent through a fleet while some work was done, and what the stores of the hub have of it. */
export type Proof = Tally & {
  readonly run: string
  readonly startedAt: string
  /** When the last item was sent; what the timeline has later is the waiting for those on their way. */
  readonly endedAt: string
  /** Items a second, signal and edge. */
  readonly perSecond: number
  /** When the work began and ended, in seconds from the beginning. */
  readonly work: {readonly from: number; readonly to: number}
  readonly edges: readonly EdgeProof[]
  readonly timeline: readonly Moment[]
  readonly marks: readonly Mark[]
}

export type ProofWish = {
  readonly http: Http
  readonly hub: HubCluster
  readonly edges: readonly EdgeCluster[]
  readonly perSecond: number
  readonly tell: (line: string) => void
  /** After how long in which nothing arrived what is missing counts as lost. */
  readonly patienceMs?: number
  /** How long traffic goes on after the work. */
  readonly lingerMs?: number
}

/** For what an agent did not accept yet when the traffic ends. */
const lastOffersMs = 15_000

/**
 * Does the work while numbered items of every signal flow through every edge, and counts them afterwards in the stores of
 * the hub, each by its id. The work may name moments for the timeline. What it throws, this throws.
 * Throws LKO-2004 when nothing flowed to begin with, and LKO-2003 when a store cannot be read at the end.
 */
export const prove = async <T>(
  {http, hub, edges, perSecond, tell, patienceMs = patientTimeoutMs, lingerMs = 5000}: ProofWish,
  work: (mark: (what: string) => void) => Promise<T>,
): Promise<{readonly result: T; readonly proof: Proof}> => {
  const stores = await hub.stores()
  const run = newRun()
  const startedMs = Date.now()
  const elapsed = () => (Date.now() - startedMs) / 1000
  const accepted = new Map<number, number>()
  const onAccepted = (items: number) => {
    const second = Math.floor(elapsed())
    accepted.set(second, (accepted.get(second) ?? 0) + items)
  }
  const traffic = await startTraffic(http, {run, edges, perSecond, onAccepted})
  const counting = countingOf(http, stores, traffic.ways, tell)
  const queues = watchQueues(edges, startedMs)
  try {
    await counting.flowing()
    const marks: Mark[] = []
    const from = elapsed()
    const result = await work((what) => void marks.push({second: elapsed(), what}))
    const to = elapsed()
    await sleep(lingerMs)
    await traffic.stop(lastOffersMs)
    const endedAt = new Date().toISOString()
    const found = await counting.settled(patienceMs)
    const fates = traffic.ways.map((way) => ({edge: way.source.edge, ...fateOf(way, found.get(way) ?? new Map(), startedMs)}))
    const edgeProof = (edge: string, own: readonly Fate[]): EdgeProof => {
      const missing = (signal: Signal) => own.filter((fate) => fate.signal === signal).flatMap((fate) => fate.missing)
      return {
        edge,
        ...tallyOf(own),
        missing: {metrics: missing('metrics'), logs: missing('logs'), traces: missing('traces')},
        queuePeak: queues.peakOf(edge),
      }
    }
    const proof: Proof = {
      run,
      startedAt: new Date(startedMs).toISOString(),
      endedAt,
      perSecond,
      work: {from, to},
      ...tallyOf(fates),
      edges: edges.map(({name}) =>
        edgeProof(
          name,
          fates.filter(({edge}) => edge === name),
        ),
      ),
      timeline: Array.from({length: Math.ceil(elapsed())}, (_, second) => {
        return {second, sent: accepted.get(second) ?? 0, queue: queues.at(second)}
      }),
      marks,
    }
    return {result, proof}
  } finally {
    await Promise.all([traffic.stop(0), queues.end()])
  }
}
