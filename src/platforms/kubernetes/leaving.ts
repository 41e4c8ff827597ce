import {imageOf} from '../../components/charts.ts'
import type {ChartName, Release} from '../../components/release.ts'
import {queuedIn} from '../../collector/queue.ts'
import type {Step} from '../../steps/step.ts'
import {releasesIn} from '../../tools/helm.ts'
import type {Condition} from '../../tools/kube/condition.ts'
import {isTrue} from '../../tools/kube/condition.ts'
import type {Kind, KubeObject, Ref} from '../../tools/kube/kube.ts'
import type {EdgeCluster} from '../platform.ts'
import {applied, refOf} from './applied.ts'
import {countersOf, labelsOf} from './cluster.ts'
import {certManagerNamespace, fieldManager, namespace, nodeNamespace, secretsOperatorNamespace} from './names.ts'
import {sweep} from './objects.ts'
import {released} from './released.ts'
import type {Site} from './site.ts'

type Pod = KubeObject & {readonly status?: {readonly conditions?: readonly Condition[]}}
type Installed = {readonly namespace: string; readonly name: string; readonly chart: ChartName}

const agent: Installed = {namespace: nodeNamespace, name: 'agent', chart: 'opentelemetry-collector'}
/** Who needs others before them. */
const releases: readonly Installed[] = [
  {namespace, name: 'opentelemetry-operator', chart: 'opentelemetry-operator'},
  {namespace, name: 'scraper', chart: 'opentelemetry-collector'},
  {namespace: nodeNamespace, name: 'dcgm-exporter', chart: 'dcgm-exporter'},
  {namespace, name: 'vault', chart: 'openbao'},
]
/** They may serve others, too. */
const controllers: readonly (Installed & {readonly group: string})[] = [
  {namespace: certManagerNamespace, name: 'cert-manager', chart: 'cert-manager', group: 'cert-manager.io'},
  {namespace: secretsOperatorNamespace, name: 'vault-secrets-operator', chart: 'vault-secrets-operator', group: 'secrets.hashicorp.com'},
]
const instrumentationGroup = 'opentelemetry.io'
const homes: readonly string[] = [namespace, nodeNamespace]

const kinds = (apiVersion: string, ...names: readonly string[]): readonly Kind[] => names.map((kind) => ({apiVersion, kind}))
const workloads = [
  ...kinds('apps/v1', 'Deployment', 'StatefulSet', 'DaemonSet'),
  ...kinds('batch/v1', 'CronJob', 'Job'),
  ...kinds('v1', 'Pod', 'Service', 'PersistentVolumeClaim'),
]
const contents = kinds('v1', 'ConfigMap', 'Secret')
/** What a controller has to clean up behind before it goes itself. */
const asked = [
  ...kinds('secrets.hashicorp.com/v1beta1', 'VaultDynamicSecret', 'VaultAuth', 'VaultConnection'),
  ...kinds('cert-manager.io/v1', 'Certificate', 'CertificateRequest', 'Issuer'),
  ...kinds('opentelemetry.io/v1alpha1', 'Instrumentation'),
]
const ourNames = new Set([...[agent, ...releases, ...controllers].map(({name}) => name), 'canary', 'sweep'])
/** Those that carry nobody's mark. */
const ourSecrets: readonly string[] = ['lkeobs-root', 'vault-tls', 'agent-leaf', 'opentelemetry-operator-controller-manager-service-cert']
const ours = 'app.kubernetes.io/managed-by=lkeobs'
const isOurs = ({metadata: {labels}}: KubeObject): boolean => labels?.['app.kubernetes.io/managed-by'] === 'lkeobs'

type Managed = {readonly manager?: string; readonly subresource?: string}

