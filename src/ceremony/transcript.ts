import {createHash} from 'node:crypto'
import type {Files} from '../tools/files.ts'

/** What happened, without anything secret. */
export type Note = {
  readonly who: string
  readonly step: string
  readonly node?: string
  /** `POST sys/init` */
  readonly api?: string
  readonly status?: number
  /** Public: SHA-256 of ciphertext, fingerprints, accessors, nonces. */
  readonly digests?: Readonly<Record<string, string>>
}

export type Line = Note & {readonly line: number; readonly at: string; readonly previous: string; readonly hash: string}

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

const start = '0'.repeat(64)

const hashed = (line: Omit<Line, 'hash'>): Line => ({...line, hash: sha256(JSON.stringify(line))})

/** The text with one line more, chained to the one before it. */
export const withNote = (text: string, {who, step, node, api, status, digests}: Note, at: string): string => {
  const lines = text.split('\n').filter((line) => line !== '')
  const last = lines.at(-1)
  const previous = last === undefined ? start : String((JSON.parse(last) as Partial<Line>).hash)
  const line = hashed({
    line: lines.length + 1,
    at,
    who,
    step,
    ...(node !== undefined && {node}),
    ...(api !== undefined && {api}),
    ...(status !== undefined && {status}),
    ...(digests !== undefined && {digests}),
    previous,
  })
  return `${[...lines, JSON.stringify(line)].join('\n')}\n`
}

export type Transcript = {note(note: Note): Promise<void>}

/** Every note is on disk before the next thing happens. */
export const transcriptIn = (file: string, {update}: Pick<Files, 'update'>): Transcript => ({
  note: (note) => update(file, (text = '') => withNote(text, note, new Date().toISOString())),
})

export type Verdict =
  | {readonly holds: true; readonly lines: readonly Line[]; readonly digest: string}
  | {readonly holds: false; readonly line: number; readonly why: string}

const parsed = (text: string): Line | undefined => {
  try {
    const line = JSON.parse(text) as Line
    return typeof line === 'object' && typeof line.line === 'number' ? line : undefined
  } catch {
    return undefined
  }
}

/** The first line that was changed, is missing or is out of its place. What is cut off at the end only a signature shows. */
export const verifyTranscript = (text: string): Verdict => {
  const raw = text.split('\n')
  const refused = (line: number, why: string): Verdict => ({holds: false, line, why})
  if (raw.pop() !== '') return refused(raw.length + 1, 'it was changed: it does not end with its line')
  if (raw.length === 0) return refused(1, 'it is missing: the file is empty')
  const lines: Line[] = []
  let previous = start
  for (const [index, written] of raw.entries()) {
    const at = index + 1
    const line = parsed(written)
    const {hash, ...rest} = line ?? {hash: ''}
    if (!line || JSON.stringify(line) !== written || sha256(JSON.stringify(rest)) !== hash) return refused(at, 'it was changed')
    if (line.line > at) return refused(at, raw.some((other) => parsed(other)?.line === at) ? 'it is out of its place' : 'it is missing')
    if (line.line < at) return refused(at, `it is out of its place: it says that it is line ${line.line}`)
    if (line.previous !== previous) return refused(at, 'the line before it is another than the one it was written after')
    previous = hash
    lines.push(line)
  }
  return {holds: true, lines, digest: sha256(text)}
}

const cell = (text: string): string => text.replaceAll('|', String.raw`\|`).replaceAll('\n', ' ')

/** For the file: a table that is printed and initialled. */
export const transcriptMarkdown = (lines: readonly Line[], digest: string): string => {
  const rows = lines.map(({line, at, who, step, node = '', api = '', status = '', digests = {}}) => {
    const shown = Object.entries(digests).map(([name, value]) => `${name} \`${value.length > 40 ? `${value.slice(0, 16)}…` : value}\``)
    return [String(line), at, who, step, node, api, String(status), shown.join('<br>'), ''].map(cell)
  })
  return [
    '# Transcript of the ceremony',
    '',
    `${lines.length} lines, SHA-256 of the file \`${digest}\`.`,
    '',
    '| Line | When (UTC) | Who | What | Node | Request | Status | Public digests | Initials |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
    '',
    'Deviations from the script:',
    '',
    'Administrator (name, signature):',
    '',
    'Witness (name, signature):',
    '',
  ].join('\n')
}
