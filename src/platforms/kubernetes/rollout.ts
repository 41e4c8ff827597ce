import {count} from '../../output.ts'
import {addressOf} from '../../tools/kube/balancer.ts'
import {type Condition, conditionOf, isTrue} from '../../tools/kube/condition.ts'
import type {KubeObject} from '../../tools/kube/kube.ts'

/** What is read here of the many kinds; each has some of it. */
type Live = KubeObject & {
  readonly metadata: {
    readonly generation?: number
    readonly deletionTimestamp?: string
    readonly finalizers?: readonly string[]
    readonly managedFields?: readonly {
      readonly manager?: string
      readonly subresource?: string
      readonly fieldsV1?: {readonly 'f:spec'?: object}
    }[]
  }
  readonly spec?: {
    readonly minReplicas?: number
    readonly replicas?: number
    readonly completions?: number
    readonly suspend?: boolean
    readonly type?: string
    readonly storageClassName?: string
    readonly updateStrategy?: {readonly type?: string; readonly rollingUpdate?: {readonly partition?: number}}
  }
  readonly status?: {
    readonly observedGeneration?: number
    readonly currentReplicas?: number
    readonly replicas?: number
    readonly updatedReplicas?: number
    readonly readyReplicas?: number
    readonly availableReplicas?: number
    readonly desiredNumberScheduled?: number
    readonly currentNumberScheduled?: number
    readonly updatedNumberScheduled?: number
    readonly numberAvailable?: number
    readonly succeeded?: number
    readonly phase?: string
    readonly conditions?: readonly Condition[]
    readonly loadBalancer?: {readonly ingress?: readonly {readonly ip?: string; readonly hostname?: string}[]}
  }
}

type Answer = true | string

/** Whether what an object asks for is there: pods that are ready and of its latest template, a certificate, a volume, an address. */
export const rolledOut = (object: KubeObject): Answer => {
  const live = object as Live
  const {deletionTimestamp, finalizers = []} = live.metadata
  if (deletionTimestamp !== undefined) {
    const held = finalizers.length === 0 ? '' : `, held by ${finalizers.length === 1 ? 'finalizer' : 'finalizers'} ${finalizers.join(', ')}`
    return `being deleted${held}`
  }
  return byKind[live.kind]?.(live) ?? true
}

/** The first that is not so. */
const all = (...answers: readonly Answer[]): Answer => answers.find((answer) => answer !== true) ?? true

/** The controller has seen the object as it is now: before that its counts are of the one before. */
const seen = ({metadata, status}: Live): Answer =>
  (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) ? true : 'its change is not seen yet'

const of = (some: number | undefined, wanted: number, what: string): Answer =>
  (some ?? 0) >= wanted ? true : `${some ?? 0} of ${count(wanted, 'pod')} ${what}`

const deployment = (live: Live): Answer => {
  const {replicas = 0, updatedReplicas = 0, availableReplicas} = live.status ?? {}
  const wanted = live.spec?.replicas ?? 1
  const old = replicas - updatedReplicas
  return all(
    seen(live),
    of(updatedReplicas, wanted, old > 0 ? 'updated' : 'made'),
    of(availableReplicas, wanted, 'ready'),
    old > 0 ? `${count(old, 'old pod')} not gone yet` : true,
  )
}

/** An autoscaler sets replicas through the subresource `scale`; it may wish for more than there are nodes, at any time. */
const isAutoscaled = ({metadata}: Live): boolean =>
  (metadata.managedFields ?? []).some(
    ({manager, subresource, fieldsV1}) =>
      subresource === 'scale' && manager === 'kube-controller-manager' && 'f:replicas' in (fieldsV1?.['f:spec'] ?? {}),
  )

const statefulSet = (live: Live): Answer => {
  const {replicas = 0, updatedReplicas, readyReplicas, availableReplicas} = live.status ?? {}
  const wanted = isAutoscaled(live) ? replicas : (live.spec?.replicas ?? 1)
  const {type, rollingUpdate} = live.spec?.updateStrategy ?? {}
  const toUpdate = type === 'OnDelete' ? 0 : Math.max(0, wanted - (rollingUpdate?.partition ?? 0))
  return all(
    seen(live),
    of(updatedReplicas, toUpdate, replicas > (updatedReplicas ?? 0) ? 'updated' : 'made'),
    of(availableReplicas ?? readyReplicas, wanted, 'ready'),
  )
}

const daemonSet = (live: Live): Answer => {
  const {desiredNumberScheduled = 0, currentNumberScheduled = 0, updatedNumberScheduled, numberAvailable} = live.status ?? {}
  const toUpdate = live.spec?.updateStrategy?.type === 'OnDelete' ? 0 : desiredNumberScheduled
  return all(
    seen(live),
    of(updatedNumberScheduled, toUpdate, currentNumberScheduled > (updatedNumberScheduled ?? 0) ? 'updated' : 'made'),
    of(numberAvailable, desiredNumberScheduled, 'ready'),
  )
}

/** It sets the number of pods, which before that is 1. */
const autoscaler = ({spec, status}: Live): Answer => of(status?.currentReplicas, spec?.minReplicas ?? 1, 'asked for')

const job = (live: Live): Answer => {
  if (isTrue(live, 'Complete')) return true
  if (isTrue(live, 'Failed')) return `failed: ${conditionOf(live, 'Failed')?.message ?? 'no reason given'}`
  if (live.spec?.suspend === true) return 'suspended'
  return `${live.status?.succeeded ?? 0} of ${count(live.spec?.completions ?? 1, 'pod')} done`
}

/** A condition that is about the object as it is now. */
const when =
  (type: string) =>
  (live: Live): Answer => {
    const found = conditionOf(live, type)
    const isOld = (found?.observedGeneration ?? live.metadata.generation ?? 0) < (live.metadata.generation ?? 0)
    if (found?.status === 'True' && !isOld) return true
    const not = `not ${type.toLowerCase()}`
    if (!found || isOld) return `${not} yet`
    const words = found.message ?? found.reason ?? ''
    return words === '' ? not : `${not}: ${words}`
  }

const claim = (live: Live): Answer => {
  const {phase} = live.status ?? {}
  if (phase === 'Bound') return true
  if (phase === 'Lost') return 'its volume is lost'
  const {storageClassName} = live.spec ?? {}
  if (storageClassName === undefined) return 'no storage class'
  if (storageClassName === '') return 'no volume yet'
  // a claim that waits for its first pod is neither given a node nor handed to a provisioner
  const isAsked = Object.keys(live.metadata.annotations ?? {}).some((name) =>
    /^volume\.(beta\.)?kubernetes\.io\/(selected-node|storage-provisioner)$/.test(name),
  )
  return isAsked ? 'no volume yet' : true
}

const service = (live: Live): Answer => {
  if (live.spec?.type !== 'LoadBalancer') return true
  return addressOf(live) === undefined ? 'no address yet' : true
}

const byKind: Readonly<Record<string, (live: Live) => Answer>> = {
  Deployment: deployment,
  StatefulSet: statefulSet,
  DaemonSet: daemonSet,
  Job: job,
  Pod: when('Ready'),
  Certificate: when('Ready'),
  CertificateRequest: when('Ready'),
  Issuer: when('Ready'),
  ClusterIssuer: when('Ready'),
  CustomResourceDefinition: when('Established'),
  APIService: when('Available'),
  HorizontalPodAutoscaler: autoscaler,
  PersistentVolumeClaim: claim,
  Service: service,
}
