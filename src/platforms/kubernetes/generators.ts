import {setTimeout as sleep} from 'node:timers/promises'
import {LkeobsError, orElse} from '../../errors.ts'
import {isTrue} from '../../tools/kube/condition.ts'
import type {KubeObject, KubeTarget, Ref} from '../../tools/kube/kube.ts'
import {kubectl} from '../../tools/kube/kubectl.ts'
import {typed} from '../../tools/shell.ts'
import {type Generated, type Load, readTelemetrygen, telemetrygenArgs} from '../../tools/telemetrygen.ts'
import type {Generators} from '../platform.ts'
import {put, refOf} from './applied.ts'
import {labelsOf} from './cluster.ts'
import {endOf} from './diagnosis/crashes.ts'
import {terminal} from './diagnosis/index.ts'
import {containerOf, endingOf, type Pod, statusesOf} from './diagnosis/pod.ts'
import {marked} from './drift/mark.ts'
import {generator, namespace, nodeNamespace} from './names.ts'
import {networkPolicies} from './network-policies.ts'
import {generatorImage, generators, jobOf, startWithinSeconds} from './objects.ts'
import type {Site} from './site.ts'

const lookMs = 1000
/** How long a pod that was told to end may take; its Job removes it anyway. */
const goneWithinMs = 20_000
/** More than a generator logs in its time: each worker once, and each batch that is refused. */
const logLines = 20_000

const podKind = {apiVersion: 'v1', kind: 'Pod'} as const
const jobKind = {apiVersion: 'batch/v1', kind: 'Job'} as const
const numberLabel = 'batch.kubernetes.io/job-completion-index'

type Node = KubeObject & {
  readonly spec?: {readonly unschedulable?: boolean; readonly taints?: readonly {readonly effect?: string}[]}
}
type Job = KubeObject & {readonly status?: {readonly conditions?: readonly {readonly type?: string; readonly status?: string}[]}}

const takesWorkloads = ({spec}: Node): boolean =>
  spec?.unschedulable !== true && (spec?.taints ?? []).every(({effect}) => effect === 'PreferNoSchedule')

const isOver = ({status}: Pod): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed'
/** Whether its container was started. */
const isStarted = (pod: Pod): boolean => isOver(pod) || statusesOf(pod).some(({state}) => state?.running !== undefined)

/** What is to be looked at next must still be there when the Job is gone: events are. */
const withoutJob = (error: LkeobsError, job: Ref, target: KubeTarget): LkeobsError => {
  const events = kubectl(target, '-n', namespace, 'get', 'events', '--sort-by=.lastTimestamp')
  const next = error.next.filter((line) => !line.includes(job.name) && !line.startsWith('lkeobs explain'))
  return new LkeobsError(error.code, `${error.message}\nThe generators were removed, and the load test has ended.`, {
    next: [...next, events],
  })
}

/** The policy that lets generators reach their agents. It comes with an edge; one that was joined before there was any gets it now. */
const policy = (): readonly KubeObject[] =>
  networkPolicies({role: 'edge', certManager: false, secretsOperator: false, grafana: false, instrumentation: false})
    .filter(({metadata}) => metadata.name === generator)
    .map((object) => marked(object))

