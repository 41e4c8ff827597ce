import {describe, expect, test} from 'vitest'
import type {LkeobsError} from '../../src/errors.ts'
import {pausedPods, terminal} from '../../src/platforms/kubernetes/diagnosis/index.ts'
import type {Waited} from '../../src/platforms/kubernetes/diagnosis/scene.ts'
import type {Kube, KubeObject} from '../../src/tools/kube/kube.ts'

const namespace = 'lkeobs'
const start = Date.parse('2026-11-23T15:12:14Z')
/** Seconds after the beginning, as the API writes them. */
const at = (seconds: number): string => new Date(start + seconds * 1000).toISOString().replace('.000Z', 'Z')
const later = (seconds: number): Date => new Date(start + seconds * 1000)

const object = (kind: string, name: string, fields: object = {}, metadata: object = {}): KubeObject => ({
  apiVersion: ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet'].includes(kind) ? 'apps/v1' : kind === 'Job' ? 'batch/v1' : 'v1',
  kind,
  metadata: {name, namespace, uid: `uid-${kind}-${name}`, creationTimestamp: at(0), generation: 1, ...metadata},
  ...fields,
})
const owner = (kind: string, name: string) => ({ownerReferences: [{kind, name, uid: `uid-${kind}-${name}`, controller: true}]})
const event = (about: string, reason: string, message: string, [first, last]: readonly [number, number], count = 1): KubeObject => {
  const [kind = '', name = ''] = about.split('/')
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: {name: `${name}.${reason}.${first}`, namespace},
    involvedObject: {kind, name, namespace, uid: `uid-${kind}-${name}`},
    reason,
    message,
    count,
    firstTimestamp: at(first),
    lastTimestamp: at(last),
    eventTime: null,
  }
}
/** As the scheduler writes them. */
const seriesEvent = (about: string, reason: string, message: string, [first, last]: readonly [number, number]): KubeObject => ({
  ...event(about, reason, message, [first, last]),
  count: undefined,
  firstTimestamp: null,
  lastTimestamp: null,
  eventTime: at(first).replace('Z', '.645128Z'),
  series: {count: 2, lastObservedTime: at(last).replace('Z', '.653880Z')},
})

type Status = {
  readonly name?: string
  readonly restartCount?: number
  readonly ready?: boolean
  readonly state: object
  readonly lastState?: object
}
type PodWish = {
  readonly name?: string
  readonly of?: object
  readonly containers?: readonly object[]
  readonly claims?: readonly string[]
  readonly statuses?: readonly Status[]
  readonly conditions?: readonly object[]
  readonly node?: string | null
  readonly status?: object
  readonly metadata?: object
}
const set = 'gateway-78f4cf8b4b'
const pod = ({name = `${set}-dt6hl`, of = owner('ReplicaSet', set), node = 'edge', ...wish}: PodWish = {}): KubeObject =>
  object(
    'Pod',
    name,
    {
      spec: {
        ...(node !== null && {nodeName: node}),
        containers: wish.containers ?? [{name: 'c', image: 'registry.example.com/otelcol:1'}],
        volumes: (wish.claims ?? []).map((claimName) => ({name: claimName, persistentVolumeClaim: {claimName}})),
      },
      status: {
        phase: 'Pending',
        startTime: at(1),
        conditions: wish.conditions ?? [],
        containerStatuses: (wish.statuses ?? []).map((status) => ({name: 'c', ready: false, restartCount: 0, lastState: {}, ...status})),
        ...wish.status,
      },
    },
    {...of, ...wish.metadata},
  )
const waiting = (reason: string, message?: string): Status => ({state: {waiting: {reason, ...(message !== undefined && {message})}}})
const ended = (exitCode: number, seconds: number, more: object = {}) => ({
  terminated: {exitCode, reason: 'Error', startedAt: at(seconds), finishedAt: at(seconds), containerID: 'containerd://fd78', ...more},
})
const revision = (number: string) => ({annotations: {'deployment.kubernetes.io/revision': number}})
const deployment = (status: object = {}, metadata: object = {}) =>
  object(
    'Deployment',
    'gateway',
    {spec: {replicas: 1}, status: {observedGeneration: 1, replicas: 1, ...status}},
    {...revision('1'), ...metadata},
  )
const replicaSet = (status: object = {}, name = set, number = '1') =>
  object(
    'ReplicaSet',
    name,
    {spec: {replicas: 1}, status: {replicas: 1, ...status}},
    {...owner('Deployment', 'gateway'), ...revision(number)},
  )
const made = [deployment(), replicaSet()]
const statefulSet = (spec: object = {}, status: object = {}) =>
  object('StatefulSet', 'loki', {
    spec: {replicas: 1, ...spec},
    status: {observedGeneration: 1, replicas: 1, updateRevision: 'loki-58f47b8c75', ...status},
  })
