/** Edit distance in single letters, kept row by row. */
const distance = (from: string, to: string): number => {
  let row = Array.from({length: to.length + 1}, (_, index) => index)
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1]
    for (const [j, other] of [...to].entries())
      next.push(Math.min((row[j] ?? 0) + (letter === other ? 0 : 1), (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    row = next
  }
  return row[to.length] ?? 0
}

/** What somebody may have meant: the candidates nearest to the word first, none that is far off. */
export const nearest = (word: string, candidates: readonly string[]): readonly string[] =>
  candidates
    .map((candidate) => ({candidate, away: distance(word, candidate)}))
    .filter(({candidate, away}) => away <= Math.max(2, Math.floor(candidate.length / 3)))
    .toSorted((a, b) => a.away - b.away)
    .map(({candidate}) => candidate)
