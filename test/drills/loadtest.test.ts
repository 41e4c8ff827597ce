import {spawn} from 'node:child_process'
import {readdirSync, readFileSync, readlinkSync} from 'node:fs'
import {readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, afterEach, beforeAll, describe, expect, test} from 'vitest'
import {parse, stringify} from 'yaml'
import {signals} from '../../src/collector/config.ts'
import type {LoadTest} from '../../src/loadtest/result.ts'
import {document, type Ended, eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf, start} from '../lab/cli.ts'

let folder: string

const done = async (...args: string[]) => {
  const {code, stderr} = await lkeobs(folder, args)
  expect(code, stderr).toBe(0)
}

const rates = ['--rate-metrics', '1000', '--rate-logs', '500', '--rate-traces', '200']

/** Whatever a test leaves running. */
const begun: ReturnType<typeof start>[] = []
const load = (...args: string[]) => {
  const one = start(folder, ['loadtest', 'run', '--profile', 'smoke', '--json', ...rates, ...args])
  begun.push(one)
  return one
}

/** The command lines of generators that send to this lab. */
const generators = (): readonly string[] =>
  readdirSync('/proc')
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
      } catch {
        return ''
      }
    })
    .filter((line) => line.includes('telemetrygen') && line.split('\0').includes(`127.0.0.1:${firstPorts.edge}`))

/** Until the window's own generators run: their items bear the run's name without `-warm`. */
const inWindow = () => eventually('the window has begun', () => generators().some((line) => /lkeobs\.run="\w+-1"/.test(line)), 90_000)

const pidOf = async (cluster: string, component: string): Promise<number> => {
  const {[component]: pid} = await pidsOf(folder, cluster)
  if (pid === undefined) throw new Error(`no ${component} runs on ${cluster}`)
  return pid
}

const isDead = (pid: number) => {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return true
  }
}

const killed = async (pid: number) => {
  process.kill(pid, 'SIGKILL')
  await eventually(`${pid} is dead`, () => isDead(pid), 5000)
}

/** Starts what ran as this process once more, as it was: same file, arguments and folder. */
const sameAs = (pid: number) => {
  const [file = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replace(/\0$/, '').split('\0')
  const cwd = readlinkSync(`/proc/${pid}/cwd`)
  return {
    again: () => {
      const child = spawn(file, args, {cwd, detached: true, stdio: 'ignore'})
      child.unref()
      return child.pid ?? 0
    },
  }
}

const runOf = (ended: Ended): LoadTest => {
  expect(ended.stdout, ended.stderr).not.toBe('')
  return document<LoadTest>(ended)
}

beforeAll(async () => {
  for (const purpose of ['lab', 'loadtest']) {
    const code = await lkeobsAloud(tmpdir(), ['tools', 'install', purpose])
    if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  }
  folder = await labFolder(1)
  await done('lab', 'up')
})

afterAll(async () => {
  await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])
  await rm(folder, {recursive: true, force: true})
})

afterEach(async () => {
  for (const {child, ended} of begun.splice(0)) {
    child.kill('SIGKILL')
    await ended
  }
})