const ofStatefulSet = (hash = 'loki-58f47b8c75') => ({
  name: 'loki-0',
  of: owner('StatefulSet', 'loki'),
  metadata: {labels: {'controller-revision-hash': hash}},
})
const claim = (phase: string, storageClassName?: string) =>
  object('PersistentVolumeClaim', 'data-loki-0', {spec: {...(storageClassName !== undefined && {storageClassName})}, status: {phase}})
const storageClass = {
  ...object('StorageClass', 'local-path', {}, {annotations: {'storageclass.kubernetes.io/is-default-class': 'true'}, namespace: undefined}),
}

/** A cluster that has these objects; what it is asked is noted. */
const cluster = (objects: readonly KubeObject[], logs: readonly string[] = [], ahead = 0) => {
  const asked: string[] = []
  const never = (): never => {
    throw new Error('not expected of a diagnosis')
  }
  const inPlace = (one: KubeObject, where: string | undefined) => where === undefined || one.metadata.namespace === where
  const kube: Kube = {
    target: {context: 'edge', kubeconfig: '/k/edge'},
    version: never,
    may: never,
    forward: never,
    exec: never,
    apply: never,
    patch: never,
    debug: never,
    nudge: never,
    clockAhead: () => Promise.resolve(ahead),
    remove: never,
    read: <T extends KubeObject>({kind, name, namespace: where}: Parameters<Kube['read']>[0]) => {
      asked.push(`read ${kind}`)
      return Promise.resolve(objects.find((one) => one.kind === kind && one.metadata.name === name && inPlace(one, where)) as T | undefined)
    },
    list: <T extends KubeObject>({kind}: {kind: string}, where?: {readonly namespace?: string}) => {
      asked.push(`list ${kind}`)
      // elements of a list do not say what they are
      const found = objects.filter((one) => one.kind === kind && inPlace(one, where?.namespace))
      return Promise.resolve(found.map((one) => ({...one, kind: undefined, apiVersion: undefined})) as unknown as readonly T[])
    },
    log: ({previous}) => {
      asked.push(`log${previous ? ' of the run before' : ''}`)
      return Promise.resolve(logs)
    },
  }
  return {kube, asked}
}
const waited = (kind: string, name: string): readonly Waited[] => [{kind, name, namespace}]
const gateway = waited('Deployment', 'gateway')
const loki = waited('StatefulSet', 'loki')
const diagnosed = (objects: readonly KubeObject[], what: readonly Waited[], seconds: number, since = 0, logs: readonly string[] = []) =>
  terminal(cluster(objects, logs).kube, what, later(since), later(seconds))
const lines = (error: LkeobsError | undefined) => error && `${error.code} ${error.message}`
const at30 = async (objects: readonly KubeObject[], what = gateway, logs: readonly string[] = []) =>
  lines(await diagnosed(objects, what, 30, 0, logs))
const line = 'kubectl --context edge --kubeconfig /k/edge'
const thePod = `lkeobs/${set}-dt6hl on node edge`

