import {LkeobsError} from './errors.ts'
import type {FleetFile} from './fleet/load.ts'
import {openHubElsewhere} from './platforms/elsewhere.ts'
import {openKubernetesEdge} from './platforms/kubernetes/edge.ts'
import {openKubernetesHub} from './platforms/kubernetes/hub.ts'
import type {Ways} from './platforms/kubernetes/site.ts'
import {openLocalEdge, openLocalHub} from './platforms/local/cluster.ts'
import type {Cluster, EdgeCluster, HubCluster} from './platforms/platform.ts'
import type {Tools} from './tools/index.ts'

/** A fleet file with its clusters opened: the hub, and those edges that are not looked after elsewhere. */
export type Fleet = {readonly file: FleetFile; readonly hub: HubCluster; readonly edges: readonly EdgeCluster[]}

export const openFleet = (file: FleetFile, tools: Tools, ways: Ways = {}): Fleet => {
  const {platform} = file.fleet.hub
  const hub = platform.kubernetes
    ? openKubernetesHub(file, platform.kubernetes, tools, ways)
    : platform.elsewhere
      ? openHubElsewhere(file, platform.elsewhere, tools)
      : openLocalHub(file, platform.local?.ports ?? 0, tools)
  return {
    file,
    hub,
    edges: file.fleet.edges.flatMap((edge) => {
      const {kubernetes, local} = edge.platform
      if (kubernetes) return [openKubernetesEdge(file, edge, kubernetes, hub, tools, ways)]
      return local ? [openLocalEdge(file, edge, local.ports, hub, tools)] : []
    }),
  }
}

/** The edge of that name. Throws LKO-1003 naming those there are, LKO-6009 where it is looked after elsewhere. */
export const edgeOf = ({edges, file}: Fleet, name: string): EdgeCluster => {
  const edge = edges.find((candidate) => candidate.name === name)
  if (edge) return edge
  if (file.fleet.edges.some((candidate) => candidate.name === name))
    throw new LkeobsError('LKO-6009', `${name} is looked after elsewhere.`, {next: [`lkeobs edge list`]})
  throw new LkeobsError(
    'LKO-1003',
    `There is no edge ${name}; the edges are ${edges.map((candidate) => candidate.name).join(', ') || 'none'}.`,
  )
}

/** The hub or edge of that name. Throws LKO-1003 naming those there are. */
export const clusterOf = (fleet: Fleet, name: string): HubCluster | EdgeCluster =>
  name === fleet.hub.name ? fleet.hub : edgeOf(fleet, name)

/** The edges of these names, or all of them. Throws LKO-1003 where that is none. */
export const edgesOf = (fleet: Fleet, names: readonly string[] | undefined): readonly EdgeCluster[] => {
  if (names !== undefined) return names.map((name) => edgeOf(fleet, name))
  if (fleet.edges.length > 0) return fleet.edges
  throw new LkeobsError('LKO-1003', `The fleet ${fleet.file.fleet.fleet} has no edges.`, {next: ['lkeobs lab up --edges 1']})
}

/** Throws LKO-6009 where the hub cannot be changed from here. */
export const refuseHubElsewhere = ({name, elsewhere}: HubCluster): void => {
  if (elsewhere) throw new LkeobsError('LKO-6009', `The hub ${name} is looked after elsewhere.`)
}

/** Checks before an edge joins: the hub's Vault answers and is open. Throws LKO-3007. */
export const checkHub = async (hub: HubCluster): Promise<void> => {
  const seal = await hub.vault.sealStatus()
  if (seal?.sealed === false) return
  throw new LkeobsError(
    'LKO-3007',
    `Vault of ${hub.name} at ${hub.vault.address} ${seal === undefined ? 'does not answer' : 'is sealed'}.`,
    {next: [hub.seal === 'shamir' && seal?.sealed ? 'lkeobs vault unseal --wait --envelope NAME.share.asc' : 'lkeobs hub init']},
  )
}

/** Checks before anything is changed: the programs this cluster is driven with are installed. Throws LKO-4001. */
export const checkPrograms = async ({programs}: Cluster, tools: Tools): Promise<void> => {
  await Promise.all(programs.map((program) => tools.program(program)))
}

/** Throws LKO-1007 where a cluster of the fleet is not on this machine. */
export const refuseElsewhere = ({hub, edges}: Fleet): void => {
  const elsewhere = [hub, ...edges].filter(({processes}) => processes === undefined).map(({name}) => name)
  if (elsewhere.length > 0) throw new LkeobsError('LKO-1007', `Not on this machine: ${elsewhere.join(', ')}.`, {next: ['lkeobs status']})
}
