import {createHash} from 'node:crypto'
import {auditDevices, initialize, vaultPaths, vaultPodLabels, vaultRelease} from '../../components/vault.ts'
import type {Step, Task} from '../../steps/step.ts'
import {render} from '../../templates.ts'
import type {SealStatus, Vault, VaultTarget} from '../../tools/vault.ts'
import {adminLogin, adminPasswordFile, askedLogin, sealKeyFile} from '../../trust/admin.ts'
import {shownWhereItRuns} from '../../trust/rotation.ts'
import {sealCaFile, sealKeyIdOf, sealStanza, sealTokenFile} from '../../trust/seal.ts'
import type {Cluster, HubCluster, Seal, VaultNode} from '../platform.ts'
import {applied} from './applied.ts'
import {type Authority, valueIn, vaultSecret} from './authority.ts'
import {namespace, ports, secretOf} from './names.ts'
import {configMap} from './objects.ts'
import {released} from './released.ts'
import type {Site} from './site.ts'

type Parts = {
  readonly site: Site
  readonly hands: Pick<Cluster, 'read' | 'hand'>
  readonly rootCa: () => Promise<string>
  readonly replicas: number
  readonly seal: Seal
  readonly storageClass: string | undefined
  readonly sealsAt: HubCluster['sealsAt']
  readonly authority: Pick<Authority, 'hasVaultCertificate' | 'vaultCertificateRenewed'>
}

const selfConfigMap = 'vault-self'
const volume = '10Gi'

/** A node reads its certificate again on SIGHUP: sent once its kubelet has brought the one with the sum that is given. */
const reload = `n=0
until [ "$(sha256sum <${vaultPaths.tls}/tls.crt | cut -d' ' -f1)" = "$1" ]
do n=$((n + 1)); [ $n -lt 100 ] || { echo 'its kubelet has not brought it within 100 s'; exit 1; }; sleep 1
done
kill -HUP $(pidof bao)`

/** Vault inside its cluster. */
const inside = `https://vault.${namespace}.svc:${ports.vault}`

