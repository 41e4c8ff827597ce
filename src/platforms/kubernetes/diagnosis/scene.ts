import type {Kind, Kube, KubeObject, Ref} from '../../../tools/kube/kube.ts'
import {type Event, eventOf, type IsRipe, type RawEvent, ripeness} from './events.ts'
import type {Live} from './live.ts'
import type {Pod} from './pod.ts'
import {makers, type Work, workOf} from './work.ts'

/** What somebody waits for. Kinds outside of Kubernetes itself need their apiVersion to be looked at. */
export type Waited = {readonly kind: string; readonly name: string; readonly namespace?: string; readonly apiVersion?: string}

/** All that was looked at in one namespace. */
export type Scene = {
  readonly kube: Kube
  readonly namespace: string
  readonly home: Live | undefined
  readonly works: readonly Work[]
  readonly claims: readonly Live[]
  readonly events: readonly Event[]
  readonly isRipe: IsRipe
}

const builtIn: Readonly<Record<string, string>> = {
  Deployment: 'apps/v1',
  StatefulSet: 'apps/v1',
  DaemonSet: 'apps/v1',
  Job: 'batch/v1',
  Pod: 'v1',
  Service: 'v1',
  PersistentVolumeClaim: 'v1',
}

const podKind = {apiVersion: 'v1', kind: 'Pod'} as const
const claimKind = {apiVersion: 'v1', kind: 'PersistentVolumeClaim'} as const
const isListed: ReadonlySet<string> = new Set([podKind.kind, claimKind.kind])

/** Some are large, and of many others. */
const readOneByOne: ReadonlySet<string> = new Set(['Secret', 'ConfigMap'])

export const attempt = async <T>(ask: () => T | Promise<T>): Promise<T | undefined> => {
  try {
    return await ask()
  } catch {
    // what cannot be read is no evidence; that a cluster does not answer shows wherever it is asked
    return undefined
  }
}

/** What one odd object says is left out. */
const tried = <T>(read: () => T): readonly T[] => {
  try {
    return [read()]
  } catch {
    return []
  }
}

/** What stands in no namespace is under ''; a namespace is looked at from within. */
export const lookAt = async (kube: Kube, objects: readonly Waited[], now: Date, since?: Date): Promise<readonly Scene[]> => {
  // what the cluster dates is compared with the cluster's clock
  const ahead = (await attempt(() => kube.clockAhead())) ?? 0
  const isRipe = ripeness(now.getTime() + ahead, since && since.getTime() + ahead)
  const places = Map.groupBy(objects, ({kind, name, namespace}) => (kind === 'Namespace' ? name : (namespace ?? '')))
  return Promise.all([...places].map(([namespace, waited]) => look(kube, namespace, waited, isRipe)))
}

const look = async (kube: Kube, namespace: string, waited: readonly Waited[], isRipe: IsRipe): Promise<Scene> => {
  const list = async <T extends KubeObject>(kind: Kind) => (await attempt(() => kube.list<T>(kind, {namespace}))) ?? []
  const read = async (ref: Ref) => {
    const found = await attempt(() => kube.read<Live>(ref))
    return found ? [{...found, apiVersion: ref.apiVersion, kind: ref.kind}] : []
  }
  const refs = waited.flatMap((some) => {
    const apiVersion = some.apiVersion ?? builtIn[some.kind]
    return apiVersion === undefined || some.kind === 'Namespace' ? [] : [{...some, apiVersion}]
  })
  const isSingle = ({kind}: Kind) => namespace === '' || readOneByOne.has(kind)
  const kinds = [...new Map(refs.filter((ref) => !isSingle(ref)).map(({apiVersion, kind}) => [kind, {apiVersion, kind}])).values()]
  const has = (...some: readonly string[]) => refs.some(({kind}) => some.includes(kind))
  const hasPods = has(...makers, 'Pod')
  const hasClaims = hasPods || has('PersistentVolumeClaim')
  const [home, singles, lists, replicaSets, pods, claims, events] = await Promise.all([
    namespace === '' ? undefined : attempt(() => kube.read<Live>({apiVersion: 'v1', kind: 'Namespace', name: namespace})),
    Promise.all(refs.filter(isSingle).map(read)),
    Promise.all(
      kinds.filter(({kind}) => !isListed.has(kind)).map(async (kind) => (await list<Live>(kind)).map((item) => ({...item, ...kind}))),
    ),
    has('Deployment') ? list<Live>({apiVersion: 'apps/v1', kind: 'ReplicaSet'}) : [],
    hasPods ? list<Pod>(podKind) : [],
    hasClaims ? list<Live>(claimKind) : [],
    hasClaims || has('Service') ? list<RawEvent>({apiVersion: 'v1', kind: 'Event'}) : [],
  ])
  // lists leave out what their elements are
  const all = [
    ...singles.flat(),
    ...lists.flat(),
    ...pods.map((pod) => ({...pod, ...podKind})),
    ...claims.map((claim) => ({...claim, ...claimKind})),
  ]
  const works = refs.flatMap(({kind, name}) =>
    all.filter((live) => live.kind === kind && live.metadata.name === name).flatMap((live) => tried(() => workOf(live, replicaSets, pods))),
  )
  return {kube, namespace, home, works, claims, events: events.flatMap((event) => tried(() => eventOf(event))), isRipe}
}
