import type {HubCluster} from '../clusters.ts'
import type {Plan, Task} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {nobody, registry, trusted} from '../trust/bundle.ts'
import {leafAccess, leafFits, leafRole} from '../trust/leaf.ts'
import {issuer, mounted, type Signer, written} from '../trust/pki.ts'
import {vaultUp} from './vault.ts'

const issuerDays = 3 * 365

/** The hub of a fleet: Vault, PKI, stores, gateway. */
export const hubInit = (hub: HubCluster, tools: Tools): Plan => ({
  command: 'hub init',
  title: `Hub ${hub.name}: Vault, PKI, stores and gateway.`,
  steps: hubSteps(hub, tools),
})

export const hubSteps = (hub: HubCluster, tools: Tools): readonly Task[] => {
  const {platform, vault, components} = hub
  const {gateway, ...stores} = components
  const root: Signer = {
    certificate: platform.rootCa,
    sign: (request) => platform.signCa(request, {days: issuerDays, pathLength: 1}),
  }
  return [
    {
      title: 'Vault and stores',
      concurrency: 2,
      steps: [
        {title: `Vault on ${hub.name}`, steps: vaultUp(hub, tools)},
        {title: `stores on ${hub.name}`, concurrency: 3, steps: Object.values(stores).map((store) => platform.runs(store))},
      ],
    },
    mounted(vault, 'PKI that signs the issuers of edges', 'pki_edge', 'pki', issuerDays),
    issuer(vault, 'issuer of edges, signed by the root CA', 'pki_edge', `lkeobs ${hub.name} edges`, root),
    mounted(vault, 'PKI of the gateway', 'pki_hub', 'pki', issuerDays),
    issuer(vault, 'issuer of the gateway, signed by the root CA', 'pki_hub', `lkeobs ${hub.name} gateway`, root),
    written(vault, 'what the gateway may be called', 'pki_hub/roles/gateway', leafRole(hub.leaf, 'server')),
    mounted(vault, 'register of edges', registry, 'kv'),
    ...leafAccess(vault, platform, hub.leaf),
    leafFits(vault, platform, tools.files, hub.leaf),
    platform.runs(hub.leafAgent),
    nobody(platform, tools.x509),
    trusted(platform, vault),
    ...(gateway ? [platform.runs(gateway)] : []),
    platform.logsBounded(),
  ]
}
