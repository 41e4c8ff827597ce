import {conditionOf} from '../../../tools/kube/condition.ts'
import {eventsOf, latest, newest, type Span} from './events.ts'
import {type Finder, firstOf, podFault} from './fault.ts'
import {saidAt} from './live.ts'
import {type Pod, podName} from './pod.ts'
import type {Scene} from './scene.ts'

/** A pod the scheduler has no node for, and nobody is about to bring one. */
export const unscheduled = (scene: Scene, pod: Pod): {readonly words: string; readonly span: Span} | undefined => {
  const scheduled = conditionOf(pod, 'PodScheduled')
  if (scheduled?.status !== 'False' || scheduled.reason !== 'Unschedulable' || pod.status?.nominatedNodeName !== undefined) return undefined
  const refused = eventsOf(scene, pod, /^NotTriggerScaleUp$/)
  const growing = eventsOf(scene, pod, /^(TriggeredScaleUp|Nominated)$/)
  if (growing.length > 0 && newest(growing) >= newest(refused)) return undefined
  const first = saidAt(scheduled, pod)
  const span = {first, last: Math.max(first, newest(eventsOf(scene, pod, /^FailedScheduling$/)))}
  // an autoscaler looks every ten seconds; one that has refused is not waited for
  return scene.isRipe(span, refused.length > 0 ? 10 : 20) ? {words: scheduled.message ?? 'Unschedulable', span} : undefined
}

const isAboutVolumes = (words: string): boolean =>
  /unbound immediate PersistentVolumeClaims|persistentvolumeclaim "[^"]*"|available persistent volumes/i.test(words)

/** LKO-3105 */
export const notScheduled: Finder = (scene, work) =>
  firstOf(work.pods, (pod) => {
    const found = unscheduled(scene, pod)
    if (!found || isAboutVolumes(found.words)) return undefined
    const refusal = latest(eventsOf(scene, pod, /^NotTriggerScaleUp$/))
    const more = refusal ? `\nThe autoscaler: ${refusal.message}` : ''
    return podFault(scene, work, pod, 'LKO-3105', `${podName(pod)}: ${found.words}${more}`, ['describe', 'nodes'])
  })
