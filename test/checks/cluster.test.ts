import {expect, test} from 'vitest'
import type {Finding} from '../../src/checks/check.ts'
import {runChecks} from '../../src/checks/check.ts'
import {kubernetesChecks, type Subject} from '../../src/checks/cluster.ts'
import {uidOf} from '../../src/platforms/kubernetes/identity.ts'
import type {PodWish} from '../../src/checks/wishes.ts'
import {LkeobsError} from '../../src/errors.ts'
import type {Kube, KubeObject} from '../../src/tools/kube/kube.ts'
import {fakeWorld} from '../support/fake-world.ts'
import {kubeOf, object} from './kube.ts'

const world = fakeWorld()

const subject = (
  kube: Kube,
  more: {
    readonly role?: 'hub' | 'edge'
    readonly platform?: Partial<Subject['platform']>
    readonly wishes?: readonly PodWish[]
    readonly uids?: Subject['uids']
    readonly charts?: string
    readonly dataPath?: Subject['dataPath']
  } = {},
): Subject => ({
  site: {
    cluster: 'one',
    role: more.role ?? 'hub',
    fleet: 'acme',
    kube,
    helm: world.tools.helm({context: 'here'}),
    tools: world.tools,
    ways: more.charts === undefined ? {} : {charts: more.charts},
    file: (name) => name,
  },
  platform: {certManager: true, secretsOperator: true, ...more.platform},
  wishes: more.wishes ?? [{component: 'store', chart: 'loki', pods: 1, each: {cpu: 0.5, memory: 2 ** 30}}],
  ...(more.dataPath && {dataPath: more.dataPath}),
  uids: more.uids ?? (async () => new Map([['one', await uidOf(kube)]])),
})

const dataPath: NonNullable<Subject['dataPath']> = {
  need: {outageSeconds: 86_400, bytes: 15e9},
  room: async () => ({bytes: 20e9, what: 'the volume of a gateway has'}),
  collector: async () => ({cluster: 'one', component: 'gateway', build: 'lkeobs', processes: [], page: undefined, problem: undefined}),
  upgrade: [],
}

const namespace = (name: string, annotations: Record<string, string> = {}, labels: Record<string, string> = {}) =>
  object('v1', 'Namespace', name, {}, {annotations, labels, uid: `uid-of-${name}`})
const identified = (fleet: string, cluster: string, role: string) =>
  namespace('lkeobs', {'lkeobs.io/fleet': fleet, 'lkeobs.io/cluster': cluster, 'lkeobs.io/role': role})
const storageClass = (name: string, isDefault: boolean, mode = 'Immediate') =>
  object(
    'storage.k8s.io/v1',
    'StorageClass',
    name,
    {provisioner: 'csi', volumeBindingMode: mode},
    {annotations: {'storageclass.kubernetes.io/is-default-class': String(isDefault)}},
  )
const node = (
  name: string,
  {
    ready = true,
    cpu = '2',
    memory = '4Gi',
    ...spec
  }: {
    ready?: boolean
    cpu?: string
    memory?: string
    unschedulable?: boolean
    providerID?: string
    taints?: object[]
    labels?: Record<string, string>
  } = {},
) =>
  object(
    'v1',
    'Node',
    name,
    {spec, status: {allocatable: {cpu, memory}, conditions: [{type: 'Ready', status: ready ? 'True' : 'Unknown'}]}},
    {labels: spec.labels ?? {}},
  )
const pod = (at: string, on: string, cpu: string, memory: string) =>
  object(
    'v1',
    'Pod',
    `pod-${on}`,
    {spec: {nodeName: on, containers: [{resources: {requests: {cpu, memory}}}]}, status: {phase: 'Running'}},
    {namespace: at},
  )
const balancer = (address: string | undefined, made: string) =>
  object(
    'v1',
    'Service',
    'web',
    {spec: {type: 'LoadBalancer'}, status: {loadBalancer: {ingress: address === undefined ? [] : [{ip: address}]}}},
    {namespace: 'shop', creationTimestamp: made},
  )
