import {expect, test} from 'vitest'
import {parse} from 'yaml'
import {edgeOf, openFleet} from '../../src/clusters.ts'
import {type CollectorBuild, collectorBuilds} from '../../src/collector/build.ts'
import type {CollectorConfig} from '../../src/collector/config.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {parseFleet} from '../../src/fleet/load.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {renderTools} from '../../src/steps/render.ts'
import {flatten} from '../../src/steps/step.ts'
import {createTools} from '../../src/tools/index.ts'
import {fakeWorld, fleetOf} from '../support/fake-world.ts'

/** What a whole fleet is configured with, whoever runs it. */
type Configs = {
  readonly agent: CollectorConfig
  readonly gateway: CollectorConfig
  readonly loki: Tree
  readonly tempo: Tree
  readonly scraper?: CollectorConfig
}
type Tree = {readonly [key: string]: unknown}

const at = (tree: unknown, path: string): unknown =>
  path.split('.').reduce<unknown>((node, key) => (typeof node === 'object' && node !== null ? (node as Tree)[key] : undefined), tree)
const numberAt = (tree: unknown, path: string): number => {
  const value = at(tree, path)
  if (typeof value !== 'number') throw new Error(`${path} is ${JSON.stringify(value)}`)
  return value
}

const destinations = (build: CollectorBuild) => `destinations:
  - {name: corp, splunk: {endpoint: 'https://splunk.example:8088'}, signals: [metrics, logs, traces]}
  - {name: eu, otlp: {endpoint: 'https://otlp.example:4317'}}
${build === 'upstream' ? '  - {name: dd, datadog: {}}\n' : ''}`

const local = (build: CollectorBuild): Configs => {
  const text = `${newLabFleet({edges: 1})}collector: {build: ${build}}\n${destinations(build)}`
  const {hub, edges} = openFleet(fleetOf(text), fakeWorld().tools)
  const file = (component: string) => {
    const found = [hub, ...edges].flatMap(({processes = []}) => processes).find(({name}) => name === component)
    return parse(found?.files[`${component}.yaml`] ?? '') as never
  }
  return {agent: file('agent'), gateway: file('gateway'), loki: file('loki'), tempo: file('tempo')}
}

const kubernetes = async (build: CollectorBuild): Promise<Configs> => {
  const image = build === 'lkeobs' ? `, image: 'registry.example/otelcol@sha256:${'a'.repeat(64)}'` : ''
  const text = `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, platform: {kubernetes: {context: hub}}, endpoint: 'otlp.hub.example:4317'}
edges: [{name: edge-1, platform: {kubernetes: {context: edge}}}]
collector: {build: ${build}${image}}
${destinations(build)}`
  const tools = renderTools(createTools({yes: true}))
  const fleet = openFleet({fleet: parseFleet(text, 'x'), file: '/nowhere/lkeobs.yaml', folder: '/nowhere', text}, tools, {rendered: true})
  const steps = [...flatten(hubInit(fleet.hub, tools).steps), ...flatten(edgeJoin(fleet.hub, edgeOf(fleet, 'edge-1')).steps)]
  const values = new Map<string, Tree>()
  for (const step of steps) {
    const wish = /^(gateway|Loki|Tempo)|^(agent|scraper) /.test(step.title) ? await step.wish?.() : undefined
    if (wish && 'release' in wish) values.set(wish.release.name, wish.release.values)
  }
  return {
    agent: at(values.get('agent'), 'alternateConfig') as CollectorConfig,
    gateway: at(values.get('gateway'), 'alternateConfig') as CollectorConfig,
    scraper: at(values.get('scraper'), 'alternateConfig') as CollectorConfig,
    loki: at(values.get('loki'), 'loki.structuredConfig') as Tree,
    tempo: parse(String(at(values.get('tempo'), 'config'))) as Tree,
  }
}

const mib = 2 ** 20
/** What Prometheus reads of a body; it is not configured (storage/remote/codec.go, decodeReadLimit). */
const prometheusBytes = 32 * mib
/** A byte as text inside of JSON. */
const asText = 6

/** The largest message that an exporter sends, by the build. */
const largestOf = (build: CollectorBuild, config: CollectorConfig, exporter: string): number => {
  if (build === 'upstream') return numberAt(config.exporters[exporter], 'sending_queue.batch.max_size')
  const [queue] = Object.values(config.connectors ?? {})
  // an item above the batch is sent alone
  return Math.max(numberAt(queue, 'max_item_bytes'), numberAt(queue, 'batch.max_bytes'))
}

const grpc = (config: CollectorConfig, receiver: string): number =>
  numberAt(config.receivers[receiver], 'protocols.grpc.max_recv_msg_size_mib') * mib

const platforms = {local: async (build: CollectorBuild) => local(build), kubernetes}
const cases = Object.keys(platforms).flatMap((platform) =>
  collectorBuilds.map((build) => [platform as keyof typeof platforms, build] as const),
)

