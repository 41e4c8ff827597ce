import {describe, expect, test} from 'vitest'
import {brokeAt, judged, kneeOf} from '../../src/loadtest/knee.ts'
import type {Balance, Repetition} from '../../src/loadtest/result.ts'

const balance: Balance = {
  offered: 1000,
  generated: 1000,
  stored: 1000,
  explained: [],
  unexplained: 0,
  lost: 0,
  latencyMs: {p50: 300, p99: 600, samples: 30},
}

const step = (logs: Partial<Balance> = {}, other: Partial<Repetition> = {}): Repetition => ({
  startedAt: '2026-01-01T00:00:00.000Z',
  warmUpSeconds: 0,
  windowSeconds: 9,
  drainSeconds: 1,
  signals: {metrics: balance, logs: {...balance, ...logs}, traces: balance},
  hops: [],
  processes: [],
  wire: [],
  timeline: {seconds: [0, 1, 2, 3, 4, 5, 6, 7, 8], rates: [], queues: [], cpu: [], memory: [], latency: []},
  happenings: [],
  ...other,
})

const busy = {process: 'telemetrygen', cluster: 'edge-1', cpuSeconds: 9, cores: 1.2, coresMost: 1.5, residentBytesMost: 1, coresPer1000: 1}
const withQueue = (values: readonly (number | null)[]) => ({
  timeline: {...step().timeline, queues: [{name: 'otlp_http/loki logs', values}]},
})

describe('a step', () => {
  test('holds where nothing is lost, refused, late or short', () => {
    expect(brokeAt(step(), step())).toEqual([])
    // a queue that is emptied now and then does not only grow
    expect(brokeAt(step({}, withQueue([0, 900, 0, 800, 0, 900, 0, 950, 0])), step())).toEqual([])
    // twice as long as little is still little
    expect(brokeAt(step({latencyMs: {p50: 20, p99: 90, samples: 9}}), step({latencyMs: {p50: 9, p99: 10, samples: 9}}))).toEqual([])
  })

  test('breaks by a loss, a rate that is not reached, latency, a queue, or what never came to rest', () => {
    expect(brokeAt(step({lost: 3}), step())).toEqual(['logs: 3 lost'])
    expect(brokeAt(step({generated: 900}), step())).toEqual(['logs: the generators reached 90 % of the rate'])
    expect(brokeAt(step({latencyMs: {p50: 900, p99: 1300, samples: 9}}), step())).toEqual(['logs: p99 1.3s, 600ms at the first step'])
    expect(brokeAt(step({}, withQueue([0, 10, 20, 30, 40, 50, 60, 70, 80])), step())).toEqual([
      'the queue of otlp_http/loki logs only grew',
    ])
    expect(brokeAt(step({}, {drainSeconds: null}), step())).toEqual(['not everything came to rest'])
  })
})

describe('the knee', () => {
  const broke = ['logs: 3 lost']

  test('is the highest rate that held, and what gave out above it', () => {
    const refusing = step({lost: 3}, {hops: [{hop: 'exporter', name: 'otlp_http/loki', signal: 'logs', failed: 3}]})
    const steps = [
      {percent: 25, broke: []},
      {percent: 50, broke},
    ]
    expect(kneeOf(steps, refusing, 2)).toMatchObject({held: 25, saturated: 'otlp_http/loki refused or dropped logs'})
    expect(kneeOf(steps, step({}, {processes: [busy, {...busy, process: 'loki', cores: 0.7}]}), 2).saturated).toBe(
      'the processors: 1.90 of 2 cores in use, most by telemetrygen (1.20)',
    )
    expect(kneeOf(steps, step({generated: 900}), 2).saturated).toBe('the generator of logs')
  })

  test('is above what was tried where nothing broke', () => {
    expect(kneeOf([{percent: 25, broke: []}], step(), 2)).toMatchObject({held: 25, saturated: null})
  })

  test('passes where the rate of the profile held', () => {
    const measured = {
      run: 'r',
      startedAt: '',
      fleet: 'lab',
      edges: ['edge-1'],
      profile: {name: 'smoke', rates: {metrics: 1, logs: 1, traces: 1}, warmUpSeconds: 1, windowSeconds: 9, repetitions: 2},
      fingerprint: {platform: 'local', machine: {processor: '', cores: 2, memoryBytes: 1}, versions: {}, configuration: '', profile: ''},
      partial: false,
      signals: step().signals,
      repetitions: [step(), step()],
    }
    const verdictAt = (held: number) => judged({...measured, knee: {held, saturated: null, steps: []}}, undefined).verdict.result
    expect([75, 100, 125].map(verdictAt)).toEqual(['fail', 'pass', 'pass'])
  })
})
