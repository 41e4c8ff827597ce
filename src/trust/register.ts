import type {PublicKey} from '../tools/jose.ts'
import type {Vault} from '../tools/vault.ts'

/** Where the hub's Vault keeps who may send. */
export const registry = 'lkeobs'
const edges = `${registry}/edges`

/** Where it knows an edge by its name, and which cluster that name means. */
export const entryPath = (edge: string): string => `${edges}/${edge}`
export const bindingOf = (edge: string): string => `${registry}/clusters/${edge}`

/** What the hub knows of an edge. */
export type Entry = {
  /** Who signs its leaves (PEM). */
  readonly issuer?: string
  /** Who signed them before, and is trusted until every leaf of its is gone. */
  readonly retiring?: string
  /** The public halves of its credentials, the newest first: two while one takes the place of another, none once they were taken away. */
  readonly keys?: readonly PublicKey[]
  /** It sends since before there were credentials, and was not yet seen with one. */
  readonly unbound?: boolean
}

export const entryOf = async (hub: Vault, edge: string): Promise<Entry> => (await hub.read<Entry>(entryPath(edge))) ?? {}

/** Who is in it. */
export const edgesKnown = async (hub: Vault): Promise<readonly string[]> => (await hub.list(edges)).toSorted()

/** All of them, in the order of their names. */
export const entries = async (hub: Vault): Promise<readonly Entry[]> =>
  Promise.all((await edgesKnown(hub)).map((name) => entryOf(hub, name)))

/** Changes these fields of an entry and keeps the others: a write replaces all of it. */
export const amend = async (
  hub: Vault,
  edge: string,
  change: {readonly [Field in keyof Entry]: Entry[Field] | undefined},
): Promise<void> => {
  const fields = Object.entries({...(await entryOf(hub, edge)), ...change}).filter(([, value]) => value !== undefined)
  await hub.write(entryPath(edge), Object.fromEntries(fields))
}

/** An edge that joined before there were credentials would be refused, and lose what it sends. */
const isUnbound = ({issuer, keys, unbound}: Entry): boolean => unbound === true || (issuer !== undefined && keys === undefined)

/** Whether the gateway may ask for credentials: no edge that sends is without one. */
export const mayAsk = async (hub: Vault): Promise<boolean> => !(await entries(hub)).some(isUnbound)

/** What is noted when keys are added to an entry. */
export const withKeys = (entry: Entry, keys: readonly PublicKey[]): Entry => ({keys, ...(isUnbound(entry) && {unbound: true})})