/** How an edge on Kubernetes comes to its end. What tells how far it came is the cluster: there may be a queue as long as there is the release of the agent. */
export const leaving = (
  site: Site,
  closedAgent: () => Promise<Release>,
): Pick<EdgeCluster, 'closed' | 'queued' | 'queueGone' | 'removed'> => {
  const {kube, helm, cluster} = site
  const namespaceNow = (name: string) => kube.read({apiVersion: 'v1', kind: 'Namespace', name})
  const isInstalled = async ({namespace: at, name, chart}: Installed): Promise<boolean> =>
    (await releasesIn(kube, at, name)).some((one) => one.chart.name === chart)
  const podsLeft = ({namespace: at, name}: Installed) =>
    kube.list<Pod>({apiVersion: 'v1', kind: 'Pod'}, {namespace: at, labels: labelsOf(name)})

  const uninstalled = (release: Installed, title = `${release.name} on ${cluster} is gone`): Step => ({
    title,
    patienceMs: 180_000,
    async done() {
      if (await isInstalled(release)) return 'installed'
      const pods = await podsLeft(release)
      return pods.length === 0 ? true : `${pods.map(({metadata}) => metadata.name).join(', ')} not gone yet`
    },
    async apply() {
      if (await isInstalled(release)) await helm.uninstall(release)
    },
  })

  const closes = released(site, `agents on ${cluster} take nothing in, and send what they have`, closedAgent)

  const all = async (of: readonly Kind[], at: string, labels?: string) =>
    (await Promise.all(of.map((kind) => kube.list(kind, {namespace: at, ...(labels !== undefined && {labels})})))).flat()

  const noneLeft = (title: string, find: () => Promise<readonly KubeObject[]>): Step => ({
    title,
    patienceMs: 120_000,
    async done() {
      const [first, ...more] = await find()
      if (!first) return true
      return `${first.kind} ${first.metadata.name}${more.length > 0 ? ` and ${more.length} more` : ''} there`
    },
    async apply() {
      for (const object of await find()) if (object.metadata['deletionTimestamp'] === undefined) await kube.remove(refOf(object))
    },
  })

  const sweeps = applied(site, `queue folders on the nodes of ${cluster} are gone`, 'sweep.yaml', sweep({tag: imageOf('openbao').tag}), {
    patienceMs: 180_000,
  })

  /** Whether an object is there because of lkeobs, be it that one of our charts or a controller made it for us. */
  const isMadeForUs = (object: KubeObject): boolean => {
    const {name, labels = {}, annotations = {}} = object.metadata
    return (
      isOurs(object) ||
      ourNames.has(labels['app.kubernetes.io/instance'] ?? '') ||
      ourNames.has(annotations['meta.helm.sh/release-name'] ?? '') ||
      (labels['owner'] === 'helm' && ourNames.has(labels['name'] ?? '')) ||
      labels['app.kubernetes.io/managed-by'] === 'hashicorp-vso' ||
      ourSecrets.includes(name)
    )
  }
  /** The cluster makes it, or whoever owns it. */
  const comesByItself = ({metadata}: KubeObject): boolean =>
    metadata['ownerReferences'] !== undefined || metadata.name === 'kube-root-ca.crt'
  const inNamespace = (name: string) => all([...workloads, ...(homes.includes(name) ? contents : [])], name)
  /** Nobody but us and the cluster itself ever wrote to it. */
  const isMadeByUs = ({metadata}: KubeObject): boolean =>
    ((metadata['managedFields'] ?? []) as readonly Managed[]).every(
      ({manager, subresource}) => subresource !== undefined || manager === fieldManager || manager === 'kube-controller-manager',
    )
  const namespaceGone = (name: string): Step => ({
    title: `namespace ${name} on ${cluster} is gone, or somebody else's`,
    patienceMs: 180_000,
    async done() {
      const live = await namespaceNow(name)
      return live === undefined || !isOurs(live) ? true : live.metadata['deletionTimestamp'] === undefined ? 'it is there' : 'being deleted'
    },
    async apply(tell) {
      const live = await namespaceNow(name)
      if (live === undefined || live.metadata['deletionTimestamp'] !== undefined) return
      const inIt = (await inNamespace(name)).filter((object) => !comesByItself(object))
      const foreign = inIt.filter((object) => !isMadeForUs(object))
      const ref: Ref = {apiVersion: 'v1', kind: 'Namespace', name}
      if (foreign.length === 0 && isMadeByUs(live)) return kube.remove(ref)
      const what = foreign.map(({kind, metadata}) => `${kind} ${metadata.name}`).join(', ')
      tell(`namespace ${name} stays: ${what === '' ? 'somebody else wrote to it' : `${what} in it`}`, 'lasting')
      const more = await all([...kinds('v1', 'ServiceAccount'), ...kinds('networking.k8s.io/v1', 'NetworkPolicy')], name, ours)
      for (const object of [...inIt.filter(isMadeForUs), ...more]) await kube.remove(refOf(object))
      // what we had set on it goes with our name
      await kube.apply([{apiVersion: 'v1', kind: 'Namespace', metadata: {name}}], {file: '-'})
    },
  })

  type Definition = KubeObject & {
    readonly spec?: {
      readonly group: string
      readonly names: {readonly kind: string}
      readonly versions: readonly {readonly name: string; readonly storage: boolean}[]
    }
  }
  /** The definitions of a group and its subgroups. */
  const definitionsOf = async (group: string): Promise<readonly Definition[]> =>
    (await kube.list<Definition>({apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition'})).filter(
      ({spec}) => spec?.group === group || spec?.group.endsWith(`.${group}`),
    )
  /** Whether somebody else has objects of these kinds. */
  const areUsed = async (definitions: readonly Definition[]): Promise<boolean> => {
    const found = await Promise.all(
      definitions.map(({spec}) => {
        const version = spec?.versions.find(({storage}) => storage)?.name ?? ''
        return kube.list({apiVersion: `${spec?.group}/${version}`, kind: spec?.names.kind ?? ''})
      }),
    )
    return found.flat().some(({metadata}) => metadata.namespace === undefined || !homes.includes(metadata.namespace))
  }
  const removeAll = async (definitions: readonly Definition[]) => {
    for (const definition of definitions) await kube.remove(refOf(definition))
  }

  const controllerGone = (controller: (typeof controllers)[number]): readonly Step[] => {
    const {group, name, namespace: home} = controller
    const isIn = async (): Promise<boolean> => {
      const live = await namespaceNow(home)
      return live !== undefined && isOurs(live) && !(await areUsed(await definitionsOf(group)))
    }
    const unlessNeeded = (step: Step): Step => ({...step, done: async () => ((await isIn()) ? step.done() : true)})
    return [
      unlessNeeded(uninstalled(controller, `${name} on ${cluster} is gone, unless it is or serves somebody else's`)),
      unlessNeeded({
        title: `kinds of ${name} on ${cluster} are gone with it`,
        patienceMs: 120_000,
        done: async () => ((await definitionsOf(group)).length === 0 ? true : 'there'),
        apply: async () => removeAll(await definitionsOf(group)),
      }),
      unlessNeeded(namespaceGone(home)),
    ]
  }

  /** Those that the operator of this edge brought. */
  const instrumentationKinds = async () =>
    (await definitionsOf(instrumentationGroup)).filter(
      ({metadata: {annotations}}) =>
        annotations?.['meta.helm.sh/release-name'] === 'opentelemetry-operator' &&
        annotations['meta.helm.sh/release-namespace'] === namespace,
    )

  return {
    closed: () => [{...closes, done: async () => ((await isInstalled(agent)) ? closes.done() : true)}],
    async queued() {
      if (!(await isInstalled(agent))) return 0
      const pods = await podsLeft(agent)
      // before that it has not looked at what it kept
      if (!pods.every((pod) => isTrue(pod, 'Ready') && pod.metadata['deletionTimestamp'] === undefined)) return undefined
      const sizes = await Promise.all(pods.map(async ({metadata}) => queuedIn(await countersOf(site, agent.name, metadata.name))))
      return sizes.reduce<number | undefined>((sum, size) => (sum === undefined || size === undefined ? undefined : sum + size), 0)
    },
    queueGone: () => [
      uninstalled(agent, `agents on ${cluster} are gone`),
      {
        ...sweeps,
        async done() {
          const home = await namespaceNow(nodeNamespace)
          return home === undefined || !isOurs(home) || home.metadata['deletionTimestamp'] !== undefined ? true : sweeps.done()
        },
      },
    ],
    removed: () => [
      noneLeft(`nothing is asked of controllers on ${cluster} any more`, async () =>
        (await Promise.all(homes.map((home) => all(asked, home, ours)))).flat(),
      ),
      ...releases.map((release) => uninstalled(release)),
      noneLeft(`kinds of the OpenTelemetry operator on ${cluster} are gone, unless somebody else uses them`, async () => {
        const definitions = await instrumentationKinds()
        return (await areUsed(definitions)) ? [] : definitions
      }),
      ...controllers.flatMap(controllerGone),
      namespaceGone(nodeNamespace),
      // last: it says which cluster of which fleet this is
      namespaceGone(namespace),
    ],
  }
}
