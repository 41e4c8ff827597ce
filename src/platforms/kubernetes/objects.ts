import {createHash} from 'node:crypto'
import {renderAll, type Templates} from '../../templates.ts'
import type {KubeObject} from '../../tools/kube/kube.ts'
import type {LeafWish} from '../../trust/leaf.ts'
import {certManagerNamespace, namespace, namespaceOf, nodeNamespace, ports, secretOf, secretsOperatorNamespace} from './names.ts'

/**
 * The objects of a cluster that no chart brings. They are written as the API server would keep them (durations as
 * `24h0m0s`, nothing that is left out when it is empty), so that what is read back is what was meant.
 */
const ours = {'app.kubernetes.io/managed-by': 'lkeobs', 'app.kubernetes.io/part-of': 'lkeobs'}

const labelled = (object: KubeObject): KubeObject => ({
  ...object,
  metadata: {...object.metadata, labels: {...object.metadata.labels, ...ours}},
})

type ObjectTemplate = Extract<keyof Templates, `kubernetes/objects/${string}`>

const rendered = <Name extends ObjectTemplate>(name: Name, values: Templates[Name]): readonly KubeObject[] =>
  (renderAll(name, values) as readonly KubeObject[]).map(labelled)

const annotated = (object: KubeObject, annotations: Readonly<Record<string, string>>): KubeObject => ({
  ...object,
  metadata: {...object.metadata, annotations: {...object.metadata.annotations, ...annotations}},
})

const hours = (count: number): string => `${count}h0m0s`

export type Role = 'hub' | 'edge'

/** The namespaces we make, each with the strictest pod security its pods pass; ours says which cluster of which fleet this is. */
export const namespaces = (cluster: {
  readonly fleet: string
  readonly cluster: string
  readonly role: Role
  /** Installed by us. */
  readonly certManager: boolean
  readonly secretsOperator: boolean
}): readonly KubeObject[] => {
  const one = (name: string, level: 'restricted' | 'privileged') => rendered('kubernetes/objects/namespace.yaml', {name, level})
  const who = {'lkeobs.io/fleet': cluster.fleet, 'lkeobs.io/cluster': cluster.cluster, 'lkeobs.io/role': cluster.role}
  return [
    ...one(namespace, 'restricted').map((object) => annotated(object, who)),
    ...(cluster.role === 'edge' ? one(nodeNamespace, 'privileged') : []),
    ...(cluster.certManager ? one(certManagerNamespace, 'restricted') : []),
    ...(cluster.secretsOperator ? one(secretsOperatorNamespace, 'restricted') : []),
  ]
}

/** cert-manager makes the root CA and keeps its key in the Secret `lkeobs-root`. */
export const rootCa = ({cluster}: {readonly cluster: string}): readonly KubeObject[] =>
  rendered('kubernetes/objects/root-ca.yaml', {namespace, commonName: `lkeobs root ${cluster}`})

const service = `vault.${namespace}.svc`

/** What Vault is called inside its cluster: by its clients, by its own nodes, and through a port-forward. */
export const vaultNames = [
  'vault',
  `vault.${namespace}`,
  service,
  `${service}.cluster.local`,
  `vault-active.${namespace}.svc`,
  'vault-internal',
  '*.vault-internal',
  `*.vault-internal.${namespace}.svc.cluster.local`,
  'localhost',
] as const
export const vaultAddresses = ['127.0.0.1'] as const

const unique = (...lists: readonly (readonly string[])[]): readonly string[] => [...new Set(lists.flat())]

/** Vault's own certificate, in the Secret `vault-tls`: for the names it always has, and these. */
export const vaultCertificate = ({
  names,
  addresses,
}: {
  readonly names: readonly string[]
  readonly addresses: readonly string[]
}): readonly KubeObject[] =>
  rendered('kubernetes/objects/vault-certificate.yaml', {
    namespace,
    names: unique(vaultNames, names),
    addresses: unique(vaultAddresses, addresses),
  })

/** Asks the root CA to sign an intermediate CA. The name follows the wish: what was asked once cannot be changed. */
export const caRequest = ({
  name,
  request,
  days,
}: {
  readonly name: string
  readonly request: string
  readonly days: number
}): readonly KubeObject[] => {
  const digest = createHash('sha256').update(`${days} ${request.trim()}`).digest('hex').slice(0, 8)
  return rendered('kubernetes/objects/ca-request.yaml', {
    namespace,
    name: `${name}-${digest}`,
    request: Buffer.from(request).toString('base64'),
    duration: hours(days * 24),
  })
}

const balancer = (setting: string): string => `service.beta.kubernetes.io/linode-loadbalancer-${setting}`

/** On Linode the balancer's own firewall decides who may dial in: its traffic has lost its source by the time a node sees it. */
const firewall = (ranges: readonly string[]) => {
  const [ipv4, ipv6] = [ranges.filter((range) => !range.includes(':')), ranges.filter((range) => range.includes(':'))]
  return JSON.stringify({allowList: {...(ipv4.length > 0 && {ipv4}), ...(ipv6.length > 0 && {ipv6})}})
}

