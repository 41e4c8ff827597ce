import {expect, test} from 'vitest'
import {destinationSinks} from '../../src/collector/destination-sinks.ts'
import {destinationParts, type DestinationWish, graceMs} from '../../src/collector/destinations.ts'

const wish = (name: string, more: Partial<DestinationWish> = {}): DestinationWish => ({
  name,
  signals: ['logs'],
  where: {},
  scrub: [],
  queueItems: 5000,
  queueBytes: {metrics: 1e9, logs: 2e9, traces: 3e9},
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
  expect((queue.num_consumers * 8192) / (patienceMs / 1000)).toBeGreaterThan(65_000)
  expect(queue.storage).toBe('file_storage/queue')
})

test('a destination has its own queue on disk, with its limit, and tries for ever or as long as it is told', () => {
  const {exporters} = destinationParts([wish('corp'), wish('old', {maxAgeSeconds: 3600}), wish('small', {queueItems: 1000})])
  expect(exporters['splunk_hec/corp']).toMatchObject({
    token: 't',
    retry_on_failure: {max_elapsed_time: 0},
    sending_queue: {queue_size: 5000, storage: 'file_storage/queue', block_on_overflow: false},
  })
  expect(exporters['splunk_hec/old']).toMatchObject({retry_on_failure: {max_elapsed_time: '3600s'}})
  expect(exporters['splunk_hec/small']).toMatchObject({sending_queue: {queue_size: 1000}})
  const {exporters: derived} = destinationParts([wish('large', {queueItems: undefined})])
  expect(derived['splunk_hec/large']).toMatchObject({sending_queue: {queue_size: 8_000_000}})
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

test('behind a durable queue a destination is a sink, whose pipelines filter and scrub', () => {
  const {sinks, pipelines, processors, exporters} = destinationSinks([
    wish('corp', {signals: ['metrics', 'logs'], where: {edge: ['a']}, scrub: ['email'], maxAgeSeconds: 60}),
  ])
  expect(sinks).toEqual({
    corp: {
      pipelines: ['metrics/corp', 'logs/corp'],
      exporter: 'splunk_hec/corp',
      consumers: 4,
      on_full: 'drop',
      max_bytes: {metrics: 1e9, logs: 2e9},
      max_age: '60s',
    },
  })
  expect(pipelines('durable_queue/stores')['logs/corp']).toEqual({
    receivers: ['durable_queue/stores'],
    processors: ['filter/corp', 'transform/corp'],
    exporters: ['splunk_hec/corp'],
  })
  // the hub's own telemetry is in the queue, and of no edge
  expect(processors['filter/corp']).toMatchObject({
    error_mode: 'propagate',
    metrics: {datapoint: ['resource.attributes["lkeobs.edge"] == nil', 'not ((resource.attributes["lkeobs.edge"] == "a"))']},
  })
  expect(exporters['splunk_hec/corp']).toEqual({token: 't', sending_queue: {enabled: false}, retry_on_failure: {enabled: false}})
})

test('a sink that is closing is fed no more, and keeps its pipelines', () => {
  const {sinks, pipelines} = destinationSinks([wish('corp', {closing: true})])
  expect(sinks['corp']).toMatchObject({closing: true, pipelines: ['logs/corp']})
  expect(pipelines('q')['logs/corp']).toEqual({receivers: ['q'], processors: [], exporters: ['splunk_hec/corp']})
})