const definition = object('apiextensions.k8s.io/v1', 'CustomResourceDefinition', 'certificates.cert-manager.io')
const certManager = (available: number) =>
  object(
    'apps/v1',
    'Deployment',
    'cert-manager',
    {
      spec: {replicas: 1, template: {spec: {containers: [{image: 'quay.io/jetstack/cert-manager-controller:v1.18.0'}]}}},
      status: {availableReplicas: available},
    },
    {namespace: 'certs', labels: {'app.kubernetes.io/name': 'cert-manager'}},
  )
const now = new Date().toISOString()
const long = new Date(Date.now() - 600_000).toISOString()

type Row = readonly [id: string, state: Finding['state'], says: RegExp, of: Subject]

const there = (objects: readonly KubeObject[], more: Parameters<typeof subject>[1] = {}) => subject(kubeOf({objects}), more)

const table: readonly Row[] = [
  ['api-server', 'ok', /v1\.37\.2/, there([])],
  ['api-server', 'failed', /no answer/, subject(kubeOf({error: new LkeobsError('LKO-3102', 'here: no answer')}))],
  ['version', 'ok', /1\.30 to 1\.37/, there([])],
  ['version', 'ok', /1\.30/, subject(kubeOf({version: 'v1.30.0'}))],
  ['version', 'failed', /v1\.29\.9 is too old/, subject(kubeOf({version: 'v1.29.9'}))],
  ['version', 'warning', /v1\.38\.0\+lke is newer/, subject(kubeOf({version: 'v1.38.0+lke'}))],
  ['identity', 'ok', /of no fleet yet; uid uid-of-kube-system/, there([namespace('kube-system')])],
  ['identity', 'ok', /one, hub of acme/, there([identified('acme', 'one', 'hub'), namespace('kube-system')])],
  ['identity', 'failed', /leads to two \(edge of the fleet other\), not to one/, there([identified('other', 'two', 'edge')])],
  [
    'identity',
    'failed',
    /one and two are one and the same cluster \(uid u1\)/,
    there([namespace('kube-system')], {
      uids: async () =>
        new Map([
          ['one', 'u1'],
          ['two', 'u1'],
          ['three', 'u2'],
        ]),
    }),
  ],
  [
    'identity',
    'ok',
    /uid unknown/,
    there([], {
      uids: async () =>
        new Map<string, string | undefined>([
          ['one', undefined],
          ['two', undefined],
        ]),
    }),
  ],
  ['identity', 'skipped', /not permitted to look/, subject(kubeOf({hidden: ['Namespace']}))],
  ['clock', 'ok', /about a second/, subject(kubeOf({aheadMs: 900}))],
  ['clock', 'ok', /30 s apart/, subject(kubeOf({aheadMs: -30_000}))],
  ['clock', 'warning', /90 s ahead of this machine/, subject(kubeOf({aheadMs: 90_000}))],
  ['clock', 'failed', /301 s behind this machine.*not be valid yet/, subject(kubeOf({aheadMs: -301_000}))],
  ['clock', 'skipped', /does not say/, subject(kubeOf({aheadMs: Number.NaN}))],
  ['storage-class', 'ok', /fast, by csi, made when the first pod wants it/, there([storageClass('fast', true, 'WaitForFirstConsumer')])],
  ['storage-class', 'ok', /slow/, there([storageClass('fast', true), storageClass('slow', false)], {platform: {storageClass: 'slow'}})],
  [
    'storage-class',
    'failed',
    /no storage class other; there are: fast/,
    there([storageClass('fast', true)], {platform: {storageClass: 'other'}}),
  ],
  ['storage-class', 'failed', /none is the default; there are: none/, there([])],
  ['storage-class', 'warning', /fast, slow are all the default/, there([storageClass('fast', true), storageClass('slow', true)])],
  ['storage-class', 'skipped', /not permitted/, subject(kubeOf({hidden: ['StorageClass']}))],
  ['nodes', 'ok', /^1 node$/, there([node('a')])],
  [
    'nodes',
    'ok',
    /3 nodes, 1 with GPUs, 1 cordoned or tainted/,
    there([node('a'), node('b', {unschedulable: true}), node('c', {labels: {'nvidia.com/gpu.present': 'true'}})]),
  ],
  ['nodes', 'warning', /1 node of 2 not ready: b/, there([node('a'), node('b', {ready: false})])],
  ['nodes', 'failed', /No node is ready: a, b, c and 1 more/, there(['a', 'b', 'c', 'd'].map((name) => node(name, {ready: false})))],
  ['nodes', 'failed', /no nodes/, there([])],
  ['room', 'ok', /asked for 0.5 CPU, 1 GiB; free 2 CPU, 4 GiB/, there([node('a')])],
  ['room', 'ok', /free 2 CPU/, there([node('a'), pod('lkeobs', 'a', '2', '4Gi')])],
  ['room', 'failed', /No node has room for store \(asked for .*free 0.25 CPU/, there([node('a'), pod('shop', 'a', '1750m', '1Gi')])],
  ['room', 'failed', /for store/, there([node('a', {taints: [{key: 'k', effect: 'NoSchedule'}]})])],
  ['room', 'skipped', /unless its nodes are ready/, there([])],
  ['room', 'skipped', /not permitted/, subject(kubeOf({objects: [node('a')], hidden: ['Pod']}))],
  ['load-balancer', 'ok', /shop\/web has 192\.0\.2\.1/, there([balancer('192.0.2.1', now)])],
  ['load-balancer', 'failed', /shop\/web is a load balancer and has had no address/, there([balancer(undefined, long)])],
  ['load-balancer', 'skipped', /nobody knows/, there([balancer(undefined, now)])],
  ['load-balancer', 'ok', /Linode/, there([node('a', {providerID: 'linode://1'})])],
  ['load-balancer', 'skipped', /edges dial/, there([], {role: 'edge'})],
  ['cert-manager', 'skipped', /does without it/, there([], {platform: {certManager: false}})],
  ['cert-manager', 'ok', /will be installed/, there([])],
  ['cert-manager', 'ok', /v1\.18\.0 in certs, from elsewhere: used as it is/, there([definition, certManager(1)])],
  [
    'cert-manager',
    'ok',
    /v1\.18\.0 in certs$/,
    there([definition, certManager(1), namespace('cert-manager', {}, {'app.kubernetes.io/managed-by': 'lkeobs'})]),
  ],
  ['cert-manager', 'warning', /v1\.18\.0 in certs is not ready/, there([definition, certManager(0)])],
  ['cert-manager', 'warning', /but no cert-manager by its usual labels/, there([definition])],
  ['vault-secrets-operator', 'ok', /will be installed/, there([])],
  ['charts', 'skipped', /fetched from their repositories/, there([])],
  ['charts', 'failed', /nowhere has no loki/, there([], {charts: '/nowhere'})],
  ['outage-budget', 'skipped', /nothing is known/, there([])],
  ['outage-budget', 'ok', /the volume of a gateway has 20\.0 GB/, there([], {dataPath})],
  ['collector-build', 'skipped', /nothing is known/, there([])],
  ['collector-build', 'ok', /the build of lkeobs/, there([], {dataPath})],
  ['permissions', 'ok', /^all \d+$/, there([])],
]

const says = (finding: Finding): string => (finding.state === 'ok' ? (finding.fact ?? '') : finding.why)

test.for(table)('%s: %s', async ([id, state, text, of]) => {
  const finding = (await runChecks(kubernetesChecks, of)).find((one) => one.id === id)
  expect(finding && [finding.state, says(finding)]).toEqual([state, expect.stringMatching(text)])
})

test('every check is asked for every verdict it has, and is a positive sentence', () => {
  for (const {id, about} of kubernetesChecks) {
    expect(table.filter(([of]) => of === id).length, id).toBeGreaterThan(0)
    expect(about).toMatch(/^[a-zA-Z][^.]*$/)
    expect(about).not.toMatch(/\bnot\b|\bno\b/)
  }
})

test('a cluster that does not answer is said once: everything else is skipped for that reason', async () => {
  const findings = await runChecks(kubernetesChecks, subject(kubeOf({error: new LkeobsError('LKO-3102', 'here: silence')})))
  expect(findings.filter(({state}) => state === 'failed').map(({id}) => id)).toEqual(['api-server'])
  const reasons = new Set(findings.flatMap((finding) => (finding.state === 'skipped' ? [finding.why] : [])))
  expect([...reasons]).toContain('says nothing unless the API server of the context answers')
})
