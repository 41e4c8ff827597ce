import type {LateData} from '../collector/budget.ts'
import {agentRelease} from '../components/agent.ts'
import {certManagerRelease} from '../components/cert-manager.ts'
import {collectorImage, type Leaf} from '../components/collector.ts'
import {gatewayRelease} from '../components/gateway.ts'
import {grafanaRelease} from '../components/grafana.ts'
import {instrumentationRelease} from '../components/instrumentation.ts'
import {lokiRelease} from '../components/loki.ts'
import {prometheusRelease} from '../components/prometheus.ts'
import type {ChartName, Release} from '../components/release.ts'
import {scraperRelease} from '../components/scraper.ts'
import {secretsOperatorRelease} from '../components/secrets-operator.ts'
import {tempoRelease} from '../components/tempo.ts'
import {vaultRelease} from '../components/vault.ts'
import type {KubernetesEdge, KubernetesHub} from '../fleet/schema.ts'
import {quantity as quantityIn} from '../tools/kube/quantity.ts'

/** What Kubernetes measures in: cores, bytes. */
export type Amount = {readonly cpu: number; readonly memory: number}

/** Pods that will be there when the cluster is as the fleet file wishes, and what each asks a node for. */
export type PodWish = {
  readonly component: string
  readonly chart: ChartName
  readonly pods: number | 'one on each node'
  readonly each: Amount
}

/** 0 where there is none. */
export const quantity = (text: string | undefined): number => quantityIn(text ?? '') ?? 0

export const sum = (amounts: readonly Amount[]): Amount => ({
  cpu: amounts.reduce((total, {cpu}) => total + cpu, 0),
  memory: amounts.reduce((total, {memory}) => total + memory, 0),
})

type Requests = {readonly requests?: {readonly cpu?: string; readonly memory?: string}}

/** All that the values of a chart ask for, wherever in them: our values name every container that runs. */
const requestsIn = (value: unknown): readonly Amount[] => {
  if (typeof value !== 'object' || value === null) return []
  const {requests} = value as Requests
  const own = typeof requests === 'object' ? [{cpu: quantity(requests.cpu), memory: quantity(requests.memory)}] : []
  return [...own, ...Object.values(value).flatMap(requestsIn)]
}

const of = ({name, chart, values}: Release, pods: PodWish['pods']): PodWish => ({
  component: name,
  chart,
  pods,
  each: sum(requestsIn(values)),
})

type Shared = {readonly certManager: boolean; readonly secretsOperator: boolean}

const leafOf = ({secretsOperator}: Shared): Leaf => (secretsOperator ? 'secret' : 'sidecar')

/** Neither asks for more or less room. */
const image = collectorImage('upstream', undefined)
const late: LateData = {prometheusSeconds: 0, lokiStreamSeconds: 0, lokiSeconds: 0, tempoSeconds: 0, rules: {metrics: 0, logs: 0}}

const shared = ({certManager, secretsOperator}: Shared, replicas: number): readonly PodWish[] => [
  // what they are configured with asks for nothing
  of(vaultRelease({replicas, size: '10Gi', config: {}, selfConfigMap: '', tlsSecret: '', handedSecrets: []}), replicas),
  ...(certManager ? [of(certManagerRelease(), 1)] : []),
  ...(secretsOperator ? [of(secretsOperatorRelease(), 1)] : []),
]

/** The pods of a hub; the gateways it has at least. */
export const hubWishes = (platform: KubernetesHub, vaultReplicas: number): readonly PodWish[] => {
  const {gateway, stores, grafana} = platform
  const kept = {size: stores.size, retentionDays: stores.retentionDays, late}
  return [
    ...shared(platform, vaultReplicas),
    of(prometheusRelease(kept), 1),
    of(lokiRelease(kept), 1),
    of(tempoRelease(kept), 1),
    ...(grafana ? [of(grafanaRelease(), 1)] : []),
    of(gatewayRelease({...gateway, image, config: {}, queueSize: gateway.queue, leaf: leafOf(platform)}), gateway.replicas),
  ]
}

/** The pods of an edge; the workload that canaries are sent from asks for next to nothing. */
export const edgeWishes = (platform: KubernetesEdge): readonly PodWish[] => [
  ...shared(platform, 1),
  of(agentRelease({image, config: {}, leaf: leafOf(platform)}), 'one on each node'),
  of(scraperRelease({image, config: {}}), 1),
  ...(platform.instrumentation ? [of(instrumentationRelease(), 1)] : []),
]
