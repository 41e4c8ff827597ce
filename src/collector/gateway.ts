import type {CollectorConfig, Settings} from './config.ts'
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
  /** Its own telemetry comes in here, plain, on loopback: `host:port`. */
  readonly own: string
  readonly health: string
  readonly host: string
  readonly counters: number
  readonly queue: string
  /** Base URLs of the hub's stores; Tempo's is `host:port` of its OTLP port. */
  readonly stores: {readonly prometheus: string; readonly loki: string; readonly tempo: string}
}

/** Mutual TLS: a client whose certificate no listed issuer signed does not get in, and an open connection is asked again within 40 s. */
const mutualTls = ({leaf, clients}: GatewayWish): Settings => ({
  tls: {cert_file: leaf, key_file: leaf, reload_interval: '10s', client_ca_file: clients, client_ca_file_reload: true, min_version: '1.3'},
  keepalive: {
    server_parameters: {max_connection_age: '30s', max_connection_age_grace: '10s', time: '30s', timeout: '10s'},
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

/** OTLP from the edges by mutual TLS, to Prometheus, Loki and Tempo. */
export const gatewayConfig = (wish: GatewayWish): CollectorConfig => {
  const receivers = ['otlp', 'otlp/own']
  const pipeline = (exporter: string) => ({receivers, processors: ['memory_limiter'], exporters: [exporter]})
  return {
    extensions: {health_check: {endpoint: wish.health}, ...queueStorageAt(wish.queue)},
    receivers: {
      otlp: {protocols: {grpc: {endpoint: wish.listen, max_recv_msg_size_mib: maxMessageMib, ...mutualTls(wish)}}},
      'otlp/own': {protocols: {http: {endpoint: wish.own}}},
    },
    processors: {memory_limiter: memoryLimiter},
    exporters: stores(wish),
    service: {
      extensions: ['health_check', queueStorage],
      pipelines: {metrics: pipeline('otlp_http/prometheus'), logs: pipeline('otlp_http/loki'), traces: pipeline('otlp_grpc/tempo')},
      telemetry: ownTelemetry({
        host: wish.host,
        counters: wish.counters,
        otlp: `http://${wish.own}`,
        resource: {'service.name': 'gateway', 'k8s.cluster.name': wish.hub},
      }),
    },
  }
}
