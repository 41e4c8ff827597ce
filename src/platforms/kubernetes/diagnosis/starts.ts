import {eventsOf, latest, newest, oldest} from './events.ts'
import {type Finder, firstOf, podFault} from './fault.ts'
import {type Pod, podName, startOf, statusesOf} from './pod.ts'
import {attempt, type Scene} from './scene.ts'

/** LKO-3106: what a container is to be started with is not there. */
export const notStarted: Finder = async (scene, work) => {
  for (const pod of work.pods) {
    const words = configFault(scene, pod) ?? mountFault(scene, pod)
    if (words !== undefined && !(await isThereNow(scene, words))) return podFault(scene, work, pod, 'LKO-3106', `${podName(pod)}: ${words}`)
  }
  return undefined
}

const configFault = (scene: Scene, pod: Pod): string | undefined =>
  firstOf(statusesOf(pod), ({name, state}) => {
    const {reason = '', message = ''} = state?.waiting ?? {}
    if (
      !/^(CreateContainerConfigError|CreateContainerError|RunContainerError|PreCreateHookError|PreStartHookError|PostStartHookError)$/.test(
        reason,
      )
    )
      return undefined
    const failures = eventsOf(scene, pod, /^Failed$/).filter(({message: text}) => text.startsWith('Error: '))
    const start = startOf(pod)
    const span = {first: oldest(failures, start), last: newest(failures) || start}
    return scene.isRipe(span, 20) ? `container ${name}: ${message || reason}` : undefined
  })

export const mountFault = (scene: Scene, pod: Pod): string | undefined => {
  const isStarting = statusesOf(pod).some(({state}) => /^(ContainerCreating|PodInitializing)$/.test(state?.waiting?.reason ?? ''))
  if (!isStarting && statusesOf(pod).length > 0) return undefined
  const failures = eventsOf(scene, pod, /^(FailedMount|FailedCreatePodSandBox|FailedCreatePodContainer)$/).filter(
    ({message}) => !/registered/.test(message),
  )
  const failure = latest(failures)
  // whatever comes after mounting shows that it went well since
  if (!failure || newest(eventsOf(scene, pod, /^(Pulling|Pulled|Created)$/)) > failure.last) return undefined
  const isMissing = missing(failure.message) !== undefined
  return scene.isRipe({first: oldest(failures), last: failure.last}, isMissing ? 20 : 25) ? failure.message : undefined
}

const missing = (words: string): {readonly kind: string; readonly name: string} | undefined => {
  const [, kind, name] = /\b(secret|configmap) "([^"]+)" not found/i.exec(words) ?? []
  return kind === undefined || name === undefined ? undefined : {kind: kind.toLowerCase() === 'secret' ? 'Secret' : 'ConfigMap', name}
}

/** The kubelet looks again ever more seldom: what it missed may have come in the meantime. */
const isThereNow = async ({kube, namespace}: Scene, words: string): Promise<boolean> => {
  const lacked = missing(words)
  return lacked !== undefined && (await attempt(() => kube.read({apiVersion: 'v1', ...lacked, namespace}))) !== undefined
}
