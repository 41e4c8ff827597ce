import {created, type Live, nameOf, timeOf} from './live.ts'

export type Ended = {
  readonly exitCode?: number
  readonly reason?: string
  readonly message?: string
  readonly startedAt?: string
  readonly finishedAt?: string
}

export type ContainerStatus = {
  readonly name: string
  readonly image?: string
  readonly ready?: boolean
  readonly restartCount?: number
  readonly state?: {
    readonly waiting?: {readonly reason?: string; readonly message?: string}
    readonly terminated?: Ended
    readonly running?: object
  }
  readonly lastState?: {readonly terminated?: Ended}
}

export type Container = {
  readonly name: string
  readonly image?: string
  readonly resources?: {readonly limits?: {readonly memory?: string}}
}

export type Pod = Live & {
  readonly spec?: {
    readonly nodeName?: string
    readonly containers?: readonly Container[]
    readonly initContainers?: readonly Container[]
    readonly volumes?: readonly {readonly persistentVolumeClaim?: {readonly claimName?: string}}[]
  }
  readonly status?: {
    readonly startTime?: string
    readonly nominatedNodeName?: string
    readonly containerStatuses?: readonly ContainerStatus[]
    readonly initContainerStatuses?: readonly ContainerStatus[]
  }
}

export const statusesOf = ({status}: Pod): readonly ContainerStatus[] => [
  ...(status?.initContainerStatuses ?? []),
  ...(status?.containerStatuses ?? []),
]

/** How it ended, now or the last time. */
export const endingOf = ({state, lastState}: ContainerStatus): Ended | undefined => state?.terminated ?? lastState?.terminated

/** When it came to its node. */
export const startOf = (pod: Pod): number => timeOf(pod.status?.startTime) ?? created(pod)

export const containerOf = ({spec}: Pod, name: string): Container | undefined =>
  [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].find((container) => container.name === name)

export const podName = (pod: Pod): string => `Pod ${nameOf(pod)}${pod.spec?.nodeName === undefined ? '' : ` on node ${pod.spec.nodeName}`}`
