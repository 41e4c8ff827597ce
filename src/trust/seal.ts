import {LkeobsError} from '../errors.ts'
import type {Cluster, EdgeCluster, HubCluster} from '../platforms/platform.ts'
import {Secret} from '../secret.ts'
import type {Step, Task} from '../steps/step.ts'
import type {Vault} from '../tools/vault.ts'
import {sealKeyFile} from './admin.ts'
import {mounted, written} from './pki.ts'

/** Where the hub's Vault keeps a key for each edge that it unseals. */
const sealMount = 'seals'

/** What an edge's Vault is handed for that: its token, and the root CA of the hub. */
export const sealTokenFile = 'seal-token'
export const sealCaFile = 'seal-ca.pem'

/** How long a seal token lives without being renewed: as long as a hub may be away before its edges need new ones. */
const tokenPeriodSeconds = 30 * 86_400

/** What unseals a node: a key in a file, or the hub. All of it stands in files, which OpenBao reads itself. */
export type SealWish =
  | {readonly type: 'static'; readonly keyId: string; readonly key: string}
  | {
      readonly type: 'transit'
      readonly edge: string
      readonly address: string
      readonly serverName?: string
      readonly token: string
      readonly ca: string
    }

/** The seal as OpenBao's configuration has it. */
export const sealStanza = (wish: SealWish): object =>
  wish.type === 'static'
    ? {static: {current_key_id: wish.keyId, current_key: `file://${wish.key}`}}
    : {
        transit: {
          address: wish.address,
          token: `file://${wish.token}`,
          mount_path: `${sealMount}/`,
          key_name: wish.edge,
          tls_ca_cert: wish.ca,
          ...(wish.serverName !== undefined && {tls_server_name: wish.serverName}),
        },
      }

/** The engine that all edges' keys are in: for whoever brings up several at once, before any of them. */
export const sealsMounted = (hub: HubCluster, edges: readonly Pick<EdgeCluster, 'seal'>[]): readonly Task[] =>
  edges.some(({seal}) => seal === 'transit') ? [mounted(hub.vault, 'keys that unseal edges', sealMount, 'transit')] : []

/** The hub's Vault can unseal this edge's: a key, a policy and a token of its own, and the token in the edge's hands. */
export const sealedByHub = (hub: HubCluster, edge: EdgeCluster): readonly Task[] => [
  ...sealKept(hub, edge.name, async () => (await edge.read('vault', sealTokenFile)) !== undefined),
  sealCaHanded(hub, edge),
  sealToken(hub.vault, edge),
]

/** The hub's part of it. `hasToken`: whether the edge was given a token for a key before. */
export const sealKept = (hub: HubCluster, edge: string, hasToken: () => Promise<boolean>): readonly Task[] => [
  sealKey(hub, edge, hasToken),
  written(hub.vault, `policy of that key: ${edge} may use it, nothing else`, `sys/policies/acl/${sealPolicyOf(edge)}`, {
    policy: sealPolicy(edge),
  }),
]

/** The edge's Vault knows that of the hub. */
export const sealCaHanded = (hub: Pick<HubCluster, 'name' | 'rootCa'>, edge: EdgeCluster): Step => ({
  title: `root CA of ${hub.name} in the hands of Vault on ${edge.name}`,
  done: async () => ((await edge.read('vault', sealCaFile)) === (await hub.rootCa()) ? true : 'not there, or another'),
  apply: async () => edge.hand('vault', sealCaFile, await hub.rootCa()),
})

/** A token that may use the key of this edge, and renew itself. */
export const newSealToken = async (hub: Vault, edge: string): Promise<Secret> => {
  const {client_token: token} = await hub.write<{client_token: string}>('auth/token/create-orphan', {
    policies: [sealPolicyOf(edge)],
    period: `${tokenPeriodSeconds}s`,
    no_default_policy: true,
    display_name: `seal-${edge}`,
  })
  return new Secret(token)
}

export const sealPolicyOf = (edge: string): string => `lkeobs-seal-${edge}`

/** Renewing is what OpenBao does with the token by itself; it is given up for good when the first try is refused. */
const sealPolicy = (edge: string): string =>
  [
    `path "${sealMount}/encrypt/${edge}" {capabilities = ["update"]}`,
    `path "${sealMount}/decrypt/${edge}" {capabilities = ["update"]}`,
    'path "auth/token/renew-self" {capabilities = ["update"]}',
    'path "auth/token/lookup-self" {capabilities = ["read"]}',
  ].join('\n')

