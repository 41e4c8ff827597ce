import {type Code, LkeobsError} from '../../errors.ts'
import type {Kind, Kube, KubeObject, Ref} from '../../tools/kube/kube.ts'
import {kubectl, resourceOf} from './drift.ts'

/** What somebody waits for. Kinds outside of Kubernetes itself need their apiVersion to be looked at. */
export type Waited = {readonly kind: string; readonly name: string; readonly namespace?: string; readonly apiVersion?: string}

type Condition = {
  readonly type?: string
  readonly status?: string
  readonly reason?: string
  readonly message?: string
  readonly lastTransitionTime?: string
}

/** What is read here of workloads, claims, services and namespaces; each has some of it. */
type Live = KubeObject & {
  readonly metadata: {
    readonly uid?: string
    readonly creationTimestamp?: string
    readonly deletionTimestamp?: string
    readonly finalizers?: readonly string[]
    readonly generation?: number
    readonly ownerReferences?: readonly {readonly kind?: string; readonly name?: string; readonly uid?: string}[]
    readonly managedFields?: readonly {readonly manager?: string; readonly subresource?: string; readonly time?: string}[]
  }
  readonly spec?: {
    readonly replicas?: number
    readonly type?: string
    readonly storageClassName?: string
    readonly podManagementPolicy?: string
  }
  readonly status?: {
    readonly observedGeneration?: number
    readonly phase?: string
    readonly replicas?: number
    readonly active?: number
    readonly currentNumberScheduled?: number
    readonly desiredNumberScheduled?: number
    readonly updateRevision?: string
    readonly conditions?: readonly Condition[]
    readonly loadBalancer?: {readonly ingress?: readonly unknown[]}
  }
}

type Ended = {
  readonly exitCode?: number
  readonly reason?: string
  readonly message?: string
  readonly startedAt?: string
  readonly finishedAt?: string
}

