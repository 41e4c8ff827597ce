import {expect, test} from 'vitest'
import type {Release} from '../../src/components/release.ts'
import type {ChartFacts, InstalledRelease} from '../../src/tools/helm.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import {compareRelease, type Known, valueChanges} from '../../src/upgrade/compare.ts'
import {refuseSkew} from '../../src/upgrade/versions.ts'

const release: Release = {name: 'loki', title: 'Loki', namespace: 'lkeobs', chart: 'loki', values: {replicas: 1, storage: undefined}}

const manifest = ({chart = '18.11.0', image = '3.7.6', replicas = 1, more = ''} = {}) => `---
# Source: loki/templates/config.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: loki
  labels: {helm.sh/chart: loki-${chart}}
data: {config.yaml: "auth_enabled: false"}
---
# Source: loki/templates/statefulset.yaml
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: loki, namespace: lkeobs}
spec:
  replicas: ${replicas}
  template: {spec: {containers: [{name: loki, image: "docker.io/grafana/loki:${image}"}]}}
${more}`

const installed = (some: Partial<InstalledRelease> = {}): InstalledRelease => ({
  name: 'loki',
  namespace: 'lkeobs',
  revision: 1,
  status: 'deployed',
  chart: {name: 'loki', version: '18.11.0', appVersion: '3.7.6'},
  values: {replicas: 1},
  manifest: manifest(),
  secretName: 'sh.helm.release.v1.loki.v1',
  ...some,
})

const pinned: ChartFacts = {version: '18.11.0', appVersion: '3.7.6', kubeVersion: '>=1.25.0-0'}
const compare = (some: Partial<Known> = {}) =>
  compareRelease({release, installed: installed(), pinned, manifest: manifest(), definitions: [], drifted: [], ...some})

test('nothing changes', () => {
  expect(compare()).toBeUndefined()
  // a chart is rendered with what its cluster can do, and what is not upgraded is not rendered anew
  expect(compare({manifest: manifest({replicas: 9})})).toBeUndefined()
})

test('values change', () => {
  const change = compare({release: {...release, values: {replicas: 3}}, manifest: manifest({replicas: 3})})
  expect(change).toMatchObject({state: 'deployed', version: {from: '18.11.0', to: '18.11.0'}, images: []})
  expect(change?.values).toEqual([{path: 'replicas', from: '1', to: '3'}])
  expect(change?.objects.map(({diff}) => diff)).toMatchInlineSnapshot(`
    [
      "--- StatefulSet loki
    +++ StatefulSet loki
    @@ -4,7 +4,7 @@
       name: loki
       namespace: lkeobs
     spec:
    -  replicas: 1
    +  replicas: 3
       template:
         spec:
           containers:",
    ]
  `)
})

test('the chart is a minor version ahead: images change, and the labels on every object are told apart', () => {
  const before = {chart: {name: 'loki', version: '18.10.0', appVersion: '3.7.5'}, manifest: manifest({chart: '18.10.0', image: '3.7.5'})}
  expect(compare({installed: installed(before)})).toMatchObject({
    version: {from: '18.10.0', to: '18.11.0'},
    app: {from: '3.7.5', to: '3.7.6'},
    images: [{image: 'docker.io/grafana/loki', from: '3.7.5', to: '3.7.6'}],
    objects: [
      {object: 'ConfigMap loki', change: 'relabelled', diff: ''},
      {object: 'StatefulSet loki', change: 'changed'},
    ],
  })
})

test('objects come and go; hooks are none', () => {
  const more = `---
apiVersion: v1
kind: Service
metadata: {name: new}
---
apiVersion: batch/v1
kind: Job
metadata: {name: hook, annotations: {helm.sh/hook: pre-upgrade}}
`
  const old = manifest({more: '---\napiVersion: v1\nkind: Service\nmetadata: {name: old}\n'})
  const change = compare({
    release: {...release, values: {}},
    installed: installed({manifest: old}),
    manifest: manifest({more}),
  })
  expect(change?.objects.map((one) => `${one.object} ${one.change}`)).toEqual(['Service new added', 'Service old removed'])
})

test('a release that is missing is new', () => {
  expect(compare({installed: undefined})).toMatchObject({
    state: 'new',
    version: {to: '18.11.0'},
    images: [{image: 'docker.io/grafana/loki', to: '3.7.6'}],
    values: [],
    objects: [{change: 'added'}, {change: 'added'}],
  })
})

test('a release whose helm was interrupted is taken up again', () => {
  expect(compare({installed: installed({status: 'pending-upgrade'})})).toMatchObject({state: 'pending-upgrade', objects: [], values: []})
  expect(compare({installed: installed({status: 'failed'})})).toMatchObject({state: 'failed'})
})

test('what somebody changed since is set right', () => {
  expect(compare({drifted: ['StatefulSet loki: spec.replicas differs']})).toMatchObject({objects: [], drifted: [expect.any(String)]})
})

