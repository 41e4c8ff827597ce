import type {Fleet} from '../clusters.ts'
import {type Signal, signals} from '../collector/config.ts'
import {LkeobsError} from '../errors.ts'
import {duration} from '../output.ts'
import {lockOf} from '../platforms/local/index.ts'
import type {HubCluster} from '../platforms/platform.ts'
import {revealed} from '../secret.ts'
import type {Plan, Step} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {sealedTo} from '../tools/jose.ts'
import {withLock} from '../tools/lock.ts'
import {registered, trusted} from '../trust/bundle.ts'
import {type Credential, issued, known, taken} from '../trust/credential.ts'
import {sameFingerprint, wordsOf} from '../trust/invite.ts'
import {folderOf, isAlive, joinPolicy, joinPolicyOf, revoked} from '../trust/join.ts'
import {written} from '../trust/pki.ts'
import {amend, entryOf, withKeys} from '../trust/register.ts'
import {newSealToken, sealKept, sealsMounted} from '../trust/seal.ts'
import {isBack} from '../verify/verify.ts'
import {edgeIssuerSigned} from './edge-join.ts'

/** How long an edge that was accepted may take with the rest, killed and started again as often as it happens. */
const joinTokenSeconds = 24 * 3600

export type AcceptWish = {
  readonly edge: string
  readonly seal: 'static' | 'transit'
  /** Throws where these are not the words of the edge. */
  readonly agree: (fingerprint: string) => Promise<void>
  /** How long the edge may be waited for. */
  readonly waitMs: number
}

/** Agrees where the words are the given ones. Throws LKO-6007 where they are not. */
export const agreeTo =
  (edge: string, given: string) =>
  async (fingerprint: string): Promise<void> => {
    if (sameFingerprint(given, fingerprint)) return
    throw new LkeobsError('LKO-6007', `${edge} asks with the words ${fingerprint}; given were ${given}.`, {
      next: ['lkeobs edge list', `lkeobs edge evict ${edge}`],
    })
  }

/** The hub's side of joining by invite: done when the edge's canaries are in the hub's stores. */
export const edgeAccept = ({hub, file}: Fleet, wish: AcceptWish, tools: Tools): Plan => {
  const {edge, seal} = wish
  const folder = folderOf(hub.vault, edge)
  const answer = answered(hub, wish)
  const issuerSteps = [issuerSigned(hub, wish), registered(hub.vault, edge, issuerOf(folder)), inTurn(file.folder, trusted(hub, hub.vault))]
  return {
    command: `edge accept ${edge}`,
    title: `Edge ${edge} joins ${hub.name} by its invite.`,
    steps: [
      awaited(wish, `${edge} asks with its invite`, async () => ((await folder.read('request')) ? true : 'it has not asked yet')),
      accepted(hub, wish),
      ...(seal === 'transit' ? [...sealsMounted(hub, [{seal}]), ...sealKept(hub, edge, async () => false)] : []),
      written(hub.vault, `what ${edge} may do while it joins`, `sys/policies/acl/${joinPolicyOf(edge)}`, {policy: joinPolicy(edge)}),
      answer.made,
      inTurn(file.folder, known(hub, hub.vault)),
      inTurn(file.folder, answer.taken),
      answer.given,
      ...issuerSteps,
      sending(hub, wish, tools, issuerSteps),
      alone(hub, wish),
      inTurn(file.folder, known(hub, hub.vault)),
      usedUp(hub, wish),
    ],
  }
}

/** Several edges may be accepted at once, for hours: only what they share is done by one after the other. */
const inTurn = (fleetFolder: string, step: Step): Step => ({
  ...step,
  apply: (tell) => withLock(lockOf(fleetFolder), async () => step.apply(tell), {onWait: (holder) => tell(`${holder} is at work here`)}),
})

type Folder = ReturnType<typeof folderOf>

const issuerOf = (folder: Folder) => async (): Promise<string> => (await folder.read('issuer'))?.certificate ?? ''

