import {hubCaFile} from '../components/agent.ts'
import type {Cluster} from '../platforms/platform.ts'
import type {Step} from '../steps/step.ts'
import type {Vault} from '../tools/vault.ts'
import type {X509} from '../tools/x509.ts'
import {issuerOf} from './pki.ts'

/** Where the hub's Vault keeps the issuers of the edges that may send. */
export const registry = 'lkeobs'
const edges = `${registry}/edges`

/** The gateway's files: whom it trusts, and a certificate whose key nobody has. */
export const trustBundleFile = 'clients.pem'
export const nobodyFile = 'nobody.pem'

/** Whoever hands files to components. */
type Hands = Pick<Cluster, 'read' | 'hand'>

/** A trust bundle may not be empty: the collector would keep the one it has. This certificate fills it and admits nobody. */
export const nobody = (gateway: Hands, x509: X509): Step => ({
  title: 'a certificate whose key was thrown away, for a gateway that trusts no edge yet',
  done: async () => ((await gateway.read('gateway', nobodyFile)) === undefined ? 'there is none' : true),
  async apply() {
    const {certificate} = await x509.createCa({commonName: 'lkeobs trusts nobody', days: 3650, pathLength: 0})
    await gateway.hand('gateway', nobodyFile, certificate)
  },
})

/** The hub knows the edge's issuer. */
export const registered = (hub: Vault, edge: Vault, name: string): Step => {
  const path = `${edges}/${name}`
  const current = async (): Promise<string> => (await issuerOf(edge, 'pki')) ?? ''
  return {
    title: `the hub knows the issuer of ${name}`,
    async done() {
      const known = await hub.read<{issuer: string}>(path)
      if (known === undefined) return 'not yet'
      return known.issuer === (await current()) ? true : 'it knows another one'
    },
    apply: async () => void (await hub.write(path, {issuer: await current()})),
  }
}

/** The gateway trusts exactly the issuers of the edges the hub knows. It takes a new bundle up by itself within seconds. */
export const trusted = (gateway: Hands, hub: Vault): Step => {
  const wish = async (): Promise<string> => {
    const names = (await hub.list(edges)).toSorted()
    const issuers = await Promise.all(names.map(async (name) => (await hub.read<{issuer: string}>(`${edges}/${name}`))?.issuer ?? ''))
    return [(await gateway.read('gateway', nobodyFile)) ?? '', ...issuers].map((pem) => `${pem.trim()}\n`).join('')
  }
  return {
    title: 'the gateway trusts the issuers of these edges and no one else',
    done: async () => ((await gateway.read('gateway', trustBundleFile)) === (await wish()) ? true : 'its bundle is another'),
    apply: async () => gateway.hand('gateway', trustBundleFile, await wish()),
  }
}

/** The agent trusts the hub by its root CA, handed to it. */
export const hubCaHanded = (hub: Pick<Cluster, 'name' | 'rootCa'>, edge: Pick<Cluster, 'name' | 'read' | 'hand'>): Step => ({
  title: `root CA of ${hub.name} in the hands of the agent on ${edge.name}`,
  done: async () => ((await edge.read('agent', hubCaFile)) === (await hub.rootCa()) ? true : 'not there, or another'),
  apply: async () => edge.hand('agent', hubCaFile, await hub.rootCa()),
})
