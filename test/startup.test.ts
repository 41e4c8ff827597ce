import {spawn, type SpawnSyncReturns, spawnSync} from 'node:child_process'
import {once} from 'node:events'
import {cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {expect, onTestFinished, test} from 'vitest'
import {root} from '../scripts/sources.ts'

const bin = path.join(root, 'bin/run.js')
const lkeobs = (args: readonly string[], env: Readonly<Record<string, string>> = {}): SpawnSyncReturns<string> =>
  spawnSync(process.execPath, [bin, ...args], {encoding: 'utf8', env: {...process.env, NO_COLOR: '1', ...env}})

// 150 ms on a quiet machine; twice that where tests run side by side. A busy machine lets the program itself wait as long, in proportion
const budgetMs = 300
const timesAnEmptyProgram = 8

const medianMs = (run: () => SpawnSyncReturns<string>): number => {
  const times = Array.from({length: 9}, () => {
    const started = performance.now()
    expect(run().status).toBe(0)
    return performance.now() - started
  })
  return times.toSorted((a, b) => a - b)[4] ?? Number.NaN
}

test('--help is there at once', () => {
  const empty = medianMs(() => spawnSync(process.execPath, ['--eval', ''], {encoding: 'utf8'}))
  expect(medianMs(() => lkeobs(['--help']))).toBeLessThan(Math.max(budgetMs, timesAnEmptyProgram * empty))
})

test('--help loads no command and no client', () => {
  // the loader of CommonJS modules names every file it takes
  const {stderr} = lkeobs(['--help'], {NODE_DEBUG: 'module,esm'})
  expect(stderr).toContain('node_modules/@oclif/core')
  for (const heavy of ['node-vault', 'listr2', '@peculiar/x509', 'execa', 'zod', 'handlebars', '@inquirer', 'echarts'])
    expect(stderr).not.toContain(`node_modules/${heavy}/`)
  expect(stderr).not.toContain('dist/commands/')
})

test('the version is the one of the package', () => {
  expect(lkeobs(['--version']).stdout).toMatch(/^lkeobs\/\d+\.\d+\.\d+ /)
})

test.for([
  [['explan'], 'lkeobs explain'],
  [['explain', '--boom'], '--boom'],
] as const)('%j is a usage error that names %j, without a stack', ([args, named]) => {
  const {status, stdout, stderr} = lkeobs(args)
  expect(status).toBe(2)
  expect(stdout).toBe('')
  expect(stderr).toContain(named)
  expect(stderr).not.toMatch(/^\s+at /m)
})

test('what comes through stdin is never taken for an argument that was left out', () => {
  const env = {...process.env, NO_COLOR: '1', DEBUG: '*'}
  const {stdout, stderr} = spawnSync(process.execPath, [bin, 'explain'], {encoding: 'utf8', env, input: 'sentinel\n'})
  expect(stdout).toContain('LKO-1001')
  expect(stderr).not.toContain('sentinel')
})

test('without a terminal and with stdin closed, help is help', () => {
  const {status, stdout} = spawnSync(process.execPath, [bin], {encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']})
  expect(status).toBe(0)
  expect(stdout).toContain('COMMANDS')
})

/** bin/run.js in a package of its own, started as if by Node 20. */
const onNode20 = (withOwnNode: 'with its own Node' | 'alone'): SpawnSyncReturns<string> => {
  const place = mkdtempSync(path.join(tmpdir(), 'lkeobs-guard-'))
  onTestFinished(() => rmSync(place, {recursive: true}))
  mkdirSync(path.join(place, 'bin'))
  cpSync(bin, path.join(place, 'bin/run.js'))
  writeFileSync(path.join(place, 'package.json'), '{"type": "module"}')
  writeFileSync(
    path.join(place, 'old.mjs'),
    `Object.defineProperty(process.versions, 'node', {value: '20.20.2'})\nObject.defineProperty(process, 'version', {value: 'v20.20.2'})\n`,
  )
  if (withOwnNode === 'with its own Node') {
    const own = path.join(place, 'node_modules/node/bin')
    mkdirSync(own, {recursive: true})
    writeFileSync(path.join(own, 'node'), '#!/bin/sh\nshift\necho "$@"\nexit 7\n', {mode: 0o755})
  }
  return spawnSync(process.execPath, ['--import', path.join(place, 'old.mjs'), path.join(place, 'bin/run.js'), 'lab', 'up'], {
    encoding: 'utf8',
  })
}

test('an older Node is told what is missing', () => {
  const {status, stderr} = onNode20('alone')
  expect(stderr).toContain('lkeobs needs Node 24.15 or newer; this is v20.20.2.')
  expect(status).toBe(4)
})

test('an older Node hands over to the one beside it', () => {
  const {status, stdout} = onNode20('with its own Node')
  expect(stdout).toBe('lab up\n')
  expect(status).toBe(7)
})

test('Ctrl-C says how to go on', async () => {
  // a timer keeps the command at work
  const child = spawn(process.execPath, ['--import', 'data:text/javascript,setInterval(() => {}, 1000)', bin, '--help'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  child.stdout.once('data', () => child.kill('SIGINT'))
  const said: string[] = []
  child.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text))
  const [code] = await once(child, 'close')
  expect(code).toBe(130)
  expect(said.join('').trim()).toBe('Cancelled; run the same command again: it goes on from there.')
})
