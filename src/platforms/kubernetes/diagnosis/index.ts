import type {LkeobsError} from '../../../errors.ts'
import type {Kube, Ref} from '../../../tools/kube/kube.ts'
import {noAddress} from './balancer.ts'
import {crashing, isCrashing, jobFailed} from './crashes.ts'
import {cannotGo, homeHeld} from './deletions.ts'
import type {Finder} from './fault.ts'
import {notPulled} from './images.ts'
import {type ContainerStatus, statusesOf} from './pod.ts'
import {notAdmitted} from './refusals.ts'
import {attempt, lookAt, type Waited} from './scene.ts'
import {notScheduled} from './scheduling.ts'
import {mountFault, notStarted} from './starts.ts'
import {noVolume} from './volumes.ts'

/** What tells most comes first. */
const finders: readonly Finder[] = [cannotGo, notAdmitted, notPulled, noVolume, notScheduled, crashing, notStarted, jobFailed, noAddress]

/**
 * What can no longer become right by itself with these objects: undefined while there is hope. `since` is when the wait
 * began. Looks only, with one list for each kind and namespace, and never throws: who waits is told by what he waits for.
 */
export const terminal = async (
  kube: Kube,
  objects: readonly Waited[],
  since?: Date,
  now: Date = new Date(),
): Promise<LkeobsError | undefined> => {
  const scenes = await lookAt(kube, objects, now, since)
  for (const scene of scenes) {
    const error = await attempt(() => homeHeld(scene))
    if (error) return error
  }
  for (const find of finders)
    for (const scene of scenes)
      for (const work of scene.works) {
        const error = await attempt(() => find(scene, work))
        if (error) return error
      }
  return undefined
}

/** Pods that wait longer and longer between attempts: once the cause is mended they need not be waited for, but can be made anew. */
export const pausedPods = async (kube: Kube, objects: readonly Waited[], now: Date = new Date()): Promise<readonly Ref[]> => {
  const scenes = await lookAt(kube, objects, now)
  return scenes.flatMap((scene) => {
    const pods = scene.works.filter(({live}) => live.kind !== 'Job').flatMap((work) => work.pods)
    const paused = pods.filter((pod) => statusesOf(pod).some(isPaused) || mountFault(scene, pod) !== undefined)
    const names = new Set(paused.map(({metadata}) => metadata.name))
    return [...names].map((name) => ({apiVersion: 'v1', kind: 'Pod', name, namespace: scene.namespace}))
  })
}

const isPaused = (status: ContainerStatus): boolean =>
  /BackOff|^Err|^Invalid|^Create\w+Error$|^RunContainerError$/.test(status.state?.waiting?.reason ?? '') || isCrashing(status)