describe('an image', () => {
  const refused =
    'failed to pull and unpack image "registry.example.com/otelcol:1": failed to resolve image: failed to do request: Head "https://registry.example.com/v2/otelcol/manifests/1": dial tcp 10.0.0.1:443: connect: connection refused'
  const notFound =
    'rpc error: code = NotFound desc = failed to pull and unpack image "registry.example.com/otelcol:1": failed to resolve reference "registry.example.com/otelcol:1": registry.example.com/otelcol:1: not found'
  const slow = refused.replace('connect: connection refused', 'i/o timeout')
  const failed = (words: string, [first, last]: readonly [number, number]) =>
    event(`Pod/${set}-dt6hl`, 'Failed', `Failed to pull image "registry.example.com/otelcol:1": ${words}`, [first, last])
  const backingOff = (words: string) =>
    waiting('ImagePullBackOff', `Back-off pulling image "registry.example.com/otelcol:1": ErrImagePull: ${words}`)

  test.for<readonly [string, Status, readonly KubeObject[], number, string | undefined]>([
    [
      'that the registry does not have',
      waiting('ErrImagePull', notFound),
      [],
      3,
      'cannot get registry.example.com/otelcol:1: registry.example.com/otelcol:1: not found',
    ],
    [
      'from a registry that refuses',
      backingOff(refused),
      [failed(refused, [1, 1])],
      3,
      'cannot get registry.example.com/otelcol:1: failed to do request: Head "https://registry.example.com/v2/otelcol/manifests/1": dial tcp 10.0.0.1:443: connect: connection refused',
    ],
    [
      'whose refusal only the event tells',
      waiting('ImagePullBackOff', 'Back-off pulling image "registry.example.com/otelcol:1"'),
      [failed('pull access denied', [1, 1])],
      3,
      'cannot get registry.example.com/otelcol:1: pull access denied',
    ],
    [
      'that was to be there',
      waiting('ErrImageNeverPull', 'Container image "nope:1" is not present with pull policy of Never'),
      [],
      3,
      'cannot get registry.example.com/otelcol:1: Container image "nope:1" is not present with pull policy of Never',
    ],
    ['from a registry that is slow', backingOff(slow), [failed(slow, [10, 10])], 25, undefined],
    ['from a registry that is slow, again', backingOff(slow), [failed(slow, [4, 17])], 25, expect.stringContaining('i/o timeout')],
    ['refused for the first time, for an unknown reason', waiting('ErrImagePull', 'failed to extract layer'), [], 3, undefined],
    [
      'being pulled',
      waiting('ContainerCreating'),
      [event(`Pod/${set}-dt6hl`, 'Pulling', 'Pulling image "registry.example.com/otelcol:1"', [1, 1])],
      300,
      undefined,
    ],
  ])('%s', async ([, status, events, seconds, expected]) => {
    const error = await diagnosed([...made, pod({statuses: [status]}), ...events], gateway, seconds)
    expect(error?.message.replace(`Pod ${thePod} `, '')).toEqual(expected)
    expect(error?.code).toBe(expected && 'LKO-3104')
    expect(error?.next[0]).toBe(expected && `${line} -n lkeobs describe pod ${set}-dt6hl`)
  })

  test('that a former run could not get is given time: it may be there by now', async () => {
    const objects = [
      ...made,
      pod({statuses: [backingOff(refused)]}),
      failed(refused, [1, 90]),
      event(`Pod/${set}-dt6hl`, 'BackOff', 'Back-off pulling image', [2, 130]),
    ]
    expect(await diagnosed(objects, gateway, 135, 120)).toBeUndefined()
    expect((await diagnosed(objects, gateway, 140, 120))?.code).toBe('LKO-3104')
    expect(await pausedPods(cluster(objects).kube, gateway)).toEqual([{apiVersion: 'v1', kind: 'Pod', name: `${set}-dt6hl`, namespace}])
  })

  test('of the template before is not looked at while it is replaced', async () => {
    const old = pod({statuses: [waiting('InvalidImageName', 'x')]})
    const next = replicaSet({}, 'gateway-58f47b8c75', '2')
    expect(await at30([deployment({}, revision('2')), replicaSet(), next, old])).toBeUndefined()
    expect(await at30([deployment({observedGeneration: 1}, {generation: 2}), replicaSet(), old])).toBeUndefined()
    expect(
      await at30(
        [statefulSet({podManagementPolicy: 'Parallel'}), pod({...ofStatefulSet('loki-745b5c88f'), statuses: [backingOff(refused)]})],
        loki,
      ),
    ).toBeUndefined()
  })

  test('of the template before holds an ordered StatefulSet for ever', async () => {
    const objects = [
      statefulSet({podManagementPolicy: 'OrderedReady'}),
      pod({...ofStatefulSet('loki-745b5c88f'), statuses: [backingOff(refused)]}),
    ]
    const error = await diagnosed(objects, loki, 30)
    expect(error?.message).toMatch(/The pod is of the template before this one, and is not replaced while it is not ready\.$/)
    expect(error?.next[0]).toBe(`${line} -n lkeobs delete pod loki-0`)
  })
})

