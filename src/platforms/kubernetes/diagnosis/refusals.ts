import {conditionOf} from '../../../tools/kube/condition.ts'
import {type Event, eventsOf, latest, oldest} from './events.ts'
import {describe, fault, type Finder, firstOf} from './fault.ts'
import {changed, type Live, nameOf, saidAt} from './live.ts'

/** LKO-3108 */
export const notAdmitted: Finder = (scene, {live, maker}) => {
  if (!maker || !lacksPods(maker)) return undefined
  const refusals = [...eventsOf(scene, maker, /^FailedCreate$/), ...failuresOf(maker)].filter(
    ({last, message}) =>
      Math.trunc(last / 1000) >= Math.trunc(changed(live) / 1000) &&
      !/already exists|is being deleted|object has been modified|try again|being terminated/i.test(message),
  )
  const refusal = latest(refusals)
  if (!refusal) return undefined
  const words = refusal.message.replace(/^Error creating: |^create Pod \S+ in StatefulSet \S+ failed error: /i, '')
  const isFinal = /denied|violates PodSecurity/i.test(words)
  if (!scene.isRipe({first: oldest(refusals), last: refusal.last}, isFinal ? 0 : 15)) return undefined
  const {name, next} = refuserOf(words, scene.namespace)
  return fault(scene, 'LKO-3108', `${name} does not let ${live.kind} ${nameOf(live)} make its pods: ${words}`, ...next, describe(maker))
}

const lacksPods = ({kind, spec, status}: Live): boolean => {
  if (kind === 'Job') return (status?.active ?? 0) === 0
  if (kind === 'DaemonSet') return (status?.currentNumberScheduled ?? 0) < (status?.desiredNumberScheduled ?? 0)
  return (status?.replicas ?? 0) < (spec?.replicas ?? 1)
}

/** A ReplicaSet remembers why; events may be gone, or not for us to read. */
const failuresOf = (maker: Live): readonly Event[] => {
  const condition = conditionOf(maker, 'ReplicaFailure')
  if (condition?.status !== 'True' || condition.reason !== 'FailedCreate') return []
  const at = saidAt(condition, maker)
  return [{about: {}, reason: 'FailedCreate', message: condition.message ?? '', first: at, last: at}]
}

type Refuser = {readonly says: RegExp; readonly named: (name: string) => string; readonly next: (namespace: string) => readonly string[]}
const webhooks = () => ['get', 'validatingwebhookconfigurations,mutatingwebhookconfigurations']

const refusers: readonly Refuser[] = [
  {says: /failed calling webhook "([^"]+)"/, named: (name) => `The webhook ${name}, which does not answer,`, next: webhooks},
  {says: /admission webhook "([^"]+)" denied/, named: (name) => `The webhook ${name}`, next: webhooks},
  {
    says: /violates PodSecurity "([^"]+)"/,
    named: (level) => `The pod security level ${level} of the namespace`,
    next: (namespace) => ['get', 'namespace', namespace, '--show-labels'],
  },
  {
    says: /ValidatingAdmissionPolicy '([^']+)'/,
    named: (name) => `The policy ${name}`,
    next: () => ['get', 'validatingadmissionpolicy', '-o', 'yaml'],
  },
  {says: /exceeded quota: ([^,]+),/, named: (name) => `The quota ${name}`, next: () => ['describe', 'quota']},
  {says: /failed quota: ([^:]+):/, named: (name) => `The quota ${name}`, next: () => ['describe', 'quota']},
]

/** Who does not admit a pod, and where to look at it. */
const refuserOf = (words: string, namespace: string): {readonly name: string; readonly next: readonly (readonly string[])[]} =>
  firstOf(refusers, ({says, named, next}) => {
    const [, name] = says.exec(words) ?? []
    return name === undefined ? undefined : {name: named(name), next: [next(namespace)]}
  }) ?? {name: 'The API server', next: []}
