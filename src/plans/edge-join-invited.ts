import path from 'node:path'
import {type Fleet, openFleet} from '../clusters.ts'
import {type Signal, signals} from '../collector/config.ts'
import {LkeobsError} from '../errors.ts'
import {portsOfEdge} from '../fleet/clashes.ts'
import {addEdge, newEdgeFleet} from '../fleet/edit.ts'
import {parseFleet} from '../fleet/load.ts'
import {hubCaKept} from '../platforms/elsewhere.ts'
import type {EdgeCluster, HubCluster} from '../platforms/platform.ts'
import type {Plan, Step} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {admission, issuerOfEdges, type JoinWish} from '../trust/admission.ts'
import type {Invite} from '../trust/invite.ts'
import type {Folder} from '../trust/join.ts'
import type {Signer} from '../trust/pki.ts'
import {sealCaHanded} from '../trust/seal.ts'
import {newCanary, newRun} from '../verify/verify.ts'
import {type Above, edgeAgent, edgeIdentity} from './edge-join.ts'
import {fleetFileWritten} from './lab-up.ts'

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

/** The edge's side of joining by invite: the hub is reached only where every edge reaches it. */
export const edgeJoinInvited = (fleet: Fleet, edge: EdgeCluster, wish: JoinWish, tools: Tools): Plan => {
  const {hub} = fleet
  const {requested, answered, opened, asEdge, signer, forgotten} = admission(hub, edge, wish, tools)
  const papers = byPapers(hub, edge, signer)
  // what the answer holds needs a place to be put
  const above: Above = {...papers, before: [opened, ...papers.before]}
  return {
    command: `edge join ${edge.name} --invite -`,
    title: `Edge ${edge.name} joins ${hub.name} by its invite.`,
    steps: [
      hubPinned(fleet, tools),
      requested,
      fleetFileWritten(fleet, tools),
      answered,
      ...edgeIdentity(above, edge),
      ...edgeAgent(above, hub, edge),
      readBackByHub(hub, edge, asEdge, wish),
      forgotten,
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
  const signer: Signer = {
    certificate: () => issuerOfEdges(hub),
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

/** Whoever answers has the key that the invite names; only then is anything of the invite shown. */
const hubPinned = ({hub, file}: Fleet, {files}: Tools): Step => {
  const at = hubCaKept(file.folder, hub.name)
  return {
    title: `root CA of ${hub.name}, as pinned`,
    done: async () => ((await files.read(at)) === (await hub.rootCa()) ? true : 'not kept'),
    apply: async () => files.write(at, await hub.rootCa(), 0o644),
  }
}

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
