import {hostname} from 'node:os'
import path from 'node:path'
import {LkeobsError} from '../errors.ts'
import {duration} from '../output.ts'
import {stateFolderOf} from '../platforms/local/index.ts'
import type {EdgeCluster, HubCluster} from '../platforms/platform.ts'
import {Secret} from '../secret.ts'
import type {Step} from '../steps/step.ts'
import {until} from '../steps/wait.ts'
import type {Tools} from '../tools/index.ts'
import {newSealingKey, publicKeyOf, thumbprintOf, unsealed} from '../tools/jose.ts'
import {credentialFile} from './credential.ts'
import {fingerprintOf, type Invite, inviteText, readInvite} from './invite.ts'
import {type Answer, type Folder, folderBy} from './join.ts'
import type {Signer} from './pki.ts'
import {sealTokenFile} from './seal.ts'

/** What of joining is kept until it is over, so that it can be gone on with: the invite, a key, the answer, the token in it. */
const kept = (fleetFolder: string, edge: string) => {
  const folder = path.join(stateFolderOf(fleetFolder), edge, 'join')
  const file = (name: string) => path.join(folder, name)
  return {folder, invite: file('invite'), key: file('key'), answer: file('answer'), token: file('token')}
}

/** The invite of a join that was not finished here; undefined where there is none. */
export const keptInvite = async (fleetFolder: string, edge: string, {files}: Pick<Tools, 'files'>): Promise<Invite | undefined> => {
  const text = await files.read(kept(fleetFolder, edge).invite)
  return text === undefined ? undefined : readInvite(new Secret(text))
}

/** With what an invited edge asks its hub to let it in. */
export type JoinWish = {
  readonly invite: Invite
  /** The fleet's, under which what is needed to go on is kept. */
  readonly folder: string
  /** How long the hub may be waited for. */
  readonly waitMs: number
  readonly timeoutMs: number
}

/** Throws LKO-6005 where the hub is not that of the invite, LKO-6004 where somebody else was faster. Only reads. */
export const checkUnused = async (hub: HubCluster, edge: EdgeCluster, wish: JoinWish, tools: Pick<Tools, 'files'>): Promise<void> => {
  await admission(hub, edge, wish, tools).requested.done()
}

/** The edge's side of being let in by an invite: what it asks of its hub, and what it is given. */
export const admission = (hub: HubCluster, edge: EdgeCluster, wish: JoinWish, {files}: Pick<Tools, 'files'>) => {
  const at = kept(wish.folder, edge.name)
  const parts: Parts = {
    at,
    files,
    asInvited: folderBy(hub.vault, edge.name, async () => wish.invite.token, unknownInvite(hub, edge)),
    key: async () => new Secret((await files.read(at.key)) ?? ''),
  }
  const asEdge = folderBy(
    hub.vault,
    edge.name,
    async () => new Secret((await files.read(at.token)) ?? ''),
    unknownInvite(hub, edge, ', nor what it answered to it'),
  )
  return {
    requested: requested(hub, edge, wish, parts),
    answered: answered(hub, edge, wish, parts),
    opened: opened(hub, edge, parts),
    /** Its papers at the hub, in its own name. */
    asEdge,
    signer: signedElsewhere(hub, asEdge, wish),
    forgotten: {
      title: `nothing of the invite is left here`,
      done: async () => ((await files.list(at.folder)).length === 0 ? true : 'what it was gone on with'),
      apply: async () => files.remove(at.folder),
    } satisfies Step,
  }
}

const unknownInvite =
  ({name: hub}: HubCluster, {name}: EdgeCluster, more = '') =>
  () =>
    new LkeobsError('LKO-6004', `${hub} no longer knows this invite for ${name}${more}.`, {
      next: [`lkeobs edge join ${name}          (where it has joined already)`, `lkeobs edge invite ${name}          (on ${hub})`],
    })

/** The certificate of the hub's issuer of edges, as anybody may read it. */
export const issuerOfEdges = async (hub: HubCluster): Promise<string> => {
  const answer = await hub.vault.raw('pki_edge/ca/pem')
  return answer?.status === 200 ? answer.body.toString() : ''
}

type Parts = {
  readonly at: ReturnType<typeof kept>
  readonly files: Tools['files']
  readonly asInvited: Folder
  readonly key: () => Promise<Secret>
}

