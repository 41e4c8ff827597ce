import {hubCaFile} from '../components/agent.ts'
import type {Cluster, HubCluster} from '../platforms/platform.ts'
import type {Step, Task} from '../steps/step.ts'
import type {Vault} from '../tools/vault.ts'
import type {X509} from '../tools/x509.ts'
import {known} from './credential.ts'
import {amend, bindingOf, edgesKnown, entries, entryOf, entryPath} from './register.ts'

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
export const registered = (hub: Vault, name: string, current: () => Promise<string>): Step => ({
  title: `the hub knows the issuer of ${name}`,
  async done() {
    const found = await entryOf(hub, name)
    if (found.issuer === undefined) return 'not yet'
    return found.issuer === (await current()) ? true : 'it knows another one'
  },
  async apply() {
    const [{issuer}, issuerNow] = [await entryOf(hub, name), await current()]
    // the leaf that is in use was signed by the one of before
    await amend(hub, name, {issuer: issuerNow, ...(issuer !== undefined && issuer !== issuerNow && {retiring: issuer})})
  },
})

/** Nothing that an earlier issuer of the edge has signed is trusted any more, once `trusted` has followed. Its leaf is of the present one by now. */
export const retired = (hub: Vault, name: string): Step => ({
  title: `the hub trusts the present issuer of ${name} alone`,
  done: async () => ((await entryOf(hub, name)).retiring === undefined ? true : 'an earlier one, too'),
  apply: () => amend(hub, name, {retiring: undefined}),
})

/** The gateway trusts exactly the issuers of the edges the hub knows. It takes a new bundle up by itself within seconds. */
export const trusted = (gateway: Hands, hub: Vault): Step => {
  const wish = async (): Promise<string> => {
    const issuers = (await entries(hub)).flatMap(({issuer, retiring}) => [issuer, retiring].filter((pem) => pem !== undefined))
    return [(await gateway.read('gateway', nobodyFile)) ?? '', ...issuers].map((pem) => `${pem.trim()}\n`).join('')
  }
  return {
    title: 'the gateway trusts the issuers of these edges and no one else',
    done: async () => ((await gateway.read('gateway', trustBundleFile)) === (await wish()) ? true : 'its bundle is another'),
    apply: async () => gateway.hand('gateway', trustBundleFile, await wish()),
  }
}

/** The hub no longer knows the edge: what lets it in is out of the register, its issuer out of the gateway's bundle, and its credential is refused. */
export const forgotten = (hub: HubCluster, edge: string): readonly Task[] => [
  {
    title: `${hub.name} no longer knows ${edge}`,
    async done() {
      const found = await Promise.all([entryPath(edge), bindingOf(edge)].map((path) => hub.vault.read(path)))
      return found.every((one) => one === undefined) ? true : 'it is in the register'
    },
    async apply() {
      for (const path of [entryPath(edge), bindingOf(edge)]) await hub.vault.remove(path)
    },
  },
  trusted(hub, hub.vault),
  known(hub, hub.vault),
]

/** Whether the register can be written from here; asks for the password before anything else is done, where it is asked for at all. */
export const canForget = async ({vault, elsewhere}: HubCluster): Promise<boolean> => {
  if (elsewhere) return false
  if ((await vault.sealStatus())?.sealed !== false) return false
  await edgesKnown(vault)
  return true
}

/** The agent trusts the hub by its root CA, handed to it. */
export const hubCaHanded = (hub: Pick<Cluster, 'name' | 'rootCa'>, edge: Pick<Cluster, 'name' | 'read' | 'hand'>): Step => ({
  title: `root CA of ${hub.name} in the hands of the agent on ${edge.name}`,
  done: async () => ((await edge.read('agent', hubCaFile)) === (await hub.rootCa()) ? true : 'not there, or another'),
  apply: async () => edge.hand('agent', hubCaFile, await hub.rootCa()),
})
