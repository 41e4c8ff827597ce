import path from 'node:path'
import {stateFolderOf} from '../platforms/local/index.ts'
import {stoppedProcess} from '../platforms/local/process.ts'
import type {Plan, Step} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'

/** Senders before receivers, so that queues drain; Vault last. Stores and whatever else there is stop between them. */
const rankOf = (component: string): number =>
  component === 'agent' ? 0 : component === 'gateway' ? 1 : component.startsWith('vault') ? 3 : 2
const ranks = ['agents', 'gateway', 'stores and leaf agents', 'Vault']

/** Nothing of the lab runs; with `purge`, nothing of it is left. Goes by what was started here, whatever the fleet file says now. */
export const labDown = async (fleetFile: string, purge: boolean, tools: Tools): Promise<Plan> => {
  const stateFolder = stateFolderOf(path.dirname(fleetFile))
  const records = await recordsIn(stateFolder, tools)
  const targets = [stateFolder, ...(purge ? [fleetFile] : [])]
  return {
    command: purge ? 'lab down --purge' : 'lab down',
    title: purge ? 'The lab stops, and all it kept is removed.' : 'The lab stops; what it kept stays.',
    steps: [
      ...ranks.flatMap((title, rank) => {
        const steps = records
          .filter(({component}) => rankOf(component) === rank)
          .map(({cluster, component, record}) => stoppedProcess(`${component} on ${cluster} stopped`, record, tools))
        return steps.length > 0 ? [{title, concurrency: steps.length, steps}] : []
      }),
      ...(purge ? targets.map((target) => removed(target, tools)) : []),
    ],
  }
}

/** What was started here, by the records the processes wrote. */
const recordsIn = async (stateFolder: string, {files}: Tools) => {
  const found = []
  for (const cluster of await files.list(stateFolder))
    for (const component of await files.list(path.join(stateFolder, cluster, 'run')))
      found.push({cluster, component, record: path.join(stateFolder, cluster, 'run', component)})
  return found.toSorted((a, b) => a.record.localeCompare(b.record))
}

const removed = (target: string, {files}: Tools): Step => ({
  title: `${path.basename(target)} removed`,
  done: async () => ((await files.exists(target)) ? 'still there' : true),
  apply: () => files.remove(target),
})
