import type {Fleet} from '../clusters.ts'
import {LkeobsError} from '../errors.ts'
import type {KubernetesHub} from '../fleet/schema.ts'
import {siteOf} from '../platforms/kubernetes/cluster.ts'
import type {Controller} from '../platforms/kubernetes/identity.ts'
import {certManagerNamespace, namespace, secretsOperatorNamespace} from '../platforms/kubernetes/names.ts'
import {rolledOut} from '../platforms/kubernetes/rollout.ts'
import type {ComponentState, HubCluster} from '../platforms/platform.ts'
import {type InstalledRelease, releasesIn} from '../tools/helm.ts'
import type {Tools} from '../tools/index.ts'
import type {Kube, KubeObject} from '../tools/kube/kube.ts'
import {type Certificate, warnDays} from './certificate.ts'
import {certificatesOf} from './certificates.ts'

export type HubRelease = {
  readonly name: string
  readonly chart: string
  readonly chartVersion: string
  readonly appVersion?: string
  readonly revision: number
  /** As helm calls it: `deployed`. */
  readonly state: string
}
export type HubComponent = {
  readonly component: string
  /** `ready`, or what is not so. */
  readonly state: string
  /** Pods; left out for processes. */
  readonly ready?: number
  readonly wanted?: number
  readonly pid?: number
  readonly upMs?: number
}
export type HubImage = {
  readonly image: string
  /** What runs, not what was asked for. */
  readonly digest: string
  readonly pods: number
  readonly components: readonly string[]
  /** A component of these runs more than one digest of it. */
  readonly mixed: boolean
}
export type HubEndpoint = {
  readonly name: string
  readonly type: string
  readonly addresses: readonly string[]
  readonly ports: readonly number[]
}
export type HubVolume = {
  readonly claim: string
  readonly component: string
  readonly size: string
  readonly class: string
  readonly bound: boolean
}
export type HubStatus = {
  readonly fleet: string
  readonly hub: string
  readonly platform: 'kubernetes' | 'local'
  readonly ok: boolean
  /** What edges dial; left out while there is no address. */
  readonly endpoint?: string
  readonly releases: readonly HubRelease[]
  readonly components: readonly HubComponent[]
  readonly images: readonly HubImage[]
  readonly endpoints: readonly HubEndpoint[]
  readonly certificates: readonly Certificate[]
  readonly volumes: readonly HubVolume[]
}

const instanceOf = ({metadata: {labels}}: KubeObject): string => labels?.['app.kubernetes.io/instance'] ?? ''

// --- pods and their images

type ContainerStatus = {
  readonly name: string
  readonly image: string
  readonly imageID?: string
  readonly state?: {readonly running?: object}
}
type Pod = KubeObject & {
  readonly status?: {readonly containerStatuses?: readonly ContainerStatus[]; readonly initContainerStatuses?: readonly ContainerStatus[]}
}

const digestOf = ({imageID = ''}: ContainerStatus): string => imageID.slice(imageID.lastIndexOf('@') + 1) || 'unknown'

/** Which digests run, in how many pods; a roll-out that stopped half way shows as two of one image. */
export const imagesOf = (pods: readonly Pod[]): readonly HubImage[] => {
  const running = pods.flatMap((pod) =>
    // one that runs beside the others all the time is an init container to Kubernetes
    [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]
      .filter(({state, imageID}) => state?.running !== undefined && imageID !== undefined)
      .map((status) => ({
        pod: pod.metadata.name,
        component: instanceOf(pod),
        container: `${instanceOf(pod)} ${status.name}`,
        image: status.image,
        digest: digestOf(status),
      })),
  )
  const digestsOf = Map.groupBy(running, ({container}) => container)
  const isMixed = ({container}: (typeof running)[number]) => new Set((digestsOf.get(container) ?? []).map(({digest}) => digest)).size > 1
  const groups = Map.groupBy(running, ({image, digest}) => `${image} ${digest}`)
  return [...groups.values()]
    .flatMap((group) => {
      const [first] = group
      if (!first) return []
      const {image, digest} = first
      const components = [...new Set(group.map(({component}) => component))].toSorted()
      return [{image, digest, pods: new Set(group.map(({pod}) => pod)).size, components, mixed: group.some(isMixed)}]
    })
    .toSorted((one, other) => one.image.localeCompare(other.image) || other.pods - one.pods)
}

