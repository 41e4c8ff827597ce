import type {Condition} from '../../../tools/kube/condition.ts'
import type {KubeObject} from '../../../tools/kube/kube.ts'

/** What is read here of workloads, claims, services and namespaces; each has some of it. */
export type Live = KubeObject & {
  readonly metadata: {
    readonly uid?: string
    readonly creationTimestamp?: string
    readonly deletionTimestamp?: string
    readonly finalizers?: readonly string[]
    readonly generation?: number
    readonly ownerReferences?: readonly {readonly kind?: string; readonly name?: string; readonly uid?: string}[]
    readonly managedFields?: readonly {readonly manager?: string; readonly subresource?: string; readonly time?: string}[]
  }
  readonly spec?: {
    readonly replicas?: number
    readonly type?: string
    readonly storageClassName?: string
    readonly podManagementPolicy?: string
  }
  readonly status?: {
    readonly observedGeneration?: number
    readonly phase?: string
    readonly replicas?: number
    readonly active?: number
    readonly currentNumberScheduled?: number
    readonly desiredNumberScheduled?: number
    readonly updateRevision?: string
    readonly conditions?: readonly Condition[]
    readonly loadBalancer?: {readonly ingress?: readonly unknown[]}
  }
}

export const timeOf = (text: string | null | undefined): number | undefined => {
  const time = Date.parse(text ?? '')
  return Number.isNaN(time) ? undefined : time
}

/** When a controller came to say so. */
export const saidAt = ({lastTransitionTime}: Condition, live: Live): number => timeOf(lastTransitionTime) ?? created(live)

export const created = ({metadata}: Live): number => timeOf(metadata.creationTimestamp) ?? 0

/** When somebody last changed what is wished for. What controllers write is status, or a note of their own. */
export const changed = (live: Live): number =>
  Math.max(
    created(live),
    ...(live.metadata.managedFields ?? [])
      .filter(({manager, subresource}) => subresource === undefined && manager !== 'kube-controller-manager')
      .map(({time}) => timeOf(time) ?? 0),
  )

export const isOwnedBy = (item: Live, owner: Live): boolean =>
  (item.metadata.ownerReferences ?? []).some(({uid, kind, name}) =>
    uid !== undefined && owner.metadata.uid !== undefined
      ? uid === owner.metadata.uid
      : kind === owner.kind && name === owner.metadata.name,
  )

export const nameOf = ({metadata: {namespace, name}}: Live): string => (namespace === undefined ? name : `${namespace}/${name}`)
