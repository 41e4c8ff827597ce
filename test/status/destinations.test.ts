import {stripVTControlCharacters} from 'node:util'
import {describe, expect, test} from 'vitest'
import {destinationSchema} from '../../src/fleet/schema.ts'
import {droppedByQueue, lastErrorIn, oldestMs, seenBy, seenByQueue} from '../../src/status/destinations.ts'
import {destinationsText} from '../../src/status/destinations-text.ts'
import type {Series} from '../../src/tools/stores.ts'

const corp = destinationSchema.parse({name: 'corp', splunk: {endpoint: 'https://splunk.example:8088'}})

const second = 1000
/** A gateway reports every 10 s: what it said each time, from a second on. */
const series = (name: string, exporter: string, from: number, values: readonly number[], labels: Record<string, string> = {}): Series => ({
  labels: {__name__: `otelcol_exporter_${name}`, exporter, data_type: 'logs', ...labels},
  values: values.map((value, at) => [(from + at * 10) * second, value]),
})

describe('how long the oldest item has waited', () => {
  test('since as many had come as have gone by now', () => {
    // 100 a second until 30 s, and from then on nothing goes
    const sent = series('sent_log_records_total', 'splunk_hec/corp', 0, [0, 1000, 2000, 3000, 3000, 3000, 3000])
    const size = series('queue_size', 'splunk_hec/corp', 0, [0, 0, 0, 0, 1000, 2000, 3000])
    expect(oldestMs([sent], [size], 60 * second)).toBe(30 * second)
    expect(oldestMs([sent], [size], 30 * second)).toBe(0)
    // it drains: what goes now came some time ago
    const draining = series('sent_log_records_total', 'splunk_hec/corp', 0, [0, 1000, 2000, 3000, 3000, 3000, 5000])
    expect(oldestMs([draining], [series('queue_size', 'splunk_hec/corp', 0, [0, 0, 0, 0, 1000, 2000, 1000])], 60 * second)).toBe(
      10 * second,
    )
  })

  test('less than the time between two reports, where items are on their way', () => {
    const sent = series('sent_log_records_total', 'splunk_hec/corp', 0, [0, 50_000, 100_000])
    const size = series('queue_size', 'splunk_hec/corp', 0, [2500, 2500, 2500])
    expect(oldestMs([sent], [size], 29 * second)).toBe(500)
  })

  test('over a restart too: the queue stays, and the counter begins anew in a series of its own', () => {
    const before = series('sent_log_records_total', 'splunk_hec/corp', 0, [0, 1000, 2000])
    const after = series('sent_log_records_total', 'splunk_hec/corp', 60, [0, 0])
    const sizes = [series('queue_size', 'splunk_hec/corp', 0, [0, 0, 500]), series('queue_size', 'splunk_hec/corp', 60, [500, 900])]
    // 500 waited at the end of the first; the oldest now came a little before
    expect(oldestMs([before, after], sizes, 70 * second)).toBeCloseTo(53_333, 0)
  })

  test('is not known of a gateway that is silent', () => {
    expect(oldestMs([], [], 60 * second)).toBeUndefined()
    expect(oldestMs([], [series('queue_size', 'splunk_hec/corp', 0, [5])], 60 * second)).toBeUndefined()
  })
})

describe('a destination', () => {
  const dropping = [
    series('sent_log_records_total', 'splunk_hec/corp', 0, [0, 6000, 6000, 6000, 6000, 6000, 6000, 6000]),
    series('queue_size', 'splunk_hec/corp', 0, [0, 0, 900, 1000, 1000, 1000, 1000, 1000]),
    series('queue_capacity', 'splunk_hec/corp', 0, [1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000]),
    series('queue_size', 'otlp_grpc/corp-feed', 0, [0, 0, 0, 200, 200, 200, 200, 200]),
    series('send_failed_log_records_total', 'otlp_grpc/corp-feed', 30, [600, 1200, 1800, 2400, 3000]),
    // what a gateway gives back at its end is not lost
    series('send_failed_log_records_total', 'splunk_hec/corp', 30, [50, 50, 50, 50, 50], {error_type: 'Shutdown'}),
    // somebody else's
    series('send_failed_log_records_total', 'otlp_grpc/other-feed', 30, [9, 9, 9, 9, 9]),
  ]

  test('whose queue is full drops, and says how much', () => {
    const seen = seenBy(corp, dropping, 70 * second)
    expect(seen).toMatchObject({
      name: 'corp',
      kind: 'splunk',
      signals: ['logs'],
      state: 'dropping',
      sentPerSecond: 0,
      failedPerSecond: 50,
      oldestSeconds: 60,
      queue: {items: 1200, unit: 'items', capacity: 1000, percent: 100},
    })
    const none = {queueFull: 0, gaveUp: 0, refused: 0}
    const dropped = {metrics: none, logs: {...none, queueFull: 3000, refused: 7}, traces: none}
    const lastError = {at: '2026-01-01T00:00:00.000Z', secondsAgo: 12, signal: 'logs', message: 'connection refused'} as const
    expect(stripVTControlCharacters(destinationsText([{...seen, dropped, lastError}]))).toMatchInlineSnapshot(`
      "destination  kind    signals  sent  failed  queue        oldest
      ✖ corp       splunk  logs     0/s   50/s    100%, 1,200  1m00s
      ✖ corp: dropped 3,000 logs: queue full
      ✖ corp: dropped 7 logs: refused by the destination
      ! corp: logs, 12s ago: connection refused
      › lkeobs dest test corp"
    `)
  })

  test('of a gateway that is silent is unknown', () => {
    expect(seenBy(corp, dropping, 200 * second)).toMatchObject({state: 'unknown', oldestSeconds: null})
  })

  test('that are none are said to be none', () => {
    expect(stripVTControlCharacters(destinationsText([]))).toBe('no destinations\n› lkeobs dest add --help')
  })
})

