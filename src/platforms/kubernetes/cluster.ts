import {randomBytes} from 'node:crypto'
import {agentConfig} from '../../collector/agent.ts'
import {literal} from '../../collector/config.ts'
import {gatewayConfig} from '../../collector/gateway.ts'
import {scraperConfig} from '../../collector/scraper.ts'
import {agentRelease, hubCaFile} from '../../components/agent.ts'
import {certManagerRelease} from '../../components/cert-manager.ts'
import {imageOf} from '../../components/charts.ts'
import type {Leaf} from '../../components/collector.ts'
import {gatewayRelease, leafFile} from '../../components/gateway.ts'
import {gpuRelease} from '../../components/gpu.ts'
import {grafanaRelease} from '../../components/grafana.ts'
import {instrumentationRelease} from '../../components/instrumentation.ts'
import {lokiRelease} from '../../components/loki.ts'
import {prometheusRelease} from '../../components/prometheus.ts'
import type {Release} from '../../components/release.ts'
import {scraperRelease} from '../../components/scraper.ts'
import {secretsOperatorRelease} from '../../components/secrets-operator.ts'
import {tempoRelease} from '../../components/tempo.ts'
import {LkeobsError} from '../../errors.ts'
import type {FleetFile} from '../../fleet/load.ts'
import type {Edge, KubernetesCluster, KubernetesEdge, KubernetesHub} from '../../fleet/schema.ts'
import {Secret} from '../../secret.ts'
import type {Step, Task} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import type {KubeObject} from '../../tools/kube.ts'
import {sendOtlp} from '../../tools/otlp.ts'
import {readCounters} from '../../tools/stores.ts'
import {hubCaHanded, trustBundleFile} from '../../trust/bundle.ts'
import {leafHours, type LeafWish} from '../../trust/leaf.ts'
import type {Cluster, EdgeCluster, HubCluster} from '../platform.ts'
import {applied} from './applied.ts'
import {certManagerAuthority, ownAuthority, valueIn} from './authority.ts'
import {identityOf} from './identity.ts'
import {inspected} from './inspected.ts'
import {deliveredByOperator, deliveredBySidecar} from './leaf.ts'
import {mounts, namespace, namespaceOf, nodeNamespace, ports, secretOf} from './names.ts'
import {canary, instrumentation, networkPolicies, namespaces, otlpService} from './objects.ts'
import {released} from './released.ts'
import {notEverywhere, type Site, targetOf, type Ways} from './site.ts'
import {vaultOf} from './vault.ts'

const everywhere = '0.0.0.0'
/** The containers of a collector's pod, as its chart and ours name them. */
const collectorContainer = 'opentelemetry-collector'
const leafAgentContainer = 'leaf-agent'
const at = (port: number): string => `${everywhere}:${port}`
const labelsOf = (release: string): string => `app.kubernetes.io/instance=${release}`

/** The cluster of the fleet file as it is worked on. */
export const siteOf = (
  file: FleetFile,
  name: string,
  role: 'hub' | 'edge',
  platform: KubernetesCluster,
  tools: Tools,
  ways: Ways,
): Site => {
  const target = targetOf(file.folder, platform)
  const folder = role === 'hub' ? 'hub' : `edges/${name}`
  return {
    cluster: name,
    role,
    fleet: file.fleet.fleet,
    kube: tools.kube(target),
    helm: tools.helm(target),
    tools,
    ways,
    file: (of) => `${folder}/${of}`,
  }
}

/** A file in a component's hands is a Secret of its own. */
const secretObject = (component: string, file: string, content: string | Secret): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: {
    name: secretOf(component, file),
    namespace: namespaceOf(component),
    labels: {'app.kubernetes.io/managed-by': 'lkeobs', 'app.kubernetes.io/part-of': 'lkeobs'},
  },
  type: 'Opaque',
  stringData: {[file]: content},
})

