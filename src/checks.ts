import path from 'node:path'
import {type Cluster, componentsOf, type HubCluster, localCluster} from './clusters.ts'
import {LkeobsError} from './errors.ts'
import type {FleetFile} from './fleet/load.ts'
import {checkPorts, checkRoom} from './platforms/local/index.ts'
import type {Tools} from './tools/index.ts'

/** Checks before anything is changed: there is room for these clusters, and the ports they want are free or theirs. */
export const checkMachine = async (file: FleetFile, clusters: readonly Cluster[], tools: Tools): Promise<void> => {
  await checkRoom(file.folder, tools)
  for (const cluster of clusters) {
    const names = componentsOf(cluster).map(({name}) => name)
    await checkPorts(localCluster(file, cluster.name), names, tools, path.relative(process.cwd(), file.file) || file.file)
  }
}

/** Checks before anything is changed: the programs these clusters run are installed. Throws LKO-4001. */
export const checkPrograms = async (clusters: readonly Cluster[], tools: Tools): Promise<void> => {
  const programs = new Set(clusters.flatMap(componentsOf).map(({program}) => program))
  await Promise.all([...programs].map((program) => tools.program(program)))
}

/** Checks before an edge joins: the hub's Vault answers and is open. Throws LKO-3007. */
export const checkHub = async (hub: HubCluster): Promise<void> => {
  const seal = await hub.vault.sealStatus()
  if (seal?.sealed === false) return
  throw new LkeobsError(
    'LKO-3007',
    `Vault of ${hub.name} at ${hub.vault.address} ${seal === undefined ? 'does not answer' : 'is sealed'}.`,
    {next: ['lkeobs hub init']},
  )
}
