import type {CollectorConfig, Settings, Signal} from './config.ts'
import {reloadMs} from '../trust/leaf.ts'
import {destinationParts, type DestinationWish} from './destinations.ts'
import {durable, maxMessageMib, memoryLimiter, queueStorage, queueStorageAt} from './durable.ts'
import {ownTelemetry} from './telemetry.ts'

export type GatewayWish = {
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
  /** Base URLs of the hub's stores; Tempo's is `host:port` of its OTLP port. */
  readonly stores: {readonly prometheus: string; readonly loki: string; readonly tempo: string}
  /** What is sent on to others. */
  readonly destinations?: readonly DestinationWish[]
}

/** An agent dials again after this time, a tenth more or less: so a new leaf is shown within seconds, and a handshake costs it little. */
const connectionAgeMs = 18_000

const credential: Settings = {auth: {authenticator: 'oidc'}}

/** Mutual TLS: a client whose certificate no listed issuer signed does not get in, and an open connection is asked again within 30 s. */
const mutualTls = ({leaf, clients, asks}: GatewayWish): Settings => ({
  ...(asks && credential),
  tls: {
    cert_file: leaf,
    key_file: leaf,
    reload_interval: `${reloadMs}ms`,
    client_ca_file: clients,
    client_ca_file_reload: true,
    min_version: '1.3',
  },
  keepalive: {
    server_parameters: {max_connection_age: `${connectionAgeMs}ms`, max_connection_age_grace: '10s', time: '30s', timeout: '10s'},
    enforcement_policy: {min_time: '10s', permit_without_stream: true},
  },
})

/** One queue for each store, so that a store that is down delays nobody else. */
const stores = ({stores: {prometheus, loki, tempo}}: GatewayWish): Record<string, Settings> => ({
  // one consumer: samples of a series stay in order
  'otlp_http/prometheus': {
    ...durable,
    endpoint: `${prometheus}/api/v1/otlp`,
    sending_queue: {...durable.sending_queue, num_consumers: 1},
  },
  'otlp_http/loki': {...durable, endpoint: `${loki}/otlp`},
  'otlp_grpc/tempo': {...durable, endpoint: tempo, tls: {insecure: true}},
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

/** OTLP from the edges by mutual TLS, to Prometheus, Loki and Tempo, and to the destinations of the fleet. */
export const gatewayConfig = (wish: GatewayWish): CollectorConfig => {
  const {asks, destinations = []} = wish
  const away = destinationParts(destinations)
  const pipeline = (exporter: string, fed: readonly string[], receivers = ['otlp'], processors = Object.keys(asks ? identity : {})) => ({
    receivers,
    processors: ['memory_limiter', ...processors],
    exporters: [exporter, ...fed],
  })
  const main = (signal: Signal, exporter: string, ...more: string[]) => pipeline(exporter, away.fed(signal), ['otlp', ...more])
  return {
    extensions: {
      health_check: {endpoint: wish.health},
      // what waits to be fed to a destination waits a few seconds for the rest of the gateway, not minutes
      ...queueStorageAt(wish.queue, {startsAtOnce: destinations.length > 0}),
      ...(asks && {oidc: {providers: [{issuer_url: asks.issuer, audience: asks.audience, public_keys_file: asks.keys}]}}),
    },
    receivers: {
      otlp: {protocols: {grpc: {endpoint: wish.listen, max_recv_msg_size_mib: maxMessageMib, ...mutualTls(wish)}}},
      'otlp/own': {protocols: {http: {endpoint: wish.own}}},
      ...(asks && {'otlp/ask': {protocols: {http: {endpoint: asks.door, ...credential}}}}),
      ...away.receivers,
    },
    processors: {memory_limiter: memoryLimiter, ...(asks && identity), ...ownIdentity(wish.hub), ...away.processors},
    exporters: {...stores(wish), ...away.exporters},
    ...(Object.keys(away.connectors).length > 0 && {connectors: away.connectors}),
    service: {
      extensions: ['health_check', queueStorage, ...(asks ? ['oidc'] : [])],
      pipelines: {
        metrics: main('metrics', 'otlp_http/prometheus'),
        logs: main('logs', 'otlp_http/loki', ...(asks ? ['otlp/ask'] : [])),
        traces: main('traces', 'otlp_grpc/tempo'),
        'metrics/own': pipeline('otlp_http/prometheus', [], ['otlp/own'], Object.keys(ownIdentity(wish.hub))),
        ...away.pipelines,
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