/** Where edges dial in: a load balancer that passes TCP through, so that the gateway itself does the mutual TLS. */
export const otlpService = ({
  annotations,
  address,
  sourceRanges = [],
}: {
  /** Over those for Linode. */
  readonly annotations: Readonly<Record<string, string>>
  /** A reserved IPv4 address; counts only when the balancer is made. */
  readonly address?: string | undefined
  readonly sourceRanges?: readonly string[] | undefined
}): readonly KubeObject[] => {
  const linode = {
    [balancer('default-protocol')]: 'tcp',
    // the gateway does not speak it: every handshake would fail
    [balancer('default-proxy-protocol')]: 'none',
    [balancer('check-type')]: 'connection',
    ...(address !== undefined && {[balancer('reserved-ipv4')]: address}),
    ...(sourceRanges.length > 0 && {[balancer('firewall-acl')]: firewall(sourceRanges)}),
  }
  return rendered('kubernetes/objects/otlp-service.yaml', {namespace, annotations: {...linode, ...annotations}}).map((object) =>
    // for clouds that are not Linode: its controller does not read this
    sourceRanges.length > 0 ? {...object, spec: {...(object['spec'] as object), loadBalancerSourceRanges: sourceRanges}} : object,
  )
}

/**
 * The leaf's file: certificate, then its issuer and the rest of the chain, then the key. `ca_chain` begins with the issuer,
 * and is left out where Vault does not know what is above it.
 */
const leafTemplate = `{{ trim .Secrets.certificate }}
{{ range .Secrets.ca_chain }}{{ trim . }}
{{ else }}{{ trim .Secrets.issuing_ca }}
{{ end }}{{ trim .Secrets.private_key }}
`

/**
 * Vault Secrets Operator asks the Vault beside it for a collector's leaf, as the collector's service account, and renews it at
 * two thirds of its life. The Secret `COMPONENT-vault-ca` must hold Vault's root CA as `ca.crt`.
 */
export const leafObjects = ({
  component,
  commonName,
  names = [],
  addresses = [],
  hours: life,
  issuePath,
  vaultRole,
}: Omit<LeafWish, 'file'> & {readonly component: 'gateway' | 'agent'; readonly vaultRole: string}): readonly KubeObject[] => {
  const [mount = '', ...path] = issuePath.split('/')
  return rendered('kubernetes/objects/leaf.yaml', {
    component,
    namespace: namespaceOf(component),
    role: vaultRole,
    vault: {address: `https://${service}:${ports.vault}`, host: service, ca: secretOf(component, 'vault-ca.crt')},
    leaf: {
      name: secretOf(component, 'leaf.pem'),
      mount,
      path: path.join('/'),
      params: {
        common_name: commonName,
        ...(names.length > 0 && {alt_names: names.join(',')}),
        ...(addresses.length > 0 && {ip_sans: addresses.join(',')}),
        ttl: `${life}h`,
      },
      refreshAfter: `${life * 2400}s`,
      text: leafTemplate,
    },
  })
}

/** Files for a pod. Nothing secret. */
export const configMap = (of: {
  readonly name: string
  readonly namespace: string
  readonly data: Readonly<Record<string, string>>
}): readonly KubeObject[] => [
  labelled({apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: of.name, namespace: of.namespace}, data: of.data}),
]

/** Who a collector is to the cluster, and to Vault. Its pods say for themselves whether they want a token. */
export const serviceAccount = (of: {readonly name: string; readonly namespace: string}): readonly KubeObject[] => [
  labelled({apiVersion: 'v1', kind: 'ServiceAccount', metadata: {name: of.name, namespace: of.namespace}}),
]

/** The workload of an edge from which canaries are sent. */
export const canary = ({tag}: {readonly tag: string}): readonly KubeObject[] =>
  rendered('kubernetes/objects/canary.yaml', {namespace, image: `quay.io/openbao/openbao:${tag}`})

/** What the OpenTelemetry operator gives a workload that asks: an SDK that sends to the agent of its node. */
export const instrumentation = (): readonly KubeObject[] =>
  rendered('kubernetes/objects/instrumentation.yaml', {
    namespace,
    endpoint: `http://agent.${nodeNamespace}.svc:${ports.otlpHttp}`,
    resources: {requests: {cpu: '10m', memory: '64Mi'}, limits: {cpu: '500m', memory: '128Mi'}},
  })

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
      {from: pods.gateway, to: pods.tempo, ports: [ports.tempoOtlp]},
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
      // workloads of any namespace, the scraper and the canary among them
      {from: 'cluster', to: pods.agent, ports: [ports.otlpGrpc, ports.otlpHttp]},
      {from: pods.scraper, to: pods.agent, ports: [ports.otlpGrpc]},
      {from: pods.canary, to: pods.agent, ports: [ports.otlpHttp]},
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