type Parts = {
  readonly site: Site
  readonly platform: KubernetesCluster
  readonly replicas: number
  readonly collector: 'gateway' | 'agent'
  readonly leaf: () => Promise<LeafWish>
  readonly hubPort: () => Promise<number>
  readonly grafana: boolean
  readonly instrumentation: boolean
  /** What else is prepared, once its namespace is there. */
  readonly more: readonly Task[]
  /** The releases of the cluster, whose pods `status` looks at. */
  readonly components: readonly string[]
}

const opened = ({site, platform, replicas, collector, leaf, hubPort, more, components, ...wish}: Parts): Omit<Cluster, 'role'> => {
  const {kube, cluster: name, tools} = site
  const {certManager, secretsOperator, storageClass} = platform
  const authority = certManager ? certManagerAuthority(site) : ownAuthority(site)
  const {rootCa, signCa, hasRootCa} = authority
  const hands = {
    read: (component: string, file: string) => valueIn(site, namespaceOf(component), secretOf(component, file), file),
    async hand(component: string, file: string, content: string | Secret) {
      await kube.apply([secretObject(component, file, content)], {file: site.file(`${secretOf(component, file)}.yaml`)})
      const pods = {namespace: namespaceOf(component), labels: labelsOf(component)}
      // a kubelet brings a Secret into its pods within 90 s, or when a pod changes
      if ((await podsOf(site, component)).length > 0) await kube.nudge(pods, `lkeobs.io/handed=${file}-${Date.now()}`)
    },
  }
  const vault = vaultOf({site, hands, rootCa, replicas, storageClass, hasCertificate: authority.hasVaultCertificate})
  const identity = identityOf(site)
  const controllers = [
    ...(certManager ? [identity.unlessThere('cert-manager', released(site, `cert-manager on ${name}`, certManagerRelease))] : []),
    ...(secretsOperator
      ? [identity.unlessThere('vault-secrets-operator', released(site, `Vault Secrets Operator on ${name}`, secretsOperatorRelease))]
      : []),
  ]
  return {
    name,
    site,
    programs: ['helm', 'kubectl'],
    checked: identity.checked,
    prepared: () => [
      applied(site, `namespaces on ${name}, with pod security`, 'namespaces.yaml', async () => {
        const found = await identity.foreign()
        return namespaces({
          fleet: site.fleet,
          cluster: name,
          role: site.role,
          certManager: certManager && !found.has('cert-manager'),
          secretsOperator: secretsOperator && !found.has('vault-secrets-operator'),
        })
      }),
      applied(site, `network policies on ${name}: closed, but for what the fleet needs`, 'network-policies.yaml', async () => {
        const found = await identity.foreign()
        return networkPolicies({
          role: site.role,
          certManager: certManager && !found.has('cert-manager'),
          secretsOperator: secretsOperator && !found.has('vault-secrets-operator'),
          hubPort: await hubPort(),
          ...wish,
        })
      }),
      ...(controllers.length > 0 ? [{title: `controllers on ${name}`, concurrency: controllers.length, steps: controllers}] : []),
      ...more,
    ],
    tidied: () => [],

    rootCa,
    hasRootCa,
    signCa,
    ...hands,
    ...vault,

    leaf,
    leafDelivered: () =>
      (secretsOperator ? deliveredByOperator : deliveredBySidecar)({
        site,
        vault: vault.vault,
        collector,
        leaf,
        rootCa,
        vaultAddress: vault.inside,
      }),
    leafNow: () =>
      secretsOperator ? valueIn(site, namespaceOf(collector), secretOf(collector, leafFile), leafFile) : leafInPod(site, collector),

    inspect: () => inspected(site, ['vault', ...components]),
    async log(component, lines) {
      const pods = await podsOf(site, component)
      return (
        await Promise.all(pods.map((pod) => kube.log({namespace: namespaceOf(component), pod, container: collectorContainer, lines})))
      ).flat()
    },
    async counters(component) {
      const pods = await podsOf(site, component)
      const pages = await Promise.all(
        pods.map(async (pod) =>
          readCounters(tools.http, `http://${await kube.forward({namespace: namespaceOf(component), pod, port: ports.counters})}/metrics`),
        ),
      )
      const answered = pages.filter((page) => page !== undefined)
      return answered.length === 0 ? undefined : answered.flat()
    },
  }
}

