import {expect, test} from 'vitest'
import {placed, requestOf} from '../../src/checks/room.ts'
import {edgeWishes, hubWishes, type PodWish, quantity, sum} from '../../src/checks/wishes.ts'
import {fleetSchema} from '../../src/fleet/schema.ts'

const gibi = 2 ** 30
const wish = (component: string, cpu: number, memory: number, pods: PodWish['pods'] = 1): PodWish => ({
  component,
  chart: 'loki',
  pods,
  each: {cpu, memory: memory * gibi},
})
const place = (node: string, cpu: number, memory: number, isOpen = true) => ({node, free: {cpu, memory: memory * gibi}, isOpen})

test.for([
  ['100m', 0.1],
  ['1.5', 1.5],
  ['512Mi', 512 * 2 ** 20],
  ['24581696Ki', 24_581_696 * 1024],
  ['1G', 1e9],
  ['128974848', 128_974_848],
  ['1e3', 1000],
  [undefined, 0],
  ['odd', 0],
] as const)('%s is %d', ([text, number]) => {
  expect(quantity(text)).toBeCloseTo(number)
})

test.for<readonly [string, readonly PodWish[], Parameters<typeof placed>[1], readonly string[]]>([
  ['fits', [wish('a', 1, 1), wish('b', 1, 2)], [place('n', 2, 4)], []],
  ['enough in sum, but on no single node', [wish('a', 1, 3)], [place('n', 2, 2), place('m', 2, 2)], ['a']],
  ['the largest first', [wish('small', 0.1, 1, 2), wish('large', 0.1, 3)], [place('n', 1, 3), place('m', 1, 2)], []],
  ['not where it is closed', [wish('a', 1, 1)], [place('n', 2, 4, false)], ['a']],
  [
    'one on each node, closed or not, before all others',
    [wish('a', 1, 1), wish('agent', 1, 1, 'one on each node')],
    [place('n', 1, 4, false), place('m', 1, 4)],
    ['a'],
  ],
  [
    'a node without room for it is named',
    [wish('agent', 1, 1, 'one on each node')],
    [place('n', 0.5, 4), place('m', 1, 4)],
    ['agent on n'],
  ],
  ['no node', [wish('a', 1, 1, 2)], [], ['a', 'a']],
])('%s', ([, wishes, places, missing]) => {
  expect(placed(wishes, places)).toEqual(missing)
})

test('a pod asks for its containers and those beside them, or for the largest before them', () => {
  const container = (cpu: string, memory: string, restartPolicy?: string) => ({
    resources: {requests: {cpu, memory}},
    ...(restartPolicy && {restartPolicy}),
  })
  const pod = (spec: object) => ({apiVersion: 'v1', kind: 'Pod', metadata: {name: 'p'}, spec})
  expect(requestOf(pod({containers: [container('1', '1Gi'), container('500m', '1Gi')]}))).toEqual({cpu: 1.5, memory: 2 * gibi})
  expect(requestOf(pod({containers: [container('1', '1Gi')], initContainers: [container('2', '512Mi')]}))).toEqual({cpu: 2, memory: gibi})
  expect(
    requestOf(pod({containers: [container('1', '1Gi')], initContainers: [container('1', '1Gi', 'Always')], overhead: {cpu: '1'}})),
  ).toEqual({
    cpu: 3,
    memory: 2 * gibi,
  })
  expect(requestOf(pod({containers: [{}]}))).toEqual({cpu: 0, memory: 0})
})

const parsed = (hub: object, edge: object) => {
  const {hub: one, edges} = fleetSchema.parse({
    apiVersion: 'lkeobs/v1',
    fleet: 'acme',
    hub: {name: 'hub', platform: {kubernetes: {context: 'h', ...hub}}},
    edges: [{name: 'e', platform: {kubernetes: {context: 'e', ...edge}}}],
  })
  const other = edges[0]?.platform.kubernetes
  if (!one.platform.kubernetes || !other) throw new Error('not on Kubernetes')
  return {hub: one.platform.kubernetes, edge: other}
}
const shown = (wishes: readonly PodWish[]) =>
  wishes.map(({component, pods, each}) => `${component} ${pods} ${Number(each.cpu.toFixed(3))} ${each.memory / 2 ** 20}Mi`)

test('what a cluster asks for is what the values of its charts ask for', () => {
  const {hub, edge} = parsed({}, {instrumentation: true})
  expect(shown(hubWishes(hub, 3))).toEqual([
    'vault 3 0.1 160Mi',
    'cert-manager 1 0.05 160Mi',
    'vault-secrets-operator 1 0.035 160Mi',
    'prometheus 1 0.15 384Mi',
    'loki 1 0.1 256Mi',
    'tempo 1 0.1 256Mi',
    'grafana 1 0.05 192Mi',
    'gateway 2 0.1 192Mi',
  ])
  expect(shown(edgeWishes(edge))).toEqual([
    'vault 1 0.1 160Mi',
    'cert-manager 1 0.05 160Mi',
    'vault-secrets-operator 1 0.035 160Mi',
    'agent one on each node 0.1 192Mi',
    'scraper 1 0.025 96Mi',
    'opentelemetry-operator 1 0.02 64Mi',
  ])
})

test('without the controllers a Vault agent stands beside each collector', () => {
  const {hub, edge} = parsed({certManager: false, secretsOperator: false, grafana: false, gateway: {replicas: 4}}, {secretsOperator: false})
  expect(shown(hubWishes(hub, 1)).at(-1)).toBe('gateway 4 0.11 240Mi')
  expect(hubWishes(hub, 1).map(({component}) => component)).toEqual(['vault', 'prometheus', 'loki', 'tempo', 'gateway'])
  expect(shown(edgeWishes(edge))).toContain('agent one on each node 0.11 240Mi')
})

test('amounts add up', () => {
  expect(sum([])).toEqual({cpu: 0, memory: 0})
  expect(
    sum([
      {cpu: 1, memory: 2},
      {cpu: 2, memory: 3},
    ]),
  ).toEqual({cpu: 3, memory: 5})
})