test('what is in a Secret is never shown', () => {
  const secret = (one: string, other: string) =>
    manifest({more: `---\napiVersion: v1\nkind: Secret\nmetadata: {name: keys}\ndata: {one: ${one}}\nstringData: {other: ${other}}\n`})
  const change = compare({
    release: {...release, values: {}},
    installed: installed({manifest: secret('aHVzaA==', 'hush')}),
    manifest: secret('c2VjcmV0', 'hush'),
  })
  expect(change?.objects.map(({diff}) => diff)).toMatchInlineSnapshot(`
    [
      "--- Secret keys
    +++ Secret keys
    @@ -1,6 +1,6 @@
     apiVersion: v1
     data:
    -  one: ‹secret›
    +  one: ‹another secret›
     kind: Secret
     metadata:
       name: keys",
    ]
  `)
  expect(JSON.stringify(change)).not.toMatch(/hush|aHVzaA|c2VjcmV0/)
  const added = compare({installed: undefined, manifest: secret('aHVzaA==', 'hush')})
  expect(JSON.stringify(added)).not.toMatch(/hush|aHVzaA/)
})

test('values that may be secret are only named', () => {
  expect(valueChanges({auth: {password: 'hush'}, list: [1], on: false}, {auth: {password: 'other'}, list: [2, 3], on: true})).toEqual([
    {path: 'auth.password'},
    {path: 'list'},
    {path: 'on', from: 'false', to: 'true'},
  ])
})

const definition = (name: string, properties: object, more: object = {}): KubeObject => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: {name: `${name}.example.org`},
  spec: {group: 'example.org', versions: [{name: 'v1', served: true, schema: {openAPIV3Schema: {type: 'object', properties}}}], ...more},
})
const inChart = (...all: readonly KubeObject[]) =>
  manifest({
    more: all.map((one) => `---\n# Source: loki/charts/operator/crds/some.yaml\n# of somebody\n---\n${JSON.stringify(one)}\n`).join(''),
  })

test('definitions that helm would leave as they are count as changed, and none is removed', () => {
  const live = [
    // what the API server fills in is no change, what a schema no longer has is one
    definition('same', {size: {type: 'integer'}}, {conversion: {strategy: 'None'}}),
    definition('grown', {size: {type: 'integer'}}),
    definition('shrunk', {size: {type: 'integer'}, colour: {type: 'string'}}),
    definition('old', {}),
    {...definition('other', {}), spec: {group: 'example.com', versions: []}},
  ]
  const wished = inChart(
    definition('same', {size: {type: 'integer', nullable: false}}),
    definition('grown', {size: {type: 'integer'}, colour: {type: 'string'}}),
    definition('shrunk', {size: {type: 'integer'}}),
    definition('new', {}),
  )
  const change = compare({release: {...release, values: {}}, manifest: wished, definitions: live})
  expect(change?.objects).toEqual([])
  expect(change?.definitions).toEqual([
    {name: 'grown.example.org', change: 'changed'},
    {name: 'shrunk.example.org', change: 'changed'},
    {name: 'new.example.org', change: 'added'},
    {name: 'old.example.org', change: 'left'},
  ])
})

const skew =
  ({chart, app, facts = {}, kubernetes = 'v1.37.2'}: {chart: string; app: string; facts?: Partial<ChartFacts>; kubernetes?: string}) =>
  () =>
    refuseSkew({
      cluster: 'hub',
      kubernetes,
      release,
      installed: installed({chart: {name: 'loki', version: chart, appVersion: app}}),
      pinned: {...pinned, ...facts},
    })

test.for([
  ['the same', {chart: '18.11.0', app: '3.7.6'}],
  ['a minor version of the chart ahead', {chart: '18.9.9', app: '3.7.0'}],
  ['several major versions of the chart, one of the application', {chart: '6.1.0', app: 'v2.9.0'}],
  ['an application without a version', {chart: '1.0.0', app: 'latest'}],
  ['a chart tagged with a v', {chart: 'v18.11.0', app: '3.7.6'}],
] as const)('%s is carried', ([, versions]) => {
  expect(skew(versions)).not.toThrow()
})

test.for([
  ['a step back', {chart: '18.12.0', app: '3.7.6'}, 'chart 18.12.0 is installed; 18.11.0 would be a step back.'],
  [
    'two major versions of the application',
    {chart: '5.0.0', app: 'v1.6.1'},
    'v1.6.1 is installed; 3.7.6 is more than one major version ahead.',
  ],
  [
    'a cluster that is too old',
    {chart: '18.11.0', app: '3.7.6', kubernetes: 'v1.24.9'},
    'chart loki 18.11.0 is for Kubernetes >=1.25.0-0; the cluster is v1.24.9.',
  ],
] as const)('%s is refused', ([, versions, why]) => {
  expect(skew(versions)).toThrow(expect.objectContaining({code: 'LKO-3114', message: `loki on hub: ${why}`}))
})
