import path from 'node:path'
import {toHub} from '../collector/queue.ts'
import {LkeobsError} from '../errors.ts'
import {withoutEdge} from '../fleet/edit.ts'
import {type FleetFile, parseFleet} from '../fleet/load.ts'
import {count, duration} from '../output.ts'
import type {EdgeCluster, HubCluster} from '../platforms/platform.ts'
import type {Plan, Step} from '../steps/step.ts'
import {until} from '../steps/wait.ts'
import type {Tools} from '../tools/index.ts'
import {forgotten} from '../trust/bundle.ts'
import {complaint} from '../verify/hops.ts'

/** An exporter tries again after 15 s at most, but gRPC asks a hub that was away for long only every two minutes, and a fifth more. */
const stuckMs = 150_000

export type Leave = {
  readonly file: FleetFile
  readonly hub: HubCluster
  readonly edge: EdgeCluster
  /** What its agent still has is given up. */
  readonly abandon: boolean
  /** Whether the hub's register can be written from here; where it is looked after elsewhere it never can. */
  readonly reached: boolean
}

/** An edge leaves its fleet: first the hub has all that it has, then it is no longer let in, then nothing of it is left. */
export const edgeLeave = ({file, hub, edge, abandon, reached}: Leave, tools: Tools): Plan => ({
  command: `edge leave ${edge.name}`,
  title: `Edge ${edge.name} leaves ${hub.name}.`,
  steps: [
    ...(abandon ? [] : [...edge.closed(), drained(hub, edge, tools)]),
    ...edge.queueGone(),
    ...(reached ? forgotten(hub, edge.name) : []),
    ...edge.removed(),
    // last: as long as it is there, the command can be run again
    ...(reached || hub.elsewhere ? [unlisted(file, edge.name, tools)] : []),
  ],
})

/** Waits as long as it becomes less. Throws LKO-2002 where it does not. */
const drained = (hub: HubCluster, edge: EdgeCluster, {download}: Pick<Tools, 'download'>): Step => ({
  title: `queue of ${edge.name} is empty: ${hub.name} has all that was in it`,
  async done() {
    const left = await edge.queued()
    return left === 0 ? true : left === undefined ? 'its agent does not say' : `${count(left, 'item')} in it`
  },
  async apply(tell) {
    if (download.dry) return
    const since = Date.now()
    for (let before = Number.POSITIVE_INFINITY; before > 0;) {
      let left = before
      const less = async () => {
        const now = await edge.queued()
        if (now === undefined) return 'the agent does not say how much it has'
        left = now
        return now < before ? true : `${count(now, 'item')} left`
      }
      if ((await until(less, {forMs: stuckMs, tell})) !== true) throw await stuck(hub, edge, left, since)
      tell(`${count(left, 'item')} left`)
      before = left
    }
  },
})

const stuck = async (hub: HubCluster, edge: EdgeCluster, left: number, since: number): Promise<LkeobsError> => {
  const items = Number.isFinite(left) ? count(left, 'item') : 'an unknown number of items'
  const why = await complaint(edge, 'agent', toHub, since)
  return new LkeobsError(
    'LKO-2002',
    `${items} in the queue of ${edge.name}; ${hub.name} has taken none for ${duration(stuckMs)}: ${why}. Nothing was removed.`,
    {
      next: [
        edge.site === undefined ? 'lkeobs lab status' : 'lkeobs hub status',
        `lkeobs edge join ${edge.name}          (takes telemetry in again)`,
        `lkeobs edge leave ${edge.name} --abandon-queue          (gives up what is in the queue)`,
      ],
    },
  )
}

export const unlisted = ({file, text: atStart}: FleetFile, name: string, {files}: Pick<Tools, 'files'>): Step => {
  const text = async () => (await files.read(file)) ?? atStart
  return {
    title: `${name} is not in ${path.relative(process.cwd(), file)}`,
    done: async () => (parseFleet(await text(), file).edges.some((edge) => edge.name === name) ? 'it is' : true),
    apply: async () => files.write(file, withoutEdge(await text(), name), 0o644),
  }
}
