import {type Code, LkeobsError} from '../../../errors.ts'
import {kubectl, resourceOf} from '../../../tools/kube/kubectl.ts'
import type {Live} from './live.ts'
import type {Pod} from './pod.ts'
import type {Scene} from './scene.ts'
import {isOlder, type Work} from './work.ts'

export type Finder = (scene: Scene, work: Work) => LkeobsError | undefined | Promise<LkeobsError | undefined>

export const firstOf = <T, R>(items: readonly T[], find: (item: T) => R | undefined): R | undefined => {
  for (const item of items) {
    const found = find(item)
    if (found !== undefined) return found
  }
  return undefined
}

/** Objects that are in no namespace. */
const isWide = (args: readonly string[]): boolean =>
  /^(nodes|storageclass|namespace|\w+webhookconfiguration\w*|\w+policy)\b/.test(args[1] ?? '')

/** The error, with commands for the namespace. */
export const fault = ({kube, namespace}: Scene, code: Code, what: string, ...next: readonly (readonly string[])[]): LkeobsError =>
  new LkeobsError(code, what, {
    next: next.map((args) => kubectl(kube.target, ...(namespace === '' || isWide(args) ? [] : ['-n', namespace]), ...args)),
  })

/** An error about a pod. An ordered StatefulSet does not replace one that is not ready, whatever it is wished to be now. */
export const podFault = (
  scene: Scene,
  {live}: Work,
  pod: Pod,
  code: Code,
  what: string,
  ...next: readonly (readonly string[])[]
): LkeobsError => {
  const isLeft = live.kind === 'StatefulSet' && isOlder(live, pod)
  if (!isLeft) return fault(scene, code, what, ...next, describe(pod))
  const more = 'The pod is of the template before this one, and is not replaced while it is not ready.'
  return fault(scene, code, `${what}\n${more}`, ['delete', 'pod', pod.metadata.name], ...next)
}

export const describe = (live: Live): readonly string[] => ['describe', resourceOf(live), live.metadata.name]
