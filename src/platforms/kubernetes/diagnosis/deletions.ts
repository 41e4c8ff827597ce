import {LkeobsError} from '../../../errors.ts'
import {conditionOf} from '../../../tools/kube/condition.ts'
import type {Kind} from '../../../tools/kube/kube.ts'
import {kubectl, resourceOf} from '../../../tools/kube/kubectl.ts'
import type {Span} from './events.ts'
import {fault, type Finder, firstOf} from './fault.ts'
import {type Live, nameOf, timeOf} from './live.ts'
import {attempt, type Scene} from './scene.ts'

const builtInSeconds = 60

/** LKO-3111 */
export const cannotGo: Finder = (scene, {live, pods}) => firstOf([live, ...pods], (object) => held(scene, object))

/** Those of Kubernetes itself have an owner that is at work. */
const isOfKubernetes = (finalizer: string): boolean =>
  /^(foregroundDeletion|orphan|kubernetes)$|(^|\.)kubernetes\.io\/|\.k8s\.io\//.test(finalizer)

const patienceWith = (finalizers: readonly string[]): number => (finalizers.every(isOfKubernetes) ? builtInSeconds : 15)

const deletion = ({metadata}: Live): Span | undefined => {
  const at = timeOf(metadata.deletionTimestamp)
  return at === undefined ? undefined : {first: at, last: Number.MAX_SAFE_INTEGER}
}

const held = (scene: Scene, object: Live): LkeobsError | undefined => {
  const {finalizers = [], name} = object.metadata
  const span = deletion(object)
  if (!span || finalizers.length === 0 || !scene.isRipe(span, patienceWith(finalizers))) return undefined
  const what = `${object.kind} ${nameOf(object)} was deleted and is held by ${finalizers.join(', ')}.`
  return fault(scene, 'LKO-3111', what, release(resourceOf(object), name))
}

/** A namespace goes when everything in it is gone: it tells what is not. */
export const homeHeld = async (scene: Scene): Promise<LkeobsError | undefined> => {
  const {kube, namespace, home} = scene
  const span = home && deletion(home)
  if (!span) return undefined
  const {finalizers = []} = home.metadata
  const remaining = conditionOf(home, 'NamespaceFinalizersRemaining')
  const inside =
    remaining?.status === 'True'
      ? [...(remaining.message ?? '').matchAll(/(\S+) in \d+ resource instances/g)].map(([, name = '']) => name)
      : []
  const broken = ['NamespaceDeletionDiscoveryFailure', 'NamespaceDeletionGroupVersionParsingFailure', 'NamespaceDeletionContentFailure']
    .map((type) => conditionOf(home, type))
    .filter((condition) => condition?.status === 'True')
  const all = [...finalizers, ...inside]
  if ((all.length === 0 && broken.length === 0) || !scene.isRipe(span, all.length === 0 ? 15 : patienceWith(all))) return undefined
  const content = conditionOf(home, 'NamespaceContentRemaining')
  const words = [
    ...(finalizers.length > 0 ? [`It is held by ${finalizers.join(', ')}.`] : []),
    ...[...(inside.length > 0 ? [content, remaining] : []), ...broken].map((condition) => `${condition?.message ?? ''}.`),
  ]
  const next = [
    ...(finalizers.length > 0 ? [kubectl(kube.target, ...release('namespace', namespace))] : []),
    ...(inside.length > 0 ? await releases(scene, content?.message ?? '') : []),
  ]
  return new LkeobsError('LKO-3111', `Namespace ${namespace} was deleted and does not go away. ${words.join(' ')}`, {
    next: next.length > 0 ? next : [kubectl(kube.target, 'get', 'namespace', namespace, '-o', 'yaml')],
  })
}

const release = (...object: readonly string[]): readonly string[] => [
  'patch',
  ...object,
  '--type=merge',
  '-p',
  '{"metadata":{"finalizers":null}}',
]

const kindsOf: Readonly<Record<string, Kind>> = {
  pods: {apiVersion: 'v1', kind: 'Pod'},
  configmaps: {apiVersion: 'v1', kind: 'ConfigMap'},
  secrets: {apiVersion: 'v1', kind: 'Secret'},
  services: {apiVersion: 'v1', kind: 'Service'},
  persistentvolumeclaims: {apiVersion: 'v1', kind: 'PersistentVolumeClaim'},
  'deployments.apps': {apiVersion: 'apps/v1', kind: 'Deployment'},
  'statefulsets.apps': {apiVersion: 'apps/v1', kind: 'StatefulSet'},
  'daemonsets.apps': {apiVersion: 'apps/v1', kind: 'DaemonSet'},
  'jobs.batch': {apiVersion: 'batch/v1', kind: 'Job'},
}

/** A line for each object that holds the namespace; of kinds we cannot list, one that lists them. */
const releases = async ({kube, namespace}: Scene, words: string): Promise<readonly string[]> => {
  const resources = [...words.matchAll(/([\w.-]+?)\.? has \d+ resource instances/g)].map(([, name = '']) => name)
  const lines = resources.map(async (resource) => {
    const kind = kindsOf[resource]
    if (!kind) return [kubectl(kube.target, '-n', namespace, 'get', resource, '-o', columns)]
    const objects = (await attempt(() => kube.list<Live>(kind, {namespace}))) ?? []
    return objects
      .filter(({metadata}) => metadata.deletionTimestamp !== undefined && (metadata.finalizers ?? []).length > 0)
      .map(({metadata: {name}}) => kubectl(kube.target, '-n', namespace, ...release(resourceOf(kind), name)))
  })
  return (await Promise.all(lines)).flat()
}

const columns = 'custom-columns=NAME:.metadata.name,FINALIZERS:.metadata.finalizers'
