import {createHash} from 'node:crypto'
import {posix} from 'node:path'
import {programOf} from '../../programs/catalogue.ts'
import {renderAll, type Templates} from '../../templates.ts'
import type {KubeObject} from '../../tools/kube/kube.ts'
import {instanceOf, type Load, telemetrygenArgs} from '../../tools/telemetrygen.ts'
import type {LeafWish} from '../../trust/leaf.ts'
import {
  certManagerNamespace,
  generator,
  mounts,
  namespace,
  namespaceOf,
  nodeNamespace,
  ports,
  secretOf,
  secretsOperatorNamespace,
} from './names.ts'

/**
 * The objects of a cluster that no chart brings. They are written as the API server would keep them (durations as
 * `24h0m0s`, nothing that is left out when it is empty), so that what is read back is what was meant.
 */
const ours = {'app.kubernetes.io/managed-by': 'lkeobs', 'app.kubernetes.io/part-of': 'lkeobs'}

export const labelled = (object: KubeObject): KubeObject => ({
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
  ttlSeconds,
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
        ttl: `${ttlSeconds}s`,
      },
      refreshAfter: `${Math.round((ttlSeconds * 2) / 3)}s`,
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

/** On every node, whatever its taints: the folder with the agent's queue is removed. */
export const sweep = ({tag}: {readonly tag: string}): readonly KubeObject[] =>
  rendered('kubernetes/objects/sweep.yaml', {
    namespace: nodeNamespace,
    image: `quay.io/openbao/openbao:${tag}`,
    above: posix.dirname(mounts.queue),
    folder: posix.basename(mounts.queue),
  })

/** Where Kubernetes puts the number of a pod of a Job. */
const numberInJob = 'JOB_COMPLETION_INDEX'

/** How long pods may take to start before they are given up. */
export const startWithinSeconds = 120

/** The image of the program that makes load. */
export const generatorImage = (): string => programOf(generator).image ?? generator

/** A load as a Job. */
export const generators = (load: Load): readonly KubeObject[] => {
  // a pod has another name in each shift, and every series another pod: they are called by their place instead
  const [number, pod] = ['‹number›', instanceOf(load, '‹number›')]
  const args = telemetrygenArgs(load, number, {'k8s.pod.name': `${generator}-${pod}`, 'k8s.job.name': generator})
  return rendered('kubernetes/objects/generators.yaml', {
    namespace,
    name: jobOf(load),
    program: generator,
    processes: load.processes,
    deadlineSeconds: Math.ceil(load.seconds) + startWithinSeconds,
    agents: {namespace: nodeNamespace, release: 'agent'},
    image: generatorImage(),
    // $(NAME) would be filled in, $$ is a dollar
    args: args.map((arg) => arg.replaceAll('$', '$$$$').replaceAll(number, `$(${numberInJob})`)),
  })
}

export const jobOf = ({name}: Load): string => `${generator}-${name}`

/** What the OpenTelemetry operator gives a workload that asks: an SDK that sends to the agent of its node. */
export const instrumentation = (): readonly KubeObject[] =>
  rendered('kubernetes/objects/instrumentation.yaml', {
    namespace,
    endpoint: `http://agent.${nodeNamespace}.svc:${ports.otlpHttp}`,
    resources: {requests: {cpu: '10m', memory: '64Mi'}, limits: {cpu: '500m', memory: '128Mi'}},
  })
