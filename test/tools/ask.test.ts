import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {expect, onTestFinished, test} from 'vitest'
import {createAsk} from '../../src/tools/ask.ts'

const flags = {flag: '--password-file', variable: 'LKEOBS_X'}
const fileWith = (text: string): string => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lkeobs-ask-'))
  onTestFinished(() => rmSync(folder, {recursive: true}))
  const file = path.join(folder, 'secret')
  writeFileSync(file, text)
  return file
}

test('secrets are the lines of a file, one for each that is asked for', async () => {
  const ask = createAsk({yes: false})
  const file = fileWith('one\n two \n')
  const next = () => ask.secret('Which?', {file, ...flags})
  expect([(await next()).reveal(), (await next()).reveal()]).toEqual(['one', 'two'])
  await expect(next()).rejects.toMatchObject({code: 'LKO-5010', message: expect.stringContaining('has no line for it') as string})
  ask.end()
})

test('the password is asked for once, from the file that the flag or the variable names', async () => {
  const ask = createAsk({yes: false, passwordFile: fileWith('first\nsecond\n')})
  const both = [await ask.password('Password?', 'LKEOBS_NONE'), await ask.password('Password?', 'LKEOBS_NONE')]
  expect(both.map((secret) => secret.reveal())).toEqual(['first', 'first'])
  // what is read from a file was not typed, and is not typed again
  await expect(ask.again('Again?')).resolves.toBeUndefined()
  ask.end()
})

test('without a file and without a terminal, the error says how to give it', async () => {
  const ask = createAsk({yes: true})
  await expect(ask.secret('Your share', flags)).rejects.toThrow('nobody can be asked here. Give it with --password-file or LKEOBS_X.')
  await expect(ask.secret('Your share', {file: '/nowhere', ...flags})).rejects.toMatchObject({code: 'LKO-5010'})
})
