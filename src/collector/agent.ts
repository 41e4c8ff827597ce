import {type CollectorConfig, type Settings, signals} from './config.ts'
import {gpuReceiver, nodeName, nodeProcessors, nodeReceivers, type NodeWish} from './node.ts'
import {durable, memoryLimiter, queueStorage, queueStorageAt} from './durable.ts'
import {ownTelemetry} from './telemetry.ts'
import {toHub} from './queue.ts'
import {reloadMs} from '../trust/leaf.ts'

export type AgentWish = {
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

/** The agent of an edge that leaves: it takes nothing in, and sends what it has. Exporter and storage are the agent's, or it would not find its queue. */
export const closedAgentConfig = (wish: AgentWish): CollectorConfig => {
  const {extensions, exporters, service} = agentConfig(wish)
  const pipeline = {receivers: Object.keys(nobody), processors: [], exporters: Object.keys(exporters)}
  return {
    extensions,
    receivers: nobody,
    processors: {},
    exporters,
    service: {
      extensions: service.extensions,
      pipelines: Object.fromEntries(signals.map((signal) => [signal, pipeline])),
      telemetry: ownTelemetry(own(wish)),
    },
  }
}

/**
 * How long an agent gathers before it sends. Each request costs the gateway's queue six writes that wait for the disk, whatever is
 * in it. An edge on Kubernetes has an agent on every node: 150 of them, five times a second, are more than a network volume takes
 * (docs/performance.md).
 */
const gathers = ({node}: AgentWish): string => (node ? '1s' : durable.sending_queue.batch.flush_timeout)

/** OTLP, host metrics and log files of an edge, to the gateway by mutual TLS. */
export const agentConfig = (wish: AgentWish): CollectorConfig => {
  const {node} = wish
  const pipeline = (...receivers: string[]) => ({
    receivers,
    processors: ['memory_limiter', ...(node ? ['k8s_attributes', 'resource/node'] : []), 'resource/identity'],
    exporters: [toHub],
  })
  // what is about the whole cluster is of no pod, least of all of the one that sends it
  const clusterPipeline = {receivers: ['otlp/cluster'], processors: ['memory_limiter', 'resource/identity'], exporters: [toHub]}
  return {
    extensions: {
      health_check: {endpoint: wish.health},
      ...queueStorageAt(wish.queue),
      [checkpoints]: {directory: `${wish.queue}-checkpoints`, create_directory: true},
      // it starts when it has the token: what is sent without is refused, and lost
      bearertokenauth: {filename: wish.credential, wait_for_token_file: true, retry_on_failure: {enabled: true, interval: '1s'}},
    },
    receivers: {
      otlp: {protocols: {grpc: {endpoint: wish.grpc}, http: {endpoint: wish.http}}},
      host_metrics: hostMetrics(node?.hostRoot),
      ...(wish.logs.length > 0 && {file_log: logFiles(wish.logs)}),
      ...(node && nodeReceivers(node)),
    },
    processors: {memory_limiter: memoryLimiter, ...(node && nodeProcessors), 'resource/identity': identity(wish.edge)},
    exporters: {
      [toHub]: {
        ...durable,
        sending_queue: {...durable.sending_queue, batch: {...durable.sending_queue.batch, flush_timeout: gathers(wish)}},
        endpoint: wish.gateway,
        compression: 'zstd',
        timeout: '15s',
        auth: {authenticator: 'bearertokenauth'},
        tls: {ca_file: wish.gatewayCa, cert_file: wish.leaf, key_file: wish.leaf, reload_interval: `${reloadMs}ms`, min_version: '1.3'},
      },
    },
    service: {
      extensions: ['health_check', queueStorage, checkpoints, 'bearertokenauth'],
      pipelines: {
        metrics: pipeline('otlp', 'host_metrics', ...(node ? ['kubelet_stats'] : []), ...(node?.gpus ? [gpuReceiver] : [])),
        logs: pipeline('otlp', ...(wish.logs.length > 0 ? ['file_log'] : []), ...(node ? ['file_log/containers'] : [])),
        traces: pipeline('otlp'),
        ...(node && {'metrics/cluster': clusterPipeline, 'logs/cluster': clusterPipeline}),
      },
      telemetry: ownTelemetry({...own(wish), otlp: `http://${wish.http}`}),
    },
  }
}
