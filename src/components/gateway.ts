import type {CollectorBuild} from '../collector/build.ts'
import {literal} from '../collector/config.ts'
import {goRuntime} from '../collector/durable.ts'
import {graceMs} from '../collector/destinations.ts'
import {closedGatewayConfig, gatewayConfig, type GatewayWish} from '../collector/gateway.ts'

import {mounts, namespace} from '../platforms/kubernetes/names.ts'
import type {Place} from '../platforms/platform.ts'
import {renderValues, toYaml} from '../templates.ts'
import {trustBundleFile} from '../trust/bundle.ts'
import {keysFile, termsOf} from '../trust/credential.ts'
import {collectorUser, type CollectorImage, collectorValues, handed, type Leaf, leafMounts, mounted} from './collector.ts'
import {answers, type Component} from './component.ts'
import type {Release} from './release.ts'
import {digestOf} from './values.ts'

/** The file that the leaf agent writes for a collector. */
export const leafFile = 'leaf.pem'
/** What a collector on this machine asks of whoever asks about its queues. It makes it. */
export const adminTokenFile = 'admin-token'

export type GatewayProcess = {
  readonly build: CollectorBuild
  readonly budget: GatewayWish['budget']
  readonly hub: string
  readonly stores: GatewayWish['stores']
  readonly asks: boolean
  /** It takes nothing in, and sends what the exporters of the build upstream have queued. */
  readonly closed?: boolean
  readonly destinations: NonNullable<GatewayWish['destinations']>
  /** The secrets of the destinations; left out where there is none. */
  readonly environment?: Component['environment']
}

export const gateway = (
  at: Place,
  {build, budget, hub, stores, asks, closed = false, destinations, environment}: GatewayProcess,
): Component => ({
  name: 'gateway',
  title: 'gateway',
  program: 'otelcol',
  args: [`--config=${at.file('gateway.yaml')}`],
  files: {
    'gateway.yaml': toYaml(
      literal(
        (closed ? closedGatewayConfig : gatewayConfig)({
          build,
          budget,
          hub,
          listen: at.address('otlp'),
          leaf: at.file(leafFile),
          clients: at.file(trustBundleFile),
          ...(asks && {asks: {...termsOf(hub), keys: at.file(keysFile), door: at.address('ask')}}),
          own: at.address('own'),
          health: at.address('health'),
          host: at.host,
          counters: at.port('counters'),
          queue: at.file('queue'),
          admin: {endpoint: build === 'lkeobs' ? at.address('admin') : '', tokenFile: at.file(adminTokenFile)},
          stores,
          destinations,
        }),
      ),
    ),
  },
  variables: goRuntime,
  ...(environment && {environment}),
  url: `https://${at.address('otlp')}`,
  ready: answers(`http://${at.address('health')}`),
})

/** The gateway's pods on Kubernetes. */
const podLabels = {
  'app.kubernetes.io/name': 'opentelemetry-collector',
  'app.kubernetes.io/instance': 'gateway',
  component: 'statefulset-collector',
}

export type GatewayReleaseWish = {
  readonly config: object
  readonly image: CollectorImage
  readonly replicas: number
  readonly maxReplicas: number
  readonly storageClass?: string | undefined
  readonly queueSize: string
  readonly leaf: Leaf
  /** The secrets of its destinations, each in a Secret of its own, and a word that changes with them; none where it has no destination. */
  readonly told?: {readonly variables: Readonly<Record<string, SecretKey>>; readonly version: string} | undefined
}

/** Where a value is. */
export type SecretKey = {readonly name: string; readonly key: string}

/** What a gateway with destinations has beside the others: it ends before its feeds give anything up, and another secret makes other pods. */
const toldValues = ({version}: NonNullable<GatewayReleaseWish['told']>): Record<string, unknown> => ({
  terminationGracePeriodSeconds: graceMs / 1000,
  podAnnotations: {'lkeobs/destinations': digestOf(version)},
})

/** The gateway on Kubernetes. Edges reach it by a Service of its own; the release's is for health and counters. */
export const gatewayRelease = ({
  config,
  image,
  replicas,
  maxReplicas,
  storageClass,
  queueSize,
  leaf,
  told,
}: GatewayReleaseWish): Release => ({
  name: 'gateway',
  title: 'gateway',
  namespace,
  chart: 'opentelemetry-collector',
  values: {
    ...collectorValues({
      name: 'gateway',
      image,
      config,
      envs: Object.entries(told?.variables ?? {}).map(([name, secretKeyRef]) => ({name, valueFrom: {secretKeyRef}})),
      takesOtlp: false,
      speaksToKubernetes: false,
      hasLeaf: true,
    }),
    ...renderValues('gateway.yaml', {
      user: collectorUser.own,
      replicas,
      maxReplicas,
      spread: [
        {
          maxSkew: 1,
          topologyKey: 'kubernetes.io/hostname',
          whenUnsatisfiable: 'ScheduleAnyway',
          labelSelector: {matchLabels: podLabels},
        },
      ],
      claims: [
        {
          apiVersion: 'v1',
          kind: 'PersistentVolumeClaim',
          metadata: {name: 'queue'},
          spec: {accessModes: ['ReadWriteOnce'], resources: {requests: {storage: queueSize}}, storageClassName: storageClass},
        },
      ],
    }),
    ...(told && toldValues(told)),
    ...mounted(
      leafMounts('gateway', leaf, collectorUser.own),
      handed('gateway', trustBundleFile, mounts.trust),
      handed('gateway', keysFile, mounts.keys),
      {
        extraVolumes: [],
        extraVolumeMounts: [{name: 'queue', mountPath: mounts.queue}],
      },
    ),
  },
})
