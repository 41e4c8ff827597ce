import {expect, test} from 'vitest'
import {parse} from 'yaml'
import {openFleet} from '../../src/clusters.ts'
import {agentConfig, type AgentWish, closedAgentConfig} from '../../src/collector/agent.ts'
import {agentBudget, gatewayBudget} from '../../src/collector/budget.ts'
import {collectorBuilds} from '../../src/collector/build.ts'
import {type CollectorConfig, literal, signals} from '../../src/collector/config.ts'
import {closedGatewayConfig, gatewayConfig, type GatewayWish} from '../../src/collector/gateway.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {parseFleet} from '../../src/fleet/load.ts'
import {toYaml} from '../../src/templates.ts'
import {fakeWorld, fleetOf} from '../support/fake-world.ts'

const fleet = parseFleet(newLabFleet({edges: 1}), 'lkeobs.yaml')

const agentWish: AgentWish = {
  build: 'lkeobs',
  queueBytes: agentBudget(fleet),
  admin: {endpoint: '127.0.0.1:5', tokenFile: '/at/admin-token'},
  edge: 'edge-1',
  gateway: 'hub.example.org:443',
  gatewayCa: '/at/hub-ca.pem',
  leaf: '/at/leaf.pem',
  credential: '/at/credential.jwt',
  grpc: '127.0.0.1:1',
  http: '127.0.0.1:2',
  health: '127.0.0.1:3',
  host: '127.0.0.1',
  counters: 4,
  queue: '/at/queue',
  logs: ['/var/log/*.log'],
}
const agent = agentConfig(agentWish)
const upstreamAgent = agentConfig({...agentWish, build: 'upstream'})
const onNode = (gpus: boolean) => agentConfig({...agentWish, node: {hostRoot: '/hostfs', cluster: '0.0.0.0:4320', exclude: [], gpus}})

const gatewayWish: GatewayWish = {
  build: 'lkeobs',
  budget: gatewayBudget(fleet),
  admin: {endpoint: '127.0.0.1:6'},
  hub: 'hub',
  listen: '0.0.0.0:443',
  leaf: '/at/leaf.pem',
  clients: '/at/clients.pem',
  asks: {issuer: 'lkeobs:hub', audience: 'lkeobs:hub:gateway', keys: '/at/edges.jwks', door: '127.0.0.1:9'},
  own: '127.0.0.1:1',
  health: '127.0.0.1:2',
  host: '127.0.0.1',
  counters: 3,
  queue: '/at/queue',
  stores: {prometheus: 'http://prometheus', loki: 'http://loki', tempo: 'tempo:4317', tempoHttp: 'http://tempo:3200'},
}
const gateway = gatewayConfig(gatewayWish)
const upstreamGateway = gatewayConfig({...gatewayWish, build: 'upstream'})

const all = [
  ['agent', agent],
  ['gateway', gateway],
  ['agent, upstream', upstreamAgent],
  ['gateway, upstream', upstreamGateway],
  ['closed agent', closedAgentConfig(agentWish)],
  ['closed gateway', closedGatewayConfig(gatewayWish)],
  ['closed agent, upstream', closedAgentConfig({...agentWish, build: 'upstream'})],
] as const
const both = all.slice(0, 2)
const upstream = all.slice(2, 4)

type Exporter = {
  readonly retry_on_failure: Readonly<Record<string, unknown>>
  readonly sending_queue: Readonly<Record<string, unknown>>
  readonly tls?: Readonly<Record<string, unknown>>
}
const exporters = (config: CollectorConfig) => Object.values(config.exporters) as unknown as readonly Exporter[]
const queueOf = ({connectors = {}}: CollectorConfig, name: string) =>
  connectors[`durable_queue/${name}`] as {
    readonly directory: string
    readonly max_bytes: Readonly<Record<string, number>>
    readonly max_partition_bytes?: Readonly<Record<string, number>>
    readonly sinks: Readonly<Record<string, {readonly pipelines: readonly string[]; readonly exporter: string}>>
  }

test.for(all.slice(0, 4))('%s: every pipeline refuses before memory runs out, and nothing holds what was acknowledged', ([, config]) => {
  // what comes from the queue is let in already
  const pipelines = Object.values(config.service.pipelines).filter(({receivers}) => !receivers[0]?.startsWith('durable_queue/'))
  expect(Object.keys(config.service.pipelines).slice(0, 3)).toEqual(['metrics', 'logs', 'traces'])
  for (const {processors} of pipelines) expect(processors[0]).toBe('memory_limiter')
  expect(Object.keys(config.processors).filter((name) => name.startsWith('batch'))).toEqual([])
  for (const {processors} of pipelines) expect(processors.filter((name) => name.startsWith('batch'))).toEqual([])
})

