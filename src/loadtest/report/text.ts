import {bold, dim, mark, nextCommands, table} from '../../output.ts'
import type {Comparison} from '../compare.ts'
import type {LoadTest} from '../result.ts'
import {comparisonTable, costTable, headline, kneeTable, signalsTable, type Table, wireTable} from './tables.ts'

const marks = {pass: mark.so, fail: mark.not, inconclusive: mark.soon} as const

const text = ({header, rows}: Table): string => table(header, rows)

/** What the terminal shows of a run: the verdict, then the figures it stands on. */
export const loadTestText = (run: LoadTest): string =>
  [
    `${marks[run.verdict.result]} ${bold(run.verdict.result.toUpperCase())}  ${headline(run).join('  ')}`,
    ...run.verdict.reasons.map((reason) => `  ${reason}`),
    ...[run.knee ? kneeTable(run) : signalsTable(run), costTable(run), wireTable(run)]
      .filter(({rows}) => rows.length > 0)
      .map((part) => `\n${text(part)}`),
    `\n${nextCommands([...(run.verdict.result === 'fail' ? ['lkeobs status'] : []), `lkeobs loadtest report ${run.run} --html ${run.run}.html`])}`,
  ].join('\n')

/** Two runs, figure by figure. */
export const comparisonText = (comparison: Comparison): string => {
  const {first, second, result, despite, missing} = comparison
  return [
    `${result === 'worse' ? mark.not : mark.so} ${bold(result)}  ${second} against ${first}`,
    ...despite.map((difference) => dim(`  ${difference.member}: ${difference.first} and ${difference.second}`)),
    text(comparisonTable(comparison)),
    ...(missing.length > 0 ? [dim(`not compared, since only one run has it: ${missing.join(', ')}`)] : []),
    nextCommands([`lkeobs loadtest report ${second}`]),
  ].join('\n')
}

/** Runs that are kept, the newest first. */
export const loadTestsText = (runs: readonly LoadTest[]): string =>
  runs.length === 0
    ? `No load test is kept here.\n${nextCommands(['lkeobs loadtest run'])}`
    : table(
        ['run', 'began', 'profile', 'edges', 'verdict', ''],
        runs.map(({run, startedAt, profile, edges, verdict}) => [
          run,
          startedAt.slice(0, 16).replace('T', ' '),
          profile.name,
          String(edges.length),
          `${marks[verdict.result]} ${verdict.result}`,
          verdict.reasons[0] ?? '',
        ]),
      )
