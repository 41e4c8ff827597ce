import {describe, expect, test} from 'vitest'
import {balanceOf, type BalanceWish, latencyOf, together} from '../../src/loadtest/balance.ts'
import type {Balance, Hop} from '../../src/loadtest/result.ts'

const none = latencyOf([])
const agent: Hop = {
  hop: 'agent',
  name: 'edge-1',
  signal: 'logs',
  accepted: 1000,
  refused: 0,
  sent: 1000,
  failed: 0,
  enqueueFailed: 0,
  queued: 0,
}
const gateway: Hop = {hop: 'gateway', name: 'hub', signal: 'logs', accepted: 1000, refused: 0}
const loki: Hop = {hop: 'exporter', name: 'otlp_http/loki', signal: 'logs', sent: 1000, failed: 0, enqueueFailed: 0, queued: 0}

const wish = (stored: number | null, hops: readonly Hop[] = [agent, gateway, loki], isAtRest = true): BalanceWish => {
  return {signal: 'logs', offered: 1000, generated: 1000, stored, hops, latencyMs: none, isAtRest}
}

describe('a balance', () => {
  test('is even where everything is stored, whatever else passed the hops', () => {
    expect(balanceOf(wish(1000, [{...agent, accepted: 1200, failed: 30}, gateway, loki]))).toMatchObject({
      explained: [],
      unexplained: 0,
      lost: 0,
    })
  })

  test('names the place and the number of what an exporter has dropped', () => {
    expect(balanceOf(wish(640, [agent, gateway, {...loki, sent: 640, failed: 360}]))).toMatchObject({
      explained: [{where: 'otlp_http/loki', items: 360}],
      unexplained: 0,
      lost: 360,
    })
  })

  test('explains no more than is missing, and leaves open what no hop explains', () => {
    const hops = [agent, gateway, {...loki, failed: 5000}]
    expect(balanceOf(wish(900, hops))).toMatchObject({explained: [{items: 100}], unexplained: 0, lost: 100})
    expect(balanceOf(wish(900))).toMatchObject({explained: [], unexplained: 100, lost: 100})
  })

  test('does not call lost what still waits', () => {
    const waiting = [agent, gateway, {...loki, sent: 700, queued: 300}]
    expect(balanceOf(wish(700, waiting, false))).toMatchObject({explained: [{why: 'still waiting in its queue', items: 300}], lost: 0})
  })

  test('finds what was only in the memory of a process that ended', () => {
    expect(
      balanceOf(
        wish(800, [
          {...agent, sent: 800},
          {...gateway, accepted: 800},
          {...loki, sent: 800},
        ]),
      ),
    ).toMatchObject({
      explained: [{where: 'agent edge-1', items: 200}],
      unexplained: 0,
      lost: 200,
    })
  })

  test('does not guess where a counter could not be read, nor where the store could not be asked', () => {
    const unread = [
      {...agent, sent: null},
      {...gateway, accepted: null},
      {...loki, sent: null, failed: null},
    ]
    expect(balanceOf(wish(800, unread))).toMatchObject({explained: [], unexplained: 200, lost: 200})
    expect(balanceOf(wish(null))).toMatchObject({stored: null, unexplained: null, lost: null})
  })

  test('knows dead letters: not lost, and not stored', () => {
    expect(balanceOf(wish(960, [agent, gateway, {...loki, sent: 960, takenOut: 30, dropped: 0, discarded: 10}]))).toMatchObject({
      explained: [
        {where: 'otlp_http/loki', why: 'taken out alone, and kept as dead letters', items: 30, isKept: true},
        {where: 'otlp_http/loki', why: 'discarded by the store after it had acknowledged them, as the store counts', items: 10},
      ],
      unexplained: 0,
      lost: 10,
    })
  })

  test('knows what a damaged file or a full queue has cost', () => {
    const hops = [
      {...agent, sent: 950, lost: 50},
      {...gateway, accepted: 950},
      {...loki, sent: 900, dropped: 50},
    ]
    expect(balanceOf(wish(900, hops))).toMatchObject({
      explained: [
        {where: 'agent edge-1', why: 'lost in damaged files of its queue', items: 50},
        {where: 'otlp_http/loki', items: 50},
      ],
      lost: 100,
    })
  })

  test('says so where more is stored than was generated', () => {
    expect(balanceOf(wish(1010))).toMatchObject({unexplained: -10, lost: 0})
  })

  test('of several repetitions is their sum; of latencies it is the median', () => {
    const one = {...balanceOf(wish(1000)), latencyMs: {p50: 10, p99: 20, samples: 5}}
    const other = {...balanceOf(wish(640, [agent, gateway, {...loki, failed: 360}])), latencyMs: {p50: 30, p99: 90, samples: 5}}
    const all = (balance: Balance) => ({metrics: balance, logs: balance, traces: balance})
    expect(together([all(one), all(other), all(other)]).logs).toMatchObject({
      generated: 3000,
      stored: 2280,
      explained: [{where: 'otlp_http/loki', items: 720}],
      lost: 720,
      latencyMs: {p50: 30, p99: 90, samples: 15},
    })
    expect(together([all(one), all(balanceOf(wish(null)))]).logs.stored).toBeNull()
  })
})

test('latency of nothing is not known', () => {
  expect(none).toEqual({p50: null, p99: null, samples: 0})
  expect(latencyOf([5, 1, 3])).toEqual({p50: 3, p99: 5, samples: 3})
})
