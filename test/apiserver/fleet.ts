import {mkdtemp, writeFile} from 'node:fs/promises'
import path from 'node:path'
import {type Fleet, openFleet} from '../../src/clusters.ts'
import {loadFleet} from '../../src/fleet/load.ts'
import {createTools} from '../../src/tools/index.ts'
import type {Server, User} from './server.ts'

type Clusters = {
  readonly server: Server
  readonly user?: User | 'admim'
  readonly hub?: object
  readonly edge?: object
}

/** A folder with the fleet file of a hub and an edge, both on this server. */
export const fleetFolder = async ({server, user = 'admin', hub = {}, edge = {}}: Clusters): Promise<string> => {
  const folder = await mkdtemp(path.join(server.folder, 'fleet-'))
  const {kubeconfig} = server
  const fleet = {
    apiVersion: 'lkeobs/v1',
    fleet: 'acme',
    hub: {name: 'hub', endpoint: 'otlp.acme.example:4317', platform: {kubernetes: {context: user, kubeconfig, ...hub}}},
    edges: [{name: 'edge-1', platform: {kubernetes: {context: 'edge', kubeconfig, ...edge}}}],
  }
  await writeFile(path.join(folder, 'lkeobs.yaml'), JSON.stringify(fleet))
  return folder
}

/** The same, opened. */
export const opened = async (clusters: Clusters): Promise<Fleet> => {
  const tools = createTools({yes: true})
  return openFleet(await loadFleet(path.join(await fleetFolder(clusters), 'lkeobs.yaml'), tools.files), tools)
}