test.for(cases)('%s, build %s: the largest message of each hop is below what the next one takes', async ([platform, build]) => {
  const {agent, gateway, loki, tempo, scraper} = await platforms[platform](build)
  const fromAgent = largestOf(build, agent, 'otlp_grpc/hub')
  const toLoki = largestOf(build, gateway, 'otlp_http/loki')
  const toTempo = largestOf(build, gateway, 'otlp_grpc/tempo')
  const toPrometheus = largestOf(build, gateway, 'otlp_http/prometheus')
  const lokiParts = [
    'server.grpc_server_max_recv_msg_size',
    'server.grpc_server_max_send_msg_size',
    'ingester_client.grpc_client_config.max_recv_msg_size',
    'ingester_client.grpc_client_config.max_send_msg_size',
    'frontend_worker.grpc_client_config.max_recv_msg_size',
    'frontend_worker.grpc_client_config.max_send_msg_size',
    'distributor.max_recv_msg_size',
  ]
  const tempoParts = [
    'server.grpc_server_max_recv_msg_size',
    'server.grpc_server_max_send_msg_size',
    'ingester_client.grpc_client_config.max_recv_msg_size',
    'ingester_client.grpc_client_config.max_send_msg_size',
    'querier.frontend_worker.grpc_client_config.max_recv_msg_size',
    'querier.frontend_worker.grpc_client_config.max_send_msg_size',
  ]
  const hops: readonly (readonly [string, number, number])[] = [
    // a request of many items, and one item that is refused with its reason
    ['workload → agent, gRPC', 4 * fromAgent, grpc(agent, 'otlp')],
    ['workload → agent, HTTP', 4 * fromAgent, numberAt(agent.receivers['otlp'], 'protocols.http.max_request_body_size')],
    ['agent → gateway', 2 * fromAgent, grpc(gateway, 'otlp')],
    ['gateway → Prometheus', toPrometheus, prometheusBytes],
    ...lokiParts.map((part) => [`gateway → Loki, ${part}`, asText * toLoki, numberAt(loki, part)] as const),
    ['gateway → Tempo', 2 * toTempo, numberAt(tempo, 'distributor.receivers.otlp.protocols.grpc.max_recv_msg_size_mib') * mib],
    ...tempoParts.map((part) => [`Tempo, ${part}`, 2 * toTempo, numberAt(tempo, part)] as const),
    ['Tempo, a whole trace', 2 * toTempo, numberAt(tempo, 'overrides.defaults.global.max_bytes_per_trace')],
    ...(scraper
      ? [
          [
            'scraper → agent',
            numberAt(scraper.exporters['otlp_grpc/agent'], 'sending_queue.batch.max_size'),
            grpc(agent, 'otlp/cluster'),
          ] as const,
        ]
      : []),
  ]
  expect(hops.filter(([, largest, limit]) => largest >= limit)).toEqual([])
})

test.for(Object.keys(platforms) as (keyof typeof platforms)[])(
  '%s: an item that the agent takes is taken by the gateway, and cut to what Loki takes of it',
  async (platform) => {
    const {agent, gateway, loki} = await platforms[platform]('lkeobs')
    const [fromAgent, toStores] = [Object.values(agent.connectors ?? {})[0], Object.values(gateway.connectors ?? {})[0]]
    expect(numberAt(toStores, 'max_item_bytes')).toBeGreaterThan(numberAt(fromAgent, 'max_item_bytes'))
    const limits = {
      max_line_bytes: 'max_line_size',
      max_metadata_bytes: 'max_structured_metadata_size',
      max_metadata_entries: 'max_structured_metadata_entries_count',
    }
    for (const [rule, limit] of Object.entries(limits))
      expect(numberAt(toStores, `rule_settings.loki.${rule}`), rule).toBeLessThanOrEqual(numberAt(loki, `limits_config.${limit}`))
  },
)

const builds = Object.keys(platforms) as (keyof typeof platforms)[]

test.for(builds)('%s, build lkeobs: what destinations are sent is below what they take', async (platform) => {
  const {gateway} = await platforms[platform]('lkeobs')
  const queue = Object.values(gateway.connectors ?? {})[0]
  // what takes OTLP takes 4 MiB unless it is told otherwise: a larger item is refused, and a dead letter
  expect(numberAt(queue, 'batch.max_bytes')).toBeLessThan(4 * mib)
  const limits = Object.entries(gateway.exporters['splunk_hec/corp'] ?? {}).filter(([name]) => name.startsWith('max_'))
  expect(limits).toHaveLength(4)
  for (const [key, limit] of limits) expect(asText * numberAt(queue, 'max_item_bytes'), key).toBeLessThan(Number(limit))
})

test.for(builds)('%s, build upstream: what destinations are sent is below what they take', async (platform) => {
  const {gateway} = await platforms[platform]('upstream')
  const batch = (exporter: string) => numberAt(gateway.exporters[exporter], 'sending_queue.batch.max_size')
  expect(batch('otlp_grpc/eu')).toBeLessThan(4 * mib)
  expect(batch('datadog/dd')).toBeLessThan(3.2e6)
  for (const name of ['corp', 'eu', 'dd']) expect(batch(`otlp_grpc/${name}-feed`)).toBeLessThan(grpc(gateway, `otlp/${name}`))
})