type ContainerStatus = {
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

type Container = {readonly name: string; readonly image?: string; readonly resources?: {readonly limits?: {readonly memory?: string}}}

type Pod = Live & {
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

type RawEvent = KubeObject & {
  readonly involvedObject?: {readonly kind?: string; readonly name?: string; readonly uid?: string}
  readonly reason?: string
  readonly message?: string
  readonly count?: number
  readonly firstTimestamp?: string | null
  readonly lastTimestamp?: string | null
  readonly eventTime?: string | null
  readonly series?: {readonly count?: number; readonly lastObservedTime?: string}
}

/** When something was first and last seen, in ms. */
type Span = {readonly first: number; readonly last: number}
type Event = Span & {readonly about: NonNullable<RawEvent['involvedObject']>; readonly reason: string; readonly message: string}

/** A workload as it is now: the pods of its latest template, and the object that makes them. */
type Work = {readonly live: Live; readonly maker?: Live; readonly pods: readonly Pod[]}

/** All that was looked at in one namespace. */
type Scene = {
  readonly kube: Kube
  readonly namespace: string
  readonly home: Live | undefined
  readonly works: readonly Work[]
  readonly claims: readonly Live[]
  readonly events: readonly Event[]
  /** Seen for long enough; what is older than the wait itself is first given time to go away. */
  readonly isRipe: (span: Span, seconds: number) => boolean
}

type Finder = (scene: Scene, work: Work) => LkeobsError | undefined | Promise<LkeobsError | undefined>

const staleSeconds = 20
const transientSeconds = 20
const builtInSeconds = 60
const shownLogLines = 12
const longRunMs = 600_000

const builtIn: Readonly<Record<string, string>> = {
  Deployment: 'apps/v1',
  StatefulSet: 'apps/v1',
  DaemonSet: 'apps/v1',
  Job: 'batch/v1',
  Pod: 'v1',
  Service: 'v1',
  PersistentVolumeClaim: 'v1',
}
const makers = new Set(['Deployment', 'StatefulSet', 'DaemonSet', 'Job'])

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

const attempt = async <T>(ask: () => T | Promise<T>): Promise<T | undefined> => {
  try {
    return await ask()
  } catch {
    // what cannot be read is no evidence; that a cluster does not answer shows wherever it is asked
    return undefined
  }
}

/** What stands in no namespace is under ''; a namespace is looked at from within. */
const lookAt = async (kube: Kube, objects: readonly Waited[], now: Date, since?: Date): Promise<readonly Scene[]> => {
  // what the cluster dates is compared with the cluster's clock
  const ahead = (await attempt(() => kube.clockAhead())) ?? 0
  const isRipe = ripeness(now.getTime() + ahead, since && since.getTime() + ahead)
  const places = Map.groupBy(objects, ({kind, name, namespace}) => (kind === 'Namespace' ? name : (namespace ?? '')))
  return Promise.all([...places].map(([namespace, waited]) => look(kube, namespace, waited, isRipe)))
}

const look = async (kube: Kube, namespace: string, waited: readonly Waited[], isRipe: Scene['isRipe']): Promise<Scene> => {
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

/** What one odd object says is left out. */
const tried = <T>(read: () => T): readonly T[] => {
  try {
    return [read()]
  } catch {
    return []
  }
}

const podKind = {apiVersion: 'v1', kind: 'Pod'} as const
const claimKind = {apiVersion: 'v1', kind: 'PersistentVolumeClaim'} as const
const isListed: ReadonlySet<string> = new Set([podKind.kind, claimKind.kind])
/** Some are large, and of many others. */
const readOneByOne: ReadonlySet<string> = new Set(['Secret', 'ConfigMap'])

const ripeness =
  (now: number, since = 0): Scene['isRipe'] =>
  ({first, last}, wanted) =>
    now - first >= wanted * 1000 && (last >= since - 1000 || now - since >= staleSeconds * 1000)

const timeOf = (text: string | null | undefined): number | undefined => {
  const time = Date.parse(text ?? '')
  return Number.isNaN(time) ? undefined : time
}

const eventOf = (raw: RawEvent): Event => {
  const first = timeOf(raw.firstTimestamp) ?? timeOf(raw.eventTime) ?? timeOf((raw as Live).metadata.creationTimestamp) ?? 0
  const last = timeOf(raw.series?.lastObservedTime) ?? timeOf(raw.lastTimestamp) ?? first
  const message = (raw.message ?? '').replace(/^\(combined from similar events\): /, '').trim()
  return {about: raw.involvedObject ?? {}, reason: raw.reason ?? '', message, first, last}
}

const eventsOf = ({events}: Scene, {kind, metadata}: Live, reason: RegExp): readonly Event[] =>
  events.filter(
    ({about, reason: why}) =>
      reason.test(why) &&
      (about.uid !== undefined && metadata.uid !== undefined
        ? about.uid === metadata.uid
        : about.kind === kind && about.name === metadata.name),
  )

const newest = (spans: readonly Span[]): number => Math.max(0, ...spans.map(({last}) => last))
const oldest = (spans: readonly Span[], otherwise = 0): number =>
  spans.length === 0 ? otherwise : Math.min(...spans.map(({first}) => first))
const latest = (events: readonly Event[]): Event | undefined => events.toSorted((one, other) => other.last - one.last)[0]
const created = ({metadata}: Live): number => timeOf(metadata.creationTimestamp) ?? 0
const conditionOf = ({status}: Live, type: string): Condition | undefined => status?.conditions?.find((some) => some.type === type)

/** When somebody last changed what is wished for. What controllers write is status, or a note of their own. */
const changed = (live: Live): number =>
  Math.max(
    created(live),
    ...(live.metadata.managedFields ?? [])
      .filter(({manager, subresource}) => subresource === undefined && manager !== 'kube-controller-manager')
      .map(({time}) => timeOf(time) ?? 0),
  )

const isOwnedBy = (item: Live, owner: Live): boolean =>
  (item.metadata.ownerReferences ?? []).some(({uid, kind, name}) =>
    uid !== undefined && owner.metadata.uid !== undefined
      ? uid === owner.metadata.uid
      : kind === owner.kind && name === owner.metadata.name,
  )

/** Only what the latest wish made: pods of the one before may fail as they like while they are replaced. */
const workOf = (live: Live, replicaSets: readonly Live[], pods: readonly Pod[]): Work => {
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
const isOlder = ({status}: Live, pod: Pod): boolean => differ(pod.metadata.labels?.['controller-revision-hash'], status?.updateRevision)
const differ = (one: string | undefined, other: string | undefined): boolean => one !== undefined && other !== undefined && one !== other

const statusesOf = ({status}: Pod): readonly ContainerStatus[] => [
  ...(status?.initContainerStatuses ?? []),
  ...(status?.containerStatuses ?? []),
]
const containerOf = ({spec}: Pod, name: string): Container | undefined =>
  [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].find((container) => container.name === name)

const nameOf = ({metadata: {namespace, name}}: Live): string => (namespace === undefined ? name : `${namespace}/${name}`)
const podName = (pod: Pod): string => `Pod ${nameOf(pod)}${pod.spec?.nodeName === undefined ? '' : ` on node ${pod.spec.nodeName}`}`

/** Objects that are in no namespace. */
const isWide = (args: readonly string[]): boolean =>
  /^(nodes|storageclass|namespace|\w+webhookconfiguration\w*|\w+policy)\b/.test(args[1] ?? '')

/** The error, with commands for the namespace. */
const fault = ({kube, namespace}: Scene, code: Code, what: string, ...next: readonly (readonly string[])[]): LkeobsError =>
  new LkeobsError(code, what, {
    next: next.map((args) => kubectl(kube.target, ...(namespace === '' || isWide(args) ? [] : ['-n', namespace]), ...args)),
  })

/** An error about a pod. An ordered StatefulSet does not replace one that is not ready, whatever it is wished to be now. */
const podFault = (scene: Scene, {live}: Work, pod: Pod, code: Code, what: string, ...next: readonly (readonly string[])[]): LkeobsError => {
  const isLeft = live.kind === 'StatefulSet' && isOlder(live, pod)
  if (!isLeft) return fault(scene, code, what, ...next, describe(pod))
  const more = 'The pod is of the template before this one, and is not replaced while it is not ready.'
  return fault(scene, code, `${what}\n${more}`, ['delete', 'pod', pod.metadata.name], ...next)
}

const describe = (live: Live): readonly string[] => ['describe', resourceOf(live), live.metadata.name]

/** LKO-3104 */
const notPulled: Finder = (scene, work) =>
  firstOf(work.pods, (pod) =>
    firstOf(statusesOf(pod), (status) => {
      const {reason = '', message = ''} = status.state?.waiting ?? {}
      if (
        !/^(ImagePullBackOff|ErrImagePull|InvalidImageName|ErrImageNeverPull|ImageInspectError|RegistryUnavailable|SignatureValidationFailed)$/.test(
          reason,
        )
      )
        return undefined
      const image = containerOf(pod, status.name)?.image ?? status.image ?? 'its image'
      const failures = eventsOf(scene, pod, /^(Failed|InspectFailed|ErrImageNeverPull|BackOff)$/).filter(({message: text}) =>
        /image|pull/i.test(text),
      )
      const said = latest(failures.filter(({message: text}) => text.includes(`Failed to pull image "${image}"`)))
      const words = registryWords(/ErrImagePull: |rpc error|failed to/i.test(message) ? message : (said?.message ?? message)) || reason
      // the first refusal may still be a hiccup, unless it says that it is none
      if (reason === 'ErrImagePull' && !isDefinite(words)) return undefined
      // while it backs off nobody asks the registry
      const start = timeOf(pod.status?.startTime) ?? created(pod)
      const span = {first: oldest(failures, start), last: newest(failures.filter(({message: text}) => !/back-?off/i.test(text))) || start}
      if (!scene.isRipe(span, isHiccup(words) ? transientSeconds : 0)) return undefined
      return podFault(scene, work, pod, 'LKO-3104', `${podName(pod)} cannot get ${image}: ${words}`)
    }),
  )

const isDefinite = (words: string): boolean =>
  /not found|does not exist|denied|unauthorized|forbidden|no such host|connection refused|invalid reference|no match for platform/i.test(
    words,
  ) && !isHiccup(words)

const isHiccup = (words: string): boolean =>
  /time[d]? ?out|deadline exceeded|too many requests|unexpected status[^:]*: 5\d\d|\bEOF\b|reset by peer|qps exceeded|temporary failure|server misbehaving|unavailable/i.test(
    words,
  )

/** What the registry said, without the names of everybody who passed it on. */
const registryWords = (message: string): string =>
  message
    .replace(/^Back-off pulling image "[^"]*"(: )?/, '')
    .replace(/^Failed to pull image "[^"]*": /, '')
    .replace(/^ErrImagePull: /, '')
    .replace(/^rpc error: code = \w+ desc = /, '')
    .replace(/^failed to pull and unpack image "[^"]*": /, '')
    .replace(/^failed to resolve (image|reference "[^"]*"): /, '')

const firstOf = <T, R>(items: readonly T[], find: (item: T) => R | undefined): R | undefined => {
  for (const item of items) {
    const found = find(item)
    if (found !== undefined) return found
  }
  return undefined
}

const isAboutVolumes = (words: string): boolean =>
  /unbound immediate PersistentVolumeClaims|persistentvolumeclaim "[^"]*"|available persistent volumes/i.test(words)

/** A pod the scheduler has no node for, and nobody is about to bring one. */
const unscheduled = (scene: Scene, pod: Pod): {readonly words: string; readonly span: Span} | undefined => {
  const scheduled = conditionOf(pod, 'PodScheduled')
  if (scheduled?.status !== 'False' || scheduled.reason !== 'Unschedulable' || pod.status?.nominatedNodeName !== undefined) return undefined
  const refused = eventsOf(scene, pod, /^NotTriggerScaleUp$/)
  const growing = eventsOf(scene, pod, /^(TriggeredScaleUp|Nominated)$/)
  if (growing.length > 0 && newest(growing) >= newest(refused)) return undefined
  const first = timeOf(scheduled.lastTransitionTime) ?? created(pod)
  const span = {first, last: Math.max(first, newest(eventsOf(scene, pod, /^FailedScheduling$/)))}
  // an autoscaler looks every ten seconds; one that has refused is not waited for
  return scene.isRipe(span, refused.length > 0 ? 10 : 20) ? {words: scheduled.message ?? 'Unschedulable', span} : undefined
}

/** LKO-3105 */
const notScheduled: Finder = (scene, work) =>
  firstOf(work.pods, (pod) => {
    const found = unscheduled(scene, pod)
    if (!found || isAboutVolumes(found.words)) return undefined
    const refusal = latest(eventsOf(scene, pod, /^NotTriggerScaleUp$/))
    const more = refusal ? `\nThe autoscaler: ${refusal.message}` : ''
    return podFault(scene, work, pod, 'LKO-3105', `${podName(pod)}: ${found.words}${more}`, ['describe', 'nodes'])
  })

/** LKO-3107 */
const noVolume: Finder = async (scene, {live, pods}) => {
  const names = new Set(pods.flatMap(({spec}) => (spec?.volumes ?? []).map(({persistentVolumeClaim}) => persistentVolumeClaim?.claimName)))
  const claims = live.kind === 'PersistentVolumeClaim' ? [live] : scene.claims.filter(({metadata}) => names.has(metadata.name))
  const [bad] = claims.flatMap((claim) => {
    const words = claimFault(scene, {...claim, apiVersion: 'v1', kind: 'PersistentVolumeClaim'})
    return words === undefined ? [] : [{claim, words}]
  })
  if (bad) {
    const {claim, words} = bad
    const {storageClassName: wanted = ''} = claim.spec ?? {}
    const what = `Claim ${nameOf(claim)} (${wanted === '' ? 'no storage class' : `storage class ${wanted}`}): ${words}`
    return fault(scene, 'LKO-3107', `${what}${await classesOf(scene)}`, ['describe', 'pvc', claim.metadata.name], ['get', 'storageclass'])
  }
  return firstOf(pods, (pod) => {
    const found = unscheduled(scene, pod)
    // a claim that is still being provisioned says so in the same words
    if (!found || !/persistentvolumeclaim "[^"]*" (not found|is being deleted)|available persistent volumes/i.test(found.words))
      return undefined
    return fault(scene, 'LKO-3107', `${podName(pod)}: ${found.words}`, describe(pod), ['get', 'pvc'])
  })
}

const claimFault = (scene: Scene, claim: Live): string | undefined => {
  if (claim.status?.phase === 'Lost') return 'its volume is gone'
  if (claim.status?.phase !== 'Pending') return undefined
  const failure = latest(eventsOf(scene, claim, /^(FailedBinding|ProvisioningFailed)$/))
  // a newer attempt is under way
  if (!failure || newest(eventsOf(scene, claim, /^Provisioning$/)) > failure.last) return undefined
  const isSlow = /DeadlineExceeded|deadline exceeded|timed out|Unavailable|Aborted|connection/i.test(failure.message)
  const span = {first: isSlow ? failure.first : created(claim), last: failure.last}
  return scene.isRipe(span, isSlow ? 25 : 10) ? failure.message : undefined
}

const classesOf = async ({kube}: Scene): Promise<string> => {
  const classes = (await attempt(() => kube.list({apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass'}))) ?? []
  const names = classes.map(({metadata: {name, annotations}}) =>
    annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true' ? `${name} (default)` : name,
  )
  return names.length === 0 ? '' : `\nThe cluster has: ${names.join(', ')}`
}

/** Ended again and again. What ran well for long is new to it. */
const isCrashing = ({state, lastState, restartCount = 0, ready}: ContainerStatus): boolean => {
  const ended = state?.terminated ?? lastState?.terminated
  const isDown = /^(CrashLoopBackOff|RunContainerError)$/.test(state?.waiting?.reason ?? '') || (state?.terminated?.exitCode ?? 0) !== 0
  const isBetween = state?.running !== undefined && ready !== true && restartCount >= 3 && (ended?.exitCode ?? 0) !== 0
  return ((isDown && restartCount >= 2) || isBetween) && ranFor(ended) < longRunMs
}

const ranFor = (ended: Ended | undefined): number => {
  const started = timeOf(ended?.startedAt) ?? 0
  // what never started is said to have done so in 1970
  return started === 0 ? 0 : (timeOf(ended?.finishedAt) ?? 0) - started
}

/** LKO-3106 */
const crashing: Finder = async (scene, work) => {
  const {live, pods} = work
  // a Job tries again by design, until it gives up itself
  if (live.kind === 'Job') return undefined
  const isOf = ({state, lastState}: ContainerStatus, pod: Pod): Span => {
    const at = timeOf((state?.terminated ?? lastState?.terminated)?.finishedAt) ?? created(pod)
    return {first: at, last: at}
  }
  const found = firstOf(pods, (pod) =>
    firstOf(statusesOf(pod), (status) => (isCrashing(status) && isRecent(scene, status, isOf(status, pod)) ? {pod, status} : undefined)),
  )
  return found && crash(scene, work, found.pod, found.status)
}

/** One that runs just now has to have crashed within the last minutes. */
const isRecent = (scene: Scene, {state}: ContainerStatus, span: Span): boolean =>
  scene.isRipe(span, 0) && (state?.running === undefined || !scene.isRipe(span, 180))

const crash = async (scene: Scene, work: Work, pod: Pod, status: ContainerStatus): Promise<LkeobsError> => {
  const {name, restartCount = 0, state, lastState} = status
  const ended = state?.terminated ?? lastState?.terminated
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

const endOf = (ended: Ended | undefined, container: Container | undefined): string => {
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

/** LKO-3106: what a container is to be started with is not there. */
const notStarted: Finder = async (scene, work) => {
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
    const start = timeOf(pod.status?.startTime) ?? created(pod)
    const span = {first: oldest(failures, start), last: newest(failures) || start}
    return scene.isRipe(span, 20) ? `container ${name}: ${message || reason}` : undefined
  })

const mountFault = (scene: Scene, pod: Pod): string | undefined => {
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

/** LKO-3106: a Job that gave up. */
const jobFailed: Finder = async (scene, {live, pods}) => {
  const failed = live.kind === 'Job' ? conditionOf(live, 'Failed') : undefined
  if (failed?.status !== 'True') return undefined
  const at = timeOf(failed.lastTransitionTime) ?? created(live)
  if (!scene.isRipe({first: at, last: at}, 0)) return undefined
  const pod = pods.toSorted((one, other) => created(other) - created(one))[0]
  const status = pod && statusesOf(pod).find(({state, lastState}) => (state?.terminated ?? lastState?.terminated)?.exitCode !== 0)
  const lines = pod && status ? await lastLines(scene, pod, status.name, status.state?.terminated === undefined) : []
  const end =
    pod && status
      ? [`Pod ${nameOf(pod)}: ${endOf(status.state?.terminated ?? status.lastState?.terminated, containerOf(pod, status.name))}.`]
      : []
  const last = lines.length > 0 ? ['Its last lines:', ...lines] : []
  return fault(scene, 'LKO-3106', [`Job ${nameOf(live)}: ${failed.message ?? 'failed'}.`, ...end, ...last].join('\n'), describe(live))
}

/** LKO-3108 */
const notAdmitted: Finder = (scene, {live, maker}) => {
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
  const at = timeOf(condition.lastTransitionTime) ?? created(maker)
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

/** LKO-3111 */
const cannotGo: Finder = (scene, {live, pods}) => firstOf([live, ...pods], (object) => held(scene, object))

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
const homeHeld = async (scene: Scene): Promise<LkeobsError | undefined> => {
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
      .map(({metadata: {name}}) => kubectl(kube.target, '-n', namespace, ...release(kind.kind.toLowerCase(), name)))
  })
  return (await Promise.all(lines)).flat()
}

const columns = 'custom-columns=NAME:.metadata.name,FINALIZERS:.metadata.finalizers'

/** LKO-3115 */
const noAddress: Finder = (scene, {live}) => {
  if (live.kind !== 'Service' || live.spec?.type !== 'LoadBalancer' || (live.status?.loadBalancer?.ingress ?? []).length > 0)
    return undefined
  const said = latest(eventsOf(scene, live, /^(SyncLoadBalancerFailed|AllocationFailed|UnAvailableLoadBalancer|UnavailableLoadBalancer)$/))
  const at = changed(live)
  if (!scene.isRipe({first: at, last: Math.max(at, said?.last ?? 0)}, 90)) return undefined
  const words = said?.message ?? 'nobody says why; most likely the cluster has no controller for load balancers'
  return fault(scene, 'LKO-3115', `Service ${nameOf(live)} has had no address for more than 90 s: ${words}.`, describe(live))
}

/** What tells most comes first. */
const finders: readonly Finder[] = [cannotGo, notAdmitted, notPulled, noVolume, notScheduled, crashing, notStarted, jobFailed, noAddress]
