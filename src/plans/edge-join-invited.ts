import {hostname} from 'node:os'
import path from 'node:path'
import {type Fleet, openFleet} from '../clusters.ts'
import {type Signal, signals} from '../collector/config.ts'
import {LkeobsError} from '../errors.ts'
import {portsOfEdge} from '../fleet/clashes.ts'
import {addEdge, newEdgeFleet} from '../fleet/edit.ts'
import {parseFleet} from '../fleet/load.ts'
import {duration} from '../output.ts'
import {hubCaKept} from '../platforms/elsewhere.ts'
import {stateFolderOf} from '../platforms/local/index.ts'
import type {EdgeCluster, HubCluster} from '../platforms/platform.ts'
import {Secret} from '../secret.ts'
import type {Plan, Step} from '../steps/step.ts'
import {until} from '../steps/wait.ts'
import type {Tools} from '../tools/index.ts'
import {newSealingKey, publicKeyOf, thumbprintOf, unsealed} from '../tools/jose.ts'
import {credentialFile} from '../trust/credential.ts'
import {fingerprintOf, type Invite, inviteText, readInvite} from '../trust/invite.ts'
import {type Answer, type Folder, folderBy} from '../trust/join.ts'
import type {Signer} from '../trust/pki.ts'
import {sealCaHanded, sealTokenFile} from '../trust/seal.ts'
import {newCanary, newRun} from '../verify/verify.ts'
import {type Above, edgeAgent, edgeIdentity} from './edge-join.ts'
import {fleetFileWritten} from './lab-up.ts'

/** What of joining is kept until it is over, so that it can be gone on with: the invite, a key, the answer, the token in it. */
const kept = (fleetFolder: string, edge: string) => {
  const folder = path.join(stateFolderOf(fleetFolder), edge, 'join')
  const file = (name: string) => path.join(folder, name)
  return {folder, invite: file('invite'), key: file('key'), answer: file('answer'), token: file('token')}
}

/** Where an edge that has no fleet file yet is to run. */
export type JoinPlace = {
  readonly fleet: string
  readonly context?: string | undefined
  readonly kubeconfig?: string | undefined
  readonly ports?: number | undefined
  readonly charts?: string | undefined
}

const firstOfEdges = 14_400
const lastOfEdges = 15_400

/** The first range of ports that nobody listens on. */
const freeRange = async ({processes}: Pick<Tools, 'processes'>): Promise<number> => {
  for (let first = firstOfEdges; first < lastOfEdges; first += portsOfEdge) {
    const held = await Promise.all(Array.from({length: portsOfEdge}, (_, at) => processes.holder(first + at)))
    if (held.every((holder) => holder === undefined)) return first
  }
  return firstOfEdges
}

/**
 * The fleet of an edge that was invited: what its file says, or a new one with the hub of the invite and this edge. Writes
 * nothing. Throws LKO-6011 where the file is of another fleet, LKO-6005 where it knows its hub by another key.
 */
export const openInvited = async (place: JoinPlace, invite: Invite, tools: Tools): Promise<Fleet> => {
  const file = path.resolve(place.fleet)
  const {vault, serverName, pin} = invite
  const there = await tools.files.read(file)
  const text = there ?? newEdgeFleet({...invite, elsewhere: {vault, pin, ...(serverName !== undefined && {serverName})}})
  const found = parseFleet(text, place.fleet)
  const known = found.hub.platform.elsewhere
  if (found.fleet !== invite.fleet || found.hub.name !== invite.hub || !known)
    throw new LkeobsError(
      'LKO-6011',
      `${place.fleet} is of the fleet ${found.fleet} with the hub ${found.hub.name}${known ? '' : ', which is looked after here'}; the invite is for ${invite.edge} of ${invite.fleet} with the hub ${invite.hub}.`,
    )
  if (known.pin !== pin)
    throw new LkeobsError(
      'LKO-6005',
      `${place.fleet} knows ${invite.hub} by the key ${known.pin.slice(0, 12)}…; the invite names ${pin.slice(0, 12)}….`,
    )
  const {context, kubeconfig} = place
  const platform =
    context === undefined
      ? {local: {ports: place.ports ?? (await freeRange(tools))}}
      : {kubernetes: {context, ...(kubeconfig !== undefined && {kubeconfig})}}
  const isListed = found.edges.some(({name}) => name === invite.edge)
  const whole = isListed ? text : addEdge(text, {name: invite.edge, platform, ...(invite.seal === 'transit' && {vault: {seal: 'transit'}})})
  return openFleet({fleet: parseFleet(whole, place.fleet), file, folder: path.dirname(file), text: whole}, tools, {charts: place.charts})
}