type Workload = KubeObject & {
  readonly spec?: {readonly replicas?: number}
  readonly status?: {readonly readyReplicas?: number; readonly desiredNumberScheduled?: number; readonly numberReady?: number}
}

const podsOf = ({kind, spec, status}: Workload) =>
  kind === 'DaemonSet'
    ? {ready: status?.numberReady ?? 0, wanted: status?.desiredNumberScheduled ?? 0}
    : {ready: status?.readyReplicas ?? 0, wanted: spec?.replicas ?? 1}

export const componentsOf = (states: readonly ComponentState[], workloads: readonly Workload[]): readonly HubComponent[] =>
  states.map(({component, state}) => {
    const own = workloads.filter((workload) => workload.metadata.name === component || instanceOf(workload) === component).map(podsOf)
    const total = (of: 'ready' | 'wanted') => own.reduce((sum, pods) => sum + pods[of], 0)
    return {component, state, ready: total('ready'), wanted: total('wanted')}
  })

// --- Services and volumes

type Service = KubeObject & {
  readonly spec?: {
    readonly type?: string
    readonly clusterIP?: string
    readonly ports?: readonly {readonly port: number}[]
  }
  readonly status?: {readonly loadBalancer?: {readonly ingress?: readonly {readonly ip?: string; readonly hostname?: string}[]}}
}

/** Those with an address of their own. */
export const endpointsOf = (services: readonly Service[]): readonly HubEndpoint[] =>
  services
    .filter(({spec}) => spec?.clusterIP !== 'None')
    .map(({metadata, spec, status}) => {
      const outside = (status?.loadBalancer?.ingress ?? []).flatMap(({ip, hostname}) => ip ?? hostname ?? [])
      const type = spec?.type ?? 'ClusterIP'
      return {
        name: metadata.name,
        type,
        addresses: type === 'LoadBalancer' ? outside : [spec?.clusterIP ?? ''],
        ports: (spec?.ports ?? []).map(({port}) => port),
      }
    })
    .toSorted(
      (one, other) => Number(other.type === 'LoadBalancer') - Number(one.type === 'LoadBalancer') || one.name.localeCompare(other.name),
    )

type Claim = KubeObject & {
  readonly spec?: {readonly storageClassName?: string; readonly resources?: {readonly requests?: {readonly storage?: string}}}
  readonly status?: {readonly phase?: string; readonly capacity?: {readonly storage?: string}}
}

export const volumesOf = (claims: readonly Claim[]): readonly HubVolume[] =>
  claims
    .map((claim) => ({
      claim: claim.metadata.name,
      component: instanceOf(claim),
      size: claim.status?.capacity?.storage ?? claim.spec?.resources?.requests?.storage ?? '',
      class: claim.spec?.storageClassName ?? '',
      bound: claim.status?.phase === 'Bound',
    }))
    .toSorted((one, other) => one.claim.localeCompare(other.claim))

// --- certificates

/** Of the hub itself: leaf, Vault, issuers and root CA. */
const hubCertificates = async (hub: HubCluster): Promise<readonly Certificate[]> => {
  const kinds = ['leaf', 'vault', 'issuer', 'root'] as const
  const rows = await certificatesOf(hub, {warnMs: warnDays * 86_400_000, kinds})
  return kinds.flatMap((kind) => rows.filter((row) => row.kind === kind))
}

// --- the hub

const shared = (
  hub: HubCluster,
  components: readonly HubComponent[],
  certificates: readonly Certificate[],
  endpoint: string | undefined,
  isInMemory: boolean,
) => ({
  hub: hub.name,
  ok:
    endpoint !== undefined &&
    components.every(({state}) => state === 'ready') &&
    // a gateway without a leaf is not ready; whether a leaf that is in its pod's memory can be looked at is another matter
    certificates.every(({kind, state}) => state !== 'expired' && (state !== 'unknown' || (kind === 'leaf' && isInMemory))),
  ...(endpoint !== undefined && {endpoint}),
  components,
  certificates,
})

/** Undefined while there is none. */
const endpointOf = async (hub: HubCluster): Promise<string | undefined> => {
  try {
    return await hub.endpoint()
  } catch (error) {
    if (error instanceof LkeobsError && error.code === 'LKO-3115') return undefined
    throw error
  }
}