describe('a place', () => {
  const words =
    '0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.'
  const condition = (message = words) => ({
    type: 'PodScheduled',
    status: 'False',
    reason: 'Unschedulable',
    message,
    lastTransitionTime: at(0),
  })
  const homeless = (message = words, more: PodWish = {}) => pod({...ofStatefulSet(), node: null, conditions: [condition(message)], ...more})
  const scheduling = seriesEvent('Pod/loki-0', 'FailedScheduling', words, [0, 16])

  test('that nobody has', async () => {
    const error = await diagnosed([statefulSet(), homeless(), scheduling], loki, 20)
    expect(lines(error)).toBe(`LKO-3105 Pod lkeobs/loki-0: ${words}`)
    expect(error?.next.slice(0, 2)).toEqual([`${line} describe nodes`, `${line} -n lkeobs describe pod loki-0`])
  })

  test('is waited for while an autoscaler may find it', async () => {
    expect(await diagnosed([statefulSet(), homeless()], loki, 15)).toBeUndefined()
    const growing = event('Pod/loki-0', 'TriggeredScaleUp', 'pod triggered scale-up: [{pool 1->2 (max: 3)}]', [9, 9])
    expect(await diagnosed([statefulSet(), homeless(), growing], loki, 120)).toBeUndefined()
    const preempting = homeless(words, {status: {nominatedNodeName: 'edge'}})
    expect(await diagnosed([statefulSet(), preempting], loki, 120)).toBeUndefined()
  })

  test('that the autoscaler will not make', async () => {
    const refusal = event('Pod/loki-0', 'NotTriggerScaleUp', "pod didn't trigger scale-up: 1 max node group size reached", [9, 9])
    const error = await diagnosed([statefulSet(), homeless(), refusal], loki, 11)
    expect(error?.message).toBe(`Pod lkeobs/loki-0: ${words}\nThe autoscaler: pod didn't trigger scale-up: 1 max node group size reached`)
  })

  const unbound = '0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found'
  const withClaim = homeless(unbound, {claims: ['data-loki-0']})

  test.for<readonly [string, readonly KubeObject[], string | undefined]>([
    [
      'of a class that does not exist',
      [
        claim('Pending', 'nope'),
        event('PersistentVolumeClaim/data-loki-0', 'ProvisioningFailed', 'storageclass.storage.k8s.io "nope" not found', [0, 33], 4),
      ],
      'Claim lkeobs/data-loki-0 (storage class nope): storageclass.storage.k8s.io "nope" not found\nThe cluster has: local-path (default)',
    ],
    [
      'of no class',
      [
        claim('Pending', ''),
        event(
          'PersistentVolumeClaim/data-loki-0',
          'FailedBinding',
          'no persistent volumes available for this claim and no storage class is set',
          [0, 33],
          4,
        ),
      ],
      'Claim lkeobs/data-loki-0 (no storage class): no persistent volumes available for this claim and no storage class is set\nThe cluster has: local-path (default)',
    ],
    [
      'that the provisioner refuses',
      [
        claim('Pending', 'local-path'),
        event(
          'PersistentVolumeClaim/data-loki-0',
          'Provisioning',
          'External provisioner is provisioning volume for claim "lkeobs/data-loki-0"',
          [1, 16],
          2,
        ),
        event(
          'PersistentVolumeClaim/data-loki-0',
          'ProvisioningFailed',
          'failed to provision volume with StorageClass "local-path": NodePath only supports ReadWriteOnce',
          [1, 16],
          2,
        ),
      ],
      'Claim lkeobs/data-loki-0 (storage class local-path): failed to provision volume with StorageClass "local-path": NodePath only supports ReadWriteOnce\nThe cluster has: local-path (default)',
    ],
    [
      'that is lost',
      [claim('Lost', 'local-path')],
      'Claim lkeobs/data-loki-0 (storage class local-path): its volume is gone\nThe cluster has: local-path (default)',
    ],
    [
      'that waits for its first pod',
      [
        claim('Pending', 'local-path'),
        event(
          'PersistentVolumeClaim/data-loki-0',
          'WaitForFirstConsumer',
          'waiting for first consumer to be created before binding',
          [0, 33],
          4,
        ),
      ],
      undefined,
    ],
    [
      'that is tried again just now',
      [
        claim('Pending', 'local-path'),
        event('PersistentVolumeClaim/data-loki-0', 'ProvisioningFailed', 'failed to provision volume: refused', [1, 16], 2),
        event('PersistentVolumeClaim/data-loki-0', 'Provisioning', 'External provisioner is provisioning volume', [1, 28], 3),
      ],
      undefined,
    ],
    [
      'that takes long',
      [
        claim('Pending', 'local-path'),
        event(
          'PersistentVolumeClaim/data-loki-0',
          'ProvisioningFailed',
          'rpc error: code = DeadlineExceeded desc = context deadline exceeded',
          [10, 10],
        ),
      ],
      undefined,
    ],
    [
      'that is being made',
      [
        claim('Pending', 'linode'),
        event(
          'PersistentVolumeClaim/data-loki-0',
          'ExternalProvisioning',
          "Waiting for a volume to be created either by the external provisioner 'x' or manually",
          [1, 29],
          5,
        ),
      ],
      undefined,
    ],
  ])('for a volume %s', async ([, objects, expected]) => {
    const error = await diagnosed([statefulSet(), withClaim, storageClass, ...objects], loki, 30)
    expect(lines(error)).toBe(expected && `LKO-3107 ${expected}`)
    const alone = await diagnosed([storageClass, ...objects], waited('PersistentVolumeClaim', 'data-loki-0'), 30)
    expect(alone?.message).toBe(expected)
    expect(error?.next.slice(0, 2)).toEqual(expected && [`${line} -n lkeobs describe pvc data-loki-0`, `${line} get storageclass`])
  })
})

