import {certManagerRelease} from '../../components/cert-manager.ts'
import type {Leaf} from '../../components/collector.ts'
import {digestOf} from '../../components/values.ts'
import {leafFile} from '../../components/gateway.ts'
import {secretsOperatorRelease} from '../../components/secrets-operator.ts'
import {LkeobsError} from '../../errors.ts'
import type {FleetFile} from '../../fleet/load.ts'
import type {KubernetesCluster, KubernetesEdge} from '../../fleet/schema.ts'
import {plain, type Secret} from '../../secret.ts'
import type {Task} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import type {KubeObject} from '../../tools/kube/kube.ts'
import {openQueueAdmin} from '../../tools/queue-admin.ts'
import {type Counters, processLabel, readCounters} from '../../tools/stores.ts'
import {type LeafWish} from '../../trust/leaf.ts'
import type {Cluster, HubCluster, Seal} from '../platform.ts'
import {applied, put} from './applied.ts'
import {certManagerAuthority, ownAuthority, valueIn, rootSecret} from './authority.ts'
import {identityOf, uidOf} from './identity.ts'
import {inspected} from './inspected.ts'
import {leafInPod, leavesInPods, leavesRenewedInPods} from './inside.ts'
import {askedOfOperator, broughtByKubelet, deliveredByOperator, deliveredBySidecar} from './leaf.ts'
import {namespace, namespaceOf, ports, secretOf} from './names.ts'
import {networkPolicies} from './network-policies.ts'
import {labelled, namespaces} from './objects.ts'
import {released} from './released.ts'
import {type Site, targetOf, type Ways} from './site.ts'
import {held, inPod, served} from './sightings.ts'
import {vaultOf} from './vault.ts'

export const everywhere = '0.0.0.0'
/** The container of a collector, as its chart names it. */
const collectorContainer = 'opentelemetry-collector'
export const at = (port: number): string => `${everywhere}:${port}`
export const labelsOf = (release: string): string => `app.kubernetes.io/instance=${release}`

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
export const secretObject = (component: string, file: string, content: string | Secret): KubeObject =>
  labelled({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {name: secretOf(component, file), namespace: namespaceOf(component)},
    type: 'Opaque',
    stringData: {[file]: content},
  })

