import {expect, test} from 'vitest'
import {type Load, readTelemetrygen} from '../../src/tools/telemetrygen.ts'
import {readWires} from '../../src/tools/wire-bytes.ts'

const load: Load = {
  name: 'run-metrics-0',
  signal: 'metrics',
  endpoint: '127.0.0.1:4317',
  processes: 1,
  workers: 2,
  perWorker: 100,
  seconds: 10,
  batchSize: 100,
  spansPerTrace: 10,
  service: 'service',
  metric: 'metric',
  instance: 'edge-1-0',
  attributes: {},
}

/** As telemetrygen 0.161.0 has logged them. */
const log = {
  made: [
    '2026-11-23T22:09:52.375Z\tINFO\tmetrics/worker.go:243\tmetrics generated\t{"worker": 0, "metrics": 1358}',
    '2026-11-23T22:09:52.375Z\tINFO\tmetrics/worker.go:243\tmetrics generated\t{"worker": 1, "metrics": 1360}',
  ],
  refused:
    '2026-11-23T22:09:50.001Z\tERROR\tmetrics/worker.go:263\texporter failed, continuing due to --allow-export-failures\t{"worker": 1, "error": "rpc error: code = Unavailable desc = \\"sending queue is full\\"", "count": 40}',
  traces: '2026-11-23T22:10:27.935Z\tINFO\ttraces/worker.go:180\ttraces generated\t{"worker": 1, "traces": 2407}',
}

test('what it has made is the sum of its workers', () => {
  expect(readTelemetrygen(log.made, load)).toEqual({made: 2718, unsent: 0, complaint: undefined})
})

test('it counts traces; each has so many spans', () => {
  expect(readTelemetrygen([log.traces], {...load, signal: 'traces', workers: 1}).made).toBe(24_070)
})

test('what was refused is not acknowledged, with the last reason', () => {
  expect(readTelemetrygen([...log.made, log.refused], load)).toMatchObject({
    made: 2718,
    unsent: 40,
    complaint: String.raw`rpc error: code = Unavailable desc = \"sending queue is full\"`,
  })
  // of records it does not say how many
  expect(readTelemetrygen([log.refused.replace(', "count": 40', '')], {...load, signal: 'logs'}).unsent).toBe(100)
})

test('one that was ended has not said what it made', () => {
  expect(readTelemetrygen(log.made.slice(0, 1), load).made).toBeUndefined()
})

test('bytes are told apart by connection', () => {
  const text = [
    'ESTAB 0      0      127.0.0.1:42978 127.0.0.1:26000 bbr wscale:10,10 rto:204 bytes_sent:2650 bytes_acked:2651 bytes_received:2576',
    'ESTAB 0      120      127.0.0.1:42988 127.0.0.1:26100 bbr wscale:10,10 rto:204 bytes_sent:10 bytes_acked:11',
    'ESTAB 0      0      127.0.0.1:42990 127.0.0.1:26100 bbr wscale:10,10 rto:204',
    '',
  ].join('\n')
  expect([...readWires(text).values()]).toEqual([
    {port: 26_000, bytes: 2651},
    {port: 26_100, bytes: 11},
    {port: 26_100, bytes: 0},
  ])
})
