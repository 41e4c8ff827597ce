import {isOwnedBy, type Live} from './live.ts'
import type {Pod} from './pod.ts'

/** A workload as it is now: the pods of its latest template, and the object that makes them. */
export type Work = {readonly live: Live; readonly maker?: Live; readonly pods: readonly Pod[]}

export const makers = new Set(['Deployment', 'StatefulSet', 'DaemonSet', 'Job'])

/** Only what the latest wish made: pods of the one before may fail as they like while they are replaced. */
export const workOf = (live: Live, replicaSets: readonly Live[], pods: readonly Pod[]): Work => {
  if (live.kind === 'Pod') return {live, pods: [live]}
  const isSeen = live.status?.observedGeneration === undefined || live.status.observedGeneration >= (live.metadata.generation ?? 0)
  if (!makers.has(live.kind) || !isSeen) return {live, pods: []}
  const maker = live.kind === 'Deployment' ? latestSet(live, replicaSets) : live
  if (!maker) return {live, pods: []}
  const own = pods.filter((pod) => isOwnedBy(pod, maker) && pod.metadata.deletionTimestamp === undefined && !isPassing(live, pod))
  return {live, maker, pods: own.map((pod) => ({...pod, apiVersion: 'v1', kind: 'Pod'}))}
}

const revision = 'deployment.kubernetes.io/revision'

const latestSet = (deployment: Live, replicaSets: readonly Live[]): Live | undefined => {
  const number = (live: Live) => Number(live.metadata.annotations?.[revision] ?? 0)
  const latestOne = replicaSets.filter((set) => isOwnedBy(set, deployment)).toSorted((one, other) => number(other) - number(one))[0]
  return latestOne && number(latestOne) >= number(deployment) ? {...latestOne, apiVersion: 'apps/v1', kind: 'ReplicaSet'} : undefined
}

/** A pod of the template before that will be replaced. An ordered StatefulSet does not replace one that is not ready. */
const isPassing = (live: Live, pod: Pod): boolean => {
  const {kind, metadata, spec} = live
  const labels = pod.metadata.labels ?? {}
  if (kind === 'DaemonSet')
    return differ(labels['pod-template-generation'], metadata.annotations?.['deprecated.daemonset.template.generation'])
  return kind === 'StatefulSet' && spec?.podManagementPolicy === 'Parallel' && isOlder(live, pod)
}

export const isOlder = ({status}: Live, pod: Pod): boolean =>
  differ(pod.metadata.labels?.['controller-revision-hash'], status?.updateRevision)

const differ = (one: string | undefined, other: string | undefined): boolean => one !== undefined && other !== undefined && one !== other
