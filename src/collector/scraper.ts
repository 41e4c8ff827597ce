import type {CollectorConfig} from './config.ts'
import {memoryLimiter} from './durable.ts'
import {exporterBatch} from './sizes.ts'
import {ownTelemetry} from './telemetry.ts'

export type ScraperWish = {
  /** The agents' receiver for what is about the whole cluster: `host:port`. */
  readonly agent: string
  /** The agents' OTLP/HTTP receiver, for its own telemetry. */
  readonly agentHttp: string
  readonly health: string
  readonly host: string
  readonly counters: number
}

/**
 * State and events of a whole Kubernetes cluster, by one process: two would count everything twice, so its Deployment
 * recreates and never overlaps. It keeps nothing: agents queue what it sends, state is asked for again, and events are
 * kept by the API server for an hour.
 */
export const scraperConfig = (wish: ScraperWish): CollectorConfig => {
  const pipeline = (receiver: string) => ({receivers: [receiver], processors: ['memory_limiter'], exporters: ['otlp_grpc/agent']})
  return {
    extensions: {health_check: {endpoint: wish.health}},
    receivers: {
      k8s_cluster: {
        auth_type: 'serviceAccount',
        collection_interval: '30s',
        node_conditions_to_report: ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'],
        allocatable_types_to_report: ['cpu', 'memory', 'ephemeral-storage', 'pods'],
      },
      k8s_events: {auth_type: 'serviceAccount'},
    },
    processors: {memory_limiter: memoryLimiter},
    exporters: {
      'otlp_grpc/agent': {
        endpoint: wish.agent,
        tls: {insecure: true},
        retry_on_failure: {enabled: true, initial_interval: '1s', max_interval: '15s', max_elapsed_time: '10m'},
        sending_queue: {
          enabled: true,
          sizer: 'items',
          queue_size: 100_000,
          batch: {flush_timeout: '1s', ...exporterBatch},
        },
      },
    },
    service: {
      extensions: ['health_check'],
      pipelines: {metrics: pipeline('k8s_cluster'), logs: pipeline('k8s_events')},
      telemetry: ownTelemetry({host: wish.host, counters: wish.counters, otlp: wish.agentHttp, resource: {'service.name': 'scraper'}}),
    },
  }
}
