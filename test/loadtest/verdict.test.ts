import {describe, expect, test} from 'vitest'
import type {Measured} from '../../src/loadtest/compare.ts'
import type {Balance, Hop, Repetition} from '../../src/loadtest/result.ts'
import {verdictOf} from '../../src/loadtest/verdict.ts'
import {madeRun, measuredRun, type Wish} from './runs.ts'

type Changes = {
  readonly repetition?: Partial<Repetition>
  readonly logs?: Partial<Balance>
  readonly hop?: (hop: Hop) => Hop | undefined
}

/** A run without fault, changed where it is to be judged. */
const changed = (wish: Wish, {repetition, logs, hop = (same) => same}: Changes): Measured => {
  const run = measuredRun(wish)
  const repetitions = run.repetitions.map((one) => ({
    ...one,
    ...repetition,
    signals: {...one.signals, logs: {...one.signals.logs, ...logs}},
    hops: one.hops.map(hop).filter((found) => found !== undefined),
  }))
  return {...run, repetitions}
}

const ofLogs = (kind: Hop['hop'], change: Partial<Hop>) => (hop: Hop) =>
  hop.hop === kind && hop.signal === 'logs' ? {...hop, ...change} : hop

const growing = (from: number, to: number): Partial<Repetition> => {
  const seconds = Array.from({length: 140}, (_, second) => second)
  const values = seconds.map((second) => from + ((to - from) * second) / 140)
  return {timeline: {seconds, rates: [], cpu: [], memory: [], latency: [], queues: [{name: 'agent edge-1 logs', values}]}}
}

describe('what is said of a run', () => {
  const lost = {where: 'otlp_http/loki', why: 'queue full', items: 1234}
  test.for<[string, Measured, 'pass' | 'fail' | 'inconclusive', string]>([
    ['nothing is lost', measuredRun(), 'pass', 'nothing lost of 7,800,000 items, nothing unexplained'],
    ['some are lost', measuredRun({lost: {logs: lost}}), 'fail', 'logs: 1,234 of 1,200,000 lost at otlp_http/loki: queue full'],
    [
      'some are lost at two places',
      changed(
        {},
        {
          logs: {
            lost: 30,
            explained: [
              {where: 'agent edge-1', why: 'a', items: 10},
              {where: 'gateway hub', why: 'b', items: 20},
            ],
          },
        },
      ),
      'fail',
      'logs: 30 of 1,200,000 lost 10 at agent edge-1: a; 20 at gateway hub: b',
    ],
    [
      'some are lost, and nobody knows where',
      changed({}, {logs: {lost: 7, unexplained: 7, stored: 1_199_993}}),
      'fail',
      'logs: 7 of 1,200,000 lost, and no counter says where',
    ],
    [
      'more are stored than were generated',
      changed({}, {logs: {unexplained: -5}}),
      'inconclusive',
      'logs: 5 more are stored than were generated, so a loss could hide among them',
    ],
    [
      'the store cannot be asked',
      changed({}, {logs: {stored: null, lost: null, unexplained: null}}),
      'inconclusive',
      'logs: how many of 1,200,000 are stored could not be asked',
    ],
    [
      'a series is missing',
      changed({}, {hop: ofLogs('exporter', {sent: null, failed: null})}),
      'inconclusive',
      'logs: sent, failed of otlp_http/loki could not be read',
    ],
    [
      'a hop is missing',
      changed({}, {hop: (hop) => (hop.hop === 'gateway' && hop.signal === 'logs' ? undefined : hop)}),
      'inconclusive',
      'logs: nothing was counted by the gateway',
    ],
    [
      'an agent is missing',
      changed({edges: ['edge-1', 'edge-2']}, {hop: (hop) => (hop.name === 'edge-2' ? undefined : hop)}),
      'inconclusive',
      'metrics: nothing was counted by agent edge-2',
    ],
    [
      'the generators did not reach the rate',
      changed({}, {logs: {generated: 960_000, stored: 960_000}}),
      'inconclusive',
      'logs: the generators did not reach the offered rate: 8,000/s of 10,000/s (80 %)',
    ],
    [
      'an agent refused some',
      changed({}, {logs: {generated: 960_000, stored: 960_000}, hop: ofLogs('agent', {refused: 240_000})}),
      'fail',
      'logs: agent edge-1 refused 240,000 of 1,200,000 offered',
    ],
    [
      'something still waits',
      changed({}, {repetition: {drainSeconds: null}, hop: ofLogs('exporter', {queued: 4200})}),
      'fail',
      'logs: 4,200 still wait at otlp_http/loki',
    ],
    [
      'something still waits, nobody knows where',
      changed({}, {repetition: {drainSeconds: null}}),
      'inconclusive',
      'not everything came to rest after the window, and no hop says what waits',
    ],
    [
      'it takes too long',
      changed({}, {logs: {latencyMs: {p50: 900, p99: 11_000, samples: 60}}}),
      'fail',
      'logs: p99 11s from sent to queryable, of 60 canaries; at most 10s',
    ],
    [
      'no canary came back',
      changed({}, {logs: {latencyMs: {p50: null, p99: null, samples: 0}}}),
      'inconclusive',
      'logs: no canary was read back, so its latency is not known',
    ],
    [
      'a queue grows',
      changed({}, {repetition: growing(0, 140_000)}),
      'fail',
      'the queue of agent edge-1 logs grew by 60,000 in 2m00s: what it sends to does not keep up',
    ],
    [
      'a queue is long and stays so',
      changed({}, {repetition: growing(140_000, 141_000)}),
      'pass',
      'nothing lost of 7,800,000 items, nothing unexplained',
    ],
    ['it was ended', measuredRun({partial: true}), 'inconclusive', 'ended before its time: 48s of 2m00s measured'],
    ['nothing was measured', {...measuredRun(), repetitions: []}, 'inconclusive', 'nothing was measured'],
  ])('%s', ([, run, result, first]) => {
    const verdict = verdictOf(run)
    expect({result: verdict.result, first: verdict.reasons[0]}).toEqual({result, first})
  })
})