/** Generators as Jobs in the edge's cluster, beside its agents: one for each load. */
export const generatorJobs = (site: Site, otlpGrpc: string): Generators => {
  const {kube, cluster} = site
  const podsWith = (labels: string) => kube.list<Pod>(podKind, {namespace, labels})
  const podsOf = (job: Ref) => podsWith(`batch.kubernetes.io/job-name=${job.name}`)

  /** Waits until there are none of these pods. */
  const gone = async (find: () => Promise<readonly Pod[]>): Promise<void> => {
    for (const until = Date.now() + goneWithinMs; Date.now() < until && (await find()).length > 0;) await sleep(lookMs / 5)
  }
  const removed = async (job: Ref): Promise<void> => {
    await kube.remove(job)
    await gone(() => podsOf(job))
  }

  const generatedBy = async (load: Load, number: number, pods: readonly Pod[]): Promise<Generated> => {
    const pod = pods.find(({metadata}) => metadata.labels?.[numberLabel] === String(number))
    if (pod === undefined)
      return {made: undefined, unsent: 0, complaint: `pod ${number} of Job ${namespace}/${jobOf(load)} is not there any more`}
    const {name} = pod.metadata
    const lines = await orElse(kube.log({namespace, pod: name, container: generator, lines: logLines}), () => [])
    const generated = readTelemetrygen(lines, load)
    const ended = statusesOf(pod)
      .map(endingOf)
      .find((ending) => ending !== undefined)
    if (ended?.exitCode === 0 || generated.complaint !== undefined) return generated
    return {...generated, complaint: `pod ${namespace}/${name}: ${endOf(ended, containerOf(pod, generator))}`}
  }

  /** Throws where a pod is not started, and will not be. */
  const watched = async (job: Ref, pods: readonly Pod[], load: Load, since: Date): Promise<void> => {
    if (pods.length >= load.processes && pods.every(isStarted)) return
    const error = await terminal(kube, [job], since)
    if (error) throw withoutJob(error, job, kube.target)
    if (Date.now() - since.getTime() < startWithinSeconds * 1000) return
    const waiting = pods
      .filter((pod) => !isStarted(pod))
      .map(({metadata, status}) => `Pod ${namespace}/${metadata.name}: ${status?.phase ?? 'new'}`)
    const started = `${cluster}: ${pods.filter(isStarted).length} of ${load.processes} pods of Job ${namespace}/${job.name} were started.`
    throw withoutJob(new LkeobsError('LKO-9012', [started, ...waiting].join('\n')), job, kube.target)
  }

  /** Its pods once all have ended, or will no more. */
  const awaited = async (job: Ref, load: Load, over: AbortSignal): Promise<readonly Pod[]> => {
    const since = new Date()
    let pods: readonly Pod[] = []
    const giveUpMs = since.getTime() + (load.seconds + 2 * startWithinSeconds) * 1000
    while (!over.aborted && Date.now() < giveUpMs) {
      await sleep(lookMs, undefined, {signal: over}).catch(() => undefined)
      // an API server that does not answer for a moment does not end what runs
      const seen = await orElse<readonly [readonly Pod[], Job | undefined] | undefined>(
        Promise.all([podsOf(job), kube.read<Job>(job)]),
        () => undefined,
      )
      if (seen === undefined) continue
      pods = seen[0]
      const live = seen[1]
      const isEnded = live === undefined || isTrue(live, 'Complete') || isTrue(live, 'Failed')
      if (isEnded || pods.filter(isOver).length >= load.processes) break
      await watched(job, pods, load, since)
    }
    return pods
  }

  const cleared = async (): Promise<void> => {
    const labels = labelsOf(generator)
    const left = await kube.list(jobKind, {namespace, labels})
    await Promise.all(left.map((job) => kube.remove(refOf(job))))
    if (left.length > 0) await gone(() => podsWith(labels))
  }

  return {
    otlpGrpc,
    // starting a pod costs more than what is saved by ending it sooner
    shiftSeconds: 10,
    async agents() {
      const [agents, nodes] = await Promise.all([
        kube.list<Pod>(podKind, {namespace: nodeNamespace, labels: labelsOf('agent')}),
        kube.list<Node>({apiVersion: 'v1', kind: 'Node'}),
      ])
      const open = new Set(nodes.filter(takesWorkloads).map(({metadata}) => metadata.name))
      return Math.max(1, agents.filter((pod) => isTrue(pod, 'Ready') && open.has(pod.spec?.nodeName ?? '')).length)
    },
    async ready() {
      await cleared()
      await put(site, policy(), 'network-policies.yaml')
    },
    async run(load, {over}) {
      if (over.aborted) return []
      const objects = generators(load)
      const job: Ref = {...jobKind, name: jobOf(load), namespace}
      let isEnded = false
      try {
        await kube.apply(objects, {file: site.file('generators.yaml')})
        const pods = await awaited(job, load, over)
        isEnded = pods.length >= load.processes && pods.every(isOver)
        return over.aborted
          ? Array.from({length: load.processes}, () => ({made: undefined, unsent: 0, complaint: undefined}))
          : await Promise.all(Array.from({length: load.processes}, (_, number) => generatedBy(load, number, pods)))
      } finally {
        // one that has ended goes by itself
        if (!isEnded) await removed(job)
      }
    },
    cleared,
    typed: (load) => [
      `${typed({file: 'telemetrygen', args: telemetrygenArgs(load, '‹number›')})}   # ${load.processes === 1 ? '1 pod' : `${load.processes} pods`} of ${generatorImage()} on ${cluster}`,
    ],
  }
}