/** The leaf that the Vault agent in one of the collector's pods keeps: the certificate, not its key. */
const leafInPod = async (site: Site, collector: string): Promise<string | undefined> => {
  const [pod] = await podsOf(site, collector)
  if (pod === undefined) return undefined
  const file = `${mounts.leaf}/${leafFile}`
  try {
    return await site.kube.exec({namespace: namespaceOf(collector), pod, container: leafAgentContainer}, [
      'sed',
      '/END CERTIFICATE/q',
      file,
    ])
  } catch (error) {
    if (error instanceof LkeobsError && error.code === 'LKO-4003') return undefined
    throw error
  }
}

/** The pods of a release that are not on their way out. */
const podsOf = async ({kube}: Site, component: string): Promise<readonly string[]> => {
  const pods = await kube.list({apiVersion: 'v1', kind: 'Pod'}, {namespace: namespaceOf(component), labels: labelsOf(component)})
  return pods.filter(({metadata}) => metadata['deletionTimestamp'] === undefined).map(({metadata}) => metadata.name)
}

const portOf = (endpoint: string): number => Number(endpoint.slice(endpoint.lastIndexOf(':') + 1))

/** The hub, on a Kubernetes cluster. */
export const openKubernetesHub = (file: FleetFile, platform: KubernetesHub, tools: Tools, ways: Ways): HubCluster => {
  const {hub} = file.fleet
  const site = siteOf(file, hub.name, 'hub', platform, tools, ways)
  const {kube} = site
  const {storageClass, grafana, gateway, stores} = platform
  const disk = {size: stores.size, storageClass}

  type Balanced = KubeObject & {
    readonly status?: {readonly loadBalancer?: {readonly ingress?: readonly {ip?: string; hostname?: string}[]}}
  }
  const endpoint = async (): Promise<string> => {
    if (hub.endpoint !== undefined) return hub.endpoint
    const live = await kube.read<Balanced>({apiVersion: 'v1', kind: 'Service', name: 'otlp', namespace})
    const [first] = live?.status?.loadBalancer?.ingress ?? []
    const host = first?.ip ?? first?.hostname
    if (host !== undefined) return `${host.includes(':') ? `[${host}]` : host}:${ports.otlpGrpc}`
    throw new LkeobsError('LKO-3115', `The Service otlp on ${hub.name} has no address yet.`, {next: ['lkeobs hub init']})
  }
  const leaf = async (): Promise<LeafWish> => {
    const dialled = await endpoint()
    const host = dialled.slice(0, dialled.lastIndexOf(':')).replace(/^\[|\]$/g, '')
    const isAddress = /^[\d.]+$|:/.test(host)
    return {
      issuePath: 'pki_hub/issue/gateway',
      commonName: `gateway.${hub.name}.lkeobs`,
      names: [`gateway.${namespace}.svc`, ...(isAddress ? [] : [host])],
      addresses: isAddress ? [host] : [],
      hours: leafHours,
      file: `${mounts.leaf}/${leafFile}`,
    }
  }
  const storeUrl = (name: string, port: number) => `http://${name}.${namespace}.svc:${port}`
  const config = literal(
    gatewayConfig({
      hub: hub.name,
      listen: at(ports.otlpGrpc),
      leaf: `${mounts.leaf}/${leafFile}`,
      clients: `${mounts.trust}/${trustBundleFile}`,
      own: `127.0.0.1:${ports.own}`,
      health: at(ports.health),
      host: everywhere,
      counters: ports.counters,
      queue: `${mounts.queue}/queue`,
      stores: {
        prometheus: storeUrl('prometheus', ports.prometheus),
        loki: storeUrl('loki', ports.loki),
        tempo: `tempo.${namespace}.svc:${ports.tempoOtlp}`,
      },
    }),
  )
  const release = (title: string, wish: () => Release) => released(site, `${title} on ${hub.name}`, wish)
  const base = opened({
    site,
    platform,
    replicas: hub.vault.replicas,
    collector: 'gateway',
    leaf,
    hubPort: async () => (hub.endpoint === undefined ? ports.otlpGrpc : portOf(hub.endpoint)),
    grafana,
    instrumentation: false,
    more: [
      applied(
        site,
        `load balancer that edges dial on ${hub.name}`,
        'otlp.yaml',
        otlpService({annotations: gateway.annotations, sourceRanges: gateway.sourceRanges}),
        {patienceMs: 180_000},
      ),
    ],
    components: ['prometheus', 'loki', 'tempo', ...(grafana ? ['grafana'] : []), 'gateway'],
  })
  return {
    ...base,
    role: 'hub',
    endpoint,
    async stores() {
      const forward = async (name: string, port: number) => `http://${await kube.forward({namespace, labels: labelsOf(name), port})}`
      const [prometheus, loki, tempo] = await Promise.all([
        forward('prometheus', ports.prometheus),
        forward('loki', ports.loki),
        forward('tempo', ports.tempoHttp),
      ])
      return {prometheus, loki, tempo}
    },
    storesRun: () => [
      release('Prometheus', () => prometheusRelease({...disk, retentionDays: stores.retentionDays})),
      release('Loki', () =>
        lokiRelease({...disk, retentionDays: stores.retentionDays, objectStorage: bucketOf(stores.objectStorage, 'loki')}),
      ),
      release('Tempo', () =>
        tempoRelease({...disk, retentionDays: stores.retentionDays, objectStorage: bucketOf(stores.objectStorage, 'tempo')}),
      ),
      ...(grafana ? [{title: `Grafana on ${hub.name}`, steps: [grafanaAdmin(site), release('Grafana', () => grafanaRelease())]}] : []),
    ],
    gatewayRuns: () => [
      release('gateway', () =>
        gatewayRelease({
          config,
          replicas: gateway.replicas,
          maxReplicas: gateway.maxReplicas,
          queueSize: gateway.queue,
          storageClass,
          leaf: leafOf(platform),
        }),
      ),
    ],
  }
}