/** Without its key an edge's Vault never opens again, nor any snapshot of it: nobody may export or delete it. */
const sealKey = ({name: above, vault: hub}: HubCluster, edge: string, hasToken: () => Promise<boolean>): Step => {
  const path = `${sealMount}/keys/${edge}`
  const wish = {exportable: false, allow_plaintext_backup: false, deletion_allowed: false}
  const differing = (found: Readonly<Record<string, unknown>>) => Object.entries(wish).find(([key, value]) => found[key] !== value)?.[0]
  return {
    title: `key that unseals ${edge}: in the hub's Vault, not to be exported or deleted`,
    async done() {
      const found = await hub.read<Record<string, unknown>>(path)
      if (found === undefined) {
        // the token is handed over after the key was made: a new key would open nothing, and hide that the old one is gone
        if (!(await hasToken())) return 'there is none'
        throw new LkeobsError('LKO-5209', `Vault of ${above} has no key ${path}, and Vault of ${edge} was founded with it.`)
      }
      const other = differing(found)
      return other === undefined ? true : `${other} is not false`
    },
    async apply() {
      if ((await hub.read(path)) === undefined) await hub.write(path, {type: 'aes256-gcm96'})
      else await hub.write(`${path}/config`, {deletion_allowed: false})
    },
  }
}

/** Whether the hub still has the key of an edge. Needs the hub's administrator. */
export const hasSealKey = async (hub: Vault, edge: string): Promise<boolean> => (await hub.read(`${sealMount}/keys/${edge}`)) !== undefined

/** What the hub knows of a seal token. */
export type SealToken = {
  readonly ttl: number
  readonly period?: number
  readonly orphan: boolean
  readonly policies: readonly string[]
  readonly last_renewal_time?: number | null
}

/** The token in the edge's hands, as the hub knows it; or why there is none. Needs the hub's administrator. */
export const sealTokenOf = async (hub: Vault, edge: Pick<Cluster, 'read'>): Promise<SealToken | string> => {
  const token = await edge.read('vault', sealTokenFile)
  if (token === undefined) return 'not handed over'
  try {
    return (await hub.lookup<SealToken>('auth/token/lookup', {token: new Secret(token)})) ?? 'the hub does not know it'
  } catch (error) {
    if (error instanceof LkeobsError && error.code === 'LKO-5002' && /bad token|40[034] /.test(error.message))
      return 'the hub does not know it'
    throw error
  }
}

const sealToken = (hub: Vault, edge: EdgeCluster): Step => ({
  title: `seal token in the hands of Vault on ${edge.name}: renewed by it, for this key alone`,
  async done() {
    const known = await sealTokenOf(hub, edge)
    if (typeof known === 'string') return known
    if (!known.orphan || known.period !== tokenPeriodSeconds || known.policies.join() !== sealPolicyOf(edge.name)) return 'of another kind'
    // while its holder runs it is renewed at two thirds
    return known.ttl > tokenPeriodSeconds / 4 ? true : 'it was not renewed'
  },
  apply: async () => edge.hand('vault', sealTokenFile, await newSealToken(hub, edge.name)),
})

/** Throws LKO-5206 where the cluster's Vault has another seal than the fleet file wishes for, LKO-5207 where the hub cannot be its seal. */
export const checkSeal = async (
  cluster: Pick<Cluster, 'name' | 'seal' | 'read' | 'vaultSeals' | 'processes'>,
  hub: HubCluster,
): Promise<void> => {
  const {name, seal} = cluster
  const isReached = hub.sealsAt?.here === true ? cluster.processes !== undefined : hub.sealsAt !== undefined
  if (seal === 'transit' && !isReached)
    throw new LkeobsError(
      'LKO-5207',
      `${name} is to be unsealed by ${hub.name}, and the fleet file does not say what edges dial for that (hub.vault.endpoint).`,
    )
  const answer = (await cluster.vaultSeals()).find((found) => found?.initialized)
  const handed = async (file: string) => (await cluster.read('vault', file)) !== undefined
  // one that does not run is known by what it was handed
  const had = answer?.type ?? ((await handed(sealTokenFile)) ? 'transit' : (await handed(sealKeyFile)) ? 'static' : seal)
  if (had !== seal)
    throw new LkeobsError('LKO-5206', `Vault of ${name} is sealed by ${had}; the fleet file says ${seal}.`, {
      next: [`edit the fleet file   (${name}: vault.seal: ${had})`],
    })
}

/** How a static key is called in a cluster's configuration, which what it has sealed says too. */
export const sealKeyIdOf = ({site}: Pick<Cluster, 'site'>): string => (site === undefined ? 'lab-1' : 'static-1')