test('a gateway that was killed and lost nothing passes, and the reasons say what happened', () => {
  const {result, reasons} = verdictOf(measuredRun({gatewayKilledAt: 40}))
  expect(result).toBe('pass')
  expect(reasons).toContain('40 s into the window: gateway hub did not answer')
  expect(reasons).toContain('50 s into the window: gateway hub started anew')
  expect(reasons.join('\n')).toMatch(/logs: p99 \d+s .* not judged, since something happened in the window/)
})

test('what happened in the warm-up excuses nothing', () => {
  const slow = {logs: {latencyMs: {p50: 900, p99: 11_000, samples: 60}}}
  expect(verdictOf(changed({}, {...slow, repetition: {happenings: [{second: 3, what: 'gateway hub started anew'}]}})).result).toBe('fail')
})

test('what failed counts more than what is not known, and stands first', () => {
  const run = changed({partial: true}, {logs: {lost: 9, unexplained: 9}})
  const {result, reasons} = verdictOf(run)
  expect(result).toBe('fail')
  expect(reasons[0]).toContain('logs: 9 of 480,000 lost')
  expect(reasons[1]).toContain('ended before its time')
})

test('of several repetitions the reasons say which one', () => {
  const run = measuredRun({repetitions: 3})
  const [first, second, third] = run.repetitions
  if (!first || !second || !third) throw new Error('three repetitions were wished for')
  const worse = {...second, signals: {...second.signals, logs: {...second.signals.logs, lost: 4, unexplained: 4}}}
  expect(verdictOf({...run, repetitions: [first, worse, third]}).reasons).toEqual([
    'repetition 2, logs: 4 of 1,200,000 lost, and no counter says where',
  ])
})

test('a signal that was not sent is not judged', () => {
  const run = measuredRun({rates: {metrics: 1000, logs: 0, traces: 0}})
  const hops = run.repetitions.map((repetition) => ({...repetition, hops: repetition.hops.filter(({signal}) => signal === 'metrics')}))
  expect(verdictOf({...run, repetitions: hops}).result).toBe('pass')
})

describe('against a baseline', () => {
  const baseline = madeRun({run: 'before', repetitions: 3})
  test('as good as it: pass', () => {
    const {result, reasons} = verdictOf(measuredRun({repetitions: 3, seed: 5}), baseline)
    expect(result).toBe('pass')
    expect(reasons).toContain('against before: no change')
  })
  test('worse: fail, with the figure', () => {
    const {result, reasons} = verdictOf(measuredRun({repetitions: 3, costs: 1.6, seed: 5}), baseline)
    expect(result).toBe('fail')
    expect(reasons.join('\n')).toMatch(/worse than before: loki CPU 1\.\d\d×/)
  })
  test('not alike: said, and not judged', () => {
    const {result, reasons} = verdictOf(measuredRun({edges: ['edge-1', 'edge-2']}), baseline)
    expect(result).toBe('pass')
    expect(reasons.join('\n')).toContain('not compared with before: edges differs (1 and 2)')
  })
  test('a run in which something happened is not compared, nor one that was ended', () => {
    const disturbed = verdictOf(measuredRun({repetitions: 3, gatewayKilledAt: 40}), baseline)
    expect(disturbed.result).toBe('pass')
    expect(disturbed.reasons).toContain('not compared with before, since something happened in the window')
    expect(verdictOf(measuredRun({partial: true, costs: 3}), baseline).result).toBe('inconclusive')
  })
})
