import {readFile, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {signals} from '../../src/collector/config.ts'
import type {LoadTest} from '../../src/loadtest/result.ts'
import {document, labFolder, lkeobs, lkeobsAloud} from './cli.ts'

let folder: string

beforeAll(async () => {
  for (const purpose of ['lab', 'loadtest']) {
    const code = await lkeobsAloud(tmpdir(), ['tools', 'install', purpose])
    if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  }
  folder = await labFolder(1)
  const {code, stderr} = await lkeobs(folder, ['lab', 'up'])
  if (code !== 0) throw new Error(stderr)
})

afterAll(async () => {
  await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])
  await rm(folder, {recursive: true, force: true})
})

describe('loadtest run', () => {
  test('says what it would start, and starts nothing', async () => {
    const {code, stdout} = await lkeobs(folder, ['loadtest', 'run', '--profile', 'smoke', '--dry-run'])
    expect(code).toBe(0)
    for (const signal of signals) expect(stdout).toContain(`would run telemetrygen ${signal} `)
    expect((await lkeobs(folder, ['loadtest', 'list'])).stdout).toContain('No load test is kept here.')
  })

  test('accounts for every item of every signal', async () => {
    const ended = await lkeobs(folder, ['loadtest', 'run', '--profile', 'smoke', '--json', '--report', 'report.html'])
    expect([0, 7], ended.stderr).toContain(ended.code)
    const run = document<LoadTest & {schema: string}>(ended)
    expect(run).toMatchObject({schema: 'lkeobs/loadtest/v1', edges: ['edge-1'], partial: false, profile: {name: 'smoke'}})
    const [repetition] = run.repetitions
    for (const signal of signals) {
      const {generated, stored, explained, unexplained, lost, latencyMs} = run.signals[signal]
      expect({signal, stored, explained, unexplained, lost}).toEqual({signal, stored: generated, explained: [], unexplained: 0, lost: 0})
      expect(generated).toBeGreaterThan(0)
      expect(latencyMs.samples).toBeGreaterThan(3)
      // each hop has counted them, and whatever else passed
      const hops = repetition?.hops.filter((hop) => hop.signal === signal) ?? []
      expect(hops.map(({hop}) => hop)).toEqual(['agent', 'gateway', 'exporter'])
      for (const {accepted, sent} of hops) expect(accepted ?? sent).toBeGreaterThanOrEqual(generated)
    }
    expect(repetition?.happenings).toEqual([])
    expect(repetition?.drainSeconds).not.toBeNull()
    expect(repetition?.processes.map((one) => one.process)).toEqual([
      'telemetrygen',
      'lkeobs',
      'prometheus',
      'loki',
      'tempo',
      'otelcol gateway',
      'otelcol agent',
    ])
    for (const {process, cores, residentBytesMost} of repetition?.processes ?? []) {
      expect(cores, process).toBeGreaterThan(0)
      expect(residentBytesMost, process).toBeGreaterThan(1e6)
    }
    const page = await readFile(path.join(folder, 'report.html'), 'utf8')
    expect(page).toContain(run.run)
    expect((await lkeobs(folder, ['loadtest', 'list'])).stdout).toContain(run.run)
  })

  test('says at once what it cannot do', async () => {
    const wrong = await lkeobs(folder, ['loadtest', 'run', '--profile', 'basline'])
    expect(wrong.code).toBe(2)
    expect(wrong.stderr).toContain('LKO-9010')
    const nowhere = await lkeobs(folder, ['loadtest', 'run', '--edge', 'edge-9'])
    expect(nowhere.stderr).toContain('LKO-1003')
  })
})
