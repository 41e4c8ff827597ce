import type {KubernetesCluster} from '../fleet/schema.ts'
import {type Controller, identityOf} from '../platforms/kubernetes/identity.ts'
import type {Site} from '../platforms/kubernetes/site.ts'
import type {KubeObject} from '../tools/kube/kube.ts'
import {kubectl} from '../tools/kube/kubectl.ts'
import {charts} from './charts.ts'
import {type DataPath, dataPathChecks} from './data-path.ts'
import {type Check, failed, not, ok, skipped, warning} from './check.ts'
import {permissions} from './permissions.ts'
import {nodes, room} from './room.ts'
import type {PodWish} from './wishes.ts'
import {loadBalancer, storageClass} from './storage.ts'

/** A cluster on Kubernetes as the checks look at it. */
export type Subject = {
  readonly site: Site
  readonly platform: Pick<KubernetesCluster, 'certManager' | 'secretsOperator' | 'storageClass'> & {readonly instrumentation?: boolean}
  readonly wishes: readonly PodWish[]
  /** The clusters of the fleet that are looked at, and what each is to Kubernetes. */
  readonly uids: () => Promise<ReadonlyMap<string, string | undefined>>
  /** Left out where nothing is known of it. */
  readonly dataPath?: DataPath
}

const answers: Check<Subject> = {
  id: 'api-server',
  about: 'the API server of the context answers',
  of: 'kubernetes',
  run: async ({site: {kube}}) => ok(await kube.version()),
}

/** Below it the chart of Vault refuses; above it nothing has been tried. */
const supported = {oldest: 30, newest: 37} as const

const version: Check<Subject> = {
  id: 'version',
  about: 'its version of Kubernetes is supported',
  of: 'kubernetes',
  needs: ['api-server'],
  async run({site: {kube}}) {
    const found = await kube.version()
    const [, major = '', minor = ''] = /^v?(\d+)\.(\d+)/.exec(found) ?? []
    const range = `1.${supported.oldest} to 1.${supported.newest}`
    if (major !== '1' || Number(minor) < supported.oldest)
      return not(`${found} is too old; supported are ${range}.`, [kubectl(kube.target, 'version')])
    return Number(minor) > supported.newest ? warning(`${found} is newer than what lkeobs was tried with: ${range}.`) : ok(range)
  },
}

const identity: Check<Subject> = {
  id: 'identity',
  about: 'it is the cluster that the fleet file means',
  of: 'kubernetes',
  needs: ['api-server'],
  async run({site, uids}) {
    const {kube, cluster, role, fleet} = site
    await identityOf(site).checked()
    const [home, all] = await Promise.all([kube.read({apiVersion: 'v1', kind: 'Namespace', name: 'lkeobs'}), uids()])
    const uid = all.get(cluster)
    const twins = [...all].filter(([name, other]) => name !== cluster && uid !== undefined && other === uid).map(([name]) => name)
    if (twins.length > 0)
      return failed('LKO-3112', `${cluster} and ${twins.join(', ')} are one and the same cluster (uid ${uid}).`, [
        kubectl(kube.target, 'get', 'namespace', 'kube-system', '-o', 'yaml'),
      ])
    const isOurs = home?.metadata.annotations?.['lkeobs.io/fleet'] !== undefined
    const who = isOurs ? `${cluster}, ${role} of ${fleet}` : 'of no fleet yet'
    const next = isOurs ? 'lkeobs status' : role === 'hub' ? 'lkeobs hub init' : `lkeobs edge join ${cluster}`
    return ok(`${who}; uid ${uid ?? 'unknown'}`, [next])
  },
}

const clockLimits = {warningMs: 60_000, failedMs: 300_000} as const

const clock: Check<Subject> = {
  id: 'clock',
  about: 'its clock agrees with that of this machine',
  of: 'kubernetes',
  needs: ['api-server'],
  async run({site: {kube}}) {
    const ahead = await kube.clockAhead()
    if (Number.isNaN(ahead)) return skipped('the API server does not say what time it is')
    const off = Math.abs(ahead)
    const why = `The API server is ${Math.round(off / 1000)} s ${ahead > 0 ? 'ahead of' : 'behind'} this machine; certificates made here would ${ahead > 0 ? 'end early' : 'not be valid yet'} there.`
    const next = ['timedatectl']
    if (off >= clockLimits.failedMs) return not(why, next)
    return off >= clockLimits.warningMs ? warning(why, next) : ok(off < 2000 ? 'to about a second' : `${Math.round(off / 1000)} s apart`)
  },
}

type Deployment = KubeObject & {
  readonly spec?: {readonly replicas?: number; readonly template?: {readonly spec?: {readonly containers?: readonly {image?: string}[]}}}
  readonly status?: {readonly availableReplicas?: number}
}

const versionOf = ({metadata, spec}: Deployment): string =>
  metadata.labels?.['app.kubernetes.io/version'] ??
  /:([^/:@]+)(@|$)/.exec(spec?.template?.spec?.containers?.at(-1)?.image ?? '')?.[1] ??
  'of unknown version'

const controller = (
  id: Controller,
  title: string,
  crd: string,
  {wanted, without}: {readonly wanted: (platform: Subject['platform']) => boolean; readonly without: string},
): Check<Subject> => ({
  id,
  about: `${title} can be had, or works already`,
  of: 'kubernetes',
  needs: ['api-server'],
  async run({site, platform}) {
    if (!wanted(platform)) return skipped(`the fleet file does without it: ${without}`)
    const {kube} = site
    const [definition, foreign, all] = await Promise.all([
      kube.read({apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', name: crd}),
      identityOf(site).foreign(),
      kube.list<Deployment>({apiVersion: 'apps/v1', kind: 'Deployment'}, {labels: `app.kubernetes.io/name=${id}`}),
    ])
    if (definition === undefined) return ok('not there: it will be installed')
    const [first] = all
    const next = [kubectl(kube.target, 'get', 'deployments', '-A', '-l', `app.kubernetes.io/name=${id}`)]
    if (first === undefined)
      return warning(`The cluster has the definition ${crd}, but no ${title} by its usual labels; if none runs, nothing is issued.`, [
        ...next,
        kubectl(kube.target, 'get', 'customresourcedefinition', crd, '-o', 'yaml'),
      ])
    const where = `${versionOf(first)} in ${first.metadata.namespace}`
    const down = all.find(({spec, status}) => (status?.availableReplicas ?? 0) < (spec?.replicas ?? 1))
    if (down) return warning(`${title} ${where} is not ready: Deployment ${down.metadata.name} has no pod that is available.`, next)
    return ok(foreign.has(id) ? `${where}, from elsewhere: used as it is` : where)
  },
})

/** Everything that is looked at on a cluster on Kubernetes. */
export const kubernetesChecks: readonly Check<Subject>[] = [
  answers,
  version,
  identity,
  clock,
  permissions,
  charts,
  storageClass,
  nodes,
  room,
  loadBalancer,
  ...dataPathChecks<Subject>('kubernetes', ['api-server']),
  controller('cert-manager', 'cert-manager', 'certificates.cert-manager.io', {
    wanted: ({certManager}) => certManager,
    without: 'lkeobs keeps the root CA itself',
  }),
  controller('vault-secrets-operator', 'Vault Secrets Operator', 'vaultdynamicsecrets.secrets.hashicorp.com', {
    wanted: ({secretsOperator}) => secretsOperator,
    without: 'a Vault agent beside each collector brings its leaf',
  }),
]
