/** Where things are on a cluster: Vault, stores, gateway, scraper. Its pods are `restricted`. */
export const namespace = 'lkeobs'
/** The node agents and GPU exporters: they read the node's files, which only a `privileged` namespace admits. */
export const nodeNamespace = 'lkeobs-node'
export const certManagerNamespace = 'cert-manager'
export const secretsOperatorNamespace = 'vault-secrets-operator'

/** What the pods that make load are called. */
export const generator = 'telemetrygen'

/** The namespace of a component, by its name. */
export const namespaceOf = (component: string): string =>
  component === 'agent' || component === 'dcgm-exporter' ? nodeNamespace : namespace

/** Who we are to the API server. */
export const fieldManager = 'lkeobs'

/** The ports of our own pods. */
export const ports = {
  vault: 8200,
  /** OTLP from edges, by mutual TLS (gateway); OTLP from workloads (agent). */
  otlpGrpc: 4317,
  otlpHttp: 4318,
  /** What is about a whole cluster, from its scraper to an agent. */
  otlpCluster: 4320,
  /** A collector's own telemetry comes back in here; on loopback only. */
  own: 4319,
  /** Credentials can be tried here, and nothing else comes in; on loopback only. */
  ask: 4321,
  /** Where a collector is asked about its queues; on loopback only. */
  admin: 4322,
  /** Where the first destination is fed, and those after it one port on each; on loopback only. */
  destinations: 4330,
  health: 13_133,
  counters: 8888,
  prometheus: 9090,
  loki: 3100,
  tempoHttp: 3200,
  tempoOtlp: 4317,
  grafana: 3000,
} as const

/** The Secret that carries a file to a component, and the key in it is the file's name: `clients.pem` of gateway is in `gateway-clients`. */
export const secretOf = (component: string, file: string): string => `${component}-${file.replace(/\.[a-z]+$/, '')}`

/** Where a collector finds what it is handed. */
export const mounts = {
  leaf: '/etc/lkeobs/leaf',
  trust: '/etc/lkeobs/trust',
  keys: '/etc/lkeobs/keys',
  hubCa: '/etc/lkeobs/hub-ca',
  credential: '/etc/lkeobs/credential',
  queue: '/var/lib/lkeobs',
} as const
