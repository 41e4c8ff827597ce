import {describe, expect, test} from 'vitest'
import {generatorJobs} from '../../src/platforms/kubernetes/generators.ts'
import type {Site} from '../../src/platforms/kubernetes/site.ts'
import type {Kube, KubeObject} from '../../src/tools/kube/kube.ts'
import type {Load} from '../../src/tools/telemetrygen.ts'
import {kubeOf, object} from '../checks/kube.ts'
import {notRestricted, type PodSpec} from '../components/restricted.ts'
import {fakeWorld} from '../support/fake-world.ts'

const load: Load = {
  name: '4b1f09ce-1-metrics-3',
  signal: 'metrics',
  endpoint: 'agent.lkeobs-node.svc:4317',
  processes: 2,
  workers: 2,
  perWorker: 100,
  seconds: 10,
  batchSize: 100,
  spansPerTrace: 10,
  service: 'lkeobs-loadtest',
  metric: 'lkeobs.loadtest',
  instance: 'edge-1-1',
  attributes: {price: '$(HOME)'},
}
const never = new AbortController().signal
const onStart = () => undefined

type Job = KubeObject & {
  readonly spec: {
    readonly completions: number
    readonly activeDeadlineSeconds: number
    readonly template: {readonly metadata: {readonly labels: Readonly<Record<string, string>>}; readonly spec: PodSpec}
  }
}
type Made = {readonly phase?: string; readonly status?: object; readonly log?: readonly string[]}

const made = (worker: number, count: number) =>
  `2026-11-23T22:09:52.375Z\tINFO\tmetrics/worker.go:243\tmetrics generated\t{"worker": ${worker}, "metrics": ${count}}`
const ended = (exitCode: number, reason = 'Completed') => ({
  containerStatuses: [{name: 'telemetrygen', state: {terminated: {exitCode, reason}}}],
})

/** A cluster that makes these pods of every Job, with these other objects and events. */
const clusterOf = ({
  pods = [],
  more = () => [],
}: {
  readonly pods?: readonly Made[]
  readonly more?: (job: Job) => readonly KubeObject[]
}) => {
  const objects: KubeObject[] = []
  const writes: string[] = []
  const podOf = (job: Job, {phase = 'Succeeded', status}: Made, number: number) =>
    object(
      'v1',
      'Pod',
      `${job.metadata.name}-${number}`,
      {spec: job.spec.template.spec, status: {phase, ...status}},
      {
        namespace: 'lkeobs',
        uid: `uid-${number}`,
        creationTimestamp: new Date().toISOString(),
        ownerReferences: [{kind: 'Job', name: job.metadata.name, uid: `uid-of-${job.metadata.name}`}],
        labels: {
          ...job.spec.template.metadata.labels,
          'batch.kubernetes.io/job-name': job.metadata.name,
          'batch.kubernetes.io/job-completion-index': String(number),
        },
      },
    )
  const kube: Kube = {
    ...kubeOf({objects}),
    async apply(applied) {
      for (const one of applied) {
        writes.push(`apply ${one.kind} ${one.metadata.name}`)
        const live = {...one, metadata: {...one.metadata, uid: `uid-of-${one.metadata.name}`}, status: {}}
        objects.push(live)
        if (one.kind === 'Job')
          objects.push(...pods.map((pod, number) => podOf(live as unknown as Job, pod, number)), ...more(live as unknown as Job))
      }
    },
    async remove({kind, name}) {
      writes.push(`remove ${kind} ${name}`)
      const isIts = ({kind: what, metadata}: KubeObject) =>
        (what === kind && metadata.name === name) || metadata.labels?.['batch.kubernetes.io/job-name'] === name
      objects.splice(0, objects.length, ...objects.filter((one) => !isIts(one)))
    },
    log: async ({pod}) => pods[Number(pod.split('-').at(-1))]?.log ?? [],
  }
  const {tools} = fakeWorld()
  const site: Site = {
    cluster: 'edge-1',
    role: 'edge',
    fleet: 'acme',
    kube,
    helm: tools.helm({context: 'here'}),
    tools,
    ways: {},
    file: String,
  }
  return {objects, writes, generators: generatorJobs(site, load.endpoint)}
}
const left = (objects: readonly KubeObject[]) =>
  objects.filter(({kind}) => kind === 'Job' || kind === 'Pod').map(({metadata}) => metadata.name)

