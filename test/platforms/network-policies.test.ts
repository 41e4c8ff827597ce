import {BlockList, isIPv6} from 'node:net'
import {expect, test} from 'vitest'
import {networkPolicies} from '../../src/platforms/kubernetes/network-policies.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'

// What a network plugin does with policies, by the documentation of Kubernetes.

type Selector = {
  readonly matchLabels?: Labels
  readonly matchExpressions?: readonly {readonly key: string; readonly operator: string; readonly values?: readonly string[]}[]
}
type Labels = Readonly<Record<string, string>>
type Peer = {
  readonly podSelector?: Selector
  readonly namespaceSelector?: Selector
  readonly ipBlock?: {readonly cidr: string; readonly except?: readonly string[]}
}
type Port = {readonly protocol?: string; readonly port?: number; readonly endPort?: number}
type Rule = {readonly from?: readonly Peer[]; readonly to?: readonly Peer[]; readonly ports?: readonly Port[]}
type Policy = KubeObject & {
  readonly spec: {
    readonly podSelector: Selector
    readonly policyTypes: readonly ('Ingress' | 'Egress')[]
    readonly ingress?: readonly Rule[]
    readonly egress?: readonly Rule[]
  }
}
type Pod = {readonly namespace: string; readonly labels: Labels; readonly ip: string}
type End = Pod | {readonly ip: string}
type Connection = {readonly protocol: 'TCP' | 'UDP'; readonly port: number}

const operators: Readonly<Record<string, (found: string | undefined, values: readonly string[]) => boolean>> = {
  In: (found, values) => found !== undefined && values.includes(found),
  NotIn: (found, values) => found === undefined || !values.includes(found),
  Exists: (found) => found !== undefined,
  DoesNotExist: (found) => found === undefined,
}

const selects = ({matchLabels = {}, matchExpressions = []}: Selector, labels: Labels): boolean =>
  Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
  matchExpressions.every(({key, operator, values = []}) => operators[operator]?.(labels[key], values))

const covers = (cidr: string, ip: string): boolean => {
  const [address = '', prefix] = cidr.split('/')
  const family = (one: string) => (isIPv6(one) ? 'ipv6' : 'ipv4')
  const block = new BlockList()
  block.addSubnet(address, Number(prefix), family(address))
  return block.check(ip, family(ip))
}

const isPod = (end: End): end is Pod => 'labels' in end

const isPeer = ({podSelector, namespaceSelector, ipBlock}: Peer, end: End, at: string): boolean => {
  if (ipBlock) return covers(ipBlock.cidr, end.ip) && !(ipBlock.except ?? []).some((cidr) => covers(cidr, end.ip))
  if (!isPod(end)) return false
  const there = namespaceSelector ? selects(namespaceSelector, {'kubernetes.io/metadata.name': end.namespace}) : end.namespace === at
  return there && selects(podSelector ?? {}, end.labels)
}

const isOpen = (ports: readonly Port[] | undefined, {protocol, port}: Connection): boolean =>
  ports === undefined ||
  ports.some(
    (one) => (one.protocol ?? 'TCP') === protocol && (one.port === undefined || (port >= one.port && port <= (one.endPort ?? one.port))),
  )

/** A pod that no policy of a direction selects is open in it; one that some select needs a rule of any of them. */
const passes = (policies: readonly Policy[], direction: 'Ingress' | 'Egress', pod: End, other: End, connection: Connection): boolean => {
  if (!isPod(pod)) return true
  const about = policies.filter(
    ({metadata, spec}) =>
      metadata.namespace === pod.namespace && spec.policyTypes.includes(direction) && selects(spec.podSelector, pod.labels),
  )
  if (about.length === 0) return true
  return about.some(({spec}) =>
    (direction === 'Ingress' ? spec.ingress : spec.egress)?.some(({from, to, ports}) => {
      const peers = direction === 'Ingress' ? from : to
      return isOpen(ports, connection) && (peers === undefined || peers.some((peer) => isPeer(peer, other, pod.namespace)))
    }),
  )
}

