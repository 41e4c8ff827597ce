import {environment, type Settings} from './config.ts'
import {grpcReceiveLimit} from './sizes.ts'

/** The name and address of the node, as Kubernetes puts them into the agent's environment. */
export const nodeName = environment('K8S_NODE_NAME')
const nodeAddress = environment('K8S_NODE_IP')

export type NodeWish = {
  /** The node's root file system, as the agent sees it. */
  readonly hostRoot: string
  /** Where the scraper sends what is about the whole cluster: `host:port`. */
  readonly cluster: string
  /** Logs of containers that are not followed: the agent's own would feed on themselves. */
  readonly exclude: readonly string[]
  /** Whether there are GPU exporters on the cluster's nodes. */
  readonly gpus: boolean
}

export const gpuReceiver = 'prometheus/gpus'

/** The GPU exporter on the agent's own node (prometheusreceiver's README; its label and port are the chart's). */
const gpuExporter: Settings = {
  config: {
    scrape_configs: [
      {
        job_name: 'dcgm-exporter',
        scrape_interval: '15s',
        kubernetes_sd_configs: [{role: 'pod', selectors: [{role: 'pod', field: `spec.nodeName=${nodeName}`}]}],
        relabel_configs: [
          {source_labels: ['__meta_kubernetes_pod_label_app_kubernetes_io_name'], regex: 'dcgm-exporter', action: 'keep'},
          {source_labels: ['__meta_kubernetes_pod_container_port_number'], regex: '9400', action: 'keep'},
        ],
      },
    ],
  },
}

/** What a node has to tell: its containers' logs, its kubelet. */
export const nodeReceivers = ({cluster, exclude, gpus}: NodeWish): Record<string, Settings> => ({
  'otlp/cluster': {protocols: {grpc: {endpoint: cluster, ...grpcReceiveLimit}}},
  ...(gpus && {[gpuReceiver]: gpuExporter}),
  'file_log/containers': {
    include: ['/var/log/pods/*/*/*.log'],
    exclude,
    // files that come later are read from their beginning
    start_at: 'end',
    include_file_path: true,
    include_file_name: false,
    storage: 'file_storage/checkpoints',
    retry_on_failure: {enabled: true, max_elapsed_time: 0},
    operators: [{type: 'container', id: 'container', max_log_size: 102_400}],
  },
  kubelet_stats: {
    auth_type: 'serviceAccount',
    endpoint: `https://${nodeAddress}:10250`,
    collection_interval: '20s',
    // kubelets sign their certificates themselves; who asks is checked by token
    insecure_skip_verify: true,
    metric_groups: ['node', 'pod', 'container', 'volume'],
    extra_metadata_labels: ['container.id'],
  },
})

/** Everything says which pod, workload and node it is of. */
export const nodeProcessors: Record<string, Settings> = {
  k8s_attributes: {
    auth_type: 'serviceAccount',
    filter: {node_from_env_var: 'K8S_NODE_NAME'},
    // what arrives before the pods are known would go on without their names
    wait_for_metadata: true,
    extract: {
      metadata: [
        'k8s.namespace.name',
        'k8s.pod.name',
        'k8s.pod.uid',
        'k8s.pod.start_time',
        'k8s.node.name',
        'k8s.deployment.name',
        'k8s.statefulset.name',
        'k8s.daemonset.name',
        'k8s.cronjob.name',
        'k8s.job.name',
        'k8s.container.name',
        'container.image.name',
        'container.image.tag',
        'service.namespace',
        'service.name',
        'service.version',
      ],
    },
    pod_association: [
      {sources: [{from: 'resource_attribute', name: 'k8s.pod.uid'}]},
      {sources: [{from: 'resource_attribute', name: 'k8s.pod.ip'}]},
      {sources: [{from: 'connection'}]},
    ],
  },
  'resource/node': {attributes: [{key: 'k8s.node.name', value: nodeName, action: 'upsert'}]},
}