/** The invite of a join that was not finished here; undefined where there is none. */
export const keptInvite = async (fleetFolder: string, edge: string, {files}: Pick<Tools, 'files'>): Promise<Invite | undefined> => {
  const text = await files.read(kept(fleetFolder, edge).invite)
  return text === undefined ? undefined : readInvite(new Secret(text))
}

export type JoinWish = {
  readonly invite: Invite
  /** How long the hub may be waited for. */
  readonly waitMs: number
  readonly timeoutMs: number
}

/** Throws LKO-6005 where the hub is not that of the invite, LKO-6004 where somebody else was faster. Only reads. */
export const checkUnused = async (fleet: Fleet, edge: EdgeCluster, wish: JoinWish, tools: Tools): Promise<void> => {
  await asking(fleet, edge, wish, tools).requested.done()
}

/** The edge's side of joining by invite: the hub is reached only where every edge reaches it. */
export const edgeJoinInvited = (fleet: Fleet, edge: EdgeCluster, wish: JoinWish, tools: Tools): Plan => {
  const {hub, file} = fleet
  const {files} = tools
  const at = kept(file.folder, edge.name)
  const {name} = edge
  const {requested, answered, opened} = asking(fleet, edge, wish, tools)
  const asEdge = folderBy(
    hub.vault,
    name,
    async () => new Secret((await files.read(at.token)) ?? ''),
    unknownInvite(fleet, edge, ', nor what it answered to it'),
  )
  const papers = byPapers(hub, edge, signedElsewhere(hub, asEdge, wish))
  // what the answer holds needs a place to be put
  const above: Above = {...papers, before: [opened, ...papers.before]}
  return {
    command: `edge join ${name} --invite -`,
    title: `Edge ${name} joins ${hub.name} by its invite.`,
    steps: [
      hubPinned(fleet, tools),
      requested,
      fleetFileWritten(fleet, tools),
      answered,
      ...edgeIdentity(above, edge),
      ...edgeAgent(above, hub, edge),
      readBackByHub(hub, edge, asEdge, wish),
      {
        title: `nothing of the invite is left here`,
        done: async () => ((await files.list(at.folder)).length === 0 ? true : 'what it was gone on with'),
        apply: async () => files.remove(at.folder),
      },
    ],
  }
}

/** All but the issuer came with the answer, when the gateways knew it. */
const byPapers = (hub: HubCluster, edge: EdgeCluster, signer: Signer): Above => ({
  signer,
  before: edge.seal === 'transit' ? [sealCaHanded(hub, edge)] : [],
  known: [],
  admitted: [],
  settled: [],
})

/** An edge that has joined by invite, brought up to its fleet file once more. Its issuer cannot be made anew without the hub. */
export const edgeRepaired = (fleet: Fleet, edge: EdgeCluster, tools: Tools): Plan => {
  const {hub} = fleet
  const {certificate} = signedElsewhere(hub, unreachable, {waitMs: 0})
  const signer: Signer = {
    certificate,
    async sign() {
      throw new LkeobsError('LKO-6009', `The issuer of ${edge.name} is signed by ${hub.name}, which is looked after elsewhere.`, {
        next: [`lkeobs edge invite ${edge.name}          (on ${hub.name})`],
      })
    },
  }
  const above = byPapers(hub, edge, signer)
  return {
    command: `edge join ${edge.name}`,
    title: `Edge ${edge.name} of ${hub.name}.`,
    steps: [hubPinned(fleet, tools), ...edgeIdentity(above, edge), ...edgeAgent(above, hub, edge)],
  }
}