const isAllowed = (policies: readonly Policy[], from: End, to: End, connection: Connection): boolean =>
  passes(policies, 'Egress', from, to, connection) && passes(policies, 'Ingress', to, from, connection)

const pod = (namespace: string, instance: string, name = instance, more: Labels = {}): Pod => ({
  namespace,
  labels: {'app.kubernetes.io/name': name, 'app.kubernetes.io/instance': instance, ...more},
  ip: '10.2.0.9',
})

/** Pods with the labels that their charts give them, and what is no pod. */
const ends = {
  vault: pod('lkeobs', 'vault', 'openbao', {component: 'server'}),
  gateway: pod('lkeobs', 'gateway', 'opentelemetry-collector', {component: 'statefulset-collector'}),
  prometheus: pod('lkeobs', 'prometheus', 'prometheus', {'app.kubernetes.io/component': 'server'}),
  loki: pod('lkeobs', 'loki', 'loki', {'app.kubernetes.io/component': 'single-binary'}),
  tempo: pod('lkeobs', 'tempo'),
  grafana: pod('lkeobs', 'grafana'),
  scraper: pod('lkeobs', 'scraper', 'opentelemetry-collector', {component: 'standalone-collector'}),
  canary: pod('lkeobs', 'canary'),
  generator: pod('lkeobs', 'telemetrygen'),
  instrumentation: pod('lkeobs', 'opentelemetry-operator'),
  agent: pod('lkeobs-node', 'agent', 'opentelemetry-collector', {component: 'agent-collector'}),
  gpu: pod('lkeobs-node', 'dcgm-exporter'),
  'cert-manager': pod('cert-manager', 'cert-manager', 'cert-manager', {app: 'cert-manager'}),
  webhook: pod('cert-manager', 'cert-manager', 'webhook', {app: 'webhook'}),
  'secrets operator': pod('vault-secrets-operator', 'vault-secrets-operator', 'vault-secrets-operator', {
    'control-plane': 'controller-manager',
  }),
  dns: pod('kube-system', 'coredns', 'coredns', {'k8s-app': 'kube-dns'}),
  workload: pod('shop', 'checkout'),
  'workload called vault': pod('shop', 'vault', 'openbao', {component: 'server'}),
  'workload called gateway': pod('shop', 'gateway', 'opentelemetry-collector'),
  'API server': {ip: '172.30.0.1'},
  node: {ip: '192.168.130.7'},
  internet: {ip: '203.0.113.9'},
  'hub, from outside': {ip: '203.0.113.10'},
} as const satisfies Record<string, End>
type Name = keyof typeof ends

/** `agent → hub:4317` */
type Row = readonly [from: Name, to: Name, port: number]

const check = (
  title: string,
  policies: readonly KubeObject[],
  rows: {readonly allowed: readonly Row[]; readonly denied: readonly Row[]},
) => {
  const cases = [...rows.allowed.map((row) => [...row, true] as const), ...rows.denied.map((row) => [...row, false] as const)]
  test.for(cases)(`${title}: %s → %s port %d: %s`, ([from, to, port, expected]) => {
    const answer = isAllowed(policies as readonly Policy[], ends[from], ends[to], {protocol: 'TCP', port})
    expect(answer).toBe(expected)
  })
}

const installed = {certManager: true, secretsOperator: true} as const
const hub = networkPolicies({role: 'hub', ...installed, grafana: true, instrumentation: false})
const edge = networkPolicies({role: 'edge', ...installed, grafana: false, instrumentation: true, hubPort: 30_317})

