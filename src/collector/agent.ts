import {itemsIn} from './budget.ts'
import type {CollectorBuild} from './build.ts'
import {type CollectorConfig, type Settings, type Signal, signals} from './config.ts'
import {
  durable,
  durableQueue,
  memoryLimiter,
  type QueueAdmin,
  queueAdmin,
  queueStorage,
  queueStorageAt,
  synchronous,
  usualFlush,
} from './durable.ts'
import {gpuReceiver, nodeName, nodeProcessors, nodeReceivers, type NodeWish} from './node.ts'
import {grpcReceiveLimit, httpReceiveLimit, maxItemBytes} from './sizes.ts'
import {ownTelemetry} from './telemetry.ts'
import {toHub} from './queue.ts'
import {reloadMs} from '../trust/leaf.ts'

export type AgentWish = {
  readonly build: CollectorBuild
  readonly edge: string
  /** The hub's gateway, `host:port`, and whom to trust when it answers. */
  readonly gateway: string
  readonly gatewayCa: string
  /** Certificate and key in one file. */
  readonly leaf: string
  /** The token that says which edge it is. */
  readonly credential: string
  /** Where workloads send OTLP: `host:port`. */
  readonly grpc: string
  readonly http: string
  readonly health: string
  readonly host: string
  readonly counters: number
  readonly queue: string
  /** What the queue of each signal takes on disk at most. */
  readonly queueBytes: Readonly<Record<Signal, number>>
  /** Of the build lkeobs. */
  readonly admin: QueueAdmin
  /** Globs of log files to follow. */
  readonly logs: readonly string[]
  /** Where the agent is one of several, on the nodes of a Kubernetes cluster. */
  readonly node?: NodeWish
}

const checkpoints = 'file_storage/checkpoints'

const hostMetrics = (root: string | undefined): Settings => ({
  ...(root !== undefined && {root_path: root}),
  collection_interval: '15s',
  scrapers: {
    cpu: {},
    memory: {},
    load: {},
    filesystem: {exclude_mount_points: {mount_points: ['^/(proc|sys|dev|run)(/|$)'], match_type: 'regexp'}},
    network: {},
    disk: {},
  },
})

const logFiles = (globs: readonly string[]): Settings => ({
  include: globs,
  start_at: 'beginning',
  include_file_name: true,
  storage: checkpoints,
  retry_on_failure: {enabled: true, max_elapsed_time: 0},
})

/** What the edge is called, on everything it sends. */
const identity = (edge: string): Settings => ({
  attributes: ['lkeobs.edge', 'k8s.cluster.name'].map((key) => ({key, value: edge, action: 'upsert'})),
})

const own = ({host, counters, edge, node}: AgentWish) => ({
  host,
  counters,
  resource: {'service.name': 'agent', 'service.instance.id': node ? `${edge}/${nodeName}` : edge},
})

/** A pipeline has to have a receiver: this one is on a port that nobody is told of, and that nobody outside of its pod reaches. */
const nobody = {'otlp/nobody': {protocols: {grpc: {endpoint: '127.0.0.1:0'}}}}

/** The queue of an agent in the build lkeobs. */
const toQueue = 'durable_queue/hub'
const sendingPipelines = signals.map((signal) => `${signal}/hub`)

/** The agent of an edge that leaves: it takes nothing in, and sends what it has. Exporter and queue are the agent's, or it would not find what waits. */
export const closedAgentConfig = (wish: AgentWish): CollectorConfig => {
  const {extensions, exporters, connectors, service} = agentConfig(wish)
  const pipeline = {
    receivers: Object.keys(nobody),
    processors: [],
    exporters: connectors ? Object.keys(connectors) : Object.keys(exporters),
  }
  const sending = Object.entries(service.pipelines).filter(([name]) => connectors !== undefined && sendingPipelines.includes(name))
  return {
    extensions,
    receivers: nobody,
    processors: {},
    exporters,
    ...(connectors && {connectors}),
    service: {
      extensions: service.extensions,
      pipelines: {...Object.fromEntries(signals.map((signal) => [signal, pipeline])), ...Object.fromEntries(sending)},
      telemetry: ownTelemetry(own(wish)),
    },
  }
}

/**
 * How long an agent gathers before it sends. Each request costs the gateway's disk, whatever is in it. An edge on Kubernetes has
 * an agent on every node: 150 of them, five times a second, are more than a network volume takes (docs/performance.md).
 */