const unreachable: Folder = {
  read: async () => undefined,
  lay: async () => undefined,
}

const unknownInvite =
  ({hub}: Fleet, {name}: EdgeCluster, more = '') =>
  () =>
    new LkeobsError('LKO-6004', `${hub.name} no longer knows this invite for ${name}${more}.`, {
      next: [`lkeobs edge join ${name}          (where it has joined already)`, `lkeobs edge invite ${name}          (on ${hub.name})`],
    })

/** The steps that are taken with the invite itself. */
const asking = (fleet: Fleet, edge: EdgeCluster, wish: JoinWish, tools: Tools) => {
  const {files} = tools
  const at = kept(fleet.file.folder, edge.name)
  const parts = {
    asInvited: folderBy(fleet.hub.vault, edge.name, async () => wish.invite.token, unknownInvite(fleet, edge)),
    key: async () => new Secret((await files.read(at.key)) ?? ''),
  }
  return {
    requested: requested(fleet, edge, wish, tools, parts),
    answered: answered(fleet, edge, wish, tools, parts),
    opened: opened(fleet, edge, tools, parts),
  }
}

/** Whoever answers has the key that the invite names; only then is anything of the invite shown. */
const hubPinned = ({hub, file}: Fleet, {files}: Tools): Step => {
  const at = hubCaKept(file.folder, hub.name)
  return {
    title: `root CA of ${hub.name}, as pinned`,
    done: async () => ((await files.read(at)) === (await hub.rootCa()) ? true : 'not kept'),
    apply: async () => files.write(at, await hub.rootCa(), 0o644),
  }
}

type Asking = {readonly asInvited: Folder; readonly key: () => Promise<Secret>}

/** The hub has been asked, with a key that was on disk before: who is killed after asking still has it. */
const requested = ({hub, file}: Fleet, {name}: EdgeCluster, {invite}: JoinWish, {files}: Tools, {asInvited, key}: Asking): Step => {
  const at = kept(file.folder, name)
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
const answered = ({hub, file}: Fleet, edge: EdgeCluster, {invite, waitMs}: JoinWish, {files}: Tools, {asInvited, key}: Asking): Step => {
  const {name} = edge
  const at = kept(file.folder, name)
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
const opened = ({hub, file}: Fleet, edge: EdgeCluster, {files}: Tools, {key}: Pick<Asking, 'key'>): Step => {
  const {name} = edge
  const at = kept(file.folder, name)
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
  async certificate() {
    const answer = await hub.vault.raw('pki_edge/ca/pem')
    return answer?.status === 200 ? answer.body.toString() : ''
  },
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

/** The edge sends canaries, and the hub says that it has read them. */
const readBackByHub = (hub: HubCluster, edge: EdgeCluster, folder: Folder, {timeoutMs}: JoinWish): Step => {
  const {name} = edge
  const isBack = async (): Promise<true | string> => {
    const sent = await folder.read('canaries')
    if (!sent) return 'no canaries were sent yet'
    const seen = await folder.read('seen')
    const rest = signals.filter((signal) => seen?.run !== sent.run || seen.back[signal] === null)
    return rest.length === 0 ? true : `${hub.name} has not read back the canary of ${rest.join(', ')}`
  }
  return {
    title: `canaries of ${name}, read back by ${hub.name}`,
    patienceMs: timeoutMs,
    done: isBack,
    async apply() {
      const run = newRun()
      const sent = signals.map((signal) => [signal, newCanary(run)] as const)
      for (const [signal, canary] of sent) {
        const seen = await edge.sendCanary(signal, canary)
        if (seen !== true) throw new LkeobsError('LKO-2001', `The agent of ${name} did not accept the canary of ${signal}: ${seen}`)
      }
      await folder.lay('canaries', {
        run,
        traces: Object.fromEntries(sent.map(([signal, {traceId}]) => [signal, traceId])) as Record<Signal, string>,
      })
    },
  }
}