check('hub', hub, {
  allowed: [
    ['internet', 'gateway', 4317],
    ['node', 'gateway', 4317],
    ['gateway', 'prometheus', 9090],
    ['gateway', 'loki', 3100],
    ['gateway', 'tempo', 4317],
    // when it was started
    ['gateway', 'tempo', 3200],
    ['gateway', 'internet', 443],
    ['gateway', 'internet', 8088],
    ['gateway', 'internet', 4317],
    ['gateway', 'internet', 4318],
    ['grafana', 'prometheus', 9090],
    ['grafana', 'loki', 3100],
    ['grafana', 'tempo', 3200],
    ['vault', 'vault', 8200],
    ['vault', 'vault', 8201],
    ['vault', 'API server', 443],
    ['vault', 'API server', 6443],
    ['secrets operator', 'vault', 8200],
    ['secrets operator', 'API server', 6443],
    ['cert-manager', 'API server', 443],
    ['API server', 'webhook', 10_250],
    // other namespaces are nobody's business
    ['workload', 'internet', 443],
  ],
  denied: [
    ['workload', 'vault', 8200],
    ['workload called vault', 'vault', 8201],
    ['workload called gateway', 'loki', 3100],
    ['workload', 'prometheus', 9090],
    ['workload', 'loki', 3100],
    ['workload', 'tempo', 4317],
    ['workload', 'grafana', 3000],
    ['internet', 'vault', 8200],
    ['internet', 'prometheus', 9090],
    ['internet', 'grafana', 3000],
    ['internet', 'gateway', 13_133],
    ['grafana', 'vault', 8200],
    ['grafana', 'tempo', 4317],
    ['grafana', 'API server', 443],
    ['grafana', 'internet', 443],
    ['gateway', 'node', 10_250],
    ['gateway', 'API server', 6443],
    ['gateway', 'grafana', 3000],
    // the operator brings its leaf
    ['gateway', 'vault', 8200],
    ['prometheus', 'internet', 443],
    ['prometheus', 'API server', 443],
    ['prometheus', 'loki', 3100],
    ['loki', 'internet', 443],
    ['loki', 'vault', 8200],
    ['tempo', 'prometheus', 9090],
    ['vault', 'internet', 8200],
    ['vault', 'loki', 3100],
    ['secrets operator', 'loki', 3100],
    ['secrets operator', 'internet', 8200],
    ['cert-manager', 'vault', 8200],
    ['workload', 'cert-manager', 9402],
    ['workload', 'secrets operator', 8443],
  ],
})

check('edge', edge, {
  allowed: [
    ['workload', 'agent', 4317],
    ['workload', 'agent', 4318],
    ['agent', 'hub, from outside', 4317],
    ['agent', 'hub, from outside', 30_317],
    ['agent', 'node', 10_250],
    ['agent', 'API server', 443],
    ['agent', 'API server', 6443],
    ['agent', 'gpu', 9400],
    ['scraper', 'agent', 4317],
    ['scraper', 'API server', 6443],
    ['canary', 'agent', 4318],
    ['generator', 'agent', 4317],
    ['vault', 'vault', 8201],
    ['vault', 'API server', 443],
    ['secrets operator', 'vault', 8200],
    ['API server', 'instrumentation', 9443],
    ['instrumentation', 'API server', 443],
    ['API server', 'webhook', 10_250],
  ],
  denied: [
    ['internet', 'agent', 4317],
    ['internet', 'agent', 4318],
    ['workload', 'agent', 8888],
    ['workload', 'agent', 13_133],
    ['workload', 'vault', 8200],
    ['workload', 'gpu', 9400],
    ['workload', 'canary', 8080],
    ['canary', 'agent', 4317],
    ['canary', 'internet', 443],
    ['canary', 'vault', 8200],
    ['canary', 'API server', 443],
    ['agent', 'internet', 8088],
    ['agent', 'vault', 8200],
    ['agent', 'workload', 8080],
    ['scraper', 'internet', 4317],
    ['scraper', 'node', 10_250],
    ['scraper', 'vault', 8200],
    ['gpu', 'internet', 443],
    ['gpu', 'agent', 4317],
    ['vault', 'hub, from outside', 8200],
    ['instrumentation', 'agent', 4317],
    ['workload', 'instrumentation', 8443],
  ],
})