describe('a container', () => {
  const crashing = (restartCount: number, more: object = {}, [was, is]: readonly [number, number] = [15, 16]): Status => ({
    restartCount,
    state: {waiting: {reason: 'CrashLoopBackOff', message: 'back-off 20s restarting failed container=c'}},
    lastState: ended(3, is, {startedAt: at(was), ...more}),
  })
  const log = ['starting', 'cannot read config']

  test('that crashes again and again', async () => {
    const {kube, asked} = cluster([...made, pod({statuses: [crashing(2)]})], log)
    const error = await terminal(kube, gateway, later(0), later(16))
    expect(lines(error)).toBe(
      `LKO-3106 Container c of pod ${thePod} was restarted 2 times and ended again: exit code 3.\nIts last lines:\nstarting\ncannot read config`,
    )
    expect(error?.next[0]).toBe(`${line} -n lkeobs logs ${set}-dt6hl -c c --previous`)
    expect(asked.filter((one) => one.startsWith('log'))).toEqual(['log of the run before'])
  })

  test('that has just crashed again is not seen to wait', async () => {
    const {kube, asked} = cluster([...made, pod({statuses: [{restartCount: 2, state: ended(3, 16), lastState: ended(3, 4)}]})], log)
    expect((await terminal(kube, gateway, later(0), later(16)))?.code).toBe('LKO-3106')
    expect(asked.filter((one) => one.startsWith('log'))).toEqual(['log'])
  })

  test.for<readonly [string, Status]>([
    ['restarted once', crashing(1)],
    ['that ran long before', crashing(7, {}, [-3600, 16])],
    ['that came back', {restartCount: 5, ready: true, state: {running: {startedAt: at(17)}}, lastState: ended(3, 16)}],
    ['that comes back after the second try', {restartCount: 2, state: {running: {startedAt: at(17)}}, lastState: ended(3, 16)}],
    ['that is done', {restartCount: 3, state: {terminated: {exitCode: 0, reason: 'Completed'}}, lastState: ended(3, 16)}],
  ])('%s is no fault', async ([, status]) => {
    expect(await at30([...made, pod({statuses: [status]})])).toBeUndefined()
  })

  test('that needs more memory than it may have', async () => {
    const status = {...crashing(2), lastState: ended(137, 16, {reason: 'OOMKilled'})}
    const containers = [{name: 'c', image: 'x', resources: {limits: {memory: '16Mi'}}}]
    expect(await at30([...made, pod({statuses: [status], containers})])).toMatch(
      /ended again: OOMKilled, it needs more memory than its limit of 16Mi\.$/,
    )
  })

  test('that a probe kills', async () => {
    const status = {...crashing(2), lastState: ended(137, 16)}
    const events = [
      event(
        `Pod/${set}-dt6hl`,
        'Unhealthy',
        'Liveness probe failed: Get "http://10.77.102.14:1/": connect: connection refused',
        [3, 16],
        8,
      ),
      event(`Pod/${set}-dt6hl`, 'Killing', 'Container c failed liveness probe, will be restarted', [5, 16], 4),
    ]
    expect(await at30([...made, pod({statuses: [status]}), ...events])).toMatch(
      /exit code 137\.\nLiveness probe failed: Get "http:\/\/10\.77\.102\.14:1\/"/,
    )
  })

  test('whose program does not exist', async () => {
    const message = 'failed to create containerd task: exec: "/nope": stat /nope: no such file or directory'
    const terminated = ended(128, 16, {reason: 'StartError', message, startedAt: '1970-01-01T00:00:00Z'})
    const status = {restartCount: 2, state: {waiting: {reason: 'RunContainerError', message}}, lastState: terminated}
    expect(await at30([...made, pod({statuses: [status]})])).toBe(
      `LKO-3106 Container c of pod ${thePod} was restarted 2 times and ended again: exit code 128 (StartError).\n${message}`,
    )
  })

  const noSecret = [
    pod({statuses: [waiting('CreateContainerConfigError', 'secret "gateway-leaf" not found')]}),
    event(`Pod/${set}-dt6hl`, 'Failed', 'Error: secret "gateway-leaf" not found', [3, 28], 3),
  ]
  const noVolume = [
    pod({statuses: [waiting('ContainerCreating')]}),
    event(`Pod/${set}-dt6hl`, 'FailedMount', 'MountVolume.SetUp failed for volume "leaf" : secret "gateway-leaf" not found', [3, 18], 6),
  ]

  test.for([
    ['variables', noSecret, 'container c: secret "gateway-leaf" not found'],
    ['files', noVolume, 'MountVolume.SetUp failed for volume "leaf" : secret "gateway-leaf" not found'],
  ] as const)('that lacks a Secret for its %s', async ([, objects, expected]) => {
    expect(lines(await diagnosed([...made, ...objects], gateway, 24))).toBe(`LKO-3106 Pod ${thePod}: ${expected}`)
    expect(await diagnosed([...made, ...objects], gateway, 20), 'it may still come').toBeUndefined()
    const secret = object('Secret', 'gateway-leaf')
    expect(await diagnosed([...made, ...objects, secret], gateway, 24), 'it came').toBeUndefined()
  })

  test('whose files came since pulls its image', async () => {
    expect(await at30([...made, ...noVolume, event(`Pod/${set}-dt6hl`, 'Pulling', 'Pulling image "x"', [20, 20])])).toBeUndefined()
  })

  const job = (conditions: readonly object[]) => object('Job', 'check', {spec: {backoffLimit: 1}, status: {active: 1, conditions}})
  const ofJob = pod({name: 'check-5l5cx', of: owner('Job', 'check'), statuses: [{state: ended(4, 14)}]})

  test('of a Job is tried again until the Job gives up', async () => {
    const restarted = pod({name: 'check-5l5cx', of: owner('Job', 'check'), statuses: [crashing(4)]})
    expect(await at30([job([]), restarted], waited('Job', 'check'))).toBeUndefined()
    const failed = {
      type: 'Failed',
      status: 'True',
      reason: 'BackoffLimitExceeded',
      message: 'Job has reached the specified backoff limit',
      lastTransitionTime: at(17),
    }
    expect(await at30([job([failed]), ofJob], waited('Job', 'check'), ['no'])).toBe(
      'LKO-3106 Job lkeobs/check: Job has reached the specified backoff limit.\nPod lkeobs/check-5l5cx: exit code 4.\nIts last lines:\nno',
    )
  })
})

