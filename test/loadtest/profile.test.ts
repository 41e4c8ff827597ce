import {describe, expect, test} from 'vitest'
import {LkeobsError} from '../../src/errors.ts'
import {planned, sizedFor} from '../../src/loadtest/generators.ts'
import {otherwise, parseProfile, profileNames, readProfile, scaled} from '../../src/loadtest/profile.ts'
import {generatorProcesses} from '../../src/platforms/local/generators.ts'
import {createFiles} from '../../src/tools/files.ts'
import {createShell} from '../../src/tools/shell.ts'

const problems = (text: string): string => {
  try {
    parseProfile(text, 'load.yaml')
  } catch (error) {
    if (error instanceof LkeobsError) return `${error.code} ${error.message}`
    throw error
  }
  return 'none'
}

describe('a profile', () => {
  test('each that has a name is whole', async () => {
    for (const name of profileNames) {
      const profile = await readProfile(name, createFiles())
      expect(profile).toMatchObject({name, spansPerTrace: 10})
      expect(profile.windowSeconds).toBeGreaterThan(0)
    }
    expect(await readProfile('baseline', createFiles())).toMatchObject({
      rates: {metrics: 10_000, logs: 2000, traces: 1000},
      warmUpSeconds: 15,
      windowSeconds: 60,
      repetitions: 1,
    })
  })

  test('a file says what it wants to, and the rest is as usual', () => {
    const profile = parseProfile('rates: {metrics: 100, logs: 0, traces: 20}\nwindow: 2m\nbatch: {logs: 10}\n', 'folder/mine.yaml')
    expect(profile).toMatchObject({
      name: 'mine',
      rates: {metrics: 100, logs: 0, traces: 20},
      batch: {metrics: 500, logs: 10, traces: 500},
      warmUpSeconds: 15,
      windowSeconds: 120,
    })
  })

  test('what is wrong in a file is told with its place', () => {
    expect(problems('rates: {metrics: 1.5, logs: 1, trace: 1}\nwindow: soon\n')).toMatchInlineSnapshot(`
      "LKO-9010 load.yaml:1:8 rates.traces: missing; expected number
      load.yaml:1:18 rates.metrics: expected whole number, got number 1.5
      load.yaml:1:32 rates.trace: Unrecognized key: "trace"; did you mean "traces"?
      load.yaml:2:9 window: expected a duration such as 90s, 5m or 2h"
    `)
    expect(problems('rates: {metrics: 0, logs: 0, traces: 0}\n')).toContain('every rate is 0')
    expect(problems('')).toContain('The file is empty; expected map with rates')
  })

  test('one that is neither known nor a file is refused', async () => {
    await expect(readProfile('basline', createFiles())).rejects.toMatchObject({code: 'LKO-9010'})
  })

  test('the command line counts more; a share is of every rate', async () => {
    const smoke = await readProfile('smoke', createFiles())
    const flags = {'rate-metrics': undefined, 'rate-logs': 7, 'rate-traces': undefined, duration: undefined, repetitions: 3}
    const other = otherwise(smoke, flags)
    expect(other).toMatchObject({rates: {metrics: 500, logs: 7, traces: 50}, windowSeconds: 10, repetitions: 3})
    expect(otherwise(smoke, {...flags, duration: '2m'}).windowSeconds).toBe(120)
    expect(() => otherwise(smoke, {...flags, duration: 'long'})).toThrow('expected a duration')
    expect(scaled(smoke, 1.5).rates).toEqual({metrics: 750, logs: 150, traces: 75})
  })
})

describe('generators', () => {
  test('are as many as the rate needs', () => {
    expect(sizedFor('metrics', 100)).toEqual({processes: 1, workers: 1, perWorker: 100})
    expect(sizedFor('logs', 2500).processes).toBe(3)
    for (const signal of ['metrics', 'logs', 'traces'] as const) {
      const {processes, workers, perWorker} = sizedFor(signal, 50_000)
      expect(processes * workers * perWorker).toBeCloseTo(50_000)
    }
  })

  test('are as many for each agent as for the others', () => {
    for (const signal of ['metrics', 'logs', 'traces'] as const)
      for (const rate of [10, 50_000]) {
        const {processes, workers, perWorker} = sizedFor(signal, rate, 3)
        expect(processes % 3).toBe(0)
        expect(processes).toBeGreaterThan(0)
        expect(processes * workers * perWorker).toBeCloseTo(rate)
      }
  })

  test('of one process two records never have the same time: it has one worker', () => {
    expect(sizedFor('logs', 10_000).workers).toBe(1)
  })

  test('say whose run an item is of, and none lives longer than a shift', async () => {
    const generators = generatorProcesses({shell: createShell(), program: async (name) => name}, '127.0.0.1:4317')
    const [metrics, logs, traces] = planned(await readProfile('smoke', createFiles()), [{name: 'edge-1', generators, agents: 1}])
    expect(metrics).toMatchInlineSnapshot(
      `"telemetrygen metrics --otlp-endpoint 127.0.0.1:4317 --otlp-insecure --workers 2 --rate 250.000 --duration 5000ms --batch-size 500 --allow-export-failures --service lkeobs-loadtest --otlp-metric-name lkeobs.loadtest --unique-timeseries --otlp-attributes 'service.instance.id="edge-1-0-0"' --telemetry-attributes 'deployment.environment.name="loadtest"' --telemetry-attributes 'http.route="/api/orders"' --telemetry-attributes 'lkeobs.run="‹run›"'"`,
    )
    expect(logs).toContain('telemetrygen logs ')
    expect(traces).toContain('--child-spans 9')
  })
})