describe('a load test', () => {
  test('that is interrupted ends its generators at once and says what it has', async () => {
    const {child, ended} = load('--duration', '60s', '--report', 'partial.md')
    await inWindow()
    await sleep(3000)
    child.kill('SIGINT')
    await eventually('no generator is left', () => generators().length === 0, 2000)
    const result = await ended
    expect(result.code).toBe(130)
    const run = runOf(result)
    expect(run.partial).toBe(true)
    for (const signal of signals)
      expect(run.signals[signal]).toMatchObject({lost: 0, unexplained: 0, stored: run.signals[signal].generated})
    expect(run.signals.logs.generated).toBeGreaterThan(500)
    expect(await readFile(path.join(folder, 'partial.md'), 'utf8')).toContain('ended before its time')
  })

  test('that is killed leaves no generator behind for long', async () => {
    const {child, ended} = load('--duration', '60s')
    await inWindow()
    child.kill('SIGKILL')
    await ended
    await eventually('no generator is left', () => generators().length === 0, 20_000)
    expect(generators()).toEqual([])
  })

  test('loses nothing when the gateway is killed within the window, and shows it', async () => {
    const {ended} = load('--duration', '30s')
    await inWindow()
    await sleep(5000)
    await killed(await pidOf('hub', 'gateway'))
    await sleep(4000)
    await done('hub', 'init')
    const run = runOf(await ended)
    for (const signal of signals)
      expect(run.signals[signal]).toMatchObject({lost: 0, unexplained: 0, stored: run.signals[signal].generated})
    const [repetition] = run.repetitions
    const what = repetition?.happenings.map((happening) => happening.what) ?? []
    expect(what).toContain('otelcol gateway on hub ended')
    expect(what).toContain('otelcol gateway on hub was started anew')
    expect(run.verdict.reasons.join('\n')).toContain('otelcol gateway on hub')
    const line = repetition?.timeline.rates.find(({name}) => name === 'gateway hub logs')
    expect(line?.values.slice(2)).toContain(null)
  })

  test('with a store that is stopped names the hop', async () => {
    const {ended} = load('--duration', '10s')
    await inWindow()
    await killed(await pidOf('hub', 'loki'))
    const result = await ended
    const run = runOf(result)
    expect(['fail', 'inconclusive']).toContain(run.verdict.result)
    expect(run.verdict.reasons.join('\n')).toContain('otlp_http/loki')
    expect(run.signals.logs.stored).toBeNull()
    for (const signal of ['metrics', 'traces'] as const) expect(run.signals[signal]).toMatchObject({lost: 0, unexplained: 0})
    await done('hub', 'init')
    await eventually('Loki has what waited', async () => (await lkeobs(folder, ['verify', '--all'])).code === 0, 60_000)
  })

  test('through a gateway that does not keep what it accepts fails with the number and the place', async () => {
    const file = path.join(folder, '.lkeobs', 'hub', 'gateway', 'gateway.yaml')
    const rendered = await readFile(file, 'utf8')
    const config = parse(rendered) as {exporters: Record<string, Record<string, unknown>>}
    const loki = config.exporters['otlp_http/loki'] ?? {}
    Object.assign(loki, {sending_queue: {enabled: true, queue_size: 10}, retry_on_failure: {enabled: false}})
    const gateway = await pidOf('hub', 'gateway')
    const {again} = sameAs(gateway)
    await killed(gateway)
    await writeFile(file, stringify(config))
    const lossy = again()
    try {
      await eventually('the gateway answers', async () => (await lkeobs(folder, ['verify', '--all'])).code === 0, 90_000)
      const {ended} = load('--duration', '20s')
      await inWindow()
      await sleep(3000)
      const store = await pidOf('hub', 'loki')
      const once = sameAs(store)
      await killed(store)
      await sleep(3000)
      const back = once.again()
      try {
        const result = await ended
        const run = runOf(result)
        expect(result.code).toBe(7)
        expect(run.verdict.result).toBe('fail')
        const {generated, stored, explained, lost, unexplained} = run.signals.logs
        expect(lost).toBeGreaterThan(0)
        expect(lost).toBe(generated - (stored ?? 0))
        expect(explained).toEqual([{where: 'otlp_http/loki', why: expect.any(String) as string, items: lost}])
        expect(unexplained).toBe(0)
        expect(run.verdict.reasons[0]).toContain('otlp_http/loki')
        for (const signal of ['metrics', 'traces'] as const) expect(run.signals[signal]).toMatchObject({lost: 0, unexplained: 0})
      } finally {
        await killed(back)
      }
    } finally {
      await killed(lossy)
      await writeFile(file, rendered)
    }
  })
})
