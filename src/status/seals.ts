import type {Cluster, HubCluster} from '../platforms/platform.ts'

const unsealer = "the hub's Vault, which unseals it,"

/** Why the hub cannot unseal an edge now, as far as anybody may ask; undefined when it can. */
export const hubSealFault = async ({vault}: Pick<HubCluster, 'vault'>): Promise<string | undefined> => {
  const seal = await vault.sealStatus()
  if (seal === undefined) return `${unsealer} does not answer`
  if (!seal.initialized) return `${unsealer} is not initialised`
  return seal.sealed ? `${unsealer} is sealed` : undefined
}

/** How a cluster's Vault stands, asked without a login. */
export type Openness = {
  /** Every node answers and is unsealed. */
  readonly open: boolean
  /** What is not so, or soon not: with its reason where that is the hub. */
  readonly reason?: string
}

/** What of a Vault's nodes is not open, in a few words. */
export const closedWords = (sealed: number, silent: number, nodes: number): string => {
  const of = (count: number) => (nodes === 1 ? '' : `${count} of ${nodes} nodes: `)
  if (sealed > 0) return `${of(sealed)}sealed`
  return silent > 0 ? `${of(silent)}no answer` : ''
}

/** Whether a cluster's Vault is open, and what stands behind it where it is not. `fault` is that of its hub's seal. */
export const openness = async ({vaultSeals, seal}: Pick<Cluster, 'vaultSeals' | 'seal'>, fault?: string): Promise<Openness> => {
  const seals = await vaultSeals()
  const sealed = seals.filter((found) => found?.sealed).length
  const closed = closedWords(sealed, seals.filter((found) => found === undefined).length, seals.length)
  const because = seal === 'transit' ? fault : undefined
  if (closed !== '') return {open: false, reason: because === undefined ? closed : `${closed}: ${because}`}
  return {open: true, ...(because !== undefined && {reason: `it would not open again: ${because}`})}
}
