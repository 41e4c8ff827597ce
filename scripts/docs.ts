import {readFileSync, writeFileSync} from 'node:fs'
import path from 'node:path'
import {type Command, Config} from '@oclif/core'
import {kinds} from '../src/destinations/index.ts'
import {catalogue, exit} from '../src/errors.ts'
import {root, sources} from './sources.ts'

const exitMeaning: Readonly<Record<keyof typeof exit, string>> = {
  done: 'Done, or nothing to do.',
  bug: 'A mistake in lkeobs itself.',
  usage: 'The command line is wrong.',
  fleetFile: 'The fleet file is missing or wrong.',
  notReady: 'Something the command needs is not there. Nothing was changed.',
  refused: 'A program or an API said no.',
  notSettled: 'Applied, but not as wished in time. Running the same command again resumes.',
  checksFailed: 'The command did its work, and its checks found something.',
  someFailed: 'Some edges failed; the others are done.',
  cancelled: 'Cancelled. Running the same command again goes on from there.',
}

const areas: Readonly<Record<string, string>> = {
  1: 'Fleet file and command line',
  2: 'Telemetry',
  3: 'Platforms and processes',
  4: 'Programs',
  5: 'Vault and certificates',
  6: 'Invites and joining',
  7: 'Destinations',
  8: 'Several edges',
}

const row = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`
const table = (header: readonly string[], rows: readonly (readonly string[])[]) =>
  [row(header), row(header.map(() => '---')), ...rows.map(row)].join('\n')
const written = '<!-- Written by `npm run docs`. -->'

const errors = (): string => {
  const entries = Object.entries(catalogue)
  const codes = [...Map.groupBy(entries, ([code]) => code.charAt(4))].flatMap(([thousand, inArea]) => [
    `## ${areas[thousand] ?? thousand}`,
    ...inArea.flatMap(([code, {exit: status, title, why, fix}]) => [`### ${code}`, `**${title}** Exit code ${status}.`, why, fix]),
  ])
  return [
    '# Errors',
    written,
    '`lkeobs explain CODE` prints the same on the command line, without a network.',
    '## Exit codes',
    table(
      ['Code', 'Meaning'],
      Object.entries(exit).map(([name, status]) => [String(status), exitMeaning[name as keyof typeof exit]]),
    ),
    ...codes,
  ].join('\n\n')
}

const flagName = (flag: Command.Flag.Cached): string => {
  const value = flag.type === 'option' ? ` ${String(flag.helpValue ?? flag.name.toUpperCase())}` : ''
  return `\`${flag.char ? `-${flag.char}, ` : ''}--${flag.name}${value}\``
}

const flagRows = (flags: readonly Command.Flag.Cached[]) =>
  table(
    ['Flag', 'Variable', 'What it does'],
    flags.map((flag) => {
      const preset = flag.type === 'option' && flag.default !== undefined ? ` (default \`${String(flag.default)}\`)` : ''
      return [flagName(flag), flag.env === undefined ? '' : `\`${flag.env}\``, `${flag.summary ?? flag.description ?? ''}${preset}`]
    }),
  )

const isGlobal = ({helpGroup}: Command.Flag.Cached) => helpGroup === 'GLOBAL'

const page = ({id, summary, description, usage, args, flags, examples}: Command.Loadable): readonly string[] => {
  const typed = `lkeobs ${id.replaceAll(':', ' ')}`
  const params = Object.values(args)
  const own = Object.values(flags).filter((flag) => !isGlobal(flag))
  const words = params.map(({name, required}) => (required ? name.toUpperCase() : `[${name.toUpperCase()}]`))
  const usages = usage === undefined ? [[typed, ...words].join(' ')] : [usage].flat().map((line) => `lkeobs ${line}`)
  const filled = (example: Command.Example) =>
    (typeof example === 'string' ? example : example.command)
      .replaceAll(/<%=\s*config\.bin\s*%>/g, 'lkeobs')
      .replaceAll(/<%=\s*command\.id\s*%>/g, id.replaceAll(':', ' '))
  return [
    `## ${typed}`,
    summary ?? '',
    ...(description === undefined || description === summary ? [] : [description]),
    `\`\`\`\n${usages.join('\n')}\n\`\`\``,
    ...(params.length === 0
      ? []
      : [
          table(
            ['Argument', 'What it is'],
            params.map(({name, description: what}) => [`\`${name.toUpperCase()}\``, what ?? '']),
          ),
        ]),
    ...(own.length === 0 ? [] : [flagRows(own)]),
    ...(examples === undefined ? [] : [`Examples:`, `\`\`\`sh\n${examples.map(filled).join('\n')}\n\`\`\``]),
  ]
}

const commands = async (): Promise<string> => {
  const config = await Config.load(sources)
  const shown = config.commands.filter(({hidden}) => !hidden).toSorted((a, b) => a.id.localeCompare(b.id))
  const shared = Object.values(shown[0]?.flags ?? {}).filter(isGlobal)
  return ['# Commands', written, 'Every command has these flags:', flagRows(shared), ...shown.flatMap(page)].join('\n\n')
}

/** Each kind of destination, between two marks of a page that a person writes. */
const withKinds = (text: string): string => {
  const rows = kinds.map(({name, about, usual, flags, secrets}) => [
    `\`${name}\``,
    about,
    usual.join(', '),
    Object.entries(flags)
      .map(([flag, {setting = flag}]) => `\`${setting}\``)
      .join(', '),
    secrets.map(({name: secret, about: what}) => `${what}: \`--${secret}-file\``).join('; '),
  ])
  const made = table(['Kind', 'What it is', 'Sent unless `signals` says otherwise', 'Settings', 'Secrets'], rows)
  return text.replace(/(<!-- kinds -->\n)[^]*(<!-- \/kinds -->)/, (_, from: string, to: string) => `${from}\n${made}\n\n${to}`)
}

/** The pages that are derived from the code, by file. */
export const pages = async (): Promise<Readonly<Record<string, string>>> => ({
  'docs/commands.md': `${await commands()}\n`,
  'docs/errors.md': `${errors()}\n`,
  'docs/destinations.md': withKinds(readFileSync(path.join(root, 'docs/destinations.md'), 'utf8')),
})

if (import.meta.main)
  for (const [file, text] of Object.entries(await pages())) {
    const place = path.join(root, file)
    if (readFileSync(place, {encoding: 'utf8', flag: 'a+'}) !== text) writeFileSync(place, text)
  }
