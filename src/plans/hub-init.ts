import type {HubCluster} from '../platforms/platform.ts'
import type {Plan, Task} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {nobody, trusted} from '../trust/bundle.ts'
import {known, nobodyKnown} from '../trust/credential.ts'
import {leafPolicyWritten, leafRole} from '../trust/leaf.ts'
import {issuer, mounted, type Signer, written} from '../trust/pki.ts'
import {registry} from '../trust/register.ts'
import {vaultUp} from './vault.ts'

const issuerDays = 3 * 365

/** The hub of a fleet: Vault, PKI, stores, gateway. */
export const hubInit = (hub: HubCluster, tools: Pick<Tools, 'x509'>): Plan => ({
  command: 'hub init',
  title: `Hub ${hub.name}: Vault, PKI, stores and gateway.`,
  steps: hubSteps(hub, tools),
})

export const hubSteps = (hub: HubCluster, {x509}: Pick<Tools, 'x509'>): readonly Task[] => {
  const {name, vault} = hub
  const stores = hub.storesRun()
  const root: Signer = {
    certificate: hub.rootCa,
    sign: (request) => hub.signCa(request, {days: issuerDays, pathLength: 1}),
  }
  return [
    ...hub.prepared(),
    {
      title: 'Vault and stores',
      concurrency: 2,
      steps: [
        {title: `Vault on ${name}`, steps: vaultUp(hub)},
        {title: `stores on ${name}`, concurrency: stores.length, steps: stores},
      ],
    },
    mounted(vault, 'PKI that signs the issuers of edges', 'pki_edge', 'pki', issuerDays),
    issuer(vault, 'issuer of edges, signed by the root CA', 'pki_edge', `lkeobs ${name} edges`, root),
    mounted(vault, 'PKI of the gateway', 'pki_hub', 'pki', issuerDays),
    issuer(vault, 'issuer of the gateway, signed by the root CA', 'pki_hub', `lkeobs ${name} gateway`, root),
    written(vault, 'what the gateway may be called', 'pki_hub/roles/gateway', async () => leafRole(await hub.leaf(), 'server')),
    mounted(vault, 'register of edges', registry, 'kv'),
    leafPolicyWritten(vault, name, 'pki_hub/issue/gateway'),
    ...hub.leafDelivered(),
    nobody(hub, x509),
    trusted(hub, vault),
    nobodyKnown(hub),
    known(hub, vault),
    ...hub.gatewayRuns(),
    ...hub.tidied(),
  ]
}
