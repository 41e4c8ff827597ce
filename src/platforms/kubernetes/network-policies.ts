import type {KubeObject} from '../../tools/kube/kube.ts'
import {certManagerNamespace, generator, namespace, namespaceOf, nodeNamespace, ports, secretsOperatorNamespace} from './names.ts'
import {labelled, type Role} from './objects.ts'

/** What decides who talks to whom on a cluster. */
export type NetworkWish = {
  readonly role: Role
  /** Installed by us. */
  readonly certManager: boolean
  /** Installed by us. Otherwise one from elsewhere brings the leaves, or collectors fetch them themselves. */
  readonly secretsOperator: boolean
  readonly grafana: boolean
  readonly instrumentation: boolean
  /** The port of the hub's endpoint, which the agents of an edge dial. */
  readonly hubPort?: number | undefined
  /** Vault of a hub is dialled from elsewhere: it unseals edges. */
  readonly vaultDialled?: boolean
  /** The port at which an edge's Vault dials the hub's, which unseals it. */
  readonly sealPort?: number | undefined
}

/** Pods of a release, which every chart labels with its name. */
type Pods = {readonly namespace: string; readonly release: string}
type Subject = Pods | {readonly namespace: string}
/** Who may be at the other end: certain pods, a program in whatever namespace, all pods of the cluster, or any address at all. */
type Peer = Subject | {readonly program: string} | 'cluster' | 'anywhere'
type Flow = {readonly from: Peer; readonly to: Peer; readonly ports: readonly number[]}

const release = (name: string): Pods => ({release: name, namespace: namespaceOf(name)})
const pods = {
  vault: release('vault'),
  gateway: release('gateway'),
  prometheus: release('prometheus'),
  loki: release('loki'),
  tempo: release('tempo'),
  grafana: release('grafana'),
  agent: release('agent'),
  scraper: release('scraper'),
  canary: release('canary'),
  generator: release(generator),
  gpuExporter: release('dcgm-exporter'),
  instrumentation: release('opentelemetry-operator'),
  certManager: {release: 'cert-manager', namespace: certManagerNamespace},
}

/** The API server is no pod, and its address is its own affair; behind its Service it may listen on 6443. */
const toApi = (from: Peer): Flow => ({from, to: 'anywhere', ports: [443, 6443]})

/** Who talks to whom. A flow is allowed at both of its ends, and nothing else is. */
const flows = ({role, certManager, secretsOperator, ...cluster}: NetworkWish): readonly Flow[] => {
  const when = (condition: boolean, ...some: readonly Flow[]): readonly Flow[] => (condition ? some : [])
  const [hub, edge] = [role === 'hub', role === 'edge']
  const leaves: readonly Peer[] = secretsOperator
    ? [{namespace: secretsOperatorNamespace}]
    : [hub ? pods.gateway : pods.agent, {program: 'vault-secrets-operator'}]
  return [
    {from: pods.vault, to: pods.vault, ports: [ports.vault, 8201]},
    ...leaves.map((from) => ({from, to: pods.vault, ports: [ports.vault]})),
    // it asks whose a service account's token is, and labels its own pods
    toApi(pods.vault),
    ...when(cluster.vaultDialled === true, {from: 'anywhere', to: pods.vault, ports: [ports.vault]}),
    ...when(cluster.sealPort !== undefined, {from: pods.vault, to: 'anywhere', ports: [cluster.sealPort ?? ports.vault]}),
    ...when(
      hub,
      // a load balancer passes on whoever dials: mutual TLS guards this door
      {from: 'anywhere', to: pods.gateway, ports: [ports.otlpGrpc]},
      {from: pods.gateway, to: pods.prometheus, ports: [ports.prometheus]},
      {from: pods.gateway, to: pods.loki, ports: [ports.loki]},
      {from: pods.gateway, to: pods.tempo, ports: [ports.tempoOtlp, ports.tempoHttp]},
      // destinations: HTTPS, Splunk's collector, OTLP
      {from: pods.gateway, to: 'anywhere', ports: [443, 8088, 4317, 4318]},
    ),
    ...when(
      hub && cluster.grafana,
      {from: pods.grafana, to: pods.prometheus, ports: [ports.prometheus]},
      {from: pods.grafana, to: pods.loki, ports: [ports.loki]},
      {from: pods.grafana, to: pods.tempo, ports: [ports.tempoHttp]},
    ),
    ...when(
      edge,
      // workloads of any namespace, those of ours among them
      {from: 'cluster', to: pods.agent, ports: [ports.otlpGrpc, ports.otlpHttp]},
      {from: pods.scraper, to: pods.agent, ports: [ports.otlpGrpc]},
      {from: pods.canary, to: pods.agent, ports: [ports.otlpHttp]},
      {from: pods.generator, to: pods.agent, ports: [ports.otlpGrpc]},
      {from: pods.agent, to: 'anywhere', ports: [...new Set([ports.otlpGrpc, cluster.hubPort ?? ports.otlpGrpc])]},
      // the kubelet of its node, which is no pod either
      {from: pods.agent, to: 'anywhere', ports: [10_250]},
      {from: pods.agent, to: pods.gpuExporter, ports: [9400]},
      toApi(pods.agent),
      toApi(pods.scraper),
    ),
    // the API server calls webhooks, and comes from no pod
    ...when(cluster.instrumentation, {from: 'anywhere', to: pods.instrumentation, ports: [9443]}, toApi(pods.instrumentation)),
    ...when(certManager, {from: 'anywhere', to: pods.certManager, ports: [10_250]}, toApi({namespace: certManagerNamespace})),
    ...when(secretsOperator, toApi({namespace: secretsOperatorNamespace})),
  ]
}

