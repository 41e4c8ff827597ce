import {stripVTControlCharacters} from 'node:util'
import {describe, expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {LkeobsError} from '../../src/errors.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {hubStatusText} from '../../src/status/hub-text.ts'
import {componentsOf, endpointsOf, hubStatus, type HubStatus, imagesOf, volumesOf} from '../../src/status/hub.ts'
import {fakeWorld, fleetOf} from '../support/fake-world.ts'
import {object} from '../checks/kube.ts'

const labels = (component: string) => ({'app.kubernetes.io/instance': component})
const status = (name: string, image: string, digest: string, running = true) => ({
  name,
  image,
  imageID: `docker.io/x@sha256:${digest.repeat(64)}`,
  state: running ? {running: {}} : {waiting: {}},
})
const pod = (name: string, component: string, containers: readonly object[], beside: readonly object[] = []) =>
  object('v1', 'Pod', name, {status: {containerStatuses: containers, initContainerStatuses: beside}}, {labels: labels(component)})

describe('images', () => {
  test('are counted by the digest that runs, over components; what does not run is not counted', () => {
    const pods = [
      pod('a-0', 'a', [status('main', 'x:1', 'a')], [status('agent', 'bao:2', 'b'), status('before', 'y:1', 'c', false)]),
      pod('a-1', 'a', [status('main', 'x:1', 'a')]),
      pod('v-0', 'v', [status('bao', 'bao:2', 'b')]),
    ]
    expect(imagesOf(pods)).toMatchObject([
      {image: 'bao:2', pods: 2, components: ['a', 'v'], mixed: false},
      {image: 'x:1', pods: 2, components: ['a'], mixed: false, digest: `sha256:${'a'.repeat(64)}`},
    ])
  })

  test('a component whose pods run different digests is marked, two that share a tag are not', () => {
    const half = [pod('a-0', 'a', [status('main', 'x:1', 'a')]), pod('a-1', 'a', [status('main', 'x:1', 'd')])]
    expect(imagesOf(half).map(({mixed}) => mixed)).toEqual([true, true])
    const shared = [pod('a-0', 'a', [status('main', 'x:1', 'a')]), pod('b-0', 'b', [status('main', 'x:1', 'd')])]
    expect(imagesOf(shared).map(({mixed}) => mixed)).toEqual([false, false])
    expect(imagesOf([])).toEqual([])
  })

  test('a runtime that gives no repository, or nothing yet', () => {
    const bare = {name: 'main', image: 'x:1', imageID: 'sha256:abc', state: {running: {}}}
    expect(imagesOf([pod('a-0', 'a', [bare])])).toMatchObject([{digest: 'sha256:abc'}])
    expect(imagesOf([pod('a-0', 'a', [{...bare, imageID: ''}])])).toMatchObject([{digest: 'unknown'}])
    expect(imagesOf([object('v1', 'Pod', 'new')])).toEqual([])
  })
})

test('pods of components: ready of wanted, whatever brings them', () => {
  const workloads = [
    object('apps/v1', 'StatefulSet', 'vault', {spec: {replicas: 3}, status: {readyReplicas: 2}}, {labels: labels('vault')}),
    object('apps/v1', 'DaemonSet', 'x-agent', {status: {desiredNumberScheduled: 5, numberReady: 5}}, {labels: labels('agent')}),
    object('apps/v1', 'Deployment', 'canary', {spec: {}, status: {}}),
  ]
  const states = ['vault', 'agent', 'canary', 'loki'].map((component) => ({component, state: 'as said'}))
  expect(componentsOf(states, workloads).map(({component, ready, wanted}) => [component, ready, wanted])).toEqual([
    ['vault', 2, 3],
    ['agent', 5, 5],
    ['canary', 0, 1],
    ['loki', 0, 0],
  ])
})

test('endpoints: load balancers first, headless Services not at all', () => {
  const service = (name: string, spec: object, ingress: readonly object[] = []) =>
    object('v1', 'Service', name, {spec, status: {loadBalancer: {ingress}}})
  expect(
    endpointsOf([
      service('loki', {clusterIP: '10.0.0.1', ports: [{port: 3100}]}),
      service('loki-headless', {clusterIP: 'None'}),
      service('otlp', {type: 'LoadBalancer', clusterIP: '10.0.0.2', ports: [{port: 4317}]}, [{hostname: 'lb.example.org'}]),
      service('waits', {type: 'LoadBalancer', clusterIP: '10.0.0.3'}),
    ]),
  ).toEqual([
    {name: 'otlp', type: 'LoadBalancer', addresses: ['lb.example.org'], ports: [4317]},
    {name: 'waits', type: 'LoadBalancer', addresses: [], ports: []},
    {name: 'loki', type: 'ClusterIP', addresses: ['10.0.0.1'], ports: [3100]},
  ])
})

test('volumes: what was given, or what is asked for while there is none', () => {
  const claim = (name: string, phase: string, capacity: object) =>
    object('v1', 'PersistentVolumeClaim', name, {
      spec: {storageClassName: 'fast', resources: {requests: {storage: '1Gi'}}},
      status: {phase, capacity},
    })
  expect(volumesOf([claim('b', 'Pending', {}), claim('a', 'Bound', {storage: '10Gi'})])).toMatchObject([
    {claim: 'a', size: '10Gi', class: 'fast', bound: true},
    {claim: 'b', size: '1Gi', bound: false},
  ])
})

const onKubernetes = (platform = '') => `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, platform: {kubernetes: {context: hub${platform}}}}
`

describe('a hub on Kubernetes', () => {
  const up = async (platform = '') => {
    const world = fakeWorld()
    const fleet = openFleet(fleetOf(onKubernetes(platform)), world.tools)
    await world.play(hubInit(fleet.hub, world.tools))
    return {fleet, tools: world.tools}
  }

  test('that is up: everything of it is there and ready', async () => {
    const {fleet, tools} = await up()
    const found = await hubStatus(fleet, tools)
    expect(found.components.map(({component, state}) => `${component} ${state}`)).toEqual(
      ['vault', 'prometheus', 'loki', 'tempo', 'grafana', 'gateway', 'cert-manager', 'vault-secrets-operator'].map(
        (name) => `${name} ready`,
      ),
    )
    expect(found.releases.map(({name, state}) => `${name} ${state}`)).toContain('gateway deployed')
    expect(found.certificates.map(({of, state, renewedBy}) => [of, state, renewedBy])).toEqual([
      ["gateway's leaf", 'valid', 'Vault Secrets Operator'],
      ['Vault', 'valid', 'cert-manager'],
      ['Vault', 'valid', 'cert-manager'],
      ['Vault', 'valid', 'cert-manager'],
      ['issuer of the gateway', 'valid', 'lkeobs hub init'],
      ['issuer of edges', 'valid', 'lkeobs hub init'],
      ['root CA', 'valid', 'cert-manager'],
    ])
    expect(found).toMatchObject({platform: 'kubernetes', ok: true, endpoint: '203.0.113.10:4317'})
  })

  test('without the controllers: the leaf is in memory, and not to see it is no fault', async () => {
    const {fleet, tools} = await up(', certManager: false, secretsOperator: false')
    const found = await hubStatus(fleet, tools)
    expect(found.ok).toBe(true)
    expect(found.certificates[0]).toMatchObject({state: 'unknown', renewedBy: 'bao agent'})
    expect(found.certificates.at(-1)).toMatchObject({of: 'root CA', renewedBy: 'nobody'})
  })

  test('that is not there: nothing is waited for, and init comes next', async () => {
    const world = fakeWorld()
    const found = await hubStatus(openFleet(fleetOf(onKubernetes()), world.tools), world.tools)
    expect(found.ok).toBe(false)
    expect(found.endpoint).toBeUndefined()
    expect(found.certificates.find(({of}) => of === 'issuer of edges')).toMatchObject({why: 'hub has no root CA yet'})
    expect(stripVTControlCharacters(hubStatusText(found))).toMatch(/› lkeobs doctor --hub\n› lkeobs hub init$/)
  })

  test('that may not be looked at is an error, not an empty hub', async () => {
    const world = fakeWorld()
    const kube: typeof world.tools.kube = (target) => ({
      ...world.tools.kube(target),
      list: async () => {
        throw new LkeobsError('LKO-3103', 'cannot list pods')
      },
    })
    const tools = {...world.tools, kube}
    await expect(hubStatus(openFleet(fleetOf(onKubernetes()), tools), tools)).rejects.toThrow('cannot list pods')
  })
})

test('a hub on this machine: processes, and the same certificates', async () => {
  const world = fakeWorld()
  const fleet = openFleet(fleetOf(newLabFleet({edges: 1})), world.tools)
  await world.play(hubInit(fleet.hub, world.tools))
  const found = await hubStatus(fleet, world.tools)
  expect(found).toMatchObject({platform: 'local', releases: [], images: [], volumes: []})
  expect(found.components.map(({component}) => component)).toContain('gateway')
  expect(found.certificates.map(({of, state}) => `${of} ${state}`)).toEqual([
    "gateway's leaf valid",
    'Vault valid',
    'Vault valid',
    'Vault valid',
    'issuer of the gateway valid',
    'issuer of edges valid',
    'root CA valid',
  ])
  expect(found.endpoints.length).toBeGreaterThan(0)
})

test('the screen', () => {
  const where = {cluster: 'hub', seen: 'served', at: 'somewhere', stops: 'something'} as const
  const found: HubStatus = {
    fleet: 'acme',
    hub: 'hub',
    platform: 'kubernetes',
    ok: false,
    endpoint: '192.0.2.1:4317',
    releases: [{name: 'loki', chart: 'loki', chartVersion: '18.11.0', appVersion: '3.7.6', revision: 2, state: 'deployed'}],
    components: [
      {component: 'loki', state: 'ready', ready: 1, wanted: 1},
      {component: 'gateway', state: '1 of 2 pods ready', ready: 1, wanted: 2},
    ],
    images: [{image: 'loki:3', digest: `sha256:${'a'.repeat(64)}`, pods: 2, components: ['loki'], mixed: true}],
    endpoints: [{name: 'otlp', type: 'LoadBalancer', addresses: [], ports: [4317]}],
    certificates: [
      {
        ...where,
        kind: 'vault',
        of: 'Vault',
        which: 'vault-0',
        state: 'soon',
        subject: 'vault',
        expires: '2026-12-01T10:00:00.000Z',
        leftSeconds: 7 * 86_400,
        daysLeft: 7,
        renewedBy: 'cert-manager',
      },
      {...where, kind: 'root', of: 'root CA', state: 'unknown', renewedBy: 'nobody', why: 'there is none'},
    ],
    volumes: [{claim: 'data-0', component: 'loki', size: '10Gi', class: 'fast', bound: false}],
  }
  expect(stripVTControlCharacters(hubStatusText(found))).toBe(`hub hub of acme ✖   1 of 2 components ready   edges dial 192.0.2.1:4317

component  pods  state              chart         its app  revision  release
✔ loki     1/1   ready              loki 18.11.0  3.7.6    2         deployed
✖ gateway  1/2   1 of 2 pods ready

image     digest that runs     pods  of
! loki:3  sha256:aaaaaaaaaaaa  2     loki

Service  type          address   ports
✖ otlp   LoadBalancer  none yet  4317

certificate      subject        ends (UTC)        left  renewed by
! Vault vault-0  vault          2026-12-01 10:00  7d    cert-manager
– root CA        there is none                          nobody

volume    size  class  state
✖ data-0  10Gi  fast   waits for a volume

› lkeobs doctor --hub
› lkeobs hub init          (puts right what is not so)`)
})
