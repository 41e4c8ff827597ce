import type {Cluster, EdgeCluster, HubCluster} from '../platforms/platform.ts'
import {Secret} from '../secret.ts'
import {flatten, type Step} from '../steps/step.ts'
import type {Http} from '../tools/http.ts'
import {type Claims, type PublicKey, readToken, signedOnce} from '../tools/jose.ts'
import type {Vault} from '../tools/vault.ts'
import {amend, entries, entryOf, mayAsk, withKeys} from './register.ts'

/** What an edge shows with everything it sends: a token that says which edge it is. In the agent's hands. */
export const credentialFile = 'credential.jwt'

/** The keys by which the gateway knows its edges (a JWK Set, which it watches), and one whose other half nobody has. */
export const keysFile = 'edges.jwks'
const nobodyFile = 'no-edge.jwks'

/**
 * A token that has ended is refused for good, and the agent drops what it sent with it. So its life is bounded by its key in
 * the gateway's file, which can be taken away at any time, and not by a date.
 */
const lifeDays = 3650
const renewBeforeMs = 365 * 86_400_000

/** Who signs credentials, and for whom. */
export const termsOf = (hub: string): Pick<Claims, 'issuer' | 'audience'> => ({issuer: `lkeobs:${hub}`, audience: `lkeobs:${hub}:gateway`})

export type Credential = {readonly token: Secret; readonly publicKey: PublicKey}

/** A new credential of an edge. Whoever may write the register makes it; the edge's cluster has no part in it. */
export const issued = (edge: string, hub: string): Promise<Credential> => signedOnce({...termsOf(hub), subject: edge}, lifeDays)

/** Keys as the gateway reads them. */
export const jwks = (keys: readonly PublicKey[]): string => `${JSON.stringify({keys}, undefined, 2)}\n`

const keysIn = (file: string | undefined): readonly PublicKey[] =>
  file === undefined ? [] : (JSON.parse(file) as {readonly keys: readonly PublicKey[]}).keys

/** Whoever hands files to components. */
type Hands = Pick<Cluster, 'read' | 'hand'>

/** The file may not be empty: a gateway would not start with it, and one that runs would keep the keys it has. This key fills it and admits nobody. */
export const nobodyKnown = (gateway: Hands): Step => ({
  title: 'a key whose other half was thrown away, for a gateway that knows no edge yet',
  done: async () => ((await gateway.read('gateway', nobodyFile)) === undefined ? 'there is none' : true),
  apply: async () => gateway.hand('gateway', nobodyFile, jwks([(await issued('nobody', 'nobody')).publicKey])),
})

const handKeys = async (gateway: Hands, hub: Vault): Promise<void> => gateway.hand('gateway', keysFile, await keysWished(gateway, hub))
const keysWished = async (gateway: Hands, hub: Vault): Promise<string> =>
  jwks([...keysIn(await gateway.read('gateway', nobodyFile)), ...(await entries(hub)).flatMap(({keys = []}) => keys)])

/** The gateway is handed exactly the keys of the edges the hub knows. It takes them up by itself, within seconds on a machine. */
export const known = (gateway: Hands, hub: Vault): Step => ({
  title: 'the gateway knows these edges by their credentials and no one else',
  done: async () => ((await gateway.read('gateway', keysFile)) === (await keysWished(gateway, hub)) ? true : 'its keys are others'),
  apply: () => handKeys(gateway, hub),
})

/** No credential of the edge is good any more, once `known` has followed. It keeps its place in the register: nothing else of it changes. */
export const takenAway = (hub: Vault, edge: string): Step => ({
  title: `no credential of ${edge} is good any more`,
  done: async () => ((await entryOf(hub, edge)).keys?.length === 0 ? true : 'it has one'),
  apply: () => amend(hub, edge, {keys: []}),
})

/** What a gateway answers at its own door, where credentials can be tried: 200, 401, or undefined where it asks for none. Sends nothing. */
export const tried = async (http: Http, address: string, token?: Secret): Promise<number | undefined> =>
  (await http.post(`http://${address}/v1/logs`, {}, token && {token}))?.status

// a kubelet that was not nudged brings a file within 90 s
const patienceMs = 120_000

