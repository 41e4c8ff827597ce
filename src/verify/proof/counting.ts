import {setTimeout as sleep} from 'node:timers/promises'
import {signals} from '../../collector/config.ts'
import {LkeobsError, orElse} from '../../errors.ts'
import {count} from '../../output.ts'
import type {Stores} from '../../platforms/platform.ts'
import type {Http} from '../../tools/http.ts'
import {patientTimeoutMs} from '../verify.ts'
import type {Item} from './item.ts'
import {storedOf} from './stored.ts'
import {type Copies, missingOf} from './tally.ts'
import type {Way} from './traffic.ts'

type Found = ReadonlyMap<Way, Copies>

const pollMs = 500
const longestPauseMs = 15_000

const sizeOf = (items: ReadonlyMap<Way, readonly Item[]>): number => [...items.values()].reduce((sum, {length}) => sum + length, 0)

/** Counts what the stores have of the items of these ways. */
export const countingOf = (http: Http, stores: Stores, ways: readonly Way[], tell: (line: string) => void) => {
  /** The stores side by side; in each, edge after edge, because it has other things to do. */
  const countIn = async (wanted: (way: Way) => readonly Item[]): Promise<Found> => {
    const found = new Map<Way, Copies>()
    const inStore = async (those: readonly Way[]) => {
      for (const way of those) found.set(way, await storedOf[way.signal](http, stores, way.source, wanted(way)))
    }
    await Promise.all(signals.map((signal) => inStore(ways.filter((way) => way.signal === signal))))
    return found
  }
  /** The same, or why not: a store may be starting again just now. */
  const look = (wanted: (way: Way) => readonly Item[]) => orElse<Found | LkeobsError>(countIn(wanted), (error) => error)

  return {
    /** Until the first item of every way is in its store. Throws LKO-2004. */
    async flowing(): Promise<void> {
      for (const end = Date.now() + patientTimeoutMs; ; await sleep(pollMs)) {
        const found = await look(({accepted}) => accepted.slice(0, 1))
        const dry = found instanceof LkeobsError ? ways : ways.filter((way) => found.get(way)?.size !== 1)
        if (dry.length === 0) return
        tell(`traffic: through ${ways.length - dry.length} of ${ways.length} ways, an edge and a signal each`)
        if (Date.now() < end) continue
        const named = dry.map(({signal, source, accepted, refusal}) => {
          const why = accepted.length === 0 ? `: the agent does not accept it: ${refusal() ?? 'no answer'}` : ''
          return `${signal} of ${source.edge}${why}`
        })
        const what =
          found instanceof LkeobsError ? found.message : `Not in the stores after ${patientTimeoutMs / 1000}s: ${named.join('; ')}.`
        throw new LkeobsError('LKO-2004', what, {next: ['lkeobs verify --all']})
      }
    },

    /** What the stores have of all that was accepted, once all of it is there or nothing more came for the time. Throws LKO-2003. */
    async settled(patienceMs: number): Promise<Found> {
      let missing = new Map(ways.map((way) => [way, way.accepted]))
      let left = sizeOf(missing)
      let silence: LkeobsError | undefined
      let changedMs = Date.now()
      tell(`looking for ${count(left, 'item')} in the stores`)
      await sleep(pollMs)
      for (let round = 1; left > 0; round++) {
        const askedMs = Date.now()
        const asked = left
        const found = await look((way) => missing.get(way) ?? [])
        const before = silence
        silence = found instanceof LkeobsError ? found : undefined
        if (!(found instanceof LkeobsError)) {
          missing = new Map([...missing].map(([way, items]) => [way, missingOf(items, found.get(way) ?? new Map())]))
          left = sizeOf(missing)
          if (left === 0 && round === 1) return found
          if (left === 0) break
        }
        // a store that answers again has the whole time to get what waited for it
        if (left < asked || (silence === undefined) !== (before === undefined)) changedMs = Date.now()
        if (Date.now() - changedMs >= patienceMs) break
        tell(silence?.message ?? `${count(left, 'item')} not in the stores yet`)
        // asking takes a fifth of the time at most
        const nextMs = (Date.now() - askedMs) * (left / asked)
        await sleep(Math.min(Math.max(pollMs, 4 * nextMs), longestPauseMs, patienceMs))
      }
      if (silence) throw silence
      // all of it once more: what came late may have come twice, and what was there may be gone
      return countIn(({accepted}) => accepted)
    },
  }
}
