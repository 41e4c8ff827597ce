import {beforeAll, describe, expect, test} from 'vitest'
import {runChecks} from '../../src/checks/check.ts'
import {missingOf, needed, permissions, type PermissionWish} from '../../src/checks/permissions.ts'
import {locate} from '../../src/programs/locate.ts'
import {programOf} from '../../src/programs/catalogue.ts'
import {manifestOf} from '../../src/templates.ts'
import {createHelm} from '../../src/tools/helm.ts'
import type {Access, KubeObject} from '../../src/tools/kube/kube.ts'
import {resourceOf} from '../../src/tools/kube/kubectl.ts'
import {createShell} from '../../src/tools/shell.ts'
import {packaged, packageOf} from '../components/charts.ts'
import {releases} from '../components/releases.ts'
import {fakeWorld} from '../support/fake-world.ts'
import {kubeOf} from './kube.ts'

const plain: PermissionWish = {
  role: 'hub',
  certManager: false,
  installsCertManager: false,
  secretsOperator: false,
  installsSecretsOperator: false,
  instrumentation: false,
}
const everything = {certManager: true, installsCertManager: true, secretsOperator: true, installsSecretsOperator: true}
const has = (all: readonly Access[], wish: Partial<Access>) =>
  all.some((access) => Object.entries(wish).every(([key, value]) => access[key as keyof Access] === value))

test('what is asked follows what is wished', () => {
  const hub = needed(plain)
  const edge = needed({...plain, role: 'edge'})
  const whole = needed({...plain, ...everything})
  expect(has(hub, {resource: 'horizontalpodautoscalers', verb: 'create', namespace: 'lkeobs'})).toBe(true)
  expect(has(hub, {namespace: 'lkeobs-node'})).toBe(false)
  expect(has(hub, {resource: 'customresourcedefinitions', verb: 'create'})).toBe(false)
  expect(has(edge, {resource: 'daemonsets', verb: 'patch', namespace: 'lkeobs-node'})).toBe(true)
  expect(has(edge, {resource: 'nodes', verb: 'list'})).toBe(true)
  expect(has(whole, {resource: 'customresourcedefinitions', verb: 'create'})).toBe(true)
  expect(has(whole, {resource: 'certificates', group: 'cert-manager.io', verb: 'create'})).toBe(true)
  expect(has(needed({...plain, certManager: true}), {namespace: 'cert-manager'})).toBe(false)
  expect(has(needed({...plain, role: 'edge', secretsOperator: true}), {resource: 'vaultauths', namespace: 'lkeobs-node'})).toBe(true)
  for (const all of [hub, edge, whole]) expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(all.length)
})

const told = async (may: (access: Access) => boolean) => {
  const {tools} = fakeWorld()
  const kube = kubeOf({may})
  const site = {
    cluster: 'one',
    role: 'hub',
    fleet: 'acme',
    kube,
    helm: tools.helm({context: 'here'}),
    tools,
    ways: {},
    file: String,
  } as const
  const platform = {certManager: false, secretsOperator: false}
  const [finding] = await runChecks([{...permissions, needs: []}], {site, platform, wishes: [], uids: async () => new Map()})
  return finding
}

test('what is missing is listed once for all that has the same places and verbs, with the question to ask again', async () => {
  const finding = await told(({resource, verb}) => !(resource === 'secrets' && verb === 'create') && !resource.startsWith('networkpol'))
  expect(finding).toMatchObject({state: 'failed', code: 'LKO-3103'})
  expect(finding?.state === 'failed' && finding.why.split('\n')).toEqual([
    '6 of 87 permissions are missing:',
    'in lkeobs: create secrets',
    'in lkeobs: get, list, create, patch, delete networkpolicies.networking.k8s.io',
  ])
  expect(finding?.state === 'failed' && finding.next).toEqual([
    'kubectl --context here auth can-i create secrets -n lkeobs',
    'kubectl --context here auth can-i create networkpolicies.networking.k8s.io -n lkeobs',
    'kubectl --context here auth can-i --list -n lkeobs',
    'lkeobs explain LKO-3103',
  ])
})

test('who may do all but grant more than it has is warned', async () => {
  const finding = await told(({verb}) => verb !== 'escalate')
  expect(finding).toMatchObject({
    state: 'warning',
    next: ['kubectl --context here auth can-i escalate clusterroles.rbac.authorization.k8s.io'],
  })
})

test('a subresource is asked for as kubectl wants it', () => {
  const access = {verb: 'create', group: '', resource: 'pods', subresource: 'exec', namespace: 'lkeobs'}
  expect(missingOf([access])).toEqual([{line: 'in lkeobs: create pods/exec', first: access}])
})

describe.skipIf(packaged === undefined)(
  `against the charts as they are published${packaged === undefined ? ' (skipped: LKEOBS_CHARTS is not set)' : ''}`,
  () => {
    const manifests = new Map<string, readonly KubeObject[]>()

    beforeAll(async () => {
      const place = await locate(programOf('helm'), createShell())
      if (!('file' in place)) throw new Error(place.why)
      const helm = createHelm({shell: createShell(), program: async () => place.file})(undefined)
      for (const [key, release] of Object.entries(releases)) {
        const {name, namespace, chart, values} = release
        const text = await helm.template({name, namespace, values, chart: {file: packageOf(chart)}, file: ''}, 'v1.37.2')
        manifests.set(key, manifestOf<KubeObject>(text))
      }
    }, 180_000)

    test.for(Object.keys(releases))('%s brings nothing whose permission is not asked for', (key) => {
      const release = releases[key]
      if (!release) throw new Error(key)
      const role = /^(agent|scraper|dcgm|opentelemetry-operator)/.test(release.name) ? 'edge' : 'hub'
      const all = needed({...plain, ...everything, role, instrumentation: role === 'edge'})
      const objects = (manifests.get(key) ?? []).filter(({metadata}) => !/delete/.test(metadata.annotations?.['helm.sh/hook'] ?? ''))
      expect(objects.length).toBeGreaterThan(0)
      const clusterWide = /^(Cluster|CustomResource|Validating|Mutating)/
      const lacking = objects.filter((object) => {
        const [resource = ''] = resourceOf(object).replace(/^\w+/, plural).split('.')
        const at = clusterWide.test(object.kind) ? undefined : (object.metadata.namespace ?? release.namespace)
        return !['get', 'create', 'patch'].every((verb) =>
          has(all, {resource, group: groupOf(object), verb, ...(at !== undefined && {namespace: at})}),
        )
      })
      expect(lacking.map(({kind, metadata}) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`)).toEqual([])
    })
  },
)

const plural = (kind: string): string => (kind.endsWith('y') ? `${kind.slice(0, -1)}ies` : kind.endsWith('s') ? `${kind}es` : `${kind}s`)
const groupOf = ({apiVersion}: KubeObject): string => (apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '')
