import type {EdgeCluster, HubCluster} from '../platforms/platform.ts'
import type {Plan, Task} from '../steps/step.ts'
import type {Vault} from '../tools/vault.ts'
import {registered, retired, trusted} from '../trust/bundle.ts'
import {asking, handing, known} from '../trust/credential.ts'
import {bound} from '../trust/binding.ts'
import {leafPolicyWritten, leafRole} from '../trust/leaf.ts'
import {issuer, issuerOf, mounted, type Signer, written} from '../trust/pki.ts'
import {sealedByHub, sealsMounted} from '../trust/seal.ts'
import {vaultUp} from './vault.ts'

const issuerDays = 365

/** What an edge gets of its hub, whichever way the two talk. */
export type Above = {
  /** Signs the edge's issuer. */
  readonly signer: Signer
  /** What has to be so before its Vault starts. */
  readonly before: readonly Task[]
  /** What makes the edge known to the hub, once it has its issuer. */
  readonly known: readonly Task[]
  /** What has to be so before its agent may send. */
  readonly admitted: readonly Task[]
  /** What is left to do once it sends. */
  readonly settled: readonly Task[]
}

/** An edge: its own Vault, an issuer signed by the hub, a leaf, and an agent that sends. */
export const edgeJoin = (hub: HubCluster, edge: EdgeCluster): Plan => {
  const above = inReach(hub, edge)
  return {
    command: `edge join ${edge.name}`,
    title: `Edge ${edge.name} joins ${hub.name}.`,
    steps: [
      ...sealsMounted(hub, [edge]),
      ...edgeIdentity(above, edge),
      ...admitted(hub),
      ...edgeAgent(above, hub, edge),
      ...admitted(hub),
      asking(hub),
    ],
  }
}

/** The hub is in the same fleet file, and everything is asked of it at once. `retires`: whether an issuer of before is trusted no longer. */
export const inReach = (hub: HubCluster, edge: EdgeCluster, {retires = true}: {readonly retires?: boolean} = {}): Above => {
  const {made, taken, given, alone} = handing(hub, edge)
  return {
    signer: {
      certificate: async () => (await issuerOf(hub.vault, 'pki_edge')) ?? '',
      sign: (csr) => edgeIssuerSigned(hub.vault, edge.name, csr),
    },
    before: [bound(hub, edge), ...(edge.seal === 'transit' ? sealedByHub(hub, edge) : [])],
    // before the issuer: an edge with an issuer and no key is one from before there were credentials
    known: [made, registered(hub.vault, edge.name, async () => (await issuerOf(edge.vault, 'pki')) ?? '')],
    admitted: [taken, given],
    settled: [alone, ...(retires ? [retired(hub.vault, edge.name)] : [])],
  }
}

/** The gateway knows whom the hub knows. */
export const admitted = (hub: HubCluster): readonly Task[] => [trusted(hub, hub.vault), known(hub, hub.vault)]

/** Its Vault, its issuer, its leaf, and the hub's knowledge of it. Touches nothing that edges share, so many can do it at once. */
export const edgeIdentity = ({signer, before, known: steps}: Above, edge: EdgeCluster): readonly Task[] => {
  const {name, vault} = edge
  return [
    ...edge.prepared(),
    ...before,
    ...vaultUp(edge),
    mounted(vault, `PKI of ${name}`, 'pki', 'pki', issuerDays),
    issuer(vault, `issuer of ${name}, signed by the hub (valid 1 year)`, 'pki', `lkeobs edge ${name}`, signer),
    written(vault, `what the agent of ${name} may be called`, 'pki/roles/agent', async () => leafRole(await edge.leaf(), 'client')),
    leafPolicyWritten(vault, name, 'pki/issue/agent'),
    ...steps,
  ]
}

/** What comes after the gateway knows it: the agent, which sends. */
export const edgeAgent = (
  {admitted: first, settled}: Above,
  hub: Pick<HubCluster, 'name' | 'rootCa'>,
  edge: EdgeCluster,
): readonly Task[] => [...first, ...edge.leafDelivered(), ...edge.agentRuns(hub), ...settled, ...edge.tidied()]

/** The certificate of an edge's issuer. Whatever the request says of itself, it becomes the issuer of this edge, with no CA below it. */
export const edgeIssuerSigned = async (hub: Vault, edge: string, csr: string): Promise<string> => {
  const {certificate} = await hub.write<{certificate: string}>('pki_edge/root/sign-intermediate', {
    csr,
    common_name: `lkeobs edge ${edge}`,
    ttl: `${issuerDays * 24}h`,
    max_path_length: 0,
  })
  return certificate
}