/** What the other side has to do. Throws LKO-6008 when it was not done in time. */
const awaited = ({edge, waitMs}: AcceptWish, title: string, is: () => Promise<true | string>, more: Partial<Step> = {}): Step => {
  let until = Number.POSITIVE_INFINITY
  let seen: true | string = ''
  return {
    title,
    // longer than it is waited for: the end of it has its own error
    patienceMs: waitMs + 60_000,
    ...more,
    done: async () => (seen = await is()),
    async apply(tell) {
      until = Date.now() + waitMs
      await more.apply?.(tell)
    },
    async watch() {
      await more.watch?.()
      if (Date.now() > until)
        throw new LkeobsError('LKO-6008', `After ${duration(waitMs)}: ${String(seen)}.`, {
          next: [`lkeobs edge join --invite -          (where ${edge} is)`],
        })
    },
  }
}

const accepted = (hub: HubCluster, {edge, agree}: AcceptWish): Step => {
  const folder = folderOf(hub.vault, edge)
  return {
    title: `${edge} is who its words say`,
    async done() {
      const request = await folder.read('request')
      const agreed = await folder.read('accepted')
      if (!request || agreed === undefined) return 'not agreed yet'
      return agreed.thumbprint === request.thumbprint ? true : 'another key was agreed to'
    },
    async apply(tell) {
      const request = await folder.read('request')
      if (!request) return
      const words = await wordsOf(hub, edge, request)
      tell(`it asks with the words ${words}`, 'lasting')
      await agree(words)
      await folder.lay('accepted', {thumbprint: request.thumbprint, at: new Date().toISOString()})
    },
  }
}

/** What the edge needs from here on, sealed to its key: first its credential, which every gateway has to know before. */
const answered = (hub: HubCluster, {edge, seal}: AcceptWish): {readonly made: Step; readonly taken: Step; readonly given: Step} => {
  const {vault} = hub
  const folder = folderOf(vault, edge)
  let fresh: Credential | undefined
  const isGiven = async (): Promise<true | string> => {
    const answer = await folder.read('answer')
    if (answer === undefined) return 'there is none'
    if (answer.thumbprint !== (await folder.read('request'))?.thumbprint) return 'it is for another key'
    const {keys = []} = await entryOf(vault, edge)
    if (!keys.some(({kid}) => kid === answer.kid)) return 'its credential is not good any more'
    return (await isAlive(vault, answer.accessor)) ? true : 'its token has ended'
  }
  return {
    made: {
      title: `credential of ${edge}: says which edge it is, and its key is thrown away`,
      done: async () => (fresh ? true : isGiven()),
      async apply() {
        fresh = await issued(edge, hub.name)
        const entry = await entryOf(vault, edge)
        // an earlier one may be in the agent's hands
        await amend(vault, edge, withKeys(entry, [fresh.publicKey, ...(entry.keys ?? [])]))
      },
    },
    taken: taken(hub, edge, async () => fresh?.token),
    given: {
      title: `answer to ${edge}, which only it can open`,
      done: isGiven,
      async apply() {
        const request = await folder.read('request')
        if (!request || !fresh) return
        const {client_token: token, accessor} = await vault.write<{client_token: string; accessor: string}>('auth/token/create-orphan', {
          policies: [joinPolicyOf(edge)],
          ttl: `${joinTokenSeconds}s`,
          explicit_max_ttl: `${joinTokenSeconds}s`,
          renewable: false,
          no_default_policy: true,
          display_name: `join-${edge}`,
        })
        const sealToken = seal === 'transit' ? await newSealToken(vault, edge) : undefined
        const content = revealed({token, credential: fresh.token, ...(sealToken && {sealToken})})
        const {kid} = fresh.publicKey
        await folder.lay('answer', {thumbprint: request.thumbprint, sealed: await sealedTo(request.key, content), accessor, kid})
      },
    },
  }
}