// a Vault agent beside each collector brings its leaf, or an operator that was there before us
const bare = {certManager: false, secretsOperator: false, grafana: false, instrumentation: false} as const
check('hub without operators of ours', networkPolicies({role: 'hub', ...bare}), {
  allowed: [
    ['gateway', 'vault', 8200],
    ['secrets operator', 'vault', 8200],
    // its namespace is not ours to close
    ['workload', 'secrets operator', 8443],
  ],
  denied: [
    ['workload', 'vault', 8200],
    ['secrets operator', 'loki', 3100],
    ['grafana', 'loki', 3100],
  ],
})
check('edge without operators of ours', networkPolicies({role: 'edge', ...bare, hubPort: 4317}), {
  allowed: [
    ['agent', 'vault', 8200],
    ['secrets operator', 'vault', 8200],
  ],
  denied: [
    ['scraper', 'vault', 8200],
    ['canary', 'vault', 8200],
    ['workload', 'vault', 8200],
    ['API server', 'instrumentation', 9443],
    ['agent', 'hub, from outside', 30_317],
  ],
})

const asking = Object.entries<End>(ends).flatMap(([name, end]) => (isPod(end) ? [{name, end}] : []))
test.for(asking)('$name asks for names by UDP and TCP', ({end}) => {
  for (const policies of [hub, edge] as unknown as readonly (readonly Policy[])[])
    for (const protocol of ['UDP', 'TCP'] as const) expect(isAllowed(policies, end, ends.dns, {protocol, port: 53}), protocol).toBe(true)
})

test('what is not of the cluster does not get in on any other port', () => {
  const open = (policies: readonly KubeObject[]) =>
    asking
      .filter(({end}) => policies.some(({metadata}) => metadata.namespace === end.namespace))
      .flatMap(({name, end}) =>
        [53, 443, 3000, 3100, 3200, 4317, 4318, 6443, 8200, 8201, 8443, 8888, 9090, 9400, 9402, 9443, 10_250, 13_133]
          .filter((port) => isAllowed(policies as readonly Policy[], ends.internet, end, {protocol: 'TCP', port}))
          .map((port) => `${name}:${port}`),
      )
  expect(open(hub)).toEqual(['gateway:4317', 'cert-manager:10250', 'webhook:10250'])
  expect(open(edge)).toEqual(['instrumentation:9443', 'cert-manager:10250', 'webhook:10250'])
})

test('the evaluator knows a pod that nothing selects, CIDRs and expressions', () => {
  const policy = (spec: Partial<Policy['spec']>): Policy => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: {name: 'one', namespace: 'shop'},
    spec: {podSelector: {}, policyTypes: ['Ingress'], ...spec},
  })
  const https = {protocol: 'TCP', port: 443} as const
  const from = (peer: Peer) => [policy({ingress: [{from: [peer]}]})]
  expect(isAllowed([], ends.internet, ends.workload, https)).toBe(true)
  expect(isAllowed([policy({})], ends.internet, ends.workload, https)).toBe(false)
  expect(isAllowed(from({ipBlock: {cidr: '203.0.113.0/24'}}), ends.internet, ends.workload, https)).toBe(true)
  expect(isAllowed(from({ipBlock: {cidr: '0.0.0.0/0', except: ['203.0.113.9/32']}}), ends.internet, ends.workload, https)).toBe(false)
  // without a namespace a peer is one of the policy's own
  expect(isAllowed(from({podSelector: {}}), ends.vault, ends.workload, https)).toBe(false)
  expect(isAllowed(from({podSelector: {}}), ends['workload called vault'], ends.workload, https)).toBe(true)
  const named = (operator: string, values?: readonly string[]) =>
    from({podSelector: {matchExpressions: [{key: 'component', operator, ...(values && {values})}]}})
  expect(isAllowed(named('In', ['server']), ends['workload called vault'], ends.workload, https)).toBe(true)
  expect(isAllowed(named('NotIn', ['server']), ends['workload called vault'], ends.workload, https)).toBe(false)
  expect(isAllowed(named('Exists'), ends['workload called gateway'], ends.workload, https)).toBe(false)
  expect(isAllowed(named('DoesNotExist'), ends['workload called gateway'], ends.workload, https)).toBe(true)
})
