import {hubCaFile} from '../components/agent.ts'
import type {EdgeCluster, HubCluster} from '../clusters.ts'
import type {Plan, Step, Task} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {registered, trusted} from '../trust/bundle.ts'
import {leafAccess, leafFits, leafRole} from '../trust/leaf.ts'
import {issuer, issuerOf, mounted, type Signer, written} from '../trust/pki.ts'
import {vaultUp} from './vault.ts'

const issuerDays = 365

/** An edge: its own Vault, an issuer signed by the hub, a leaf, and an agent that sends. */
export const edgeJoin = (hub: HubCluster, edge: EdgeCluster, tools: Tools): Plan => ({
  command: `edge join ${edge.name}`,
  title: `Edge ${edge.name} joins ${hub.name}.`,
  steps: [...edgeIdentity(hub, edge, tools), trusted(hub.platform, hub.vault), ...edgeAgent(hub, edge)],
})

/** Its Vault, its issuer, its leaf, and the hub's knowledge of it. Touches nothing that edges share, so many can do it at once. */
export const edgeIdentity = (hub: HubCluster, edge: EdgeCluster, tools: Tools): readonly Task[] => {
  const {name, platform, vault} = edge
  return [
    ...vaultUp(edge, tools),
    mounted(vault, `PKI of ${name}`, 'pki', 'pki', issuerDays),
    issuer(vault, `issuer of ${name}, signed by the hub (valid 1 year)`, 'pki', `lkeobs edge ${name}`, signedByHub(hub, name)),
    written(vault, `what the agent of ${name} may be called`, 'pki/roles/agent', leafRole(edge.leaf, 'client')),
    ...leafAccess(vault, platform, edge.leaf),
    leafFits(vault, platform, tools.files, edge.leaf),
    platform.runs(edge.leafAgent),
    registered(hub.vault, vault, name),
  ]
}

/** What comes after the gateway trusts it: the agent, which sends. */
export const edgeAgent = (hub: HubCluster, edge: EdgeCluster): readonly Task[] => [
  hubCaHanded(hub, edge),
  ...Object.values(edge.components).map((component) => edge.platform.runs(component)),
  edge.platform.logsBounded(),
]

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

/** The agent trusts the hub by its root CA, handed to it. */
const hubCaHanded = (hub: HubCluster, {name, platform}: EdgeCluster): Step => ({
  title: `root CA of ${hub.name} in the hands of the agent on ${name}`,
  done: async () => ((await platform.read('agent', hubCaFile)) === (await hub.platform.rootCa()) ? true : 'not there, or another'),
  apply: async () => platform.hand('agent', hubCaFile, await hub.platform.rootCa()),
})