/** The hub has been asked, with a key that was on disk before: who is killed after asking still has it. */
const requested = (hub: HubCluster, {name}: EdgeCluster, {invite}: JoinWish, {at, files, asInvited, key}: Parts): Step => {
  const isKept = async () => (await files.read(at.invite)) === inviteText(invite).reveal()
  const isOurs = async (): Promise<true | string> => {
    const goesOn = await isKept()
    // with the answer, the invite has done its part
    if (goesOn && (await isAnswered(at, files))) return true
    const own = goesOn ? await files.read(at.key) : undefined
    const found = await asInvited.read('request')
    if (!found) return 'not asked yet'
    if (own !== undefined && found.thumbprint === (await thumbprintOf(publicKeyOf(new Secret(own))))) return true
    throw new LkeobsError(
      'LKO-6004',
      `Another machine used this invite for ${name} on ${found.at}: it asks with the words ${await fingerprintOf(name, found.thumbprint, invite.pin)}.`,
      {
        next: [
          `lkeobs edge evict ${name}          (on ${hub.name}, where that was nobody of yours)`,
          `lkeobs edge invite ${name}          (on ${hub.name})`,
        ],
      },
    )
  }
  return {
    title: `${hub.name} is asked to let ${name} in`,
    done: isOurs,
    async apply() {
      // of another invite, nothing is of use
      if (!(await isKept())) await files.remove(at.folder)
      if ((await files.read(at.key)) === undefined) await files.write(at.key, (await newSealingKey()).privateKey)
      await files.write(at.invite, inviteText(invite))
      const publicKey = publicKeyOf(await key())
      const thumbprint = await thumbprintOf(publicKey)
      await asInvited
        .lay('request', {key: publicKey, thumbprint, at: new Date().toISOString(), from: hostname()})
        .catch(async (error: unknown) => {
          // somebody was faster
          await isOurs()
          throw error
        })
    },
  }
}

const isAnswered = async (at: ReturnType<typeof kept>, files: Tools['files']): Promise<boolean> =>
  (await files.read(at.token)) !== undefined || (await files.read(at.answer)) !== undefined

/** What the hub answered, as it came: the invite may end before there is a place for what is in it. */
const answered = (hub: HubCluster, {name}: EdgeCluster, {invite, waitMs}: JoinWish, {at, files, asInvited, key}: Parts): Step => {
  const isThere = async () => ((await isAnswered(at, files)) ? true : `${hub.name} has not accepted it yet`)
  return {
    title: `${hub.name} lets ${name} in`,
    done: isThere,
    async apply(tell) {
      const thumbprint = await thumbprintOf(publicKeyOf(await key()))
      const words = await fingerprintOf(name, thumbprint, invite.pin)
      tell(`the words of ${name} are ${words}`, 'lasting')
      tell(`on ${hub.name}: lkeobs edge accept ${name} --fingerprint ${words}`, 'lasting')
      const isGiven = async () => ((await asInvited.read('answer'))?.thumbprint === thumbprint ? true : isThere())
      if ((await until(isGiven, {forMs: waitMs, tell})) !== true)
        throw new LkeobsError('LKO-6008', `After ${duration(waitMs)} ${hub.name} has not accepted ${name} (${words}).`, {
          next: [`lkeobs edge accept ${name} --fingerprint ${words}          (on ${hub.name})`],
        })
      const answer = await asInvited.read('answer')
      if (answer) await files.write(at.answer, answer.sealed)
    },
  }
}

/** What is in the answer, where it belongs. */
const opened = (hub: HubCluster, edge: EdgeCluster, {at, files, key}: Parts): Step => {
  const {name} = edge
  return {
    title: `what ${name} was given by ${hub.name}, in its hands`,
    done: async () => ((await files.read(at.token)) === undefined ? 'sealed still' : true),
    async apply() {
      const sealed = await files.read(at.answer)
      const content = sealed === undefined ? undefined : await unsealed(await key(), sealed)
      if (!content) throw new LkeobsError('LKO-6004', `The answer of ${hub.name} to ${name} is sealed to another key.`)
      const {token, credential, sealToken} = JSON.parse(content.reveal()) as Answer
      if (sealToken !== undefined) await edge.hand('vault', sealTokenFile, new Secret(sealToken))
      await edge.hand('agent', credentialFile, new Secret(credential))
      // last: whoever has it has all of the answer
      await files.write(at.token, new Secret(token))
    },
  }
}

/** Papers for the hub, which signs what it finds in them. */
const signedElsewhere = (hub: HubCluster, folder: Folder, {waitMs}: Pick<JoinWish, 'waitMs'>): Signer => ({
  certificate: () => issuerOfEdges(hub),
  // one of before an eviction is not in the hub's register any more
  remembers: async (pem) => (await folder.read('issuer'))?.certificate.trim() === pem.trim(),
  async sign(csr) {
    await folder.lay('csr', {csr})
    const isSigned = async () => ((await folder.read('issuer'))?.csr === csr ? true : `${hub.name} has not signed it yet`)
    if ((await until(isSigned, {forMs: waitMs})) !== true)
      throw new LkeobsError('LKO-6008', `After ${duration(waitMs)} ${hub.name} has not signed the issuer.`, {
        next: [`lkeobs edge accept NAME          (on ${hub.name})`],
      })
    return (await folder.read('issuer'))?.certificate ?? ''
  },
})
