import {setTimeout as sleep} from 'node:timers/promises'
import {signals} from '../collector/config.ts'
import {orElse} from '../errors.ts'
import type {EdgeState, QueueAdmin, QueueState} from '../tools/queue-admin.ts'
import {changeLetters, listLetters, placeOf, type PlacedLetter, type Reach} from './letters.ts'

/** What became of replayed dead letters. */
export type Replayed = {
  /** In the queue of their sink again. */
  readonly replayed: number
  readonly stored: number
  /** Refused again, and dead letters with another id. */
  readonly deadAgain: number
  /** Neither stored nor refused within the time; on disk. */
  readonly waiting: number
  /** The new ids of those that are dead letters again. */
  readonly again: readonly string[]
}

const lookMs = 500
/** The collector's clock may be behind this machine's. */
const clockMs = 2000

/** A line of a queue: the letters of one edge for one sink and signal, in one process. */
type Line = {readonly admin: QueueAdmin; readonly signal: string; readonly sink: string; readonly edge: string}

const lineOf = ({signal, sink, edge}: Pick<PlacedLetter, 'signal' | 'sink' | 'edge'>): string => JSON.stringify([signal, sink, edge])

const linesOf = ({admins}: Reach, letters: readonly PlacedLetter[]): readonly Line[] =>
  admins.flatMap((admin) => [
    ...new Map(
      letters
        .filter(({at}) => at === placeOf(admin))
        .map((letter) => [lineOf(letter), {admin, signal: letter.signal, sink: letter.sink, edge: letter.edge}] as const),
    ).values(),
  ])

const edgeIn = (state: QueueState, {signal, sink, edge}: Line): EdgeState | undefined =>
  state.queues
    .filter((queue) => queue.signal === signal)
    .flatMap(({sinks}) => sinks.filter(({name}) => name === sink))
    .flatMap(({edges}) => edges.filter((one) => one.edge === edge))[0]

const sum = (reasons: Readonly<Record<string, number>>): number => Object.values(reasons).reduce((total, items) => total + items, 0)

/** How many items have left the line, wherever to. */
const goneFrom = ({stored, takenOut, dropped}: EdgeState): number => stored + sum(takenOut) + sum(dropped)

/**
 * How many items of a line are still before or among the replayed ones. A collector that tells them apart says it; otherwise as many
 * as waited when they had been put at its end have to leave it, since what comes in first goes out first.
 */
const leftIn = (now: EdgeState | undefined, then: EdgeState | undefined): number => {
  if (now === undefined || now.waitingItems === 0) return 0
  if (now.replaying !== undefined) return now.replaying
  // one that was started anew counts from zero
  const before = then && goneFrom(then) <= goneFrom(now) ? goneFrom(then) : 0
  return Math.max(0, Math.min(now.waitingItems, (then?.waitingItems ?? now.waitingItems) - (goneFrom(now) - before)))
}

/** Puts dead letters into their queues again, and waits until each is stored or a dead letter again. */
export const replayLetters = async (
  reach: Reach,
  letters: readonly PlacedLetter[],
  {timeoutMs, tell}: {readonly timeoutMs: number; readonly tell: (line: string) => void},
): Promise<Replayed> => {
  const startedMs = Date.now()
  const replayed = await changeLetters(
    reach,
    letters,
    (admin, ids) => admin.replay(ids),
    (done) => tell(`replayed ${done} of ${letters.length}`),
  )
  const lines = linesOf(reach, letters)
  const statesOf = async () =>
    new Map(
      await Promise.all(
        [...new Set(lines.map(({admin}) => admin))].map(async (admin) => [admin, await orElse(admin.state(), () => undefined)] as const),
      ),
    )
  const at = (states: Awaited<ReturnType<typeof statesOf>>, line: Line) => {
    const state = states.get(line.admin)
    return state && edgeIn(state, line)
  }
  const then = await statesOf()
  const leftNow = async (): Promise<number> => {
    const now = await statesOf()
    // a collector that does not answer has not delivered
    return lines.reduce((left, line) => left + (now.get(line.admin) === undefined ? 1 : leftIn(at(now, line), at(then, line))), 0)
  }
  let left = replayed === 0 ? 0 : await leftNow()
  for (let toldMs = 0; left > 0 && Date.now() - startedMs < timeoutMs; left = await leftNow()) {
    if (Date.now() - toldMs > 2000) {
      tell(`replayed ${replayed}, waiting until they are stored: ${left} to go`)
      toldMs = Date.now()
    }
    await sleep(lookMs)
  }
  const ids = new Set(letters.map(({id}) => id))
  const own = new Set(
    lines.map((line) => `${placeOf(line.admin)} ${lineOf({...line, signal: signals.find((one) => one === line.signal) ?? 'logs'})}`),
  )
  const found = (await listLetters(reach, {}, Infinity)).letters.filter(
    (letter) =>
      // an id that is the same again is one that was refused again
      own.has(`${letter.at} ${lineOf(letter)}`) &&
      (letter.replayOf === undefined ? ids.has(letter.id) || Date.parse(letter.time) >= startedMs - clockMs : ids.has(letter.replayOf)),
  )
  const deadAgain = Math.min(found.length, replayed)
  const waiting = Math.min(left, replayed - deadAgain)
  return {replayed, stored: replayed - deadAgain - waiting, deadAgain, waiting, again: found.slice(0, deadAgain).map(({id}) => id)}
}
