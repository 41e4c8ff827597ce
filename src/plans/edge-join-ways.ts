import {checkHub, checkPrograms, edgeOf, type Fleet} from '../clusters.ts'
import {signals} from '../collector/config.ts'
import type {EdgeCluster} from '../platforms/platform.ts'
import type {Plan} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {checkUnused, type JoinWish, keptInvite} from '../trust/admission.ts'
import {checkBound} from '../trust/binding.ts'
import type {Invite} from '../trust/invite.ts'
import {checkSeal} from '../trust/seal.ts'
import {verificationText} from '../verify/report.ts'
import {patientTimeoutMs, verify} from '../verify/verify.ts'
import {edgeJoin} from './edge-join.ts'
import {edgeJoinInvited, edgeRepaired, type JoinPlace, openInvited} from './edge-join-invited.ts'

/** A way in which an edge joins. */
export type Way = {
  readonly fleet: Fleet
  readonly edge: string
  /** What must be so before anything is changed. */
  readonly checks: readonly (() => Promise<void>)[]
  readonly plan: (tools: Tools) => Promise<Plan>
  /** How it ended; left out where the steps say it all. */
  readonly ended?: (say: (line: string) => void) => Promise<{readonly ok: boolean; readonly text: string; readonly more?: object}>
}

const checksOf = (fleet: Fleet, edge: EdgeCluster, tools: Tools): Way['checks'] => [
  () => checkPrograms(edge, tools),
  () => edge.checked(),
  () => checkSeal(edge, fleet.hub),
]

/** Hub and edge are in the same fleet file, or the edge has joined a hub elsewhere before. */
export const wayByName = async (
  name: string,
  wish: JoinPlace & {readonly waitMs: number; readonly rebind: boolean},
  open: (tools: Tools) => Promise<Fleet>,
  tools: Tools,
): Promise<Way> => {
  const fleet = await open(tools)
  const edge = edgeOf(fleet, name)
  if (!fleet.file.fleet.hub.platform.elsewhere) return inReachWay(fleet, edge, wish, open, tools)
  const invite = await keptInvite(fleet.file.folder, name, tools)
  if (invite) return wayByInvite(invite, wish, tools)
  return {
    fleet,
    edge: name,
    checks: checksOf(fleet, edge, tools),
    async plan(those) {
      const opened = await open(those)
      return edgeRepaired(opened, edgeOf(opened, name), those)
    },
  }
}

const inReachWay = (
  fleet: Fleet,
  edge: EdgeCluster,
  {rebind}: {readonly rebind: boolean},
  open: (tools: Tools) => Promise<Fleet>,
  tools: Tools,
): Way => ({
  fleet,
  edge: edge.name,
  checks: [() => checkHub(fleet.hub), ...checksOf(fleet, edge, tools), ...(rebind ? [] : [() => checkBound(fleet.hub, edge)])],
  async plan(those) {
    const opened = await open(those)
    return edgeJoin(opened.hub, edgeOf(opened, edge.name))
  },
  async ended(say) {
    const verification = await verify(tools.http, {hub: fleet.hub, edges: [edge], signals, timeoutMs: patientTimeoutMs}, say)
    const {ok} = verification
    return {ok, text: `${verificationText(verification)}${ok ? `\n\n${edge.name} is sending.` : ''}`, more: {verification}}
  },
})

/** The hub is looked after elsewhere, and the edge has its invite. */
export const wayByInvite = async (invite: Invite, place: JoinPlace & {readonly waitMs: number}, tools: Tools): Promise<Way> => {
  const fleet = await openInvited(place, invite, tools)
  const edge = edgeOf(fleet, invite.edge)
  const wish: JoinWish = {invite, folder: fleet.file.folder, waitMs: place.waitMs, timeoutMs: patientTimeoutMs}
  return {
    fleet,
    edge: edge.name,
    checks: [() => checkUnused(fleet.hub, edge, wish, tools), ...checksOf(fleet, edge, tools)],
    async plan(those) {
      const opened = await openInvited(place, invite, those)
      return edgeJoinInvited(opened, edgeOf(opened, invite.edge), wish, those)
    },
    ended: async () => ({
      ok: true,
      text: `${edge.name} is sending: ${fleet.hub.name} has read its canaries of metrics, logs and traces back.`,
    }),
  }
}
