import {expect, test} from 'vitest'
import {parse} from 'yaml'
import {openFleet} from '../../src/clusters.ts'
import {agentConfig, type AgentWish} from '../../src/collector/agent.ts'
import {type CollectorConfig, literal} from '../../src/collector/config.ts'
import {gatewayConfig, type GatewayWish} from '../../src/collector/gateway.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {toYaml} from '../../src/templates.ts'
import {fakeWorld, fleetOf} from '../support/fake-world.ts'

const agentWish: AgentWish = {
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
const onNode = (gpus: boolean) => agentConfig({...agentWish, node: {hostRoot: '/hostfs', cluster: '0.0.0.0:4320', exclude: [], gpus}})

const gatewayWish: GatewayWish = {
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
  stores: {prometheus: 'http://prometheus', loki: 'http://loki', tempo: 'tempo:4317'},
}
const gateway = gatewayConfig(gatewayWish)

const both = [
  ['agent', agent],
  ['gateway', gateway],
] as const

type Exporter = {
  readonly retry_on_failure: Readonly<Record<string, unknown>>
  readonly sending_queue: Readonly<Record<string, unknown>>
  readonly tls?: Readonly<Record<string, unknown>>
}
const exporters = ({exporters: all}: CollectorConfig) => Object.values(all) as unknown as readonly Exporter[]

test.for(both)('%s: every pipeline refuses before memory runs out, and nothing holds what was acknowledged', ([, config]) => {
  const pipelines = Object.values(config.service.pipelines)
  expect(Object.keys(config.service.pipelines).slice(0, 3)).toEqual(['metrics', 'logs', 'traces'])
  for (const {processors} of pipelines) expect(processors[0]).toBe('memory_limiter')
  expect(Object.keys(config.processors).filter((name) => name.startsWith('batch'))).toEqual([])
  for (const {processors} of pipelines) expect(processors.filter((name) => name.startsWith('batch'))).toEqual([])
})

test.for(both)('%s: what waits to be sent waits on disk, for ever', ([, config]) => {
  for (const {retry_on_failure: retry, sending_queue: queue} of exporters(config)) {
    expect(retry).toMatchObject({enabled: true, max_elapsed_time: 0})
    expect(queue).toMatchObject({enabled: true, storage: 'file_storage/queue', sizer: 'items'})
    expect(queue['batch']).toMatchObject({sizer: 'items'})
  }
  const storages = Object.entries(config.extensions).filter(([name]) => name.startsWith('file_storage'))
  const folders = storages.map(([, {directory}]) => directory)
  expect(new Set(folders).size).toBe(folders.length)
  expect(config.extensions['file_storage/queue']).toMatchObject({directory: '/at/queue', fsync: true, create_directory: true})
})

test.for(both)('%s: what is used is defined, and what is defined is used', ([, {service, ...defined}]) => {
  const pipelines = Object.values(service.pipelines)
  const used = (kind: 'receivers' | 'processors' | 'exporters') => [...new Set(pipelines.flatMap((pipeline) => pipeline[kind]))].toSorted()
  for (const kind of ['receivers', 'processors', 'exporters'] as const) expect(used(kind)).toEqual(Object.keys(defined[kind]).toSorted())
  expect(service.extensions.toSorted()).toEqual(Object.keys(defined.extensions).toSorted())
})

test('each store has a queue of its own, so that one that is down delays nobody else', () => {
  const targets = Object.values(gateway.service.pipelines).map(({exporters: [only, ...more]}) => [only, more.length])
  expect(targets).toEqual([
    ['otlp_http/prometheus', 0],
    ['otlp_http/loki', 0],
    ['otlp_grpc/tempo', 0],
    ['otlp_http/prometheus', 0],
  ])
  expect(gateway.exporters['otlp_http/prometheus']?.['sending_queue']).toMatchObject({num_consumers: 1})
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
  for (const door of ['otlp', 'otlp/ask']) expect(JSON.stringify(gateway.receivers[door])).toContain('"auth":{"authenticator":"oidc"}')
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
  expect(JSON.stringify(early)).not.toMatch(/oidc|auth/)
  expect(early.service.pipelines['metrics']?.processors).toEqual(['memory_limiter'])
})

test('an agent does not start without its credential, and shows it with everything', () => {
  expect(agent.extensions['bearertokenauth']).toMatchObject({filename: '/at/credential.jwt', wait_for_token_file: true})
  expect(agent.exporters['otlp_grpc/hub']).toMatchObject({auth: {authenticator: 'bearertokenauth'}})
})

test('whatever an edge sends says which edge it is of, whatever it said itself', () => {
  for (const {processors} of Object.values(agent.service.pipelines)) expect(processors).toContain('resource/identity')
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
  for (const [, config] of both) expect(parse(toYaml(config))).toEqual(JSON.parse(JSON.stringify(config)))
})

test('the agent', () => {
  expect(toYaml(agent)).toMatchInlineSnapshot(`
    "extensions:
      health_check:
        endpoint: 127.0.0.1:3
      file_storage/queue:
        directory: /at/queue
        create_directory: true
        fsync: true
        timeout: 10s
        recreate: true
        compaction:
          on_start: true
          on_rebound: true
          directory: /at/queue
          cleanup_on_start: true
      file_storage/checkpoints:
        directory: /at/queue-checkpoints
        create_directory: true
      bearertokenauth:
        filename: /at/credential.jwt
        wait_for_token_file: true
        retry_on_failure:
          enabled: true
          interval: 1s
    receivers:
      otlp:
        protocols:
          grpc:
            endpoint: 127.0.0.1:1
          http:
            endpoint: 127.0.0.1:2
      host_metrics:
        collection_interval: 15s
        scrapers:
          cpu: {}
          memory: {}
          load: {}
          filesystem:
            exclude_mount_points:
              mount_points:
                - ^/(proc|sys|dev|run)(/|$)
              match_type: regexp
          network: {}
          disk: {}
      file_log:
        include:
          - /var/log/*.log
        start_at: beginning
        include_file_name: true
        storage: file_storage/checkpoints
        retry_on_failure:
          enabled: true
          max_elapsed_time: 0
    processors:
      memory_limiter:
        check_interval: 1s
        limit_mib: 512
        spike_limit_mib: 128
      resource/identity:
        attributes:
          - key: lkeobs.edge
            value: edge-1
            action: upsert
          - key: k8s.cluster.name
            value: edge-1
            action: upsert
    exporters:
      otlp_grpc/hub:
        retry_on_failure:
          enabled: true
          initial_interval: 1s
          max_interval: 15s
          max_elapsed_time: 0
        sending_queue:
          enabled: true
          storage: file_storage/queue
          sizer: items
          queue_size: 2000000
          num_consumers: 4
          batch:
            flush_timeout: 200ms
            min_size: 8192
            max_size: 8192
            sizer: items
        endpoint: hub.example.org:443
        compression: zstd
        timeout: 15s
        auth:
          authenticator: bearertokenauth
        tls:
          ca_file: /at/hub-ca.pem
          cert_file: /at/leaf.pem
          key_file: /at/leaf.pem
          reload_interval: 1000ms
          min_version: "1.3"
    service:
      extensions:
        - health_check
        - file_storage/queue
        - file_storage/checkpoints
        - bearertokenauth
      pipelines:
        metrics:
          receivers:
            - otlp
            - host_metrics
          processors:
            - memory_limiter
            - resource/identity
          exporters:
            - otlp_grpc/hub
        logs:
          receivers:
            - otlp
            - file_log
          processors:
            - memory_limiter
            - resource/identity
          exporters:
            - otlp_grpc/hub
        traces:
          receivers:
            - otlp
          processors:
            - memory_limiter
            - resource/identity
          exporters:
            - otlp_grpc/hub
      telemetry:
        resource:
          service.name: agent
          service.instance.id: edge-1
        logs:
          level: info
          encoding: console
        metrics:
          level: normal
          readers:
            - pull:
                exporter:
                  prometheus:
                    host: 127.0.0.1
                    port: 4
                    without_type_suffix: true
                    without_units: true
            - periodic:
                interval: 10000
                exporter:
                  otlp:
                    protocol: http/protobuf
                    endpoint: http://127.0.0.1:2
    "
  `)
})

test('the gateway', () => {
  expect(toYaml(gateway)).toMatchInlineSnapshot(`
    "extensions:
      health_check:
        endpoint: 127.0.0.1:2
      file_storage/queue:
        directory: /at/queue
        create_directory: true
        fsync: true
        timeout: 10s
        recreate: true
        compaction:
          on_start: true
          on_rebound: true
          directory: /at/queue
          cleanup_on_start: true
      oidc:
        providers:
          - issuer_url: lkeobs:hub
            audience: lkeobs:hub:gateway
            public_keys_file: /at/edges.jwks
    receivers:
      otlp:
        protocols:
          grpc:
            endpoint: 0.0.0.0:443
            max_recv_msg_size_mib: 16
            auth:
              authenticator: oidc
            tls:
              cert_file: /at/leaf.pem
              key_file: /at/leaf.pem
              reload_interval: 1000ms
              client_ca_file: /at/clients.pem
              client_ca_file_reload: true
              min_version: "1.3"
            keepalive:
              server_parameters:
                max_connection_age: 18000ms
                max_connection_age_grace: 10s
                time: 30s
                timeout: 10s
              enforcement_policy:
                min_time: 10s
                permit_without_stream: true
      otlp/own:
        protocols:
          http:
            endpoint: 127.0.0.1:1
      otlp/ask:
        protocols:
          http:
            endpoint: 127.0.0.1:9
            auth:
              authenticator: oidc
    processors:
      memory_limiter:
        check_interval: 1s
        limit_mib: 512
        spike_limit_mib: 128
      resource/edge:
        attributes:
          - pattern: ^(?i:lkeobs[\\W_]+edge|k8s[\\W_]+cluster[\\W_]+name)[\\W_]*$|^$
            action: delete
          - key: lkeobs.edge
            from_context: auth.subject
            action: upsert
          - key: k8s.cluster.name
            from_context: auth.subject
            action: upsert
      attributes/edge:
        actions:
          - pattern: ^(?i:lkeobs[\\W_]+edge|k8s[\\W_]+cluster[\\W_]+name)[\\W_]*$
            action: delete
      transform/edge:
        metric_statements:
          - context: scope
            statements:
              - delete_matching_keys(scope.attributes, "^(?i:lkeobs[\\\\W_]+edge|k8s[\\\\W_]+cluster[\\\\W_]+name)[\\\\W_]*$|^$")
        log_statements:
          - context: scope
            statements:
              - delete_matching_keys(scope.attributes, "^(?i:lkeobs[\\\\W_]+edge|k8s[\\\\W_]+cluster[\\\\W_]+name)[\\\\W_]*$|^$")
        trace_statements:
          - context: scope
            statements:
              - delete_matching_keys(scope.attributes, "^(?i:lkeobs[\\\\W_]+edge|k8s[\\\\W_]+cluster[\\\\W_]+name)[\\\\W_]*$|^$")
      resource/own:
        attributes:
          - pattern: ^(?i:lkeobs[\\W_]+edge|k8s[\\W_]+cluster[\\W_]+name)[\\W_]*$|^$
            action: delete
          - key: k8s.cluster.name
            value: hub
            action: upsert
    exporters:
      otlp_http/prometheus:
        retry_on_failure:
          enabled: true
          initial_interval: 1s
          max_interval: 15s
          max_elapsed_time: 0
        sending_queue:
          enabled: true
          storage: file_storage/queue
          sizer: items
          queue_size: 2000000
          num_consumers: 1
          batch:
            flush_timeout: 200ms
            min_size: 8192
            max_size: 8192
            sizer: items
        endpoint: http://prometheus/api/v1/otlp
      otlp_http/loki:
        retry_on_failure:
          enabled: true
          initial_interval: 1s
          max_interval: 15s
          max_elapsed_time: 0
        sending_queue:
          enabled: true
          storage: file_storage/queue
          sizer: items
          queue_size: 2000000
          num_consumers: 4
          batch:
            flush_timeout: 200ms
            min_size: 8192
            max_size: 8192
            sizer: items
        endpoint: http://loki/otlp
      otlp_grpc/tempo:
        retry_on_failure:
          enabled: true
          initial_interval: 1s
          max_interval: 15s
          max_elapsed_time: 0
        sending_queue:
          enabled: true
          storage: file_storage/queue
          sizer: items
          queue_size: 2000000
          num_consumers: 4
          batch:
            flush_timeout: 200ms
            min_size: 8192
            max_size: 8192
            sizer: items
        endpoint: tempo:4317
        tls:
          insecure: true
    service:
      extensions:
        - health_check
        - file_storage/queue
        - oidc
      pipelines:
        metrics:
          receivers:
            - otlp
          processors:
            - memory_limiter
            - resource/edge
            - attributes/edge
            - transform/edge
          exporters:
            - otlp_http/prometheus
        logs:
          receivers:
            - otlp
            - otlp/ask
          processors:
            - memory_limiter
            - resource/edge
            - attributes/edge
            - transform/edge
          exporters:
            - otlp_http/loki
        traces:
          receivers:
            - otlp
          processors:
            - memory_limiter
            - resource/edge
            - attributes/edge
            - transform/edge
          exporters:
            - otlp_grpc/tempo
        metrics/own:
          receivers:
            - otlp/own
          processors:
            - memory_limiter
            - resource/own
          exporters:
            - otlp_http/prometheus
      telemetry:
        resource:
          service.name: gateway
          k8s.cluster.name: hub
        logs:
          level: info
          encoding: console
        metrics:
          level: normal
          readers:
            - pull:
                exporter:
                  prometheus:
                    host: 127.0.0.1
                    port: 3
                    without_type_suffix: true
                    without_units: true
            - periodic:
                interval: 10000
                exporter:
                  otlp:
                    protocol: http/protobuf
                    endpoint: http://127.0.0.1:1
    "
  `)
})
