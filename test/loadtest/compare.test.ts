import {expect, test} from 'vitest'
import {compare} from '../../src/loadtest/compare.ts'
import type {LoadTest} from '../../src/loadtest/result.ts'
import {loadTestSchema, storedRuns} from '../../src/loadtest/stored.ts'
import {comparisonText} from '../../src/loadtest/report/text.ts'
import type {Files} from '../../src/tools/files.ts'
import {madeRun, measuredRun} from './runs.ts'

const of = (first: LoadTest, second: LoadTest, figure: string) =>
  compare(first, second).figures.find((compared) => compared.figure === figure)

test('the same thing twice is no change', () => {
  const comparison = compare(madeRun({repetitions: 3}), madeRun({run: 'again', repetitions: 3, seed: 42}))
  expect(comparison.result).toBe('no change')
  expect(comparison.figures.filter(({result}) => result !== 'no change')).toEqual([])
  expect(comparison.figures.length).toBeGreaterThan(20)
})

test('what is well above the noise is worse, and the other way round better', () => {
  const [cheap, dear] = [madeRun({repetitions: 3}), madeRun({repetitions: 3, costs: 1.6, seed: 42})]
  expect(of(cheap, dear, 'loki CPU')).toMatchObject({result: 'worse', unit: 'ms CPU per 1,000 items'})
  expect(of(cheap, dear, 'loki CPU')?.ratio).toBeCloseTo(1.6, 1)
  expect(of(dear, cheap, 'loki CPU')).toMatchObject({result: 'better'})
  expect(compare(cheap, dear).result).toBe('worse')
})

test('one repetition shows no spread, so it has to be further apart', () => {
  const single = of(madeRun(), madeRun({costs: 1.25}), 'loki CPU')
  const several = of(madeRun({repetitions: 3}), madeRun({repetitions: 3, costs: 1.25}), 'loki CPU')
  expect(single).toMatchObject({result: 'no change', noise: 0.3})
  expect(several).toMatchObject({result: 'worse', noise: 0.15})
})

test('repetitions that spread widely make a difference within them say nothing', () => {
  const run = madeRun({repetitions: 3})
  const spread = run.repetitions.map((repetition, index) => ({
    ...repetition,
    processes: repetition.processes.map((cost) => ({
      ...cost,
      cores: cost.cores,
      coresPer1000: (cost.coresPer1000 ?? 0) * (0.5 + index * 0.5),
    })),
  }))
  expect(of({...run, repetitions: spread}, madeRun({repetitions: 3, costs: 1.4}), 'loki CPU')).toMatchObject({result: 'no change'})
})

test('one item lost more is worse, however many there were', () => {
  const second = madeRun({lost: {logs: {where: 'otlp_http/loki', why: 'queue full', items: 1}}})
  expect(of(madeRun(), second, 'logs lost')).toMatchObject({result: 'worse', ratio: null})
})

test('a figure that only one run has is named, and not compared', () => {
  const run = madeRun()
  const without = {...run, repetitions: run.repetitions.map((repetition) => ({...repetition, wire: []}))}
  expect(compare(run, without).missing).toEqual(['generators → agents wire', 'agents → gateway wire', 'gateway → stores wire'])
})

test('runs that are not alike are refused, with every member and both values', () => {
  const [one, other] = [madeRun(), madeRun({run: 'other'})]
  const unlike = {
    ...other,
    fingerprint: {...other.fingerprint, platform: 'kubernetes', versions: {...other.fingerprint.versions, loki: '3.8.0'}},
  }
  expect(() => compare(one, unlike)).toThrow(
    expect.objectContaining({
      code: 'LKO-9002',
      message: '4b1f09ce and other differ in what they measured:\n  platform: local and kubernetes\n  versions.loki: 3.7.8 and 3.8.0',
    }),
  )
  expect(() => compare(one, unlike, ['versions'])).toThrow(expect.objectContaining({code: 'LKO-9002'}))
  const comparison = compare(one, unlike, ['versions', 'platform'])
  expect(comparison.despite.map(({member}) => member)).toEqual(['platform', 'versions.loki'])
  expect(comparisonText(comparison)).toContain('versions.loki: 3.7.8 and 3.8.0')
})

/** Files that are only remembered. */
const remembered = (): Files => {
  const written = new Map<string, string>()
  return {
    read: async (file: string) => written.get(file),
    exists: async (file: string) => written.has(file),
    list: async (folder: string) =>
      [...written.keys()].filter((file) => file.startsWith(`${folder}/`)).map((file) => file.slice(folder.length + 1)),
    write: async (file: string, content: string) => void written.set(file, content),
  } as unknown as Files
}

test('runs are kept beside the fleet file, and read by name or file', async () => {
  const runs = storedRuns(remembered(), 'fleets/lkeobs.yaml')
  await runs.save(madeRun())
  await runs.save(madeRun({run: 'later', startedAt: '2026-11-21T09:12:00.000Z'}))
  expect(runs.fileOf('later')).toBe('fleets/.lkeobs/loadtests/later.json')
  expect((await runs.list()).map(({run}) => run)).toEqual(['later', '4b1f09ce'])
  expect((await runs.read('4b1f09ce')).run).toBe('4b1f09ce')
  expect((await runs.read('fleets/.lkeobs/loadtests/4b1f09ce.json')).run).toBe('4b1f09ce')
  expect((await runs.read()).run).toBe('later')
  await expect(runs.read('none')).rejects.toMatchObject({code: 'LKO-9001', message: 'fleets/.lkeobs/loadtests/none.json is not there.'})
})

test('a file that holds something else is no load test', async () => {
  const files = remembered()
  await files.write('a.json', '{"schema": "lkeobs/verify/v1"}')
  await files.write('b.json', 'nothing of the kind')
  const runs = storedRuns(files, 'lkeobs.yaml')
  await expect(runs.read('a.json')).rejects.toMatchObject({code: 'LKO-9001', message: 'a.json is not a load test.'})
  await expect(runs.read('b.json')).rejects.toMatchObject({code: 'LKO-9001'})
  await expect(runs.read()).rejects.toMatchObject({code: 'LKO-9001', message: '.lkeobs/loadtests holds no load test.'})
  expect(loadTestSchema).toBe('lkeobs/loadtest/v1')
})

test('the baseline is the newest earlier run that is alike and passed', async () => {
  const runs = storedRuns(remembered(), 'lkeobs.yaml')
  const at = (run: string, day: number, more = {}) => madeRun({run, startedAt: `2026-11-${day}T00:00:00.000Z`, ...more})
  await runs.save(at('old', 10))
  await runs.save(at('good', 11))
  await runs.save(at('lossy', 12, {lost: {logs: {where: 'otlp_http/loki', why: 'queue full', items: 1}}}))
  await runs.save(at('partial', 13, {partial: true}))
  await runs.save(at('unlike', 14, {edges: ['edge-1', 'edge-2']}))
  await runs.save(at('future', 20))
  expect((await runs.baselineFor(measuredRun({startedAt: '2026-11-15T00:00:00.000Z'})))?.run).toBe('good')
  expect(await runs.baselineFor(measuredRun({startedAt: '2026-11-01T00:00:00.000Z'}))).toBeUndefined()
})