const leafOf = ({secretsOperator}: Pick<KubernetesEdge, 'secretsOperator'>): Leaf => (secretsOperator ? 'secret' : 'sidecar')

const bucketOf = (storage: KubernetesHub['stores']['objectStorage'], store: 'loki' | 'tempo') =>
  storage && {endpoint: storage.endpoint, region: storage.region, ...storage[store]}

/** The administrator of Grafana; the password is asked for with kubectl. */
const grafanaAdmin = (site: Site): Step => ({
  title: `administrator of Grafana on ${site.cluster}`,
  done: async () => ((await valueIn(site, namespace, 'grafana-admin', 'admin-password')) === undefined ? 'there is none' : true),
  async apply() {
    const password = new Secret(randomBytes(18).toString('base64url'))
    const secret = {...secretObject('grafana', 'admin.password', ''), stringData: {'admin-user': 'admin', 'admin-password': password}}
    await site.kube.apply([secret], {file: site.file('grafana-admin.yaml')})
  },
})

/** An edge, on a Kubernetes cluster. */
export const openKubernetesEdge = (
  file: FleetFile,
  {name, logs}: Edge,
  platform: KubernetesEdge,
  hub: Pick<HubCluster, 'endpoint'>,
  tools: Tools,
  ways: Ways,
): EdgeCluster => {
  const site = siteOf(file, name, 'edge', platform, tools, ways)
  const leaf = async (): Promise<LeafWish> => ({
    issuePath: 'pki/issue/agent',
    commonName: `${name}.edge.lkeobs`,
    hours: leafHours,
    file: `${mounts.leaf}/${leafFile}`,
  })
  const inside = `agent.${nodeNamespace}.svc`
  const otlp = `http://${inside}:${ports.otlpHttp}`
  const config = async () =>
    literal(
      agentConfig({
        edge: name,
        gateway: await hub.endpoint(),
        gatewayCa: `${mounts.hubCa}/${hubCaFile}`,
        leaf: `${mounts.leaf}/${leafFile}`,
        grpc: at(ports.otlpGrpc),
        http: at(ports.otlpHttp),
        health: at(ports.health),
        host: everywhere,
        counters: ports.counters,
        queue: `${mounts.queue}/queue`,
        logs,
        node: {hostRoot: '/hostfs', cluster: at(ports.otlpCluster), exclude: [`/var/log/pods/${nodeNamespace}_agent-*_*/*/*.log`]},
      }),
    )
  const scraper = literal(
    scraperConfig({
      agent: `${inside}:${ports.otlpCluster}`,
      agentHttp: otlp,
      health: at(ports.health),
      host: everywhere,
      counters: ports.counters,
    }),
  )
  const base = opened({
    site,
    platform,
    replicas: 1,
    collector: 'agent',
    leaf,
    hubPort: async () => portOf(await hub.endpoint()),
    grafana: false,
    instrumentation: platform.instrumentation,
    more: [],
    components: ['agent', 'scraper', 'canary'],
  })
  return {
    ...base,
    role: 'edge',
    otlp,
    agentRuns: (of) => [
      hubCaHanded(of, base),
      released(site, `agent on every node of ${name}`, async () =>
        agentRelease({config: await config(), restartOn: ways.rendered ? undefined : await of.rootCa(), leaf: leafOf(platform)}),
      ),
      {
        title: `beside the agent on ${name}`,
        concurrency: 3,
        steps: [
          released(site, `scraper of cluster state and events on ${name}`, () => scraperRelease({config: scraper})),
          applied(site, `workload on ${name} from which canaries are sent`, 'canary.yaml', canary({tag: imageOf('openbao').tag})),
          gpuExporters(site),
          ...(platform.instrumentation
            ? [
                {
                  title: `instrumentation on ${name}`,
                  steps: [
                    released(site, `OpenTelemetry operator on ${name}`, instrumentationRelease),
                    applied(site, `what instrumented workloads on ${name} send, and where`, 'instrumentation.yaml', instrumentation()),
                  ],
                },
              ]
            : []),
        ],
      },
    ],
    async sendCanary(signal, canaryItem) {
      const [pod] = await podsOf(site, 'canary')
      if (pod === undefined) return `there is no pod to send it from: ${namespace}/canary`
      return sendOtlp({get: tools.http.get, post: (url, body) => postFrom(site, pod, url, body)}, otlp, signal, canaryItem)
    },
  }
}