describe('a destination behind a queue of ours', () => {
  const own = (name: string, values: readonly number[], labels: Record<string, string> = {}): Series => ({
    labels: {__name__: `lkeobs_queue_${name}`, sink: 'corp', signal: 'logs', edge: 'edge-1', ...labels},
    values: values.map((value, at) => [at * 10 * second, value]),
  })
  const waiting = [
    own('stored_items_total', [0, 1000, 2000, 3000, 4000, 5000, 6000, 6000]),
    own('waiting_items', [0, 0, 0, 0, 0, 0, 0, 700]),
    own('waiting_items', [0, 0, 0, 0, 0, 0, 0, 300], {edge: 'edge-2'}),
    own('waiting_bytes', [0, 0, 0, 0, 0, 0, 0, 250_000]),
    own('oldest_seconds', [0, 0, 0, 0, 0, 0, 0, 31]),
    own('oldest_seconds', [0, 0, 0, 0, 0, 0, 0, 4], {edge: 'edge-2'}),
    own('dead_letters', [0, 0, 0, 0, 0, 0, 0, 12], {edge: ''}),
    own('taken_out_items_total', [0, 0, 0, 0, 0, 0, 0, 12], {reason: 'refused'}),
    own('capacity_bytes', [1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6], {sink: ''}),
    own('stored_items_total', [9, 9], {sink: 'other'}),
  ]

  test('is told by that: what waits, how long, and its dead letters', () => {
    const seen = seenByQueue(corp, waiting, 70 * second)
    expect(seen).toMatchObject({
      state: 'waiting',
      sentPerSecond: expect.closeTo(83.3, 0),
      oldestSeconds: 31,
      queue: {items: 1000, percent: 25},
      deadLetters: 12,
      takenOut: {refused: 12},
    })
    if (!seen) throw new Error('not seen')
    const none = {queueFull: 0, gaveUp: 0, refused: 0}
    const lastError = {at: '', secondsAgo: 0, signal: 'logs', message: '503 busy', failingSeconds: 31} as const
    const text = destinationsText([{...seen, dropped: {metrics: none, logs: none, traces: none}, lastError}])
    expect(stripVTControlCharacters(text)).toMatchInlineSnapshot(`
      "destination  kind    signals  sent  failed  queue       oldest
      ! corp       splunk  logs     83/s  0/s     25%, 1,000  31s
      ! corp: 12 dead letters; taken out since the gateway started: refused 12
      ! corp: logs, refused for 31s: 503 busy
      › lkeobs dest test corp
      › lkeobs dead-letters list --sink corp"
    `)
  })

  test('has dropped what was too old, and the oldest where the queue was full', () => {
    const drop = (reason: string, value: number) => ({labels: {sink: 'corp', signal: 'logs', reason}, value})
    expect(droppedByQueue(corp, [drop('too-old', 5), drop('full', 7), {labels: {sink: 'other', signal: 'logs'}, value: 9}]).logs).toEqual({
      queueFull: 7,
      gaveUp: 5,
      refused: 0,
    })
  })

  test('is not there where the gateways run the stock collector', () => {
    expect(seenByQueue(corp, [], 70 * second)).toBeUndefined()
  })
})

describe('the last error of an exporter', () => {
  const line = (at: string, words: string, fields: object) =>
    `${at}\tinfo\tinternal/retry_sender.go:136\t${words}\t${JSON.stringify({resource: {}, ...fields})}`
  const of = (id: string, error: string) => ({
    'otelcol.component.id': id,
    'otelcol.component.kind': 'exporter',
    'otelcol.signal': 'logs',
    error,
  })
  const nowMs = Date.parse('2026-01-01T00:01:00Z')
  const retries = 'Exporting failed. Will retry the request after interval.'

  test('is its own, the newest, and without what looks like a secret', () => {
    const log = [
      line('2026-01-01T00:00:10.000Z', retries, of('splunk_hec/corp', 'first')),
      line(
        '2026-01-01T00:00:30.000Z',
        retries,
        of('splunk_hec/corp', 'Post "https://me:pw@splunk:8088/x?token=abc": Splunk 11111111-2222-3333-4444-555555555555 refused'),
      ),
      line('2026-01-01T00:00:40.000Z', retries, of('otlp_grpc/corp-feed', 'its feed')),
      line('2026-01-01T00:00:50.000Z', 'Exporting failed. Dropping data.', of('splunk_hec/corp', 'interrupted due to shutdown: Post')),
      '2026-01-01T00:00:55.000Z\tinfo\tservice.go:1\tEverything is ready.\t{}',
      'cut of',
    ]
    expect(lastErrorIn(log, 'splunk_hec/corp', nowMs)).toEqual({
      at: '2026-01-01T00:00:30.000Z',
      secondsAgo: 30,
      signal: 'logs',
      message: 'Post "https://***@splunk:8088/x?token=***": Splunk *** refused',
    })
    expect(lastErrorIn(log, 'splunk_hec/other', nowMs)).toBeNull()
  })
})
