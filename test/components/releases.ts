import {literal} from '../../src/collector/config.ts'
import {agentConfig} from '../../src/collector/agent.ts'
import {gatewayConfig} from '../../src/collector/gateway.ts'
import {agentBudget, gatewayBudget} from '../../src/collector/budget.ts'
import type {CollectorBuild} from '../../src/collector/build.ts'
import {agentRelease} from '../../src/components/agent.ts'
import {certManagerRelease} from '../../src/components/cert-manager.ts'
import {collectorImage} from '../../src/components/collector.ts'
import {gatewayRelease} from '../../src/components/gateway.ts'
import {gpuRelease} from '../../src/components/gpu.ts'
import {grafanaRelease} from '../../src/components/grafana.ts'
import {instrumentationRelease} from '../../src/components/instrumentation.ts'
import {lokiRelease} from '../../src/components/loki.ts'
import {prometheusRelease} from '../../src/components/prometheus.ts'
import type {Release} from '../../src/components/release.ts'
import {scraperRelease} from '../../src/components/scraper.ts'
import {secretsOperatorRelease} from '../../src/components/secrets-operator.ts'
import {tempoRelease} from '../../src/components/tempo.ts'
import {vaultRelease} from '../../src/components/vault.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {parseFleet} from '../../src/fleet/load.ts'
import {mounts} from '../../src/platforms/kubernetes/names.ts'

/** Text that helm's `tpl` would take for its own, and the collector for an environment variable. */
const odd = 'a {{ .Values.mode }} "quoted" \'odd\' $${HOME} {{`x`}} #'

const common = {leaf: `${mounts.leaf}/leaf.pem`, host: '0.0.0.0', health: '0.0.0.0:13133', counters: 8888, queue: `${mounts.queue}/queue`}

const fleet = parseFleet(newLabFleet({edges: 1}), 'lkeobs.yaml')
const budget = gatewayBudget(fleet, 10 * 2 ** 30)
const {late} = budget
const admin = {endpoint: '127.0.0.1:4322'}

const gatewayCollector = (build: CollectorBuild) =>
  literal(
    gatewayConfig({
      ...common,
      build,
      budget,
      admin,
      hub: 'hub',
      listen: '0.0.0.0:4317',
      clients: `${mounts.trust}/clients.pem`,
      asks: {issuer: 'lkeobs:hub', audience: 'lkeobs:hub:gateway', keys: `${mounts.keys}/edges.jwks`, door: '127.0.0.1:4321'},
      own: '127.0.0.1:4319',
      stores: {prometheus: 'http://prometheus:9090', loki: 'http://loki:3100', tempo: 'tempo:4317', tempoHttp: 'http://tempo:3200'},
    }),
  )

const agentCollector = (build: CollectorBuild) =>
  literal(
    agentConfig({
      ...common,
      build,
      queueBytes: agentBudget(fleet),
      admin,
      edge: odd,
      gateway: 'hub.example.org:4317',
      gatewayCa: `${mounts.hubCa}/hub-ca.pem`,
      credential: `${mounts.credential}/credential.jwt`,
      grpc: '0.0.0.0:4317',
      http: '0.0.0.0:4318',
      logs: ['/var/log/pods/*/*/*.log'],
    }),
  )

const ours = `registry.example/otelcol@sha256:${'a'.repeat(64)}`

const objectStorage = {endpoint: 'us-ord-1.linodeobjects.com', region: 'us-ord', bucket: 'lkeobs', secret: 'object-storage'}
const storageClass = 'linode-block-storage-retain'
const vault = {
  replicas: 3,
  size: '10Gi',
  config: {
    api_addr: 'https://HOSTNAME.vault-internal:8200',
    listener: [{tcp: {address: '[::]:8200', tls_cert_file: '/openbao/tls/tls.crt', tls_key_file: '/openbao/tls/tls.key'}}],
    storage: {raft: {path: '/openbao/data'}},
  },
  selfConfigMap: 'vault-self',
  tlsSecret: 'vault-tls',
  handedSecrets: ['vault-seal', 'vault-admin'],
}

/** What the collectors are told. */
export const configs = {
  gateway: gatewayCollector('upstream'),
  agent: agentCollector('upstream'),
  scraper: gatewayCollector('upstream'),
} as const
const image = collectorImage('upstream', undefined)
const gateways = {replicas: 2, maxReplicas: 5, queueSize: '10Gi'} as const

/** Every release, by what is special about it: as it is usually installed, and with everything it can be told. */
export const releases: Readonly<Record<string, Release>> = {
  'cert-manager': certManagerRelease(),
  'vault-secrets-operator': secretsOperatorRelease(),
  vault: vaultRelease(vault),
  'vault, one node': vaultRelease({...vault, replicas: 1, storageClass}),
  prometheus: prometheusRelease({size: '20Gi', late, retentionDays: 15}),
  'prometheus, storage class': prometheusRelease({size: '20Gi', storageClass, late, retentionDays: 15}),
  loki: lokiRelease({size: '20Gi', late, retentionDays: 15}),
  'loki, bucket': lokiRelease({size: '10Gi', storageClass, late, retentionDays: 15, objectStorage}),
  tempo: tempoRelease({size: '20Gi', late, retentionDays: 7}),
  'tempo, bucket': tempoRelease({size: '10Gi', storageClass, late, retentionDays: 7, objectStorage}),
  grafana: grafanaRelease(),
  'grafana, dashboards': grafanaRelease({dashboards: [{title: 'The fleet', configMap: 'dashboards-fleet'}]}),
  gateway: gatewayRelease({...gateways, config: configs.gateway, image, leaf: 'secret'}),
  'gateway, sidecar': gatewayRelease({...gateways, config: configs.gateway, image, storageClass, leaf: 'sidecar'}),
  'gateway, our build': gatewayRelease({
    ...gateways,
    config: gatewayCollector('lkeobs'),
    image: collectorImage('lkeobs', ours),
    leaf: 'secret',
  }),
  agent: agentRelease({config: configs.agent, image, leaf: 'secret'}),
  'agent, sidecar': agentRelease({config: configs.agent, image, leaf: 'sidecar', restartOn: 'PEM'}),
  'agent, our build': agentRelease({config: agentCollector('lkeobs'), image: collectorImage('lkeobs', ours), leaf: 'secret'}),
  scraper: scraperRelease({config: configs.scraper, image}),
  'opentelemetry-operator': instrumentationRelease(),
  'dcgm-exporter': gpuRelease(),
  'dcgm-exporter, runtime class': gpuRelease({nodeSelector: {gpu: 'yes'}, tolerations: [{operator: 'Exists'}], runtimeClass: 'nvidia'}),
}
