import {expect, test} from 'vitest'
import {transcriptMarkdown, verifyTranscript, withNote} from '../../src/ceremony/transcript.ts'

const text = Array.from({length: 9}, (_, index) => index).reduce(
  (so, index) =>
    withNote(
      so,
      {who: 'administrator', step: `step ${index}`, node: 'vault-0', api: 'POST sys/init', status: 200, digests: {key: 'ab'}},
      `2026-11-23T16:0${index}:00Z`,
    ),
  '',
)
const lines = text.trimEnd().split('\n')
const wrongIn = (changed: readonly string[], end = '\n'): string => {
  const verdict = verifyTranscript(`${changed.join('\n')}${end}`)
  return verdict.holds ? 'holds' : `${verdict.line} ${verdict.why}`
}

test('a transcript that was only ever added to holds', () => {
  const verdict = verifyTranscript(text)
  expect(verdict).toMatchObject({holds: true})
  expect(verdict.holds && transcriptMarkdown(verdict.lines, verdict.digest)).toContain(
    '| 9 | 2026-11-23T16:08:00Z | administrator | step 8 | vault-0 | POST sys/init | 200 | key `ab` |',
  )
})

test('any byte that is changed is found, with its line', () => {
  for (let offset = 0; offset < text.length; offset += 7) {
    const changed = `${text.slice(0, offset)}${text[offset] === 'x' ? 'y' : 'x'}${text.slice(offset + 1)}`
    const verdict = verifyTranscript(changed)
    const line = text.slice(0, offset).split('\n').length
    expect(verdict.holds ? 0 : verdict.line, `offset ${offset}`).toBe(line)
  }
})

test.for<readonly [what: string, changed: readonly string[], wrong: RegExp]>([
  ['a line that is missing', lines.toSpliced(3, 1), /^4 it is missing/],
  ['the first line missing', lines.slice(1), /^1 it is missing/],
  ['two lines exchanged', lines.toSpliced(3, 2, lines[4] ?? '', lines[3] ?? ''), /^4 it is out of its place/],
  ['a line twice', lines.toSpliced(3, 0, lines[2] ?? ''), /^4 it is out of its place/],
  ['a space more', lines.with(5, `${lines[5]} `), /^6 it was changed/],
  ['an empty line', lines.toSpliced(2, 0, ''), /^3 it was changed/],
  ['nothing', [''], /^1 it was changed/],
])('%s', ([, changed, wrong]) => {
  expect(wrongIn(changed)).toMatch(wrong)
})

test('a line that was written anew, its digest with it, breaks the chain at the next', () => {
  const other =
    withNote(lines.slice(0, 3).join('\n'), {who: 'somebody', step: 'else'}, '2026-11-23T16:03:00Z').trimEnd().split('\n')[3] ?? ''
  expect(wrongIn(lines.with(3, other))).toMatch(/^5 the line before it is another/)
})
