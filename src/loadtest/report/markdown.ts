import type {Comparison} from '../compare.ts'
import type {LoadTest} from '../result.ts'
import {balanceTable, comparisonTable, costTable, headline, hopsTable, kneeTable, signalsTable, type Table, wireTable} from './tables.ts'

/** A cell is a cell whatever is in it. */
const cell = (text: string): string =>
  text
    .replaceAll(/[\\`*_[\]<>|~#]/g, String.raw`\$&`)
    .replaceAll(/\p{Cc}/gu, ' ')
    .replaceAll('@', '&#64;')

const row = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`

const tableOf = ({header, rows, numbers, bad}: Table): string => {
  const rule = header.map((_, column) => (column >= numbers ? '---:' : '---')).join(' | ')
  const strong = (cells: readonly string[]) => `| ${cells.map((text) => (text === '' ? '' : `**${cell(text)}**`)).join(' | ')} |`
  return [row(header), `| ${rule} |`, ...rows.map((cells, index) => (bad.includes(index) ? strong(cells) : row(cells)))].join('\n')
}

const details = (table: Table): string => `<details><summary>${table.title}</summary>\n\n${tableOf(table)}\n\n${table.note}\n\n</details>`

/** A load test for a pull request: the verdict and the signals, the rest folded away. */
export const loadTestMarkdown = (run: LoadTest, comparison?: Comparison): string => {
  const {verdict, fingerprint} = run
  const tables = [balanceTable(run), hopsTable(run), costTable(run), wireTable(run), ...(comparison ? [comparisonTable(comparison)] : [])]
  const versions = Object.entries(fingerprint.versions).map(([name, version]) => `${name} ${version}`)
  return [
    `### Load test: ${verdict.result}`,
    headline(run).map(cell).join(' · '),
    verdict.reasons.map((reason) => `- ${cell(reason)}`).join('\n'),
    tableOf(run.knee ? kneeTable(run) : signalsTable(run)),
    ...tables.filter(({rows}) => rows.length > 0).map(details),
    `${cell(versions.join(', '))}. Configuration ${fingerprint.configuration.slice(0, 8)}, ${fingerprint.machine.processor}.`,
    '',
  ].join('\n\n')
}
