import {leafAgentConfigMap, leafAgentPaths, leafAudience} from '../../components/collector.ts'
import {leafFile} from '../../components/gateway.ts'
import type {Step, Task} from '../../steps/step.ts'
import {until} from '../../steps/wait.ts'
import type {KubeObject} from '../../tools/kube/kube.ts'
import type {Vault} from '../../tools/vault.ts'
import {isFor, isSignedBy, readCertificate} from '../../tools/x509.ts'
import {leafAgentConfig, leafPolicy, type LeafWish} from '../../trust/leaf.ts'
import {authEnabled, issuerOf, written} from '../../trust/pki.ts'
import {applied, put} from './applied.ts'
import {valueIn} from './authority.ts'
import {leavesInPods, leavesRenewedInPods} from './inside.ts'
import {namespaceOf, secretOf} from './names.ts'
import {configMap, labelled, leafObjects, serviceAccount} from './objects.ts'
import type {Site} from './site.ts'

/** How long the operator may take to ask for a leaf whose Secret is gone. */
const askedWithinMs = 30_000

type Delivery = {
  readonly site: Site
  readonly vault: Vault
  readonly collector: 'gateway' | 'agent'
  readonly leaf: () => Promise<LeafWish>
  readonly rootCa: () => Promise<string>
  /** Vault inside its cluster. */
  readonly vaultAddress: string
}

/** The collector's service account, there before its pods: who asks for the leaf does so in its name. */
const account = ({site, collector}: Delivery): Step =>
  applied(
    site,
    `service account of the ${collector} on ${site.cluster}`,
    `${collector}-account.yaml`,
    serviceAccount({name: collector, namespace: namespaceOf(collector)}),
  )

/** Who asks for leaves is a service account; Vault asks the API server whether it is the one. */
const access = (delivery: Delivery): readonly Step[] => {
  const {
    site: {cluster},
    vault,
    collector,
  } = delivery
  return [
    account(delivery),
    authEnabled(vault, `login by service account on Vault of ${cluster}`, 'kubernetes'),
    written(vault, `where Vault on ${cluster} asks about service accounts`, 'auth/kubernetes/config', {
      kubernetes_host: 'https://kubernetes.default.svc:443',
    }),
    written(vault, `what the service account of the ${collector} on ${cluster} may do`, `auth/kubernetes/role/${collector}`, {
      bound_service_account_names: [collector],
      bound_service_account_namespaces: [namespaceOf(collector)],
      audience: leafAudience,
      token_policies: [leafPolicy],
      token_ttl: 3600,
      token_max_ttl: 86_400,
    }),
  ]
}

/** Whom whoever asks for leaves trusts when Vault answers. */
const vaultCa = ({site, collector, rootCa}: Delivery): Step => {
  const [name, at] = [secretOf(collector, 'vault-ca.crt'), namespaceOf(collector)]
  return {
    title: `root CA of Vault beside the ${collector} on ${site.cluster}`,
    done: async () => ((await valueIn(site, at, name, 'ca.crt')) === (await rootCa()) ? true : 'not there, or another'),
    async apply() {
      const secret = labelled({
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: {name, namespace: at},
        type: 'Opaque',
        stringData: {'ca.crt': await rootCa()},
      })
      await put(site, [secret], `${name}.yaml`)
    },
  }
}

/** Vault Secrets Operator asks for the leaf, keeps it in a Secret and renews it. */
export const deliveredByOperator = (delivery: Delivery): readonly Task[] => {
  const {site, collector, leaf} = delivery
  return [
    ...access(delivery),
    vaultCa(delivery),
    applied(site, `leaf of the ${collector} on ${site.cluster}, asked for by Vault Secrets Operator`, 'leaf.yaml', async () => {
      const {file: _, ...wish} = await leaf()
      return leafObjects({...wish, component: collector, vaultRole: collector})
    }),
    leafFits(delivery),
  ]
}

