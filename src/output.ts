import chalk from 'chalk'

/** The marks every screen uses: so, not so, so but soon not, skipped, next command. */
export const mark = {
  so: chalk.green('✔'),
  not: chalk.red('✖'),
  soon: chalk.yellow('!'),
  skipped: chalk.dim('–'),
  next: chalk.cyan('›'),
} as const

export const dim = chalk.dim
export const bold = chalk.bold

/** 340ms, 4.1s, 38s, 2m05s: what a person reads at a glance. */
export const duration = (ms: number): string => {
  if (ms < 1000) return `${Math.round(ms)}ms`
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)}s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}m${String(seconds % 60).padStart(2, '0')}s`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${hours}h${String(minutes % 60).padStart(2, '0')}m` : `${Math.floor(hours / 24)}d`
}

const unitSeconds: Readonly<Record<string, number>> = {s: 1, m: 60, h: 3600, d: 86_400}

/** The seconds of what a person writes: 90s, 30m, 2h, 1d. Undefined where it is none of these. */
export const readDuration = (text: string): number | undefined => {
  const [, number, unit = ''] = /^(\d+)([smhd])$/.exec(text) ?? []
  return number === undefined ? undefined : Number(number) * (unitSeconds[unit] ?? 0)
}

/** 52 MB, 1.2 GB (decimal units). */
export const bytes = (count: number): string => {
  if (count < 1e3) return `${count} B`
  if (count < 1e6) return `${Math.round(count / 1e3)} kB`
  return count < 1e9 ? `${Math.round(count / 1e6)} MB` : `${(count / 1e9).toFixed(1)} GB`
}

/**
 * Text of somebody else, as a terminal may show it: whatever would move the cursor, colour, or turn the direction of what follows is
 * shown as its number. Line breaks stay where `lines` says so.
 */
export const printable = (text: string, {lines = false} = {}): string =>
  text.replaceAll(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) =>
    lines && character === '\n' ? character : `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  )

// oxlint-disable-next-line no-control-regex -- terminal colour is made of control characters
const width = (text: string): number => [...text.replace(/\u001B\[[0-9;]*m/g, '')].length

/** 1,234,567 */
export const grouped = (n: number): string => n.toLocaleString('en-US')

/** Left-aligned columns, two spaces apart, the header dimmed; no lines, no boxes. */
export const table = (header: readonly string[], rows: readonly (readonly string[])[]): string => {
  const widths = header.map((title, column) => Math.max(width(title), ...rows.map((row) => width(row[column] ?? ''))))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - width(cell))))
      .join('  ')
      .trimEnd()
  return [dim(line(header)), ...rows.map(line)].join('\n')
}

/** `› command` lines. */
export const nextCommands = (commands: readonly string[]): string => commands.map((command) => `${mark.next} ${command}`).join('\n')

/** `1 edge`, `3 edges`, `11 processes`. */
export const count = (n: number, noun: string, plural = `${noun}s`): string => `${n} ${n === 1 ? noun : plural}`