/** The Vault of a Kubernetes cluster: a Raft of pods over TLS, reached through the API server. */
export const vaultOf = ({site, hands, rootCa, replicas, seal, storageClass, sealsAt, authority}: Parts) => {
  const {kube, cluster, tools} = site
  const nodes = Array.from({length: replicas}, (_, index) => `vault-${index}`)
  const labels = Object.entries(vaultPodLabels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
  const through = (dial: () => Promise<string>): Omit<VaultTarget, 'login'> => ({address: inside, where: cluster, dial, ca: rootCa})
  /** Opens by itself and has founded itself; otherwise holders do both. */
  const isSelfMade = seal !== 'shamir'
  const login = isSelfMade ? adminLogin(hands) : askedLogin(tools.ask, cluster)
  const vault: Vault = tools.vault({...through(() => kube.forward({namespace, labels, port: ports.vault})), login})

  const vaultNodes = (): readonly VaultNode[] =>
    nodes.map((pod) => {
      const target = through(() => kube.forward({namespace, pod, port: ports.vault}))
      return {name: pod, vault: tools.vault(target), admin: tools.vault({...target, login})}
    })
  const vaultSeals = (): Promise<readonly (SealStatus | undefined)[]> => Promise.all(vaultNodes().map((node) => node.vault.sealStatus()))

  const handed = isSelfMade ? [...(sealsAt ? [sealTokenFile, sealCaFile] : [sealKeyFile]), adminPasswordFile] : []

  const peer = (node: string) => `https://${node}.vault-internal:${ports.vault}`
  const secretFile = (file: string) => `${vaultPaths.handed(secretOf('vault', file))}/${file}`
  const rendered = render('vault.yaml', {
    node: 'HOSTNAME',
    data: vaultPaths.data,
    api: {listen: `[::]:${ports.vault}`, url: inside},
    cluster: {listen: '[::]:8201', url: inside},
    tls: {certificate: `${vaultPaths.tls}/tls.crt`, key: `${vaultPaths.tls}/tls.key`, ca: `${vaultPaths.tls}/ca.crt`},
    seal: sealStanza(
      sealsAt
        ? {type: 'transit', edge: cluster, token: secretFile(sealTokenFile), ca: secretFile(sealCaFile), ...sealsAt}
        : {type: 'static', keyId: sealKeyIdOf({site}), key: secretFile(sealKeyFile)},
    ),
    peers: [],
  })
  // the chart says where each pod is, and each pod's own file what it keeps its data with
  const {storage: _, api_addr: __, cluster_addr: ___, seal: sealedBy, ...shared} = rendered
  const config = isSelfMade ? {...shared, seal: sealedBy} : {...shared, audit: auditDevices(`${vaultPaths.data}/audit.log`)}

  /** What a node is told alone: its peers; or, for the first node of a Vault that was never initialised, to do that itself. */
  const selfOf = (node: string, isFirst: boolean) => {
    const others = nodes.filter((other) => other !== node)
    const raft = {
      path: vaultPaths.data,
      performance_multiplier: 1,
      ...((!isFirst || (!isSelfMade && others.length > 0)) && {
        retry_join: others.map((other) => ({leader_api_addr: peer(other), leader_ca_cert_file: `${vaultPaths.tls}/ca.crt`})),
      }),
    }
    return {storage: {raft}, ...(isFirst && isSelfMade && {initialize: initialize(secretFile(adminPasswordFile))})}
  }

  /**
   * Once there is a Vault, no node ever initialises itself again: one that lost its volume joins the others instead of
   * founding a second Vault. That is never taken back, whoever answers at the moment.
   */
  const isFounded = async (): Promise<boolean> => {
    const live = await kube.read({apiVersion: 'v1', kind: 'ConfigMap', name: selfConfigMap, namespace})
    const first = (live?.['data'] as Record<string, string> | undefined)?.['vault-0.json']
    if (first !== undefined && !first.includes('"initialize"')) return true
    return (await vaultSeals()).some((one) => one?.initialized === true)
  }
  const selves = async () => {
    const founded = replicas > 1 && (await isFounded())
    const data = Object.fromEntries(
      nodes.map((node, index) => [`${node}.json`, `${JSON.stringify(selfOf(node, index === 0 && !founded), undefined, 2)}\n`]),
    )
    return configMap({name: selfConfigMap, namespace, data})
  }
  const told = (title: string) => applied(site, title, 'vault-self.yaml', selves)

  /** Pods are ready when they are unsealed; where holders do that, it is enough that each answers. */
  const answering = (step: Step): Step => {
    if (isSelfMade) return step
    let wasApplied = false
    return {
      ...step,
      async done() {
        const seen = await step.done()
        if (seen === true || !wasApplied) return seen
        return (await vaultSeals()).every((one) => one !== undefined) ? true : seen
      },
      async apply(tell) {
        await step.apply(tell)
        wasApplied = true
      },
    }
  }

  const certificate = () => valueIn(site, namespace, vaultSecret, 'tls.crt')
  const vaultCertificates: NonNullable<Cluster['vaultCertificates']> = {
    renewed: authority.vaultCertificateRenewed,
    now: certificate,
    shown: (pod) =>
      kube
        .forward({namespace, pod, port: ports.vault})
        .then(tools.tls.served)
        .catch(() => undefined),
    async reloaded(pod) {
      const sum = createHash('sha256')
        .update((await certificate()) ?? '')
        .digest('hex')
      await kube.nudge({namespace, labels}, `lkeobs.io/certificate=${sum.slice(0, 12)}`)
      await kube.exec({namespace, pod}, ['sh', '-c', reload, 'sh', sum])
    },
  }

  return {
    inside,
    vault,
    vaultCertificates,
    vaultReplicas: replicas,
    vaultNodes,
    seal,
    vaultSeals,
    // its StatefulSet makes it again
    vaultRestarted: (pod: string) => kube.remove({apiVersion: 'v1', kind: 'Pod', name: pod, namespace}),
    vaultRuns: (): readonly Task[] => [
      ...authority.hasVaultCertificate(),
      // a pod that was made before it looked by itself knows nothing of one that was renewed
      ...nodes.map((node) => shownWhereItRuns(cluster, node, vaultCertificates)),
      told(`what each Vault node on ${cluster} is told alone`),
      answering(
        released(site, `Vault on ${cluster}: ${replicas} ${replicas === 1 ? 'node' : 'nodes'} of OpenBao`, () =>
          vaultRelease({
            replicas,
            isHeld: !isSelfMade,
            storageClass,
            size: volume,
            config,
            selfConfigMap,
            tlsSecret: vaultSecret,
            handedSecrets: handed.map((file) => secretOf('vault', file)),
          }),
        ),
      ),
      ...(replicas > 1 && isSelfMade ? [told(`Vault on ${cluster} is founded: no node founds another`)] : []),
    ],
  }
}
