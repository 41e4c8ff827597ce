import {bytes, count, dim, grouped, mark, nextCommands, printable, table} from '../output.ts'
import type {OpenedDeadLetter} from '../tools/queue-admin.ts'
import type {PlacedLetter, Reach} from './letters.ts'
import type {Replayed} from './replay.ts'

const timeOf = (time: string): string =>
  new Date(time)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z')

/** The id as the other commands take it; with its place where there are dead letters of several collectors. */
const reference = ({at, id}: PlacedLetter, isOneOfSeveral: boolean): string => printable(isOneOfSeveral ? `${at}/${id}` : id)

const unreachedText = ({unreached}: Pick<Reach, 'unreached'>): readonly string[] =>
  unreached.map(({cluster, why}) => `${mark.soon} ${cluster} is not among them: ${printable(why)}`)

export const lettersText = (
  {letters, total}: {readonly letters: readonly PlacedLetter[]; readonly total: number},
  reach: Pick<Reach, 'unreached'>,
): string => {
  if (letters.length === 0) return [dim('no dead letters'), ...unreachedText(reach)].join('\n')
  const isOneOfSeveral = new Set(letters.map(({at}) => at)).size > 1
  const rows = letters.map((letter) => [
    timeOf(letter.time),
    printable(letter.edge),
    letter.signal,
    printable(letter.sink),
    printable(letter.reason),
    printable(letter.workload),
    bytes(letter.bytes),
    reference(letter, isOneOfSeveral),
  ])
  const [first] = letters
  return [
    table(['time (UTC)', 'edge', 'signal', 'sink', 'reason', 'workload', 'size', 'id'], rows),
    `${letters.length < total ? `${grouped(letters.length)} of ${grouped(total)} dead letters, the newest first; --limit shows more` : count(total, 'dead letter')}.`,
    ...unreachedText(reach),
    nextCommands([`lkeobs dead-letters show ${first ? reference(first, isOneOfSeveral) : 'ID'}`]),
  ].join('\n')
}

export const letterText = ({item, ...letter}: OpenedDeadLetter & PlacedLetter): string =>
  [
    ...(
      [
        ['id', letter.id],
        ['at', letter.at],
        ['time', timeOf(letter.time)],
        ['edge', letter.edge],
        ['signal', letter.signal],
        ['sink', letter.sink],
        ['workload', letter.workload],
        ['size', bytes(letter.bytes)],
        ['reason', letter.reason],
        ['detail', letter.detail],
      ] as const
    ).flatMap(([name, value]) => (value === '' ? [] : [`${dim(name.padEnd(8))}  ${printable(value)}`])),
    '',
    printable(JSON.stringify(item, undefined, 2), {lines: true}),
    '',
    nextCommands([`lkeobs dead-letters replay ${letter.id}`, `lkeobs dead-letters drop ${letter.id}`]),
  ].join('\n')

/** `12 dead letters: 10 logs of edge-1 for loki (refused), …` for who has to agree. */
export const selectionText = (letters: readonly PlacedLetter[]): string => {
  const groups = [
    ...Map.groupBy(letters, ({signal, edge, sink, reason}) => printable(`${signal} of ${edge} for ${sink} (${reason})`)),
  ].toSorted(([, one], [, other]) => other.length - one.length)
  const shown = groups.slice(0, 6).map(([what, {length}]) => `${grouped(length)} ${what}`)
  const rest = groups.slice(6).reduce((sum, [, {length}]) => sum + length, 0)
  return `${count(letters.length, 'dead letter')}: ${[...shown, ...(rest > 0 ? [`${grouped(rest)} others`] : [])].join(', ')}`
}

const missingText = (missing: readonly string[]): readonly string[] =>
  missing.map((id) => `${mark.skipped} ${printable(id)}: no dead letter of this id matches; replayed or dropped before, perhaps`)

export const replayedText = (
  {replayed, stored, deadAgain, waiting}: Replayed,
  missing: readonly string[],
  reach: Pick<Reach, 'unreached'>,
): string =>
  [
    replayed === 0
      ? 'Nothing to do: there is no dead letter to replay.'
      : `${waiting > 0 || deadAgain > 0 ? mark.soon : mark.so} ${grouped(replayed)} replayed: ${grouped(stored)} stored, ${grouped(deadAgain)} refused again, ${grouped(waiting)} still waiting.`,
    ...missingText(missing),
    ...unreachedText(reach),
    ...(deadAgain > 0 ? [nextCommands(['lkeobs dead-letters list'])] : []),
    ...(waiting > 0 ? [nextCommands(['lkeobs status', 'lkeobs explain LKO-2012'])] : []),
  ].join('\n')

export const droppedText = (dropped: number, missing: readonly string[], reach: Pick<Reach, 'unreached'>): string =>
  [
    dropped === 0 ? 'Nothing to do: there is no dead letter to drop.' : `${count(dropped, 'dead letter')} dropped.`,
    ...missingText(missing),
    ...unreachedText(reach),
  ].join('\n')
