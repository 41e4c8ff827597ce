import {expect, test} from 'vitest'
import {destinationParts, type DestinationWish, graceMs} from '../../src/collector/destinations.ts'

const wish = (name: string, more: Partial<DestinationWish> = {}): DestinationWish => ({
  name,
  signals: ['logs'],
  where: {},
  scrub: [],
  queueItems: 5000,
  rendered: {exporter: 'splunk_hec', settings: {token: 't'}},
  door: '127.0.0.1:4330',
  closing: false,
  ...more,
})

test('what comes from the edges goes to a feed, and only what left its door to the exporter', () => {
  const {fed, pipelines, receivers, exporters} = destinationParts([wish('corp')])
  expect(fed('logs')).toEqual(['otlp_grpc/corp-feed'])
  expect(fed('traces')).toEqual([])
  expect(pipelines).toEqual({'logs/corp': {receivers: ['otlp/corp'], processors: [], exporters: ['splunk_hec/corp']}})
  expect(receivers['otlp/corp']).toMatchObject({protocols: {grpc: {endpoint: '127.0.0.1:4330'}}})
  expect(exporters['otlp_grpc/corp-feed']).toMatchObject({endpoint: '127.0.0.1:4330', tls: {insecure: true}})
})

test('a feed drops what a full queue refuses at 65,000 items a second, and not before the gateway is dead that was told to end', () => {
  const {retry_on_failure: retry, sending_queue: queue} = destinationParts([wish('corp')]).exporters['otlp_grpc/corp-feed'] as {
    retry_on_failure: {max_elapsed_time: string}
    sending_queue: {num_consumers: number; queue_size: number; storage: string; batch: {max_size: number}}
  }
  const patienceMs = Number(retry.max_elapsed_time.replace('ms', ''))
  expect(patienceMs).toBeGreaterThan(graceMs + 1000)
  expect((queue.num_consumers * queue.batch.max_size) / (patienceMs / 1000)).toBeGreaterThan(65_000)
  expect(queue.storage).toBe('file_storage/queue')
})

test('a destination has its own queue on disk, with its limit, and tries for ever or as long as it is told', () => {
  const {exporters} = destinationParts([wish('corp'), wish('old', {maxAgeSeconds: 3600}), wish('small', {queueItems: 1000})])
  expect(exporters['splunk_hec/corp']).toMatchObject({
    token: 't',
    retry_on_failure: {max_elapsed_time: 0},
    sending_queue: {queue_size: 5000, storage: 'file_storage/queue', block_on_overflow: false, batch: {min_size: 5000}},
  })
  expect(exporters['splunk_hec/old']).toMatchObject({retry_on_failure: {max_elapsed_time: '3600s'}})
  // a batch that is larger than the queue would never be sent
  expect(exporters['splunk_hec/small']).toMatchObject({sending_queue: {batch: {min_size: 1000}}})
})

test('a filter stands before the feed, and a scrub behind the door', () => {
  const {fed, pipelines, processors, connectors} = destinationParts([
    wish('corp', {where: {edge: ['a', 'b'], team: ['x']}, scrub: ['email', 'key:user.id']}),
  ])
  expect(fed('logs')).toEqual(['forward/corp'])
  expect(connectors).toEqual({'forward/corp': {}})
  expect(pipelines['logs/corp-feed']).toEqual({
    receivers: ['forward/corp'],
    processors: ['filter/corp'],
    exporters: ['otlp_grpc/corp-feed'],
  })
  expect(pipelines['logs/corp']?.processors).toEqual(['transform/corp'])
  expect(processors['filter/corp']).toMatchObject({
    error_mode: 'propagate',
    logs: {
      log_record: [
        'not ((resource.attributes["lkeobs.edge"] == "a" or resource.attributes["lkeobs.edge"] == "b") and (resource.attributes["team"] == "x" or log.attributes["team"] == "x"))',
      ],
    },
  })
  expect(JSON.stringify(processors['transform/corp'])).toContain(String.raw`delete_key(log.attributes, \"user.id\")`)
})

test('one that is closing is fed by nobody, and sends what it has', () => {
  const {fed, pipelines} = destinationParts([wish('corp', {closing: true, where: {edge: ['a']}})])
  expect(fed('logs')).toEqual([])
  expect(pipelines['logs/corp-feed']).toEqual({receivers: ['otlp/nobody'], processors: [], exporters: ['otlp_grpc/corp-feed']})
  expect(pipelines['logs/corp']?.exporters).toEqual(['splunk_hec/corp'])
})

test('what is counted about traces goes where the traces go, metrics or not', () => {
  const rendered = {exporter: 'datadog', settings: {}, connector: 'datadog'}
  const {pipelines, connectors} = destinationParts([wish('dd', {signals: ['traces'], rendered})])
  expect(Object.keys(connectors)).toEqual(['datadog/dd-apm'])
  expect(pipelines['traces/dd']?.exporters).toEqual(['datadog/dd', 'datadog/dd-apm'])
  expect(pipelines['metrics/dd']).toEqual({receivers: ['datadog/dd-apm'], processors: [], exporters: ['datadog/dd']})
})
