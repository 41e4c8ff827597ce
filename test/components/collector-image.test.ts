import {readFileSync} from 'node:fs'
import path from 'node:path'
import {expect, test} from 'vitest'
import {root} from '../../scripts/sources.ts'
import {agentRelease} from '../../src/components/agent.ts'
import {imageOf} from '../../src/components/charts.ts'
import {collectorImage} from '../../src/components/collector.ts'
import {gatewayRelease} from '../../src/components/gateway.ts'
import {scraperRelease} from '../../src/components/scraper.ts'
import {imagePaths} from '../../src/images/oci.ts'
import {programOf} from '../../src/programs/catalogue.ts'
import {defaultsOf, merged, schemaOf, unknownCharts} from './charts.ts'

const digest = `sha256:${'0a'.repeat(32)}`
const pinned = collectorImage('lkeobs', `registry.example:5000/team/otelcol@${digest}`, 'registry')

test('gateway, agent and scraper run the pinned image, and pull it with the Secret', () => {
  const config = {}
  const releases = [
    gatewayRelease({config, image: pinned, replicas: 1, maxReplicas: 1, queueSize: '1Gi', leaf: 'secret'}),
    agentRelease({config, image: pinned, leaf: 'secret'}),
    scraperRelease({config, image: pinned}),
  ]
  for (const {values} of releases)
    expect(values).toMatchObject({
      image: {repository: 'registry.example:5000/team/otelcol', digest, pullPolicy: 'IfNotPresent'},
      command: {name: 'otelcol'},
      imagePullSecrets: [{name: 'registry'}],
    })
})

test.skipIf(unknownCharts !== undefined)('the chart knows a digest and a pull Secret', () => {
  const {values} = gatewayRelease({config: {}, image: pinned, replicas: 1, maxReplicas: 1, queueSize: '1Gi', leaf: 'secret'})
  const plain: unknown = JSON.parse(JSON.stringify(values))
  const whole = merged(defaultsOf('opentelemetry-collector'), plain)
  expect(schemaOf('opentelemetry-collector')?.safeParse(whole).error).toBeUndefined()
  expect(defaultsOf('opentelemetry-collector')).toMatchObject({image: {digest: ''}, imagePullSecrets: []})
})

test('without one, the image of the publisher runs', () => {
  const {registry, repository, tag} = imageOf('opentelemetry-collector')
  const {values} = scraperRelease({config: {}, image: collectorImage('upstream', undefined)})
  expect(values).toMatchObject({image: {repository: `${registry}/${repository}`, tag}, command: {name: 'otelcol-contrib'}})
  expect(values).not.toHaveProperty('imagePullSecrets')
  expect(values).not.toHaveProperty('image.digest')
})

test('what the chart runs is where the image has its program', () => {
  expect(imagePaths.program).toBe(`/${pinned.program}`)
  expect(programOf('otelcol').binary).toBe(pinned.program)
})

test('only destinations that our build can send to are offered with it', () => {
  const source = readFileSync(path.join(root, 'programs/otelcol/main.go'), 'utf8')
  const has = [...source.matchAll(/exporter\/(\w+)exporter"/g)].map(([, name]) => name)
  // Datadog is refused by the schema of the fleet file where our build runs
  expect(has).toEqual(expect.arrayContaining(['splunkhec', 'otlp', 'otlphttp']))
})