/** Every gateway takes a credential that nobody has yet: what is sent with one that is refused is lost. */
export const taken = (hub: HubCluster, edge: string, credential: () => Promise<Secret | undefined>): Step => ({
  title: `every gateway takes the credential of ${edge}`,
  patienceMs,
  async done() {
    const token = await credential()
    if (token === undefined || !(await mayAsk(hub.vault))) return true
    const answers = await hub.knock(token)
    const not = answers.filter((status) => status !== 200)
    if (not.length === 0) return answers.length > 0 ? true : 'there is no gateway'
    return not.includes(401) ? `${not.length} of ${answers.length} do not know it yet` : 'a gateway does not answer'
  },
  apply: () => handKeys(hub, hub.vault),
})

/** The steps by which an edge gets its credential. Between `made` and `given` it is nowhere but in this process. */
export type Handing = {
  /** There is one: signed, and its key in the register. */
  readonly made: Step
  /** Every gateway takes it: until then the agent must not have it, for what is refused is lost. */
  readonly taken: Step
  /** It is in the agent's hands. */
  readonly given: Step
  /** The agent runs with it, and no other of this edge is good. */
  readonly alone: Step
}

export const handing = (hub: HubCluster, edge: EdgeCluster): Handing => {
  const {name} = edge
  let fresh: Secret | undefined
  const held = () => edge.read('agent', credentialFile)
  const token = async () => fresh?.reveal() ?? (await held())
  const kidOf = async (text: string | undefined) => (text === undefined ? undefined : (await readToken(text))?.kid)
  return {
    made: {
      title: `credential of ${name}: says which edge it is, and its key is thrown away`,
      async done() {
        const text = await token()
        if (text === undefined) return 'there is none'
        const found = await readToken(text)
        const {issuer, audience} = termsOf(hub.name)
        if (found?.subject !== name || found.issuer !== issuer || found.audience !== audience) return 'of another edge or hub'
        if (found.expiresMs - Date.now() < renewBeforeMs) return 'it ends within a year'
        const {keys = []} = await entryOf(hub.vault, name)
        return keys.some(({kid}) => kid === found.kid) ? true : 'the hub does not know it'
      },
      async apply() {
        const made = await issued(name, hub.name)
        const entry = await entryOf(hub.vault, name)
        // what the agent shows until it has the new one stays good; one that a killed run made is in nobody's hands
        const shown = await kidOf(await held())
        const kept = (entry.keys ?? []).filter(({kid}) => kid === shown)
        await amend(hub.vault, name, withKeys(entry, [made.publicKey, ...kept]))
        fresh = made.token
      },
    },
    taken: taken(hub, name, async () => {
      const text = await token()
      // one that the agent has was asked about before it was given
      return text === undefined || text === (await held()) ? undefined : new Secret(text)
    }),
    given: {
      title: `credential in the hands of the agent on ${name}`,
      async done() {
        const text = await held()
        return text !== undefined && text === (await token()) ? true : 'not there, or another'
      },
      async apply() {
        if (fresh) await edge.hand('agent', credentialFile, fresh)
      },
    },
    alone: {
      title: `${name} is known by this credential alone`,
      async done() {
        const {keys = [], unbound} = await entryOf(hub.vault, name)
        if (unbound) return 'it was not seen with it'
        const shown = await kidOf(await held())
        return keys.length === 1 && keys[0]?.kid === shown ? true : 'another is good, too'
      },
      async apply() {
        const shown = await kidOf(await held())
        const {keys = []} = await entryOf(hub.vault, name)
        await amend(hub.vault, name, {keys: keys.filter(({kid}) => kid === shown), unbound: undefined})
      },
    },
  }
}

/** Gateways from before there were credentials begin to ask for them, once no edge that sends is without. */
export const asking = (hub: HubCluster): Step => {
  const steps = () => flatten(hub.gatewayRuns())
  let begun = false
  return {
    title: 'the gateway asks every edge for its credential, once each has one',
    patienceMs: 600_000,
    async done() {
      if (!(await mayAsk(hub.vault))) return true
      const answers = await hub.knock()
      if (answers.every((status) => status === 401)) return true
      // one that is not there refuses nobody, and asks from its start
      return !begun && (await hub.counters('gateway')) === undefined ? true : 'it does not ask'
    },
    async apply(tell) {
      begun = true
      for (const step of steps()) if ((await step.done()) !== true) await step.apply(tell)
    },
    async watch() {
      for (const step of steps()) await step.watch?.()
    },
  }
}
