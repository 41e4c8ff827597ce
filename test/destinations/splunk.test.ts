import {expect, test} from 'vitest'
import {destinationParts} from '../../src/collector/destinations.ts'
import {wishOf} from '../../src/destinations/index.ts'
import {destinationSchema} from '../../src/fleet/schema.ts'

const wish = (given: object) =>
  wishOf(destinationSchema.parse({name: 'corp', ...given}), '127.0.0.1:1', {
    secret: () => (name) => name,
    queueBytes: {metrics: 1e9, logs: 1e9, traces: 1e9},
  })

test('what is sent to Splunk names neither token nor index, which its exporter would obey', () => {
  const {processors, pipelines} = destinationParts([wish({splunk: {endpoint: 'https://splunk.example:8088'}, scrub: ['email']})])
  const deletions = ['com.splunk.hec.access_token', 'com.splunk.index'].map((key) => ({key, action: 'delete'}))
  expect(processors).toMatchObject({'resource/corp': {attributes: deletions}, 'attributes/corp': {actions: deletions}})
  expect(pipelines['logs/corp']?.processors).toEqual(['resource/corp', 'attributes/corp', 'transform/corp'])
})

test('what is sent elsewhere keeps all it has', () => {
  expect(destinationParts([wish({otlp: {endpoint: 'https://otlp.example:4317'}})]).pipelines['logs/corp']?.processors).toEqual([])
})