/** The leaf is there, for these names and of the present issuer. Where it is not, its Secret is removed, and the operator asks for another. */
const leafFits = ({site, vault, collector, leaf}: Delivery): Step => {
  const [name, at] = [secretOf(collector, leafFile), namespaceOf(collector)]
  const current = () => valueIn(site, at, name, leafFile)
  return {
    title: `leaf in the hands of the ${collector} on ${site.cluster} (24 h, renews by itself)`,
    patienceMs: 90_000,
    async done() {
      const certificate = readCertificate((await current()) ?? '')
      if (!certificate) return `no leaf yet${await warning(site, at, name)}`
      const wish = await leaf()
      const above = readCertificate((await issuerOf(vault, wish.issuePath.split('/')[0] ?? '')) ?? '')
      if (!above || !isSignedBy(certificate, above)) return 'of another issuer'
      const lacking = [...(wish.names ?? []), ...(wish.addresses ?? [])].find((each) => !isFor(certificate, each))
      if (lacking !== undefined) return `not for ${lacking}`
      return Date.parse(certificate.validTo) > Date.now() ? true : `it expired ${certificate.validTo}`
    },
    async apply() {
      if ((await current()) === undefined) return
      await site.kube.remove({apiVersion: 'v1', kind: 'Secret', name, namespace: at})
      const seen = await until(async () => ((await current()) === undefined ? 'no leaf yet' : true), {forMs: askedWithinMs})
      // what its pods still have may be trusted no longer in a moment
      if (seen === true) await broughtByKubelet(site, collector)
    },
  }
}

type Event = KubeObject & {
  readonly type?: string
  readonly message?: string
  readonly lastTimestamp?: string
  readonly involvedObject?: {readonly kind?: string; readonly name?: string}
}

/** What the operator last complained about. */
const warning = async ({kube}: Site, at: string, name: string): Promise<string> => {
  const events = await kube.list<Event>({apiVersion: 'v1', kind: 'Event'}, {namespace: at})
  const last = events
    .filter(({type, involvedObject}) => type === 'Warning' && involvedObject?.kind === 'VaultDynamicSecret' && involvedObject.name === name)
    .toSorted((a, b) => String(a.lastTimestamp).localeCompare(String(b.lastTimestamp)))
    .at(-1)
  return last?.message === undefined ? '' : `: ${last.message}`
}

/** Another leaf: the operator asks for one whenever what is wished for has changed. This is not part of the wish, and changes nothing of the leaf. */
export const askedOfOperator = async ({kube}: Site, collector: Delivery['collector']): Promise<void> =>
  kube.patch(
    {
      apiVersion: 'secrets.hashicorp.com/v1beta1',
      kind: 'VaultDynamicSecret',
      name: secretOf(collector, leafFile),
      namespace: namespaceOf(collector),
    },
    {spec: {destination: {annotations: {'lkeobs.io/asked-at': new Date().toISOString()}}}},
  )

/** A kubelet that is nudged brings a Secret to its pods in a second, not in 90. */
export const broughtByKubelet = ({kube}: Site, collector: Delivery['collector']): Promise<void> =>
  kube.nudge({namespace: namespaceOf(collector), labels: `app.kubernetes.io/instance=${collector}`}, `lkeobs.io/rotated=${Date.now()}`)

/** A Vault agent in each pod of the collector asks for a leaf of its own, and renews it. */
export const deliveredBySidecar = (delivery: Delivery): readonly Task[] => {
  const {site, collector, leaf, vaultAddress} = delivery
  return [
    ...access(delivery),
    vaultCa(delivery),
    applied(site, `what the Vault agent beside the ${collector} on ${site.cluster} asks for`, 'leaf-agent.yaml', async () =>
      configMap({
        name: leafAgentConfigMap(collector),
        namespace: namespaceOf(collector),
        data: {
          'agent.json': leafAgentConfig(
            await leaf(),
            {address: vaultAddress, ca: leafAgentPaths.ca},
            {type: 'kubernetes', config: {role: collector, token_path: leafAgentPaths.token}},
          ),
        },
      }),
    ),
    leavesFit(delivery),
  ]
}

/**
 * The leaf in each pod that runs is of the present issuer. Whoever keeps it there renews it by its age alone, and the issuer
 * of before is trusted only until the run that made another has ended.
 */
const leavesFit = ({site, vault, collector, leaf}: Delivery): Step => ({
  title: `leaf in every pod of the ${collector} on ${site.cluster}, of the present issuer`,
  patienceMs: 60_000,
  async done() {
    const {issuePath, ttlSeconds} = await leaf()
    const above = readCertificate((await issuerOf(vault, issuePath.split('/')[0] ?? '')) ?? '')
    // no leaf lives longer: none is of another
    if (!above || Date.now() - Date.parse(above.validFrom) > ttlSeconds * 1000) return true
    const own = (await leavesInPods(site, collector)).map((hand) => readCertificate(hand.leaf ?? ''))
    const others = own.filter((certificate) => certificate && !isSignedBy(certificate, above)).length
    return others === 0 ? true : `${others} of ${own.length} of another issuer`
  },
  apply: () => leavesRenewedInPods(site, collector),
})