const isSubject = (peer: Peer): peer is Subject => typeof peer === 'object' && 'namespace' in peer
const isPods = (subject: Subject): subject is Pods => 'release' in subject
const sameAs = (one: Peer) => (other: Peer) => JSON.stringify(one) === JSON.stringify(other)

const inNamespace = (name: string) => ({namespaceSelector: {matchLabels: {'kubernetes.io/metadata.name': name}}})
const ofRelease = (name: string) => ({podSelector: {matchLabels: {'app.kubernetes.io/instance': name}}})

/** A peer as a rule names it; anywhere is a rule that names nobody, for a CIDR would not mean pods and nodes to every plugin. */
const selected = (peer: Exclude<Peer, 'anywhere'>) => {
  if (peer === 'cluster') return {namespaceSelector: {}}
  if (!isSubject(peer)) return {namespaceSelector: {}, podSelector: {matchLabels: {'app.kubernetes.io/name': peer.program}}}
  return {...inNamespace(peer.namespace), ...(isPods(peer) ? ofRelease(peer.release) : {})}
}

const tcp = (port: number) => ({protocol: 'TCP', port})
const rule = (key: 'from' | 'to', peer: Peer, open: readonly number[]) => ({
  ...(peer !== 'anywhere' && {[key]: [selected(peer)]}),
  ports: open.map(tcp),
})

const policy = (at: string, name: string, spec: object): KubeObject =>
  labelled({apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: {name, namespace: at}, spec})

/** What goes into and out of certain pods, or all pods of a namespace. */
const policyFor = (subject: Subject, all: readonly Flow[]): KubeObject => {
  const same = sameAs(subject)
  const ingress = all.filter(({to}) => same(to)).map((flow) => rule('from', flow.from, flow.ports))
  const egress = all.filter(({from}) => same(from)).map((flow) => rule('to', flow.to, flow.ports))
  return policy(subject.namespace, isPods(subject) ? subject.release : 'all-pods', {
    podSelector: isPods(subject) ? ofRelease(subject.release).podSelector : {},
    policyTypes: [...(ingress.length > 0 ? ['Ingress'] : []), ...(egress.length > 0 ? ['Egress'] : [])],
    ...(ingress.length > 0 && {ingress}),
    ...(egress.length > 0 && {egress}),
  })
}

/** Nothing in, nothing out, but everybody may ask for names. */
const closed = (at: string): readonly KubeObject[] => [
  policy(at, 'default-deny', {podSelector: {}, policyTypes: ['Ingress', 'Egress']}),
  policy(at, 'dns', {
    podSelector: {},
    policyTypes: ['Egress'],
    egress: [{to: [inNamespace('kube-system')], ports: ['UDP', 'TCP'].map((protocol) => ({protocol, port: 53}))}],
  }),
]

/**
 * Closes the namespaces we make, and opens what the fleet needs. Health checks of the kubelet and port-forwards come from the
 * node itself, and plugins let a node reach its own pods whatever a policy says.
 */
export const networkPolicies = (cluster: NetworkWish): readonly KubeObject[] => {
  const closedHere = [
    namespace,
    ...(cluster.role === 'edge' ? [nodeNamespace] : []),
    ...(cluster.certManager ? [certManagerNamespace] : []),
    ...(cluster.secretsOperator ? [secretsOperatorNamespace] : []),
  ]
  const all = flows(cluster)
  const subjects = all
    .flatMap(({from, to}) => [from, to])
    .filter(isSubject)
    .filter((subject, at, others) => closedHere.includes(subject.namespace) && others.findIndex(sameAs(subject)) === at)
  return [...closedHere.flatMap(closed), ...subjects.map((subject) => policyFor(subject, all))]
}
