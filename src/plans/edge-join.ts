import type {EdgeCluster, HubCluster} from '../platforms/platform.ts'
import type {Plan, Task} from '../steps/step.ts'
import {registered, trusted} from '../trust/bundle.ts'
import {bound} from '../trust/binding.ts'
import {leafPolicyWritten, leafRole} from '../trust/leaf.ts'
import {issuer, issuerOf, mounted, type Signer, written} from '../trust/pki.ts'
import {sealedByHub, sealsMounted} from '../trust/seal.ts'
import {vaultUp} from './vault.ts'

const issuerDays = 365

/** An edge: its own Vault, an issuer signed by the hub, a leaf, and an agent that sends. */
export const edgeJoin = (hub: HubCluster, edge: EdgeCluster): Plan => ({
  command: `edge join ${edge.name}`,
  title: `Edge ${edge.name} joins ${hub.name}.`,
  steps: [...sealsMounted(hub, [edge]), ...edgeIdentity(hub, edge), trusted(hub, hub.vault), ...edgeAgent(hub, edge)],
})

/** Its Vault, its issuer, its leaf, and the hub's knowledge of it. Touches nothing that edges share, so many can do it at once. */
export const edgeIdentity = (hub: HubCluster, edge: EdgeCluster): readonly Task[] => {
  const {name, vault} = edge
  return [
    ...edge.prepared(),
    bound(hub, edge),
    ...(edge.seal === 'transit' ? sealedByHub(hub, edge) : []),
    ...vaultUp(edge),
    mounted(vault, `PKI of ${name}`, 'pki', 'pki', issuerDays),
    issuer(vault, `issuer of ${name}, signed by the hub (valid 1 year)`, 'pki', `lkeobs edge ${name}`, signedByHub(hub, name)),
    written(vault, `what the agent of ${name} may be called`, 'pki/roles/agent', async () => leafRole(await edge.leaf(), 'client')),
    leafPolicyWritten(vault, name, 'pki/issue/agent'),
    ...edge.leafDelivered(),
    registered(hub.vault, vault, name),
  ]
}

/** What comes after the gateway trusts it: the agent, which sends. */
export const edgeAgent = (hub: HubCluster, edge: EdgeCluster): readonly Task[] => [...edge.agentRuns(hub), ...edge.tidied()]

const signedByHub = ({vault}: HubCluster, name: string): Signer => ({
  certificate: async () => (await issuerOf(vault, 'pki_edge')) ?? '',
  async sign(csr) {
    const {certificate} = await vault.write<{certificate: string}>('pki_edge/root/sign-intermediate', {
      csr,
      common_name: `lkeobs edge ${name}`,
      ttl: `${issuerDays * 24}h`,
      max_path_length: 0,
    })
    return certificate
  },
})