test.for(upstream)('%s: what waits to be sent waits on disk, for ever', ([, config]) => {
  for (const {retry_on_failure: retry, sending_queue: queue} of exporters(config)) {
    expect(retry).toMatchObject({enabled: true, max_elapsed_time: 0})
    expect(queue).toMatchObject({enabled: true, storage: 'file_storage/queue', sizer: 'items'})
    expect(queue['batch']).toMatchObject({sizer: 'bytes', min_size: 2 * 2 ** 20, max_size: 8 * 2 ** 20})
  }
  const storages = Object.entries(config.extensions).filter(([name]) => name.startsWith('file_storage'))
  const folders = storages.map(([, {directory}]) => directory)
  expect(new Set(folders).size).toBe(folders.length)
  expect(config.extensions['file_storage/queue']).toMatchObject({directory: '/at/queue', fsync: true, create_directory: true})
})

test.for(both)('%s: exporters behind the durable queue keep nothing and try nothing again', ([, config]) => {
  for (const exporter of exporters(config))
    expect(exporter).toMatchObject({sending_queue: {enabled: false}, retry_on_failure: {enabled: false}})
  expect(Object.keys(config.extensions)).not.toContain('file_storage/queue')
})

test.for([
  ['agent', agent, 'hub'],
  ['gateway', gateway, 'stores'],
] as const)('%s: what comes in goes to the queue alone, and every sink has its pipelines', ([, config, name]) => {
  const {directory, sinks} = queueOf(config, name)
  expect(directory).toBe('/at/queue')
  const {pipelines} = config.service
  const behind = Object.values(sinks).flatMap((sink) => sink.pipelines)
  for (const [pipeline, {receivers}] of Object.entries(pipelines)) {
    expect(receivers.includes(`durable_queue/${name}`), pipeline).toBe(behind.includes(pipeline))
  }
  const intake = Object.entries(pipelines).filter(([pipeline]) => !behind.includes(pipeline))
  for (const [pipeline, {exporters: to}] of intake) expect(to, pipeline).toEqual([`durable_queue/${name}`])
  for (const sink of Object.values(sinks))
    for (const pipeline of sink.pipelines) expect(pipelines[pipeline]?.exporters).toEqual([sink.exporter])
})

test('an agent that is closed takes nothing in, and empties the same queue by the same exporter', () => {
  for (const build of collectorBuilds) {
    const [open, closed] = [agentConfig({...agentWish, build}), closedAgentConfig({...agentWish, build})]
    expect(closed.exporters).toEqual(open.exporters)
    expect(closed.connectors).toEqual(open.connectors)
    expect(closed.extensions).toEqual(open.extensions)
    expect(Object.keys(closed.receivers)).toEqual(['otlp/nobody'])
    for (const signal of signals) expect(closed.service.pipelines[signal]?.receivers).toEqual(['otlp/nobody'])
  }
})

test('an agent adds deltas up before its queue, in both builds', () => {
  for (const config of [agent, upstreamAgent, onNode(false)]) {
    const {metrics, logs} = config.service.pipelines
    expect(metrics?.processors.slice(-2)).toEqual(['delta_to_cumulative', 'resource/identity'])
    expect(logs?.processors).not.toContain('delta_to_cumulative')
  }
})

test.for(all)('%s: what is used is defined, and what is defined is used', ([, {service, ...whole}]) => {
  const queues = Object.keys(whole.connectors ?? {})
  const withQueues = (of: object) => ({...of, ...Object.fromEntries(queues.map((queue) => [queue, {}]))})
  const defined = {...whole, receivers: withQueues(whole.receivers), exporters: withQueues(whole.exporters)}
  const pipelines = Object.values(service.pipelines)
  const used = (kind: 'receivers' | 'processors' | 'exporters') => [...new Set(pipelines.flatMap((pipeline) => pipeline[kind]))].toSorted()
  for (const kind of ['receivers', 'processors', 'exporters'] as const) expect(used(kind)).toEqual(Object.keys(defined[kind]).toSorted())
  expect(service.extensions.toSorted()).toEqual(Object.keys(defined.extensions).toSorted())
})

