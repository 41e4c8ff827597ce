import {spawnSync} from 'node:child_process'
import path from 'node:path'
import {expect, test} from 'vitest'
import {root} from '../scripts/sources.ts'
import {catalogue} from '../src/errors.ts'

const explain = (...args: readonly string[]) =>
  spawnSync(process.execPath, [path.join(root, 'bin/dev.js'), 'explain', ...args], {encoding: 'utf8', env: {...process.env, NO_COLOR: '1'}})

test.for(['LKO-3001', 'lko-3001', '3001'])('%s is the page of a taken port', (code) => {
  const {status, stdout} = explain(code)
  expect(status).toBe(0)
  expect(stdout).toBe(
    `LKO-3001  ${catalogue['LKO-3001'].title}  (exit 4)\n\n${catalogue['LKO-3001'].why}\n\nWhat to do\n${catalogue['LKO-3001'].fix}\n`,
  )
})

test('as data', () => {
  const {stdout} = explain('3001', '--json')
  expect(JSON.parse(stdout)).toEqual({schema: 'lkeobs/explain/v1', code: 'LKO-3001', ...catalogue['LKO-3001']})
})

test('without a code, all of them', () => {
  const {stdout} = explain()
  for (const [code, {title}] of Object.entries(catalogue))
    expect(stdout).toMatch(new RegExp(`^${code} .*${title.replaceAll('.', String.raw`\.`)}$`, 'm'))
})

test('an unknown code names its neighbours', () => {
  const {status, stdout, stderr} = explain('3011')
  expect(status).toBe(2)
  expect(stdout).toBe('')
  expect(stderr).toContain('LKO-1006')
  expect(stderr).toContain('Near it: LKO-2011, LKO-3001')
})
