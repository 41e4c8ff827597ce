import {expect, test} from 'vitest'
import {destinationParts} from '../../src/collector/destinations.ts'
import {wishOf} from '../../src/destinations/index.ts'
import {destinationSchema} from '../../src/fleet/schema.ts'

/**
 * Keys of the exporter's configuration as version 0.160.0 documents it (exporter/datadogexporter/README.md and examples/collector.yaml,
 * pkg/datadog/config/config.go; queue, batch and retry: exporter/exporterhelper/README.md), as far as any of them is of use here.
 * The collector that is built on this machine lacks the exporter, whose modules cannot all be had.
 */
const documented = {
  api: {key: 'string', site: 'string', fail_on_invalid_key: 'boolean'},
  hostname: 'string',
  hostname_detection_timeout: 'string',
  metrics: {endpoint: 'string', resource_attributes_as_tags: 'boolean'},
  traces: {endpoint: 'string', compute_stats_by_span_kind: 'boolean'},
  logs: {endpoint: 'string'},
  host_metadata: {enabled: 'boolean'},
  retry_on_failure: {
    enabled: 'boolean',
    initial_interval: 'string',
    max_interval: 'string',
    // 0, or a time
    max_elapsed_time: 'number or string',
  },
  sending_queue: {
    enabled: 'boolean',
    storage: 'string',
    sizer: 'string',
    queue_size: 'number',
    num_consumers: 'number',
    block_on_overflow: 'boolean',
    batch: {flush_timeout: 'string', min_size: 'number', max_size: 'number', sizer: 'string'},
  },
} as const

type Keys = {readonly [key: string]: string | Keys}

/** Where settings have a key, or a type of value, that is not documented. */
const strange = (settings: object, keys: Keys, at = ''): readonly string[] =>
  Object.entries(settings).flatMap(([key, value]: [string, unknown]) => {
    const known = keys[key]
    const place = `${at}${key}`
    if (known === undefined) return [`${place} is not documented`]
    if (typeof known !== 'string')
      return typeof value === 'object' && value !== null ? strange(value, known, `${place}.`) : [`${place} is no section`]
    return known.split(' or ').includes(typeof value) ? [] : [`${place} is no ${known}`]
  })

const partsOf = (more: object) =>
  destinationParts([
    wishOf(destinationSchema.parse({name: 'dd', datadog: {site: 'datadoghq.eu'}, ...more}), '127.0.0.1:1', {
      secret: () => (name) => `the ${name}`,
      queueBytes: {metrics: 1e9, logs: 1e9, traces: 1e9},
    }),
  ])

test.each([{}, {maxAge: '24h'}, {queue: {items: 1000}}])('what is rendered for Datadog has documented keys alone: %j', (more) => {
  const {exporters, connectors} = partsOf(more)
  const settings = exporters['datadog/dd'] ?? {}
  expect(settings).toMatchObject({api: {site: 'datadoghq.eu', key: 'the api-key', fail_on_invalid_key: false}})
  expect(strange(settings, documented)).toEqual([])
  // the connector is used as it comes
  expect(connectors).toEqual({'datadog/dd-apm': {}})
})

test('a key that is not documented is found, however deep', () => {
  const wrong = {api: {key: 'x', sight: 'y'}, sending_queue: {batch: {min_size: '1'}}, only: 1}
  expect(strange(wrong, documented)).toEqual([
    'api.sight is not documented',
    'sending_queue.batch.min_size is no number',
    'only is not documented',
  ])
})

test('batches are small enough for the intake, and traces are counted before they leave', () => {
  const {exporters, pipelines} = partsOf({})
  expect(exporters['datadog/dd']).toMatchObject({sending_queue: {batch: {sizer: 'bytes', max_size: 1_000_000}}})
  expect(pipelines['traces/dd']?.exporters).toEqual(['datadog/dd', 'datadog/dd-apm'])
  expect(pipelines['metrics/dd']?.receivers).toContain('datadog/dd-apm')
})