test('each store has a queue of its own in the build upstream, so that one that is down delays nobody else', () => {
  const targets = Object.values(upstreamGateway.service.pipelines).map(({exporters: [only, ...more]}) => [only, more.length])
  expect(targets).toEqual([
    ['otlp_http/prometheus', 0],
    ['otlp_http/loki', 0],
    ['otlp_grpc/tempo', 0],
    ['otlp_http/prometheus', 0],
  ])
  expect(upstreamGateway.exporters['otlp_http/prometheus']?.['sending_queue']).toMatchObject({num_consumers: 1})
})

test('the exporters by OTLP/HTTP of the build lkeobs see error answers in plain text, and no other exporter asks for that', () => {
  const base = {
    signals: ['logs'],
    where: {},
    scrub: [],
    queueBytes: {metrics: 1e9, logs: 1e9, traces: 1e9},
    door: '127.0.0.1:7',
    closing: false,
  } as const
  const destinations = ['otlp_http', 'otlp_grpc', 'splunk_hec'].map((exporter, at) => ({
    ...base,
    name: `to-${at}`,
    rendered: {exporter, settings: {}},
  }))
  const withAnswers = (build: GatewayWish['build']) => {
    const {exporters: made, extensions} = gatewayConfig({...gatewayWish, build, destinations})
    const named = Object.entries(made).filter(([, settings]) => 'middlewares' in settings)
    for (const [, {middlewares}] of named) expect(middlewares).toEqual([{id: 'store_answers'}])
    return [named.map(([name]) => name), 'store_answers' in extensions]
  }
  expect(withAnswers('lkeobs')).toEqual([['otlp_http/prometheus', 'otlp_http/loki', 'otlp_http/to-0'], true])
  expect(withAnswers('upstream')).toEqual([[], false])
})

test('between edge and hub both sides show a certificate, read anew while they run', () => {
  expect(exporters(agent).map(({tls}) => tls)).toEqual([
    {ca_file: '/at/hub-ca.pem', cert_file: '/at/leaf.pem', key_file: '/at/leaf.pem', reload_interval: '1000ms', min_version: '1.3'},
  ])
  expect(gateway.receivers['otlp']).toMatchObject({
    protocols: {
      grpc: {
        endpoint: '0.0.0.0:443',
        tls: {
          cert_file: '/at/leaf.pem',
          key_file: '/at/leaf.pem',
          client_ca_file: '/at/clients.pem',
          client_ca_file_reload: true,
          reload_interval: '1000ms',
          min_version: '1.3',
        },
        // whoever is no longer trusted is asked again soon
        keepalive: {server_parameters: {max_connection_age: '18000ms', max_connection_age_grace: '10s'}},
      },
    },
  })
  // its own telemetry comes in plain, and only from this machine
  expect(gateway.receivers['otlp/own']).toEqual({protocols: {http: {endpoint: '127.0.0.1:1'}}})
})

/** The expression of a processor that deletes by one. */
const patternOf = (processor: string, list: string) => {
  const actions = gateway.processors[processor]?.[list] as readonly {readonly pattern?: string}[]
  // Go's expressions have their flags in the middle; these differ in nothing else
  return new RegExp((actions[0]?.pattern ?? '').replace('(?i:', '(?:'), 'iu')
}

test('the gateway names an edge by what it was let in as, before any queue', () => {
  for (const name of ['metrics', 'logs', 'traces'])
    expect(gateway.service.pipelines[name]?.processors).toEqual(['memory_limiter', 'resource/edge', 'attributes/edge', 'transform/edge'])
  const {attributes} = gateway.processors['resource/edge'] as {readonly attributes: readonly object[]}
  expect(attributes.slice(1)).toEqual([
    {key: 'lkeobs.edge', from_context: 'auth.subject', action: 'upsert'},
    {key: 'k8s.cluster.name', from_context: 'auth.subject', action: 'upsert'},
  ])
  for (const door of ['otlp', 'otlp/ask']) {
    expect(JSON.stringify(gateway.receivers[door])).toContain('"auth":{"authenticator":"edge_credentials"}')
    expect(JSON.stringify(upstreamGateway.receivers[door])).toContain('"auth":{"authenticator":"oidc"}')
  }
  // its own telemetry has no credential, and is the hub's
  expect(gateway.service.pipelines['metrics/own']).toMatchObject({receivers: ['otlp/own'], processors: ['memory_limiter', 'resource/own']})
})

