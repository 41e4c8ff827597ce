import {execFile} from 'node:child_process'
import {existsSync, readdirSync} from 'node:fs'
import path from 'node:path'
import {promisify} from 'node:util'
import {describe, expect, test} from 'vitest'
import {root} from '../../scripts/sources.ts'

const run = promisify(execFile)

/** The collector's own components are tested in their own language; a test here is one of their packages. */
const folder = path.join(root, 'programs/otelcol')
const env = {...process.env, GOFLAGS: '-mod=mod -buildvcs=false', GOWORK: 'off', GOTOOLCHAIN: 'local', CGO_ENABLED: '0'}

const packages = readdirSync(folder, {recursive: true, encoding: 'utf8'})
  .filter((file) => file.endsWith('_test.go'))
  .map((file) => path.dirname(file))
  .filter((each, at, all) => all.indexOf(each) === at)
  .toSorted()

const go = [...(process.env['PATH'] ?? '').split(path.delimiter), '/usr/local/go/bin']
  .map((each) => path.join(each, 'go'))
  .find((file) => existsSync(file))

type Failed = Error & {readonly stdout?: string; readonly stderr?: string}

/** What go printed, when it did not succeed. */
const complaint = async (...args: readonly string[]): Promise<string> =>
  run(go ?? 'go', args, {cwd: folder, env, maxBuffer: 64 * 2 ** 20}).then(
    () => '',
    (error: Failed) => `${error.stdout ?? ''}${error.stderr ?? ''}` || error.message,
  )

describe.skipIf(go === undefined)(`the collector's components${go === undefined ? ' (skipped: there is no Go on PATH)' : ''}`, () => {
  test.for(packages)('go test ./%s', async (each) => {
    expect(await complaint('test', '-count=1', `./${each}`)).toBe('')
  })

  test('go vet', async () => {
    expect(await complaint('vet', './...')).toBe('')
  })

  test('gofmt', async () => {
    const {stdout} = await run(path.join(path.dirname(go ?? ''), 'gofmt'), ['-l', '.'], {cwd: folder})
    expect(stdout).toBe('')
  })
})