const gathers = ({node}: AgentWish): string => (node ? '1s' : usualFlush)

/** Retried for ever, whatever the hub says but that an item itself is wrong. */
const queueOf = (wish: AgentWish): Settings =>
  durableQueue({
    directory: wish.queue,
    partition: wish.edge,
    bytes: wish.queueBytes,
    itemBytes: maxItemBytes,
    flushAfter: gathers(wish),
    sinks: {hub: {pipelines: sendingPipelines, exporter: toHub, refusals: 'retry', consumers: 4, in_flight: 4}},
  })

/** The exporter's own queue, in the build upstream: as many items as the largest budget of a signal holds. */
const exporterQueue = (wish: AgentWish): Settings => ({
  ...durable,
  sending_queue: {
    ...durable.sending_queue,
    queue_size: Math.max(durable.sending_queue.queue_size, ...Object.values(itemsIn(wish.queueBytes))),
    batch: {...durable.sending_queue.batch, flush_timeout: gathers(wish)},
  },
})

/** OTLP, host metrics and log files of an edge, to the gateway by mutual TLS. */
export const agentConfig = (wish: AgentWish): CollectorConfig => {
  const {node} = wish
  const isOurs = wish.build === 'lkeobs'
  const exporters = [isOurs ? toQueue : toHub]
  const pipeline = (processors: readonly string[], ...receivers: string[]) => ({
    receivers,
    processors: ['memory_limiter', ...(node ? ['k8s_attributes', 'resource/node'] : []), ...processors, 'resource/identity'],
    exporters,
  })
  // what is about the whole cluster is of no pod, least of all of the one that sends it
  const clusterPipeline = {receivers: ['otlp/cluster'], processors: ['memory_limiter', 'resource/identity'], exporters}
  const toGateway: Settings = {
    endpoint: wish.gateway,
    compression: 'zstd',
    timeout: '15s',
    auth: {authenticator: 'bearertokenauth'},
    tls: {ca_file: wish.gatewayCa, cert_file: wish.leaf, key_file: wish.leaf, reload_interval: `${reloadMs}ms`, min_version: '1.3'},
  }
  return {
    extensions: {
      health_check: {endpoint: wish.health},
      ...(isOurs ? queueAdmin(wish.admin) : queueStorageAt(wish.queue)),
      [checkpoints]: {directory: `${wish.queue}-checkpoints`, create_directory: true},
      // it starts when it has the token: what is sent without is refused
      bearertokenauth: {filename: wish.credential, wait_for_token_file: true, retry_on_failure: {enabled: true, interval: '1s'}},
    },
    receivers: {
      otlp: {protocols: {grpc: {endpoint: wish.grpc, ...grpcReceiveLimit}, http: {endpoint: wish.http, ...httpReceiveLimit}}},
      host_metrics: hostMetrics(node?.hostRoot),
      ...(wish.logs.length > 0 && {file_log: logFiles(wish.logs)}),
      ...(node && nodeReceivers(node)),
    },
    processors: {
      memory_limiter: memoryLimiter,
      ...(node && nodeProcessors),
      // Prometheus stores no deltas. They add up where all of a workload's pass: here, and before the queue, whose order is that of arrival
      delta_to_cumulative: {},
      'resource/identity': identity(wish.edge),
    },
    exporters: {[toHub]: {...(isOurs ? synchronous : exporterQueue(wish)), ...toGateway}},
    ...(isOurs && {connectors: {[toQueue]: queueOf(wish)}}),
    service: {
      extensions: ['health_check', isOurs ? 'queue_admin' : queueStorage, checkpoints, 'bearertokenauth'],
      pipelines: {
        metrics: pipeline(
          ['delta_to_cumulative'],
          'otlp',
          'host_metrics',
          ...(node ? ['kubelet_stats'] : []),
          ...(node?.gpus ? [gpuReceiver] : []),
        ),
        logs: pipeline([], 'otlp', ...(wish.logs.length > 0 ? ['file_log'] : []), ...(node ? ['file_log/containers'] : [])),
        traces: pipeline([], 'otlp'),
        ...(node && {'metrics/cluster': clusterPipeline, 'logs/cluster': clusterPipeline}),
        ...(isOurs &&
          Object.fromEntries(sendingPipelines.map((name) => [name, {receivers: [toQueue], processors: [], exporters: [toHub]}]))),
      },
      telemetry: ownTelemetry({...own(wish), otlp: `http://${wish.http}`}),
    },
  }
}