test.for([
  ['resource/edge', 'attributes'],
  ['attributes/edge', 'actions'],
] as const)('%s deletes every name that a store takes for that of the edge, and no other', ([processor, list]) => {
  const pattern = patternOf(processor, list)
  const taken = ['.', '_', '-', '/', ' ', '..', '__', '·', '√', '\n', '\0'].flatMap((sign) => [
    `lkeobs${sign}edge`,
    `k8s${sign}cluster${sign}name`,
    `K8s${sign}Cluster${sign}Name`,
    `LKEOBS${sign}EDGE`,
    `lkeobs.edge${sign}`,
  ])
  for (const name of taken) expect(name).toMatch(pattern)
  const others = [
    'lkeobs.run',
    'k8s.cluster.uid',
    'k8s.pod.name',
    'service.name',
    'lkeobsedge',
    'my.lkeobs.edge',
    'k8s.cluster.names',
    'имя',
  ]
  for (const name of others) expect(name).not.toMatch(pattern)
})

test('a gateway that does not ask yet leaves what agents say', () => {
  const {asks: _, ...wish} = gatewayWish
  const early = gatewayConfig(wish)
  expect(JSON.stringify(early)).not.toMatch(/oidc|auth|credentials/)
  expect(early.service.pipelines['metrics']?.processors).toEqual(['memory_limiter'])
})

test('an agent does not start without its credential, and shows it with everything', () => {
  expect(agent.extensions['bearertokenauth']).toMatchObject({filename: '/at/credential.jwt', wait_for_token_file: true})
  expect(agent.exporters['otlp_grpc/hub']).toMatchObject({auth: {authenticator: 'bearertokenauth'}})
})

test('whatever an edge sends says which edge it is of, whatever it said itself', () => {
  const intake = Object.values(agent.service.pipelines).filter(({receivers}) => !receivers.includes('durable_queue/hub'))
  for (const {processors} of intake) expect(processors).toContain('resource/identity')
  expect(agent.processors['resource/identity']).toEqual({
    attributes: [
      {key: 'lkeobs.edge', value: 'edge-1', action: 'upsert'},
      {key: 'k8s.cluster.name', value: 'edge-1', action: 'upsert'},
    ],
  })
})

test('on a node of Kubernetes everything says which pod it is of, but what is about the whole cluster', () => {
  const {pipelines} = onNode(false).service
  for (const name of ['metrics', 'logs', 'traces']) expect(pipelines[name]?.processors).toContain('k8s_attributes')
  for (const name of ['metrics/cluster', 'logs/cluster']) {
    expect(pipelines[name]?.processors).toEqual(['memory_limiter', 'resource/identity'])
    expect(pipelines[name]?.receivers).toEqual(['otlp/cluster'])
  }
})

test('GPU exporters are scraped where there are any, each by the agent of its own node', () => {
  expect(Object.keys(onNode(false).receivers)).not.toContain('prometheus/gpus')
  const {receivers, service} = onNode(true)
  expect(service.pipelines['metrics']?.receivers).toContain('prometheus/gpus')
  expect(JSON.stringify(literal(receivers['prometheus/gpus']))).toContain('"field":"spec.nodeName=${env:K8S_NODE_NAME}"')
})

test('a dollar sign in a value is a dollar sign', () => {
  const value = {a: '${env:HOME} $x $$', list: ['$'], n: 1, on: true, nothing: null}
  expect(literal(value)).toEqual({a: '$${env:HOME} $$x $$$$', list: ['$$'], n: 1, on: true, nothing: null})
  const odd = newLabFleet({edges: 1}).replace('name: edge-1', 'name: edge-1\n    logs: ["/srv/${env:HOME}/*.log"]')
  const [edge] = openFleet(fleetOf(odd), fakeWorld().tools).edges
  const {receivers} = parse(edge?.processes?.find(({name}) => name === 'agent')?.files['agent.yaml'] ?? '') as CollectorConfig
  expect(receivers['file_log']?.['include']).toContain('/srv/$${env:HOME}/*.log')
})

test('the YAML means what the object says', () => {
  for (const [, config] of all) expect(parse(toYaml(config))).toEqual(JSON.parse(JSON.stringify(config)))
})

test.for(all)('%s', ([, config]) => {
  expect(toYaml(config)).toMatchSnapshot()
})
