import {type GatewayBudget, itemsIn} from './budget.ts'
import type {CollectorBuild} from './build.ts'
import type {CollectorConfig, Settings, Signal} from './config.ts'
import {reloadMs} from '../trust/leaf.ts'
import {destinationParts, type DestinationWish} from './destinations.ts'
import {destinationSinks} from './destination-sinks.ts'
import {
  durable,
  durableQueue,
  memoryLimiter,
  type QueueAdmin,
  queueAdmin,
  queueStorage,
  queueStorageAt,
  type Sink,
  synchronous,
  usualFlush,
} from './durable.ts'
import {grpcReceiveLimit, lokiRecord, maxGatewayItemBytes} from './sizes.ts'
import {tempoSweepSeconds} from './budget.ts'
import {ownTelemetry} from './telemetry.ts'

export type GatewayWish = {
  readonly build: CollectorBuild
  readonly hub: string
  /** Where edges connect, `host:port`. */
  readonly listen: string
  /** Certificate, chain and key in one file. */
  readonly leaf: string
  /** The issuers of the edges that may send. */
  readonly clients: string
  /** Who an edge is, is asked with everything it sends; left out while some edge has no credential yet. */
  readonly asks?: {
    readonly issuer: string
    readonly audience: string
    /** The keys of the edges' credentials: a JWK Set. Watched: another one counts at the next request, on open connections too. */
    readonly keys: string
    /** Credentials can be tried here: plain, on loopback, `host:port`. */
    readonly door: string
  }
  /** Its own telemetry comes in here, plain, on loopback: `host:port`. */
  readonly own: string
  readonly health: string
  readonly host: string
  readonly counters: number
  readonly queue: string
  readonly budget: GatewayBudget
  /** Of the build lkeobs. */
  readonly admin: QueueAdmin
  /** Base URLs of the hub's stores; Tempo's is `host:port` of its OTLP port, and `tempoHttp` its base URL. */
  readonly stores: {readonly prometheus: string; readonly loki: string; readonly tempo: string; readonly tempoHttp: string}
  /** What is sent on to others. */
  readonly destinations?: readonly DestinationWish[]
}

/** An agent dials again after this time, a tenth more or less: so a new leaf is shown within seconds, and a handshake costs it little. */
const connectionAgeMs = 18_000

/** What checks credentials: ours looks a key up by its id, and costs the same with many edges. */
const authenticatorOf = ({build}: GatewayWish): string => (build === 'lkeobs' ? 'edge_credentials' : 'oidc')

const authenticator = (wish: GatewayWish): Record<string, Settings> => {
  if (!wish.asks) return {}
  const {issuer, audience, keys} = wish.asks
  return wish.build === 'lkeobs'
    ? {edge_credentials: {issuer, audience, keys_file: keys}}
    : {oidc: {providers: [{issuer_url: issuer, audience, public_keys_file: keys}]}}
}

const credential = (wish: GatewayWish): Settings => ({auth: {authenticator: authenticatorOf(wish)}})

/** Mutual TLS: a client whose certificate no listed issuer signed does not get in, and an open connection is asked again within 30 s. */
const mutualTls = (wish: GatewayWish): Settings => ({
  ...(wish.asks && credential(wish)),
  tls: {
    cert_file: wish.leaf,
    key_file: wish.leaf,
    reload_interval: `${reloadMs}ms`,
    client_ca_file: wish.clients,
    client_ca_file_reload: true,
    min_version: '1.3',
  },
  keepalive: {
    server_parameters: {max_connection_age: `${connectionAgeMs}ms`, max_connection_age_grace: '10s', time: '30s', timeout: '10s'},
    enforcement_policy: {min_time: '10s', permit_without_stream: true},
  },
})

/** Which store a signal goes to. */
const stores = {
  metrics: {name: 'prometheus', exporter: 'otlp_http/prometheus'},
  logs: {name: 'loki', exporter: 'otlp_http/loki'},
  traces: {name: 'tempo', exporter: 'otlp_grpc/tempo'},
} as const satisfies Record<Signal, {readonly name: string; readonly exporter: string}>

/** In the build upstream one queue for each store, so that a store that is down delays nobody else. */
const storeExporters = ({build, budget, stores: {prometheus, loki, tempo}}: GatewayWish): Record<string, Settings> => {
  const items = itemsIn(budget.bytes)
  const queue = (signal: Signal, consumers: number = durable.sending_queue.num_consumers): Settings =>
    build === 'lkeobs'
      ? synchronous
      : {...durable, sending_queue: {...durable.sending_queue, queue_size: items[signal], num_consumers: consumers}}
  return {
    // one consumer: samples of a series stay in order
    [stores.metrics.exporter]: {...queue('metrics', 1), endpoint: `${prometheus}/api/v1/otlp`},
    [stores.logs.exporter]: {...queue('logs'), endpoint: `${loki}/otlp`},
    [stores.traces.exporter]: {...queue('traces'), endpoint: tempo, tls: {insecure: true}},
  }
}

