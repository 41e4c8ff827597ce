import {inspect} from 'node:util'
import {expect, test} from 'vitest'
import {createShell} from '../../src/tools/shell.ts'

const failing = {file: '/bin/sh', args: ['-c', 'cat; echo "what went wrong" >&2; exit 2'], input: 'sentinel'}

test('a program that ends with an error is shown with its last lines', async () => {
  await expect(createShell().run(failing)).rejects.toThrow(/exit code 2:\n(sentinel)?what went wrong/)
})

test('what is secret on its stdout is in no error', async () => {
  const error: unknown = await createShell()
    .run({...failing, secretOutput: true})
    .catch((thrown: unknown) => thrown)
  expect(String(error)).toContain('what went wrong')
  expect(inspect(error, {depth: 20, showHidden: true})).not.toContain('sentinel')
})