/** No credential of the edge is good but the one in its answer. */
const alone = ({vault}: HubCluster, {edge}: AcceptWish): Step => {
  const folder = folderOf(vault, edge)
  const goodOnes = async () => {
    const {keys = []} = await entryOf(vault, edge)
    const kept = (await folder.read('answer'))?.kid
    return {all: keys, kept: keys.filter(({kid}) => kid === kept)}
  }
  return {
    title: `${edge} is known by this credential alone`,
    async done() {
      const {all, kept} = await goodOnes()
      return all.length === 1 && kept.length === 1 ? true : 'another is good, too'
    },
    async apply() {
      const {kept} = await goodOnes()
      if (kept.length > 0) await amend(vault, edge, {keys: kept})
    },
  }
}

/** The edge has made the key of its issuer in its own Vault, and asks for the certificate. */
const issuerSigned = ({vault}: HubCluster, wish: AcceptWish): Step => {
  const {edge} = wish
  const folder = folderOf(vault, edge)
  const state = async () => ({asked: await folder.read('csr'), signed: await folder.read('issuer')})
  const sign = async () => {
    const {asked, signed} = await state()
    if (asked && asked.csr !== signed?.csr)
      await folder.lay('issuer', {csr: asked.csr, certificate: await edgeIssuerSigned(vault, edge, asked.csr)})
  }
  const isSigned = async () => {
    const {asked, signed} = await state()
    if (!asked) return 'it has not asked for one yet'
    return asked.csr === signed?.csr ? true : 'not signed yet'
  }
  return awaited(wish, `issuer of ${edge}, signed by the hub (valid 1 year)`, isSigned, {apply: sign, watch: sign})
}

/** The edge says which canaries it sent; the hub looks for them in its stores, and says which it has. */
const sending = (hub: HubCluster, wish: AcceptWish, {http}: Tools, issuerSteps: readonly Step[]): Step => {
  const {edge} = wish
  const folder = folderOf(hub.vault, edge)
  const missing = async (): Promise<true | string> => {
    const sent = await folder.read('canaries')
    const seen = await folder.read('seen')
    if (!sent) return 'it has sent no canaries yet'
    const rest = signals.filter((signal) => seen?.run !== sent.run || seen.back[signal] === null)
    return rest.length === 0 ? true : `not in its store yet: the canary of ${rest.join(', ')}`
  }
  const look = async () => {
    const sent = await folder.read('canaries')
    if (!sent) return
    const stores = await hub.stores()
    const seen = await folder.read('seen')
    const before: Partial<Record<Signal, number | null>> = seen?.run === sent.run ? seen.back : {}
    const now = await Promise.all(
      signals.map(async (signal) => {
        const at =
          before[signal] ?? ((await isBack(http, stores, edge, signal, {run: sent.run, traceId: sent.traces[signal]})) ? Date.now() : null)
        return [signal, at] as const
      }),
    )
    await folder.lay('seen', {run: sent.run, back: Object.fromEntries(now) as Record<Signal, number | null>})
  }
  return awaited(wish, `canaries of ${edge} read back from the stores`, missing, {
    async watch() {
      // an edge that was killed may ask for another issuer when it goes on
      for (const step of issuerSteps) if ((await step.done()) !== true) await step.apply(() => undefined)
      await look()
    },
  })
}

/** From here on the edge has a token of its own, and nobody can show the invite again. */
const usedUp = ({vault}: HubCluster, {edge}: AcceptWish): Step => {
  const folder = folderOf(vault, edge)
  return {
    title: `invite of ${edge} is used up`,
    async done() {
      const accessor = (await folder.read('invite'))?.accessor
      return accessor !== undefined && (await isAlive(vault, accessor)) ? 'it could be shown again' : true
    },
    async apply() {
      const accessor = (await folder.read('invite'))?.accessor
      if (accessor !== undefined) await revoked(vault, accessor)
    },
  }
}
