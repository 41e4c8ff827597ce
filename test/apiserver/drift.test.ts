import {describe, expect, test} from 'vitest'
import {applied} from '../../src/platforms/kubernetes/applied.ts'
import {networkPolicies} from '../../src/platforms/kubernetes/network-policies.ts'
import {canary, configMap, namespaces, otlpService} from '../../src/platforms/kubernetes/objects.ts'
import type {LkeobsError} from '../../src/errors.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import {type Server, useServer} from './server.ts'
import {settle, settling} from './settle.ts'
import {carriedOut, failureOf, live, siteOn} from './site.ts'

const identity = {fleet: 'acme', cluster: 'hub', role: 'hub', certManager: false, secretsOperator: false} as const
const namespace = 'lkeobs'
const core = {apiVersion: 'v1'} as const
const files = configMap({name: 'files', namespace, data: {'one.json': '{"one": 1}\n', 'two.json': '{"two": 2}\n'}})
const objects: readonly KubeObject[] = [
  ...namespaces(identity),
  ...networkPolicies({...identity, grafana: true, instrumentation: false}),
  ...otlpService({annotations: {}, sourceRanges: ['198.51.100.0/24']}),
  ...files,
  ...canary({tag: '2.7.2'}),
]

const stepOn = (server: Server, wished: readonly KubeObject[] = objects) =>
  applied(siteOn(server), 'all objects', 'all.yaml', wished, {patienceMs: 10_000})

const settled = async (server: Server): Promise<void> => {
  await stepOn(server).apply(() => undefined)
  await settle(server)
  expect(await stepOn(server).done()).toBe(true)
}

const held = configMap({name: 'held', namespace, data: {'one.json': '{}\n'}})
type Held = {readonly error: LkeobsError; readonly ms: number}
/** Each takes a quarter of a minute, beside the other tests. */
const waited = new Map<string, Promise<Held | Error>>()
const spaces: readonly KubeObject[] = [{...core, kind: 'Namespace', metadata: {name: 'held'}}]

const hold = async (at: Server, wished: readonly KubeObject[], ...object: readonly string[]): Promise<void> => {
  const step = stepOn(at, wished)
  await carriedOut(step)
  await at.kubectl('patch', ...object, '--type=merge', '-p', '{"metadata": {"finalizers": ["example.com/gone"]}}')
  await at.kubectl('delete', ...object, '--wait=false')
  expect(await step.done()).toMatch(/: being deleted, held by finalizer example\.com\/gone$/)
  const started = Date.now()
  const ended = failureOf(applied(siteOn(at), 'held', 'held.yaml', wished)).then(
    (error) => ({error, ms: Date.now() - started}),
    (error: Error) => error,
  )
  waited.set(object[0] ?? '', ended)
}

const server = useServer(async (at) => {
  await settled(at)
  await hold(at, held, 'configmap', 'held', '-n', namespace)
  await hold(at, spaces, 'namespace', 'held')
})

const deployment = {apiVersion: 'apps/v1', kind: 'Deployment'} as const