type Parts = {
  readonly site: Site
  readonly platform: KubernetesCluster
  readonly replicas: number
  readonly seal: Seal
  /** The hub that unseals it; left out for one that has its own key. */
  readonly sealsAt?: HubCluster['sealsAt']
  /** Its Vault unseals others. */
  readonly vaultDialled?: boolean
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

/** What every cluster on Kubernetes answers. */
export const opened = ({
  site,
  platform,
  replicas,
  seal,
  collector,
  leaf,
  hubPort,
  more,
  components,
  sealsAt,
  ...wish
}: Parts): Omit<Cluster, 'role'> => {
  const {kube, cluster: name} = site
  const {certManager, secretsOperator, storageClass} = platform
  const authority = certManager ? certManagerAuthority(site) : ownAuthority(site)
  const {rootCa, signCa, hasRootCa} = authority
  const hands = {
    read: (component: string, file: string) => valueIn(site, namespaceOf(component), secretOf(component, file), file),
    async hand(component: string, file: string, content: string | Secret) {
      await put(site, [secretObject(component, file, content)], `${secretOf(component, file)}.yaml`)
      const pods = {namespace: namespaceOf(component), labels: labelsOf(component)}
      // a kubelet brings a Secret into its pods within 90 s, or when a pod changes
      if ((await podsOf(site, component)).length > 0)
        await kube.nudge(pods, `lkeobs.io/handed=${digestOf(`${file} ${plain(content)}`).slice(0, 12)}`)
    },
  }
  const vault = vaultOf({site, hands, rootCa, replicas, seal, storageClass, sealsAt, authority})
  /** Who is asked for a leaf waits for a Vault that is closed: that is said at once. */
  const issues = async () => {
    const seals = await vault.vaultSeals()
    if (seals.some((status) => status?.sealed === false)) return
    throw new LkeobsError(
      'LKO-5001',
      `Vault on ${name}: ${seals.some((status) => status !== undefined) ? 'it is sealed' : 'no node answers'}`,
    )
  }
  const identity = identityOf(site)
  /** Which controllers are ours to install: wished for, and not there from elsewhere. */
  const installed = async () => {
    const found = await identity.foreign()
    return {
      certManager: certManager && !found.has('cert-manager'),
      secretsOperator: secretsOperator && !found.has('vault-secrets-operator'),
    }
  }
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
    uid: () => uidOf(kube),
    prepared: () => [
      applied(site, `namespaces on ${name}, with pod security`, 'namespaces.yaml', async () => {
        return namespaces({fleet: site.fleet, cluster: name, role: site.role, ...(await installed())})
      }),
      applied(site, `network policies on ${name}: closed, but for what the fleet needs`, 'network-policies.yaml', async () => {
        return networkPolicies({
          role: site.role,
          ...(await installed()),
          hubPort: await hubPort(),
          ...(sealsAt && {sealPort: Number(new URL(sealsAt.address).port)}),
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
    ...(secretsOperator
      ? {
          async leafRenewed() {
            await issues()
            await askedOfOperator(site, collector)
          },
          leafBrought: () => broughtByKubelet(site, collector),
          leavesNow: async () => [{leaf: await valueIn(site, namespaceOf(collector), secretOf(collector, leafFile), leafFile)}],
        }
      : {
          async leafRenewed() {
            await issues()
            await leavesRenewedInPods(site, collector)
          },
          leavesNow: () => leavesInPods(site, collector),
        }),
    certificates: () => [
      secretsOperator
        ? held(site, 'leaf', namespaceOf(collector), secretOf(collector, leafFile), leafFile)
        : {
            kind: 'leaf',
            seen: 'mounted',
            at: `pods ${namespaceOf(collector)}/${collector}`,
            each: async () =>
              (await podsOf(site, collector)).map((pod) =>
                inPod('leaf', {namespace: namespaceOf(collector), pod}, () => leafInPod(site, collector, pod)),
              ),
          },
      ...vault.vaultNodes().map(({name: pod}) => served(site, 'vault', {namespace, pod, port: ports.vault})),
      held(site, 'root', namespace, rootSecret, 'tls.crt'),
    ],
    renewedBy: {leaf: secretsOperator ? 'Vault Secrets Operator' : 'bao agent', ...(certManager && {ca: 'cert-manager'})},

    inspect: () => inspected(site, ['vault', ...components]),
    async log(component, lines) {
      const pods = await podsOf(site, component)
      return (
        await Promise.all(pods.map((pod) => kube.log({namespace: namespaceOf(component), pod, container: collectorContainer, lines})))
      ).flat()
    },
    async counters(component) {
      const pages = await Promise.all(
        (await podsOf(site, component)).map(async (pod) =>
          (await countersOf(site, component, pod))?.map((one) => ({...one, labels: {...one.labels, [processLabel]: pod}})),
        ),
      )
      const answered = pages.filter((page) => page !== undefined)
      return answered.length === 0 ? undefined : answered.flat()
    },
    async queueAdmins() {
      const pods = await podsOf(site, collector)
      return Promise.all(
        pods.map(async (pod) => {
          const address = await kube.forward({namespace: namespaceOf(collector), pod, port: ports.admin})
          return openQueueAdmin(site.tools.http, {cluster: name, process: pod, address})
        }),
      )
    },
  }
}

/** What one pod of a collector counts; undefined when it does not answer. */
export const countersOf = async ({kube, tools}: Site, component: string, pod: string): Promise<Counters | undefined> =>
  readCounters(tools.http, `http://${await kube.forward({namespace: namespaceOf(component), pod, port: ports.counters})}/metrics`)

/** The pods of a release that are not on their way out. */
export const podsOf = async ({kube}: Site, component: string): Promise<readonly string[]> => {
  const pods = await kube.list({apiVersion: 'v1', kind: 'Pod'}, {namespace: namespaceOf(component), labels: labelsOf(component)})
  return pods.filter(({metadata}) => metadata['deletionTimestamp'] === undefined).map(({metadata}) => metadata.name)
}

/** The port of `host:port`. */
export const portOf = (endpoint: string): number => Number(endpoint.slice(endpoint.lastIndexOf(':') + 1))

/** Where a collector's leaf comes from. */
export const leafOf = ({secretsOperator}: Pick<KubernetesEdge, 'secretsOperator'>): Leaf => (secretsOperator ? 'secret' : 'sidecar')