/** Releases, workloads and pods of a namespace. */
const seenIn = async (kube: Kube, at: string) => {
  const kinds = ['Deployment', 'StatefulSet', 'DaemonSet']
  const [releases, pods, ...workloads] = await Promise.all([
    releasesIn(kube, at),
    kube.list<Pod>({apiVersion: 'v1', kind: 'Pod'}, {namespace: at}),
    ...kinds.map((kind) => kube.list<Workload>({apiVersion: 'apps/v1', kind}, {namespace: at})),
  ])
  return {releases, pods, workloads: workloads.flat()}
}
type Seen = Awaited<ReturnType<typeof seenIn>>

/** A controller that lkeobs installed is part of the hub; one from elsewhere is its owner's affair. */
const controllerIn = async (
  kube: Kube,
  component: Controller,
  at: string,
): Promise<(Seen & {readonly state: ComponentState}) | undefined> => {
  const home = await kube.read({apiVersion: 'v1', kind: 'Namespace', name: at})
  if (home?.metadata.labels?.['app.kubernetes.io/managed-by'] !== 'lkeobs') return undefined
  const seen = await seenIn(kube, at)
  const [not] = seen.workloads.map(rolledOut).filter((answer) => answer !== true)
  return {...seen, state: {component, state: seen.workloads.length === 0 ? 'not installed' : (not ?? 'ready')}}
}

const releaseOf = ({name, chart, revision, status}: InstalledRelease): HubRelease => ({
  name,
  chart: chart.name,
  chartVersion: chart.version,
  ...(chart.appVersion !== undefined && {appVersion: chart.appVersion}),
  revision,
  state: status,
})

const onKubernetes = async ({file, hub}: Fleet, platform: KubernetesHub, tools: Tools): Promise<HubStatus> => {
  const site = siteOf(file, hub.name, 'hub', platform, tools, {})
  const {kube} = site
  const {certManager, secretsOperator} = platform
  const states = hub.inspect()
  const core = <T extends KubeObject>(kind: string) => kube.list<T>({apiVersion: 'v1', kind}, {namespace})
  const [endpoint, own, services, claims, certificates, first, ...more] = await Promise.all([
    endpointOf(hub),
    states,
    core<Service>('Service'),
    core<Claim>('PersistentVolumeClaim'),
    hubCertificates(hub),
    seenIn(kube, namespace),
    certManager ? controllerIn(kube, 'cert-manager', certManagerNamespace) : undefined,
    secretsOperator ? controllerIn(kube, 'vault-secrets-operator', secretsOperatorNamespace) : undefined,
  ])
  const controllers = more.filter((controller) => controller !== undefined)
  const all: readonly Seen[] = [first, ...controllers]
  const releases = all.flatMap((seen) => seen.releases.map(releaseOf))
  const components = componentsOf(
    [...own, ...controllers.map(({state}) => state)],
    all.flatMap(({workloads}) => workloads),
  )
  const volumes = volumesOf(claims)
  const base = shared(hub, components, certificates, endpoint, !secretsOperator)
  return {
    fleet: file.fleet.fleet,
    platform: 'kubernetes',
    ...base,
    ok: base.ok && releases.every(({state}) => state === 'deployed') && volumes.every(({bound}) => bound),
    releases,
    images: imagesOf(all.flatMap(({pods}) => pods)),
    endpoints: endpointsOf(services),
    volumes,
  }
}

const onThisMachine = async ({file, hub}: Fleet): Promise<HubStatus> => {
  const found = hub.inspect()
  const [endpoint, states, certificates] = await Promise.all([endpointOf(hub), found, hubCertificates(hub)])
  const running = new Set(states.filter(({pid}) => pid !== undefined).map(({component}) => component))
  const endpoints = (hub.processes ?? []).flatMap(({name, url}) =>
    url === undefined || !running.has(name)
      ? []
      : [{name, type: 'process', addresses: [new URL(url).hostname], ports: [Number(new URL(url).port)]}],
  )
  const components = states.map(({component, state, pid, upMs}) => ({
    component,
    state,
    ...(pid !== undefined && {pid}),
    ...(upMs !== undefined && {upMs}),
  }))
  return {
    fleet: file.fleet.fleet,
    platform: 'local',
    ...shared(hub, components, certificates, endpoint, false),
    releases: [],
    images: [],
    endpoints,
    volumes: [],
  }
}

/** The hub as its platform sees it. */
export const hubStatus = (fleet: Fleet, tools: Tools): Promise<HubStatus> => {
  const {kubernetes} = fleet.file.fleet.hub.platform
  return kubernetes ? onKubernetes(fleet, kubernetes, tools) : onThisMachine(fleet)
}