describe('who does not admit a pod', () => {
  const lacking = [deployment({replicas: 0}), replicaSet({replicas: 0})]
  const refused = (words: string, span: readonly [number, number] = [2, 4]) =>
    event(`ReplicaSet/${set}`, 'FailedCreate', `(combined from similar events): Error creating: ${words}`, span, 4)
  const security = `pods "${set}-sv452" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false`
  const quota = `pods "${set}-6zx9q" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0`
  const policy = `pods "${set}-k98wt" is forbidden: ValidatingAdmissionPolicy 'owners' with binding 'owners' denied request: every pod needs the label owner`
  const deaf =
    'Internal error occurred: failed calling webhook "v.example.com": failed to call webhook: Post "https://v.policy.svc:443/?timeout=10s": service "v" not found'

  test.for([
    [
      'pod security',
      security,
      5,
      'The pod security level restricted:latest of the namespace',
      `${line} get namespace lkeobs --show-labels`,
    ],
    ['a policy', policy, 5, 'The policy owners', `${line} get validatingadmissionpolicy -o yaml`],
    [
      'a webhook',
      'admission webhook "v.example.com" denied the request: no',
      5,
      'The webhook v.example.com',
      `${line} get validatingwebhookconfigurations,mutatingwebhookconfigurations`,
    ],
    ['a quota', quota, 18, 'The quota none', `${line} -n lkeobs describe quota`],
    [
      'a deaf webhook',
      deaf,
      18,
      'The webhook v.example.com, which does not answer,',
      `${line} get validatingwebhookconfigurations,mutatingwebhookconfigurations`,
    ],
    [
      'the API server',
      `pods "${set}-" is forbidden: error looking up service account lkeobs/nope: serviceaccount "nope" not found`,
      18,
      'The API server',
      `${line} -n lkeobs describe replicaset ${set}`,
    ],
  ] as const)('%s', async ([, words, seconds, who, next]) => {
    const error = await diagnosed([...lacking, refused(words)], gateway, seconds)
    expect(lines(error)).toBe(`LKO-3108 ${who} does not let Deployment lkeobs/gateway make its pods: ${words}`)
    expect(error?.next[0]).toBe(next)
  })

  test('of a StatefulSet, a DaemonSet, a Job', async () => {
    const words = 'pods "it" is forbidden: violates PodSecurity "baseline:latest": hostPath volumes'
    const cases = [
      [
        statefulSet({}, {replicas: 0}),
        event('StatefulSet/loki', 'FailedCreate', `create Pod loki-0 in StatefulSet loki failed error: ${words}`, [2, 4]),
      ],
      [
        object('DaemonSet', 'agent', {status: {currentNumberScheduled: 0, desiredNumberScheduled: 1}}),
        event('DaemonSet/agent', 'FailedCreate', `Error creating: ${words}`, [2, 4]),
      ],
      [object('Job', 'check', {status: {ready: 0}}), event('Job/check', 'FailedCreate', `Error creating: ${words}`, [2, 4])],
    ] as const
    for (const objects of cases) {
      const [{kind, metadata}] = objects
      expect(await at30(objects, waited(kind, metadata.name))).toBe(
        `LKO-3108 The pod security level baseline:latest of the namespace does not let ${kind} lkeobs/${metadata.name} make its pods: ${words}`,
      )
    }
  })

  test('the ReplicaSet remembers it where events are gone', async () => {
    const condition = {type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message: security, lastTransitionTime: at(2)}
    expect(await at30([deployment(), replicaSet({replicas: 0, conditions: [condition]})])).toMatch(/^LKO-3108 The pod security level/)
  })

  test('nobody, where all pods are made, the wish is newer, or the refusal passes', async () => {
    const changed = {managedFields: [{manager: 'lkeobs', operation: 'Apply', time: at(20)}]}
    expect(await at30([...made, refused(security)]), 'made since').toBeUndefined()
    expect(await at30([deployment({replicas: 0}, changed), replicaSet({replicas: 0}), refused(security)]), 'changed since').toBeUndefined()
    expect(await diagnosed([...lacking, refused(quota)], gateway, 10), 'room may come').toBeUndefined()
    expect(await diagnosed([...lacking, refused(security)], gateway, 110, 100), 'refused to a former run').toBeUndefined()
    expect((await diagnosed([...lacking, refused(security)], gateway, 120, 100))?.code, 'and still').toBe('LKO-3108')
  })
})

