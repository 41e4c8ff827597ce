import {type Signal, signals} from '../../collector/config.ts'
import {count, dim, duration, mark, table} from '../../output.ts'
import type {EdgeProof, Proof} from './prove.ts'
import {type Gap, type Tally, together} from './tally.ts'

/** What the whole proof comes to, in one sentence. */
export const verdictOf = ({sent, lost, refused}: Tally): string => {
  const [all, gone, kept] = [together(sent), together(lost), together(refused)]
  const verdict = gone === 0 ? `Nothing lost of ${count(all, 'item')}` : `${count(gone, 'item')} lost of ${all}`
  return `${verdict}${kept === 0 ? '' : `; ${count(kept, 'more was', 'more were')} never accepted by an agent`}.`
}

/** `17`, `40–52`. */
const gapText = ({first, last}: Gap): string => (first === last ? String(first) : `${first}–${last}`)

const mostGaps = 8

/** `17, 40–52`, and how many more. */
export const gapsText = (gaps: readonly Gap[]): string => {
  const more = gaps.length - mostGaps
  return [...gaps.slice(0, mostGaps).map(gapText), ...(more > 0 ? [`${more} more`] : [])].join(', ')
}

/** The figures of a signal, as every table has them. */
export const figuresOf = ({sent, stored, lost, duplicated, refused}: Tally, signal: Signal): readonly number[] => [
  sent[signal],
  stored[signal],
  lost[signal],
  duplicated[signal],
  refused[signal],
]
export const figureNames = ['sent', 'stored', 'lost', 'duplicated', 'refused'] as const

const whyOf = ({missing}: EdgeProof, signal: Signal): readonly string[] =>
  missing[signal].length === 0 ? [] : [dim(`        lost: ${gapsText(missing[signal])}`)]

/** The table people look at: a line for each edge and signal, and one more for what is lost. */
export const proofText = (proof: Proof): string => {
  const lines = proof.edges.flatMap((edge) => signals.map((signal) => ({edge, signal})))
  const rows = lines.map(({edge, signal}) => [
    edge.edge,
    signal,
    ...figuresOf(edge, signal).map(String),
    edge.lost[signal] === 0 ? mark.so : mark.not,
  ])
  const [header = '', ...shown] = table(['edge', 'signal', ...figureNames], rows).split('\n')
  const explained = lines.flatMap(({edge, signal}, index) => [shown[index] ?? '', ...whyOf(edge, signal)])
  const took = duration(Date.parse(proof.endedAt) - Date.parse(proof.startedAt))
  return [header, ...explained, `${verdictOf(proof)}   ${took} of traffic, run ${proof.run}`].join('\n')
}
