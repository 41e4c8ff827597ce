import type {HubCluster} from '../clusters.ts'
import type {Plan, Task} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {nobody, registry, trusted} from '../trust/bundle.ts'
import {leafAccess} from '../trust/leaf.ts'
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
    written(vault, 'what the gateway may be called', 'pki_hub/roles/gateway', gatewayRole(hub)),
    mounted(vault, 'register of edges', registry, 'kv'),
    ...leafAccess(vault, platform, hub.leaf),
    platform.runs(hub.leafAgent),
    nobody(platform, tools.x509),
    trusted(platform, vault),
    ...(gateway ? [platform.runs(gateway)] : []),
  ]
}

/** Durations in seconds, as Vault gives them back. */
const gatewayRole = ({leaf}: HubCluster) => ({
  allowed_domains: [leaf.commonName, ...(leaf.names ?? [])],
  allow_bare_domains: true,
  allow_subdomains: false,
  allow_wildcard_certificates: false,
  allow_ip_sans: true,
  server_flag: true,
  client_flag: false,
  key_type: 'ec',
  key_bits: 256,
  ttl: leaf.hours * 3600,
  max_ttl: leaf.hours * 2 * 3600,
  not_before_duration: 60,
  no_store: true,
})