describe('changed by hand', () => {
  /** Each is one line of a person, and what it leaves to be mended. */
  const lines: readonly (readonly [line: string, says: RegExp])[] = [
    [
      `kubectl -n lkeobs patch deployment canary --type=json -p '[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "busybox"}]'`,
      /^Deployment canary: spec\.template\.spec\.containers\[name=canary\]\.image differs$/,
    ],
    ['kubectl -n lkeobs set image deployment canary canary=busybox', /^Deployment canary: .*\.image differs$/],
    ['kubectl -n lkeobs scale deployment canary --replicas=3', /^Deployment canary: spec\.replicas differs$/],
    [
      `kubectl -n lkeobs set resources deployment canary --limits=memory=64Mi`,
      /^Deployment canary: .*\.resources\.limits\.memory differs$/,
    ],
    [
      'kubectl label --overwrite namespace lkeobs pod-security.kubernetes.io/enforce=privileged',
      /^Namespace lkeobs: metadata\.labels\['pod-security\.kubernetes\.io\/enforce'\] differs$/,
    ],
    ['kubectl label namespace lkeobs pod-security.kubernetes.io/enforce-', /^Namespace lkeobs: .*enforce'\] differs$/],
    ['kubectl annotate --overwrite namespace lkeobs lkeobs.io/role=edge', /^Namespace lkeobs: .*lkeobs\.io\/role'\] differs$/],
    [`KUBE_EDITOR="sed -i 's/: 1}/: 7}/'" kubectl -n lkeobs edit configmap files`, /^ConfigMap files: data\['one\.json'\] differs$/],
    [
      `kubectl -n lkeobs patch configmap files --type=json -p '[{"op": "remove", "path": "/data/two.json"}]'`,
      /^ConfigMap files: data\['two\.json'\] differs$/,
    ],
    [
      `kubectl -n lkeobs patch networkpolicy default-deny --type=merge -p '{"spec": {"policyTypes": ["Ingress"]}}'`,
      /^NetworkPolicy default-deny: spec\.policyTypes differs$/,
    ],
    [
      `kubectl -n lkeobs patch networkpolicy gateway --type=json -p '[{"op": "remove", "path": "/spec/egress/0"}]'`,
      /^NetworkPolicy gateway: spec\.egress differs$/,
    ],
    [
      `kubectl -n lkeobs get networkpolicy vault -o json | sed 's/8201/8202/' | kubectl replace -f -`,
      /^NetworkPolicy vault: spec\..* differs$/,
    ],
    [
      `kubectl -n lkeobs patch service otlp --type=merge -p '{"spec": {"externalTrafficPolicy": "Local"}}'`,
      /^Service otlp: spec\.externalTrafficPolicy differs$/,
    ],
    [
      `kubectl -n lkeobs get configmap files -o json | sed 's/: 2}/: 8}/' | kubectl apply -f -`,
      /^ConfigMap files: data\['two\.json'\] differs$/,
    ],
  ]

  test.for(lines)('%s: is put back, and said', async ([line, says]) => {
    settling(server())
    const step = stepOn(server())
    const typed = await server().sh(line)
    expect(typed.code, typed.stderr).toBe(0)
    const [, what = ''] = /^(.*?)(?: \(and \d+ more\))?$/.exec(String(await step.done())) ?? []
    expect(what).toMatch(says)
    const [outcome] = await carriedOut(step)
    expect(outcome).toMatchObject({state: 'done', remarks: [`changed by hand, put back: ${what}`]})
    const written = await server().writes('admin', async () => {
      const [again] = await carriedOut(step)
      expect(again?.state).toBe('already so')
    })
    expect(written).toEqual([])
  })

  test('what was deleted is made anew', async () => {
    settling(server())
    await server().kubectl('-n', namespace, 'delete', 'networkpolicy/gateway', 'configmap/files', 'deployment/canary', 'service/otlp')
    const step = stepOn(server())
    expect(await step.done()).toBe('NetworkPolicy gateway is not there (and 3 more)')
    const written = await server().writes('admin', () => carriedOut(step))
    expect(written.toSorted()).toEqual([
      'patch configmaps lkeobs/files',
      'patch deployments lkeobs/canary',
      'patch networkpolicies lkeobs/gateway',
      'patch services lkeobs/otlp',
    ])
  })

  test('what a person adds of their own stays, and is no difference', async () => {
    settling(server())
    await server().kubectl('-n', namespace, 'label', 'configmap/files', 'deployment/canary', 'team=blue')
    await server().kubectl('-n', namespace, 'patch', 'configmap', 'files', '--type=merge', '-p', '{"data": {"own.json": "{}"}}')
    await server().kubectl('-n', namespace, 'rollout', 'restart', 'deployment/canary')
    await settle(server())
    const written = await server().writes('admin', async () => {
      const [outcome] = await carriedOut(stepOn(server()))
      expect(outcome?.state).toBe('already so')
    })
    expect(written).toEqual([])
    const changed = configMap({name: 'files', namespace, data: {'one.json': '{"one": 11}\n', 'two.json': '{"two": 2}\n'}})
    await carriedOut(stepOn(server(), changed))
    await carriedOut(stepOn(server(), files))
    const {data, metadata} = await live<KubeObject & {data: object}>(siteOn(server()), {...core, kind: 'ConfigMap'}, 'files', namespace)
    expect(metadata.labels).toMatchObject({team: 'blue'})
    expect(data).toEqual({'one.json': '{"one": 1}\n', 'two.json': '{"two": 2}\n', 'own.json': '{}'})
  })
})

describe('applied by another tool', () => {
  const force = ['apply', '--server-side', '--field-manager=argocd', '--force-conflicts', '-f', '-']
  const theirs = {
    ConfigMap: {...core, kind: 'ConfigMap', metadata: {name: 'shared', namespace}, data: {'one.json': 'theirs'}},
    Deployment: {...deployment, metadata: {name: 'canary', namespace}, spec: {replicas: 2}},
  }
  const ours = configMap({name: 'shared', namespace, data: {'one.json': 'ours'}})

  test.for([
    ['ConfigMap', ours, "data['one.json'] of ConfigMap lkeobs/shared is theirs, set by argocd (Apply, "],
    ['Deployment', canary({tag: '2.7.2'}), 'spec.replicas of Deployment lkeobs/canary is 2, set by argocd (Apply, '],
  ] as const)('a field of a %s is theirs now: it is named with its manager, and left alone', async ([kind, wished, says]) => {
    settling(server())
    const step = stepOn(server(), wished)
    await carriedOut(step)
    await server().kubectlWith([theirs[kind]], ...force)
    const written = await server().writes('admin', async () => {
      const error = await failureOf(step)
      expect(error).toMatchObject({code: 'LKO-3109', oclif: {exit: 5}})
      expect(error.message).toContain(says)
      expect(await server().typed(error.next[0])).toContain('manager: argocd')
    })
    expect(written).toEqual([])
    // given up again: it is ours as before
    const {metadata} = theirs[kind]
    await server().kubectlWith([{apiVersion: theirs[kind].apiVersion, kind, metadata}], ...force)
    const [outcome] = await carriedOut(step)
    expect(outcome?.state).toBe('done')
  })

  test('a field that they wish for as we do is shared', async () => {
    await carriedOut(stepOn(server(), ours))
    await server().kubectlWith([{...theirs.ConfigMap, data: {'one.json': 'ours', 'more.json': 'theirs'}}], ...force)
    const written = await server().writes('admin', async () => {
      const [outcome] = await carriedOut(stepOn(server(), ours))
      expect(outcome?.state).toBe('already so')
    })
    expect(written).toEqual([])
  })

  test('what only the API server sees to be a conflict is one, too', async () => {
    // the wish changes a field that they have applied as we had
    const {kube} = siteOn(server())
    const wished = configMap({name: 'shared', namespace, data: {'one.json': 'ours, changed'}})
    await expect(kube.apply(wished, {file: 'shared.yaml'})).rejects.toMatchObject({
      code: 'LKO-3109',
      message: expect.stringMatching(/^ConfigMap lkeobs\/shared: \.data\.one\.json is applied by argocd$/) as string,
    })
  })
})

test('what is no longer wished for disappears', async () => {
  settling(server())
  const [plain] = configMap({name: 'brief', namespace, data: {'one.json': '{}\n'}})
  if (!plain) throw new Error('no object')
  const full: KubeObject = {
    ...plain,
    metadata: {
      ...plain.metadata,
      labels: {...plain.metadata.labels, 'example.com/passing': 'yes'},
      annotations: {'example.com/passing': 'yes'},
    },
    data: {...(plain['data'] as object), 'passing.json': '{}\n'},
  }
  const [wide] = otlpService({annotations: {'example.com/passing': 'yes'}, sourceRanges: ['198.51.100.0/24', '203.0.113.0/24']})
  const [narrow] = otlpService({annotations: {}, sourceRanges: []})
  if (!wide || !narrow) throw new Error('no object')
  await carriedOut(stepOn(server(), [full, wide]))
  expect(await stepOn(server(), [full, wide]).done()).toBe(true)
  const [outcome] = await carriedOut(stepOn(server(), [plain, narrow]))
  expect(outcome).not.toHaveProperty('remarks')
  const site = siteOn(server())
  const found = [
    await live(site, {...core, kind: 'ConfigMap'}, 'brief', namespace),
    await live(site, {...core, kind: 'Service'}, 'otlp', namespace),
  ]
  // who manages what is history, and may be named
  const shown = JSON.stringify(found.map((object) => ({...object, metadata: {...object.metadata, managedFields: undefined}})))
  expect(shown).not.toMatch(/passing"|passing\.json|198\.51\.100\.0|203\.0\.113\.0/)
  expect(JSON.stringify(found.map(({metadata}) => metadata.managedFields))).not.toMatch(/passing\.json/)
})

describe('held by a finalizer', () => {
  const end = async (kind: string): Promise<LkeobsError> => {
    const found = await waited.get(kind)
    if (found === undefined || found instanceof Error) throw found ?? new Error('nothing is held')
    expect(found.ms).toBeLessThan(30_000)
    expect(found.error).toMatchObject({code: 'LKO-3111', oclif: {exit: 5}})
    return found.error
  }

  test('an object that was deleted and stays is named within half a minute, with the line that lets it go', async () => {
    const error = await end('configmap')
    expect(error.message).toContain('ConfigMap lkeobs/held was deleted and is held by example.com/gone.')
    expect(await server().typed(error.next[0])).toBe('configmap/held patched\n')
    const [outcome] = await carriedOut(stepOn(server(), held))
    expect(outcome?.state).toBe('done')
    const {metadata} = await live(siteOn(server()), {...core, kind: 'ConfigMap'}, 'held', namespace)
    expect(metadata).not.toHaveProperty('deletionTimestamp')
  })

  test('so is a namespace; until it is gone nothing can be made in it', async () => {
    const error = await end('namespace')
    expect(error.message).toMatch(/^Namespace held was deleted and .*example\.com\/gone/)
    const inside = await failureOf(stepOn(server(), [{...core, kind: 'ConfigMap', metadata: {name: 'one', namespace: 'held'}}]))
    expect(inside).toMatchObject({code: 'LKO-3111'})
    expect(inside.message).toMatch(/namespace held because it is being terminated/)
    expect(await server().typed(inside.next[0])).toContain('example.com/gone')
    expect(await server().typed(error.next[0])).toBe('namespace/held patched\n')
  })
})
