import {atMost} from '../checks/check.ts'
import type {Fleet} from '../clusters.ts'
import {LkeobsError} from '../errors.ts'
import {type Collector, collectorOf} from '../status/collectors.ts'
import type {DeadLetter, DeadLetterFilter, OpenedDeadLetter, QueueAdmin} from '../tools/queue-admin.ts'

/** A dead letter and where it lies: `hub/gateway`, `edge-1/agent`. */
export type PlacedLetter = DeadLetter & {readonly at: string}

/** The queue administrations that answer, and the collectors that do not. */
export type Reach = {
  readonly admins: readonly QueueAdmin[]
  readonly unreached: readonly {readonly cluster: string; readonly why: string}[]
}

/** Which dead letters a command is about: by id, by what they have in common, or all. */
export type Selection = {readonly ids: readonly string[]; readonly filter: DeadLetterFilter; readonly all: boolean}

const clustersAtOnce = 8
/** What a collector takes in one request: ids are in its body, and letters in its answer. */
const idsAtOnce = 1000
const pageSize = 10_000
/** A list that changes while it is read is read again. */
const tries = 5

export const placeOf = ({cluster, process}: Pick<QueueAdmin, 'cluster' | 'process'>): string => `${cluster}/${process}`

/** Whose dead letters of an edge can be: the gateway's, and those of its own agents. */
const clustersFor = ({hub, edges}: Fleet, edge: string | undefined) => [
  hub,
  ...edges.filter(({name}) => edge === undefined || name === edge),
]

const whyNot = ({build, component, problem}: Collector): string =>
  build === 'upstream'
    ? `its ${component} runs the stock collector, which keeps no dead letters`
    : (problem?.message ?? `its ${component} does not answer`)

/** Throws LKO-2010 where all that answer are of the stock build, LKO-2013 where nobody answers. */
export const reachOf = async (fleet: Fleet, edge?: string): Promise<Reach> => {
  const collectors = await atMost(clustersAtOnce, clustersFor(fleet, edge), collectorOf)
  const admins = collectors.flatMap(({processes}) => processes.flatMap(({admin, state}) => (state === undefined ? [] : [admin])))
  const missing = collectors.filter(({build, problem}) => build !== 'lkeobs' || problem !== undefined)
  if (admins.length === 0) {
    const stock = missing.filter(({build}) => build === 'upstream').map(({cluster, component}) => `${component} on ${cluster}`)
    if (stock.length > 0)
      throw new LkeobsError(
        'LKO-2010',
        `The fleet runs the stock collector (${stock.join(', ')}): what a store refuses for good is dropped there with its whole batch, and not kept.`,
        {next: ['lkeobs doctor']},
      )
    throw new LkeobsError('LKO-2013', missing.map((one) => `${one.cluster}: ${whyNot(one)}`).join('\n'), {next: ['lkeobs status']})
  }
  return {admins, unreached: missing.map((one) => ({cluster: one.cluster, why: whyNot(one)}))}
}

/** All dead letters of one process that match: it has the oldest first, and a list shows the newest. */
const lettersOf = async (admin: QueueAdmin, filter: DeadLetterFilter): Promise<readonly PlacedLetter[]> => {
  for (let tried = 1; ; tried++) {
    const letters: PlacedLetter[] = []
    for (let after: string | undefined; ;) {
      const page = await admin.deadLetters({...filter, limit: pageSize, ...(after !== undefined && {after})})
      // the one that the page should follow is gone
      if (page === undefined) break
      letters.push(...page.deadLetters.map((letter) => ({...letter, at: placeOf(admin)})))
      // one that names itself as the next would never end
      if (page.next === null || page.next === after || page.deadLetters.length === 0) return letters
      after = page.next
    }
    if (tried === tries) return letters
  }
}

/** Those of all processes that match, the newest first. */
export const listLetters = async ({admins}: Reach, filter: DeadLetterFilter, limit: number) => {
  const all = (await Promise.all(admins.map((admin) => lettersOf(admin, filter)))).flat()
  return {
    letters: all.toSorted((one, other) => Date.parse(other.time) - Date.parse(one.time)).slice(0, limit),
    total: all.length,
  }
}

/** `CLUSTER/PROCESS/ID` or the id alone. */
const partsOf = (reference: string) => {
  const [, at, id = reference] = /^([^/]+\/[^/]+)\/([^/]+)$/.exec(reference) ?? []
  return {at, id}
}

const letterIn = async ({admins}: Reach, reference: string): Promise<(OpenedDeadLetter & PlacedLetter) | undefined> => {
  const {at, id} = partsOf(reference)
  const found = await Promise.all(
    admins
      .filter((admin) => at === undefined || placeOf(admin) === at)
      .map(async (admin) => {
        const letter = await admin.deadLetter(id)
        return letter ? [{...letter, at: placeOf(admin)}] : []
      }),
  )
  const [first, ...more] = found.flat()
  if (first && more.length > 0)
    throw new LkeobsError(
      'LKO-2014',
      `${id} is the id of several dead letters: ${[first, ...more].map((letter) => `${letter.at}/${letter.id}`).join(', ')}.`,
      {next: ['lkeobs dead-letters list']},
    )
  return first
}

/** Throws LKO-2011 where there is none, LKO-2014 where it is the id of several. */
export const readLetter = async (reach: Reach, reference: string): Promise<OpenedDeadLetter & PlacedLetter> => {
  const letter = await letterIn(reach, reference)
  if (letter) return letter
  throw new LkeobsError('LKO-2011', `No collector has a dead letter ${reference}.`, {next: ['lkeobs dead-letters list']})
}

/** Throws LKO-2014 where nothing is named. */
export const checkSelection = ({ids, filter, all}: Selection): void => {
  const hasFilter = Object.values(filter).some((value) => value !== undefined)
  if (ids.length > 0 || hasFilter || all) return
  throw new LkeobsError('LKO-2014', 'Neither ids nor filters nor --all were given.', {next: ['lkeobs dead-letters list']})
}

/** All that are meant, and the ids of which there is none (any more). */
export const selectLetters = async (
  reach: Reach,
  {ids, filter}: Selection,
): Promise<{readonly letters: readonly PlacedLetter[]; readonly missing: readonly string[]}> => {
  if (ids.length === 0) return {letters: (await listLetters(reach, filter, Infinity)).letters, missing: []}
  const found = await atMost(clustersAtOnce, [...new Set(ids)], async (reference) => ({
    reference,
    letter: await letterIn(reach, reference),
  }))
  const matches = (letter: PlacedLetter) =>
    Object.entries(filter).every(([key, value]) => value === undefined || letter[key as keyof DeadLetterFilter] === value)
  return {
    letters: found.flatMap(({letter}) => (letter && matches(letter) ? [letter] : [])),
    missing: found.flatMap(({reference, letter}) => (letter && matches(letter) ? [] : [reference])),
  }
}

/** Does something to each of them, where it lies; how many it was done to. */
export const changeLetters = async (
  {admins}: Reach,
  letters: readonly PlacedLetter[],
  change: (admin: QueueAdmin, ids: readonly string[]) => Promise<number>,
  tell: (done: number) => void = () => undefined,
): Promise<number> => {
  let done = 0
  for (const admin of admins) {
    const ids = letters.filter(({at}) => at === placeOf(admin)).map(({id}) => id)
    for (let from = 0; from < ids.length; from += idsAtOnce) {
      done += await change(admin, ids.slice(from, from + idsAtOnce))
      tell(done)
    }
  }
  return done
}