describe('a load', () => {
  test('is one Job, whose pods tell their series apart by their number, and pass pod security', async () => {
    const {objects, generators} = clusterOf({
      pods: [{log: [made(0, 700), made(1, 800)]}, {log: [made(0, 1), made(1, 2)]}].map((one) => ({...one, status: ended(0)})),
    })
    expect(await generators.run(load, {over: never, onStart})).toEqual([
      {made: 1500, unsent: 0, complaint: undefined},
      {made: 3, unsent: 0, complaint: undefined},
    ])
    const [job] = objects.filter(({kind}) => kind === 'Job') as unknown as readonly Job[]
    expect(job?.metadata).toMatchObject({
      name: 'telemetrygen-4b1f09ce-1-metrics-3',
      namespace: 'lkeobs',
      labels: {'app.kubernetes.io/managed-by': 'lkeobs'},
    })
    expect(job?.spec).toMatchObject({
      completions: 2,
      parallelism: 2,
      completionMode: 'Indexed',
      activeDeadlineSeconds: 130,
      ttlSecondsAfterFinished: 30,
    })
    const spec = job?.spec.template.spec
    expect(spec && notRestricted(spec)).toEqual([])
    const [container] = spec?.containers ?? []
    expect(container?.image).toMatch(/^ghcr\.io\/open-telemetry\/opentelemetry-collector-contrib\/telemetrygen:v\d+\.\d+\.\d+$/)
    const {args} = container as unknown as {readonly args: readonly string[]}
    expect(args).toContain('service.instance.id="edge-1-1-$(JOB_COMPLETION_INDEX)"')
    // the same in every shift of this name: no series is of a pod that is there for ten seconds
    expect(args).toContain('k8s.pod.name="telemetrygen-edge-1-1-$(JOB_COMPLETION_INDEX)"')
    // what a profile says is never filled in
    expect(args).toContain('price="$$(HOME)"')
  })

  test('of which a pod was killed says so, and not what that one made', async () => {
    const {generators} = clusterOf({
      pods: [
        {status: ended(0), log: [made(0, 7), made(1, 8)]},
        {phase: 'Failed', status: ended(137, 'OOMKilled'), log: []},
      ],
    })
    const [first, second] = await generators.run(load, {over: never, onStart})
    expect(first?.made).toBe(15)
    expect(second).toEqual({
      made: undefined,
      unsent: 0,
      complaint: 'pod lkeobs/telemetrygen-4b1f09ce-1-metrics-3-1: OOMKilled, it needs more memory than its limit of 512Mi',
    })
  })

  test('that is ended early leaves nothing, and says nothing of what it made', async () => {
    const running = {phase: 'Running', status: {containerStatuses: [{name: 'telemetrygen', state: {running: {}}}]}}
    const {objects, writes, generators} = clusterOf({pods: [running, running]})
    const over = new AbortController()
    const sent = generators.run(load, {over: over.signal, onStart})
    await expect.poll(() => left(objects)).toHaveLength(3)
    over.abort()
    expect(await sent).toEqual([1, 2].map(() => ({made: undefined, unsent: 0, complaint: undefined})))
    expect(left(objects)).toEqual([])
    expect(writes).toEqual(['apply Job telemetrygen-4b1f09ce-1-metrics-3', 'remove Job telemetrygen-4b1f09ce-1-metrics-3'])
  })

  test('whose image cannot be had ends with that, and leaves nothing', async () => {
    const message = 'rpc error: code = NotFound desc = failed to pull and unpack image "x": not found'
    const waiting = {
      phase: 'Pending',
      status: {containerStatuses: [{name: 'telemetrygen', state: {waiting: {reason: 'ErrImagePull', message}}}]},
    }
    const {objects, generators} = clusterOf({pods: [waiting, waiting]})
    await expect(generators.run(load, {over: never, onStart})).rejects.toMatchObject({
      code: 'LKO-3104',
      // the pod is gone when this is read
      next: ['kubectl --context here -n lkeobs get events --sort-by=.lastTimestamp', 'lkeobs explain LKO-3104'],
    })
    expect(left(objects)).toEqual([])
  })

  test('that a quota refuses names the quota', async () => {
    const message = 'Error creating: pods "x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=4, limited: pods=4'
    const {objects, generators} = clusterOf({
      more: ({metadata}) => [
        object(
          'v1',
          'Event',
          'refused',
          {
            involvedObject: {kind: 'Job', name: metadata.name, uid: metadata['uid']},
            reason: 'FailedCreate',
            message,
            firstTimestamp: new Date(Date.now() - 60_000).toISOString(),
            lastTimestamp: new Date(Date.now() + 1000).toISOString(),
          },
          {namespace: 'lkeobs'},
        ),
      ],
    })
    const error: unknown = await generators.run(load, {over: never, onStart}).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({code: 'LKO-3108'})
    expect(String(error)).toContain('The quota few does not let Job lkeobs/telemetrygen-4b1f09ce-1-metrics-3 make its pods')
    expect(left(objects)).toEqual([])
  })
})

test('what an earlier run has left is removed before the next one, which may reach its agents', async () => {
  const {objects, writes, generators} = clusterOf({pods: [{phase: 'Running'}]})
  objects.push(
    object('batch/v1', 'Job', 'telemetrygen-dead', {}, {namespace: 'lkeobs', labels: {'app.kubernetes.io/instance': 'telemetrygen'}}),
    object('batch/v1', 'Job', 'of-others', {}, {namespace: 'lkeobs'}),
  )
  await generators.ready()
  expect(writes).toEqual(['remove Job telemetrygen-dead', 'apply NetworkPolicy telemetrygen'])
  expect(left(objects)).toEqual(['of-others'])
  await generators.ready()
  expect(writes).toHaveLength(2)
})

test('agents share a load where workloads may run', async () => {
  const {objects, generators} = clusterOf({})
  const agent = (node: string, ready = 'True') =>
    object(
      'v1',
      'Pod',
      `agent-${node}`,
      {spec: {nodeName: node}, status: {conditions: [{type: 'Ready', status: ready}]}},
      {
        namespace: 'lkeobs-node',
        labels: {'app.kubernetes.io/instance': 'agent'},
      },
    )
  objects.push(object('v1', 'Node', 'a'), object('v1', 'Node', 'b'), object('v1', 'Node', 'c'))
  objects.push(object('v1', 'Node', 'gpu', {spec: {taints: [{key: 'gpu', effect: 'NoSchedule'}]}}))
  objects.push(object('v1', 'Node', 'drained', {spec: {unschedulable: true}}))
  objects.push(agent('a'), agent('b'), agent('c', 'False'), agent('gpu'), agent('drained'))
  expect(await generators.agents()).toBe(2)
})
