import type {CollectorBuild} from '../collector/build.ts'
import {literal} from '../collector/config.ts'
import {agentConfig, type AgentWish, closedAgentConfig} from '../collector/agent.ts'
import {goRuntime} from '../collector/durable.ts'

import {mounts, nodeNamespace} from '../platforms/kubernetes/names.ts'
import type {Place} from '../platforms/platform.ts'
import {renderValues, toYaml} from '../templates.ts'
import {credentialFile} from '../trust/credential.ts'
import {collectorUser, type CollectorImage, collectorValues, handed, type Leaf, leafMounts, mounted, type Mounts} from './collector.ts'
import {answers, type Component} from './component.ts'
import {adminTokenFile, leafFile} from './gateway.ts'
import type {Release} from './release.ts'
import {digestOf} from './values.ts'

/** The hub's root CA in the agent's hands. The collector reads it only when it starts (core#11111). */
export const hubCaFile = 'hub-ca.pem'

/**
 * A line of a log file is in the queue before the place it was read at is kept. Without this gate lines wait for a moment in
 * memory, and a kill -9 in that moment loses them.
 */
const gates = ['--feature-gates=stanza.synchronousLogEmitter']

export type LocalAgentWish = {
  readonly build: CollectorBuild
  readonly queueBytes: AgentWish['queueBytes']
  readonly edge: string
  readonly gateway: string
  readonly logs: readonly string[]
  /** It takes nothing in any more. */
  readonly closed?: boolean
}

export const agent = (at: Place, {build, queueBytes, edge, gateway, logs, closed = false}: LocalAgentWish): Component => ({
  name: 'agent',
  title: 'agent',
  program: 'otelcol',
  args: [`--config=${at.file('agent.yaml')}`, ...gates],
  files: {
    'agent.yaml': toYaml(
      literal(
        (closed ? closedAgentConfig : agentConfig)({
          build,
          edge,
          gateway,
          gatewayCa: at.file(hubCaFile),
          leaf: at.file(leafFile),
          credential: at.file(credentialFile),
          grpc: at.address('grpc'),
          http: at.address('http'),
          health: at.address('health'),
          host: at.host,
          counters: at.port('counters'),
          queue: at.file('queue'),
          queueBytes,
          admin: {endpoint: at.address('admin'), tokenFile: at.file(adminTokenFile)},
          logs,
        }),
      ),
    ),
  },
  restartOn: [hubCaFile, credentialFile],
  variables: goRuntime,
  ...(!closed && {url: `http://${at.address('http')}`}),
  ready: answers(`http://${at.address('health')}`),
})

/** Where an agent sees its node's file system, for the metrics of the host. */
const hostRoot = '/hostfs'

/** The node's log files and its file system, to read; a folder on it for the queue, which outlives the pod. */
const node: Mounts = {
  extraVolumes: [
    {name: 'logs', hostPath: {path: '/var/log/pods'}},
    {name: 'host', hostPath: {path: '/'}},
    {name: 'queue', hostPath: {path: mounts.queue, type: 'DirectoryOrCreate'}},
  ],
  extraVolumeMounts: [
    {name: 'logs', mountPath: '/var/log/pods', readOnly: true},
    {name: 'host', mountPath: hostRoot, readOnly: true, mountPropagation: 'HostToContainer'},
    {name: 'queue', mountPath: mounts.queue},
  ],
}

/** The node that it is on, as its configuration asks for it. */
const nodeEnvs = [
  {name: 'K8S_NODE_NAME', valueFrom: {fieldRef: {fieldPath: 'spec.nodeName'}}},
  {name: 'K8S_NODE_IP', valueFrom: {fieldRef: {fieldPath: 'status.hostIP'}}},
]

const reads = ['get', 'list', 'watch']

/** What k8s_attributes looks up about a sender, and what the kubelet tells of its node. */
const clusterRole = {
  create: true,
  name: 'lkeobs-agent',
  clusterRoleBinding: {name: 'lkeobs-agent'},
  rules: [
    {apiGroups: [''], resources: ['pods', 'namespaces', 'nodes'], verbs: reads},
    {apiGroups: ['apps'], resources: ['replicasets', 'deployments', 'statefulsets', 'daemonsets'], verbs: reads},
    {apiGroups: ['batch'], resources: ['jobs', 'cronjobs'], verbs: reads},
    {apiGroups: [''], resources: ['nodes/stats', 'nodes/proxy'], verbs: ['get']},
  ],
}

export type AgentReleaseWish = {
  readonly config: object
  readonly image: CollectorImage
  readonly leaf: Leaf
  /** What was handed to it that it reads only when it starts: other content restarts it. */
  readonly restartOn?: string | undefined
}

/** The agent on Kubernetes: one on every node. */
export const agentRelease = ({config, image, leaf, restartOn}: AgentReleaseWish): Release => ({
  name: 'agent',
  title: 'agent',
  namespace: nodeNamespace,
  chart: 'opentelemetry-collector',
  values: {
    ...collectorValues({
      name: 'agent',
      image,
      config,
      args: gates,
      envs: nodeEnvs,
      takesOtlp: true,
      speaksToKubernetes: true,
      hasLeaf: true,
    }),
    ...renderValues('agent.yaml', {
      user: collectorUser.root,
      clusterRole,
      podAnnotations: restartOn === undefined ? {} : {'lkeobs/restart-on': digestOf(restartOn)},
    }),
    ...mounted(
      leafMounts('agent', leaf, collectorUser.root),
      handed('agent', hubCaFile, mounts.hubCa),
      handed('agent', credentialFile, mounts.credential),
      node,
    ),
  },
})