describe('what cannot go away', () => {
  const gone = (finalizers: readonly string[]) => object('StatefulSet', 'loki', {}, {deletionTimestamp: at(0), finalizers})

  test('an object held by a finalizer', async () => {
    const error = await diagnosed([gone(['example.com/hold'])], loki, 15)
    expect(lines(error)).toBe('LKO-3111 StatefulSet lkeobs/loki was deleted and is held by example.com/hold.')
    expect(error?.next[0]).toBe(`${line} -n lkeobs patch statefulset loki --type=merge -p '{"metadata":{"finalizers":null}}'`)
  })

  test('one that may still go is waited for', async () => {
    expect(await diagnosed([gone(['example.com/hold'])], loki, 14)).toBeUndefined()
    expect(await diagnosed([gone(['foregroundDeletion'])], loki, 50)).toBeUndefined()
    expect(await diagnosed([gone([])], loki, 300)).toBeUndefined()
  })

  const home = (conditions: readonly object[], metadata: object = {}) =>
    object(
      'Namespace',
      namespace,
      {spec: {finalizers: ['kubernetes']}, status: {phase: 'Terminating', conditions}},
      {namespace: undefined, deletionTimestamp: at(0), ...metadata},
    )
  const remaining = (resource: string, finalizer: string) => [
    {type: 'NamespaceDeletionDiscoveryFailure', status: 'False', message: 'All resources successfully discovered'},
    {type: 'NamespaceContentRemaining', status: 'True', message: `Some resources are remaining: ${resource} has 1 resource instances`},
    {
      type: 'NamespaceFinalizersRemaining',
      status: 'True',
      message: `Some content in the namespace has finalizers remaining: ${finalizer} in 1 resource instances`,
    },
  ]

  test('a namespace, by what is in it', async () => {
    const held = object('ConfigMap', 'held', {}, {deletionTimestamp: at(1), finalizers: ['example.com/hold']})
    const error = await diagnosed([home(remaining('configmaps.', 'example.com/hold')), held], gateway, 16)
    expect(lines(error)).toBe(
      'LKO-3111 Namespace lkeobs was deleted and does not go away. Some resources are remaining: configmaps. has 1 resource instances. Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances.',
    )
    expect(error?.next[0]).toBe(`${line} -n lkeobs patch configmap held --type=merge -p '{"metadata":{"finalizers":null}}'`)
    const other = await diagnosed([home(remaining('things.example.com', 'example.com/hold'))], gateway, 16)
    expect(other?.next[0]).toBe(
      `${line} -n lkeobs get things.example.com -o custom-columns=NAME:.metadata.name,FINALIZERS:.metadata.finalizers`,
    )
  })

  test('a namespace, by itself or by an API that does not answer', async () => {
    const own = await diagnosed([home([], {finalizers: ['example.com/hold']})], gateway, 16)
    expect(own?.next[0]).toBe(`${line} patch namespace lkeobs --type=merge -p '{"metadata":{"finalizers":null}}'`)
    const words = 'Discovery failed for some groups, 1 failing: metrics.k8s.io/v1beta1: stale GroupVersion discovery'
    expect(await at30([home([{type: 'NamespaceDeletionDiscoveryFailure', status: 'True', message: words}])])).toContain(words)
  })

  test('a namespace whose pods are still ending is waited for', async () => {
    const ending = {
      type: 'NamespaceContentRemaining',
      status: 'True',
      message: 'Some resources are remaining: pods. has 1 resource instances',
    }
    expect(await at30([home([ending])])).toBeUndefined()
    expect(await at30([home(remaining('persistentvolumeclaims.', 'kubernetes.io/pvc-protection'))])).toBeUndefined()
  })
})