/** Posts what a script reads from its first argument to the host and port that follow, and prints the answer. */
const poster = 'printf %s "$1" | nc -w 10 "$2" "$3"'

/** Posts JSON from inside a pod, with what every OpenBao image has. */
const postFrom = async ({kube}: Site, pod: string, to: string, body: object) => {
  const {hostname, port, pathname} = new URL(to)
  const content = JSON.stringify(body)
  const head = [
    `POST ${pathname} HTTP/1.1`,
    `Host: ${hostname}:${port}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(content)}`,
    'Connection: close',
  ]
  const request = `${head.join('\r\n')}\r\n\r\n${content}`
  try {
    const answer = await kube.exec({namespace, pod}, ['sh', '-c', poster, 'sh', request, hostname, port])
    const [, status, text = ''] = /^HTTP\/1\.\d (\d{3})[\s\S]*?\r\n\r\n([\s\S]*)$/.exec(answer) ?? []
    return status === undefined ? undefined : {status: Number(status), body: text}
  } catch (error) {
    if (error instanceof LkeobsError && error.code === 'LKO-4003') return undefined
    throw error
  }
}

/** As GPU operators label them; LKE itself does not. */
const gpuNodes = {'nvidia.com/gpu.present': 'true'}

/** GPU metrics, where there are nodes with GPUs. */
const gpuExporters = (site: Site): Step => {
  const step = released(site, `GPU metrics on ${site.cluster}, where nodes have GPUs`, () => gpuRelease({nodeSelector: gpuNodes}))
  return {
    ...notEverywhere(step, 'where nodes have GPUs'),
    async done() {
      const nodes = await site.kube.list({apiVersion: 'v1', kind: 'Node'})
      return nodes.some(({metadata}) => Object.entries(gpuNodes).every(([label, value]) => metadata.labels?.[label] === value))
        ? step.done()
        : true
    },
  }
}