/** The extension of the build lkeobs that lets `otlp_http` see an error answer in plain text, which is how Prometheus answers. */
const storeAnswers = 'store_answers'

/** Every `otlp_http` exporter, of a store or a destination. By gRPC there is always a status, and `splunk_hec` reads no body. */
const withStoreAnswers = (exporters: Readonly<Record<string, Settings>>): Record<string, Settings> =>
  Object.fromEntries(
    Object.entries(exporters).map(([name, settings]) => [
      name,
      name.startsWith('otlp_http/') ? {...settings, middlewares: [{id: storeAnswers}]} : settings,
    ]),
  )

/** The queue of a gateway in the build lkeobs: every edge has a part of its own, and every store and destination empties it by itself. */
const toQueue = 'durable_queue/stores'

const storeSinks = (tempoHttp: string): Readonly<Record<string, Sink>> => ({
  // of one edge a batch at a time: samples of a series stay in order
  prometheus: {pipelines: ['metrics/prometheus'], exporter: stores.metrics.exporter, rules: 'prometheus', consumers: 2},
  loki: {pipelines: ['logs/loki'], exporter: stores.logs.exporter, rules: 'loki', consumers: 4},
  tempo: {
    pipelines: ['traces/tempo'],
    exporter: stores.traces.exporter,
    rules: 'tempo',
    consumers: 4,
    // Tempo has spans in memory alone until its next sweep (`flush_check_period`), and loses them when it is killed before
    settle: {after: `${2 * tempoSweepSeconds}s`, start_page: `${tempoHttp}/metrics`},
  },
})

const queueOf = ({hub, queue, budget, stores: {tempoHttp}}: GatewayWish, destinationQueues: Readonly<Record<string, Sink>>): Settings =>
  durableQueue({
    directory: queue,
    partitionBy: 'lkeobs.edge',
    partition: hub,
    bytes: budget.bytes,
    partitionBytes: budget.edgeBytes,
    itemBytes: maxGatewayItemBytes,
    flushAfter: usualFlush,
    shares: budget.shares,
    sinks: {...storeSinks(tempoHttp), ...destinationQueues},
    ruleSettings: {
      max_age: {metrics: `${budget.late.rules.metrics}s`, logs: `${budget.late.rules.logs}s`},
      loki: {
        max_line_bytes: lokiRecord.lineBytes,
        max_metadata_bytes: lokiRecord.metadataBytes,
        max_metadata_entries: lokiRecord.metadataEntries,
      },
    },
  })

/**
 * What stores would take for the name of an edge: they turn what is no letter or digit into an underscore, and let an attribute
 * of an item, or a second one of the same name, take the place of the resource's. As one expression that starts with a letter:
 * every name of everything sent is held against it.
 */
const claims = String.raw`^(?i:lkeobs[\W_]+edge|k8s[\W_]+cluster[\W_]+name)[\W_]*$`
/** And an attribute without a name, for which a store refuses all that came with it. As a pattern it is slow: not for each item. */
const claimsOrNothing = `${claims}|^$`
const withoutClaims = {pattern: claimsOrNothing, action: 'delete'}
const withoutScopeClaims = [{context: 'scope', statements: [`delete_matching_keys(scope.attributes, ${JSON.stringify(claimsOrNothing)})`]}]

/** Whatever a sender says it is, it is what it was let in as. Before any queue: there is nothing known of the sender behind one. */
const identity: Record<string, Settings> = {
  'resource/edge': {
    attributes: [
      withoutClaims,
      ...['lkeobs.edge', 'k8s.cluster.name'].map((key) => ({key, from_context: 'auth.subject', action: 'upsert'})),
    ],
  },
  // each item's own attributes; a deletion without a key deletes what has no name as well
  'attributes/edge': {actions: [{pattern: claims, action: 'delete'}]},
  'transform/edge': {metric_statements: withoutScopeClaims, log_statements: withoutScopeClaims, trace_statements: withoutScopeClaims},
}

/** Its own telemetry is the hub's, whoever reached that door. */
const ownIdentity = (hub: string): Record<string, Settings> => ({
  'resource/own': {attributes: [withoutClaims, {key: 'k8s.cluster.name', value: hub, action: 'upsert'}]},
})

/** A pipeline has to have a receiver: this one is on a port that nobody is told of. */
const nobody = 'otlp/nobody'