describe('an address', () => {
  const service = (fields: object = {}) => object('Service', 'otlp', {spec: {type: 'LoadBalancer'}, status: {loadBalancer: {}}, ...fields})
  const otlp = waited('Service', 'otlp')

  test('that nobody gives', async () => {
    expect(await diagnosed([service()], otlp, 89)).toBeUndefined()
    const error = await diagnosed([service()], otlp, 91)
    expect(lines(error)).toMatch(/^LKO-3115 Service lkeobs\/otlp has had no address for more than 90 s: nobody says why/)
    expect(error?.next[0]).toBe(`${line} -n lkeobs describe service otlp`)
    const said = event('Service/otlp', 'SyncLoadBalancerFailed', 'Error syncing load balancer: account limit reached', [5, 80], 5)
    expect(lines(await diagnosed([service(), said], otlp, 91))).toContain('Error syncing load balancer: account limit reached')
  })

  test('that is there, or not asked for', async () => {
    expect(await diagnosed([service({status: {loadBalancer: {ingress: [{ip: '192.0.2.1'}]}}})], otlp, 300)).toBeUndefined()
    expect(await diagnosed([service({spec: {type: 'ClusterIP'}})], otlp, 300)).toBeUndefined()
  })
})

describe('looking', () => {
  test('takes one list for each kind and namespace', async () => {
    const {kube, asked} = cluster([...made, statefulSet()])
    await terminal(kube, [...gateway, ...loki, ...waited('Deployment', 'other'), ...waited('Service', 'otlp')], later(0), later(30))
    expect(asked.toSorted()).toEqual([
      'list Deployment',
      'list Event',
      'list PersistentVolumeClaim',
      'list Pod',
      'list ReplicaSet',
      'list Service',
      'list StatefulSet',
      'read Namespace',
    ])
  })

  test('reads large and foreign things one by one, and what stands in no namespace', async () => {
    const {kube, asked} = cluster([])
    const others = [
      {apiVersion: 'v1', kind: 'Secret', name: 'a', namespace},
      {apiVersion: 'cert-manager.io/v1', kind: 'Certificate', name: 'a', namespace},
      {apiVersion: 'v1', kind: 'Namespace', name: namespace},
      {apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', name: 'a'},
    ]
    await terminal(kube, others, later(0), later(30))
    expect(asked.toSorted()).toEqual(['list Certificate', 'read ClusterRole', 'read Namespace', 'read Secret'])
    const role = object('ClusterRole', 'a', {}, {namespace: undefined, deletionTimestamp: at(0), finalizers: ['example.com/hold']})
    const error = await diagnosed([role], others, 30)
    expect(lines(error)).toBe('LKO-3111 ClusterRole a was deleted and is held by example.com/hold.')
    expect(error?.next[0]).toBe(`${line} patch clusterrole.rbac.authorization.k8s.io a --type=merge -p '{"metadata":{"finalizers":null}}'`)
  })

  test('compares what the cluster dates with its own clock', async () => {
    const held = [object('StatefulSet', 'loki', {}, {deletionTimestamp: at(0), finalizers: ['example.com/hold']})]
    expect(await terminal(cluster(held, [], -60_000).kube, loki, later(60), later(70))).toBeUndefined()
    expect((await terminal(cluster(held, [], 60_000).kube, loki, later(-60), later(-40)))?.code).toBe('LKO-3111')
  })

  test('finds nothing where nothing can be read, or what is read is odd', async () => {
    const {kube} = cluster([])
    const refused: Kube = {...kube, list: () => Promise.reject(new Error('no')), read: () => Promise.reject(new Error('no'))}
    expect(await terminal(refused, gateway, later(0), later(30))).toBeUndefined()
    const odd = [
      deployment({conditions: 'x'}, {managedFields: 3, creationTimestamp: 'x'}),
      replicaSet({conditions: {}}),
      pod({status: {containerStatuses: {}, conditions: 3}}),
      {...event('Pod/x', 'x', 'x', [0, 0]), involvedObject: undefined},
    ] as readonly KubeObject[]
    expect(await at30(odd)).toBeUndefined()
    expect(
      await terminal(kube, [
        {kind: 'ClusterIssuer', name: 'x'},
        {kind: 'Odd', name: 'x', namespace},
      ]),
    ).toBeUndefined()
  })
})
