import type {LkeobsError} from '../../../errors.ts'
import {conditionOf} from '../../../tools/kube/condition.ts'
import {eventsOf, latest, type Span} from './events.ts'
import {describe, fault, type Finder, firstOf, podFault} from './fault.ts'
import {created, nameOf, saidAt, timeOf} from './live.ts'
import {type Container, containerOf, type ContainerStatus, type Ended, endingOf, type Pod, podName, statusesOf} from './pod.ts'
import {attempt, type Scene} from './scene.ts'
import type {Work} from './work.ts'

const shownLogLines = 12
const longRunMs = 600_000

/** LKO-3106 */
export const crashing: Finder = async (scene, work) => {
  const {live, pods} = work
  // a Job tries again by design, until it gives up itself
  if (live.kind === 'Job') return undefined
  const spanOf = (status: ContainerStatus, pod: Pod): Span => {
    const at = timeOf(endingOf(status)?.finishedAt) ?? created(pod)
    return {first: at, last: at}
  }
  const found = firstOf(pods, (pod) =>
    firstOf(statusesOf(pod), (status) => (isCrashing(status) && isRecent(scene, status, spanOf(status, pod)) ? {pod, status} : undefined)),
  )
  return found && crash(scene, work, found.pod, found.status)
}

/** Ended again and again. What ran well for long is new to it. */
export const isCrashing = (status: ContainerStatus): boolean => {
  const {state, restartCount = 0, ready} = status
  const ended = endingOf(status)
  const isDown = /^(CrashLoopBackOff|RunContainerError)$/.test(state?.waiting?.reason ?? '') || (state?.terminated?.exitCode ?? 0) !== 0
  const isBetween = state?.running !== undefined && ready !== true && restartCount >= 3 && (ended?.exitCode ?? 0) !== 0
  return ((isDown && restartCount >= 2) || isBetween) && ranFor(ended) < longRunMs
}

const ranFor = (ended: Ended | undefined): number => {
  const started = timeOf(ended?.startedAt) ?? 0
  // what never started is said to have done so in 1970
  return started === 0 ? 0 : (timeOf(ended?.finishedAt) ?? 0) - started
}

/** One that runs just now has to have crashed within the last minutes. */
const isRecent = (scene: Scene, {state}: ContainerStatus, span: Span): boolean =>
  scene.isRipe(span, 0) && (state?.running === undefined || !scene.isRipe(span, 180))

const crash = async (scene: Scene, work: Work, pod: Pod, status: ContainerStatus): Promise<LkeobsError> => {
  const {name, restartCount = 0, state} = status
  const ended = endingOf(status)
  const isKilled = eventsOf(scene, pod, /^Killing$/).some(({message}) => /failed (liveness|startup) probe/.test(message))
  const probe = isKilled
    ? latest(eventsOf(scene, pod, /^Unhealthy$/).filter(({message}) => !message.startsWith('Readiness')))?.message
    : undefined
  const lines = await lastLines(scene, pod, name, state?.terminated === undefined)
  const what = `Container ${name} of ${podName(pod).replace(/^P/, 'p')} was restarted ${restartCount} times and ended again: ${endOf(ended, containerOf(pod, name))}`
  const parts = [
    `${what}.`,
    ...(probe === undefined ? [] : [probe]),
    ...(lines.length > 0 ? ['Its last lines:', ...lines] : [ended?.message ?? '']),
  ].filter((part) => part !== '')
  return podFault(scene, work, pod, 'LKO-3106', parts.join('\n'), ['logs', pod.metadata.name, '-c', name, '--previous'])
}

export const endOf = (ended: Ended | undefined, container: Container | undefined): string => {
  if (ended?.reason === 'OOMKilled') {
    const limit = container?.resources?.limits?.memory
    return limit === undefined ? 'OOMKilled, the node ran out of memory' : `OOMKilled, it needs more memory than its limit of ${limit}`
  }
  const {exitCode = 'unknown', reason = 'Error'} = ended ?? {}
  return `exit code ${exitCode}${reason === 'Error' ? '' : ` (${reason})`}`
}

const lastLines = async ({kube, namespace}: Scene, pod: Pod, container: string, previous: boolean): Promise<readonly string[]> => {
  const at = {namespace, pod: pod.metadata.name, container, lines: shownLogLines}
  const log = (isPrevious: boolean) => attempt(() => kube.log(isPrevious ? {...at, previous: true} : at))
  const lines = (await log(previous)) ?? []
  return lines.length > 0 ? lines : ((await log(!previous)) ?? [])
}

/** LKO-3106: a Job that gave up. */
export const jobFailed: Finder = async (scene, {live, pods}) => {
  const failed = live.kind === 'Job' ? conditionOf(live, 'Failed') : undefined
  if (failed?.status !== 'True') return undefined
  const at = saidAt(failed, live)
  if (!scene.isRipe({first: at, last: at}, 0)) return undefined
  const pod = pods.toSorted((one, other) => created(other) - created(one))[0]
  const status = pod && statusesOf(pod).find((some) => endingOf(some)?.exitCode !== 0)
  const lines = pod && status ? await lastLines(scene, pod, status.name, status.state?.terminated === undefined) : []
  const end = pod && status ? [`Pod ${nameOf(pod)}: ${endOf(endingOf(status), containerOf(pod, status.name))}.`] : []
  const last = lines.length > 0 ? ['Its last lines:', ...lines] : []
  return fault(scene, 'LKO-3106', [`Job ${nameOf(live)}: ${failed.message ?? 'failed'}.`, ...end, ...last].join('\n'), describe(live))
}