/** A gateway of the build upstream that takes nothing in, and sends what the queues of its exporters hold. */
export const closedGatewayConfig = (wish: GatewayWish): CollectorConfig => {
  const {asks: _, ...withoutSenders} = wish
  const open = gatewayConfig({...withoutSenders, build: 'upstream'})
  const {otlp: _1, 'otlp/own': _2, ...doors} = open.receivers
  const {'metrics/own': _3, ...pipelines} = open.service.pipelines
  const {memory_limiter: _4, 'resource/own': _5, ...processors} = open.processors
  const closed = Object.entries(pipelines).map(([name, pipeline]) => [
    name,
    pipeline.receivers.includes('otlp') ? {...pipeline, receivers: [nobody], processors: []} : pipeline,
  ])
  return {
    ...open,
    receivers: {[nobody]: {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}, ...doors},
    processors,
    service: {
      ...open.service,
      pipelines: Object.fromEntries(closed),
      telemetry: ownTelemetry({
        host: wish.host,
        counters: wish.counters,
        resource: {'service.name': 'gateway', 'k8s.cluster.name': wish.hub},
      }),
    },
  }
}

/** The stores' exporters: a gateway that says how much waits says it of each. */
export const storeExporterNames: readonly string[] = Object.values(stores).map(({exporter}) => exporter)

/** OTLP from the edges by mutual TLS, to Prometheus, Loki and Tempo, and to the destinations of the fleet. */
export const gatewayConfig = (wish: GatewayWish): CollectorConfig => {
  const {asks, destinations = []} = wish
  const isOurs = wish.build === 'lkeobs'
  const queued = destinationSinks(isOurs ? destinations : [])
  const fed = destinationParts(isOurs ? [] : destinations)
  const pipeline = (exporters: readonly string[], receivers = ['otlp'], processors = Object.keys(asks ? identity : {})) => ({
    receivers,
    processors: ['memory_limiter', ...processors],
    exporters,
  })
  const main = (signal: Signal, ...more: string[]) =>
    pipeline(isOurs ? [toQueue] : [stores[signal].exporter, ...fed.fed(signal)], ['otlp', ...more])
  const connectors = {...(isOurs && {[toQueue]: queueOf(wish, queued.sinks)}), ...fed.connectors}
  const behind = (signal: Signal) => ({receivers: [toQueue], processors: [], exporters: [stores[signal].exporter]})
  const exporters = {...storeExporters(wish), ...fed.exporters, ...queued.exporters}
  return {
    extensions: {
      health_check: {endpoint: wish.health},
      // what waits to be fed to a destination waits a few seconds for the rest of the gateway, not minutes
      ...(isOurs ? queueAdmin(wish.admin) : queueStorageAt(wish.queue, {startsAtOnce: destinations.length > 0})),
      ...(isOurs && {[storeAnswers]: {}}),
      ...authenticator(wish),
    },
    receivers: {
      otlp: {protocols: {grpc: {endpoint: wish.listen, ...grpcReceiveLimit, ...mutualTls(wish)}}},
      'otlp/own': {protocols: {http: {endpoint: wish.own}}},
      ...(asks && {'otlp/ask': {protocols: {http: {endpoint: asks.door, ...credential(wish)}}}}),
      ...fed.receivers,
    },
    processors: {memory_limiter: memoryLimiter, ...(asks && identity), ...ownIdentity(wish.hub), ...fed.processors, ...queued.processors},
    exporters: isOurs ? withStoreAnswers(exporters) : exporters,
    ...(Object.keys(connectors).length > 0 && {connectors}),
    service: {
      extensions: ['health_check', ...(isOurs ? ['queue_admin', storeAnswers] : [queueStorage]), ...(asks ? [authenticatorOf(wish)] : [])],
      pipelines: {
        metrics: main('metrics'),
        logs: main('logs', ...(asks ? ['otlp/ask'] : [])),
        traces: main('traces'),
        'metrics/own': pipeline([isOurs ? toQueue : stores.metrics.exporter], ['otlp/own'], Object.keys(ownIdentity(wish.hub))),
        ...(isOurs && {'metrics/prometheus': behind('metrics'), 'logs/loki': behind('logs'), 'traces/tempo': behind('traces')}),
        ...fed.pipelines,
        ...queued.pipelines(toQueue),
      },
      telemetry: ownTelemetry({
        host: wish.host,
        counters: wish.counters,
        otlp: `http://${wish.own}`,
        // what a destination refused for good is told from what was given up
        tellsFailures: destinations.length > 0,
        resource: {'service.name': 'gateway', 'k8s.cluster.name': wish.hub},
      }),
    },
  }
}
