import {type Cluster, componentsOf, type Fleet} from '../clusters.ts'
import {bytes, count, duration, mark, nextCommands, table} from '../output.ts'
import type {ComponentState} from '../platforms/platform.ts'

export type LabComponent = ComponentState & {readonly cluster: string; readonly url?: string}

export type LabStatus = {
  readonly fleet: string
  readonly ok: boolean
  readonly residentBytes: number
  readonly components: readonly LabComponent[]
}

/** What runs on this machine, as the machine says. */
export const labStatus = async ({file, hub, edges}: Fleet): Promise<LabStatus> => {
  const components = (await Promise.all([hub, ...edges].map(inspectAll))).flat()
  return {
    fleet: file.fleet.fleet,
    ok: components.every(({state}) => state === 'ready'),
    residentBytes: components.reduce((sum, {residentBytes = 0}) => sum + residentBytes, 0),
    components,
  }
}

const inspectAll = (cluster: Cluster): Promise<readonly LabComponent[]> =>
  Promise.all(
    componentsOf(cluster).map(async (component) => ({
      cluster: cluster.name,
      ...(await cluster.platform.inspect(component)),
      ...(component.url !== undefined && {url: component.url}),
    })),
  )

export const labStatusText = ({fleet, ok, components, residentBytes}: LabStatus): string => {
  const rows = components.map(({cluster, component, state, pid, residentBytes: memory, upMs, url}) => [
    cluster,
    component,
    `${state === 'ready' ? mark.so : mark.not} ${state}`,
    String(pid ?? ''),
    memory === undefined ? '' : bytes(memory),
    upMs === undefined ? '' : duration(upMs),
    url ?? '',
  ])
  const running = components.filter(({pid}) => pid !== undefined).length
  return [
    `lab ${fleet}   ${running} of ${count(components.length, 'process', 'processes')} running, ${bytes(residentBytes)} resident`,
    '',
    table(['cluster', 'component', 'state', 'pid', 'memory', 'up', 'where'], rows),
    nextCommands(ok ? ['lkeobs status', 'lkeobs verify --all'] : ['lkeobs lab up          (starts what does not run)']),
  ].join('\n')
}

/** What to know right after a lab came up: where things are, and what to try. */
export const labUpText = (fleet: Fleet, canaries: string, ok: boolean): string => {
  const {hub, edges, file} = fleet
  const where = [
    ...Object.entries(hub.components).map(([name, {url = ''}]) => [hub.name, name, url]),
    [hub.name, 'vault', hub.vault.address],
    ...edges.map((edge) => [edge.name, 'OTLP in (HTTP)', edge.otlp]),
  ]
  return [
    table(['cluster', 'component', 'where'], where),
    '',
    canaries,
    '',
    `${mark.soon} This is a lab: Vault's seal keys and passwords lie in ${file.folder}/.lkeobs, readable by whoever reads that folder.`,
    ...(ok ? [nextCommands(['lkeobs status', 'lkeobs verify --all', `lkeobs lab up --edges ${edges.length + 2}`, 'lkeobs lab down'])] : []),
  ].join('\n')
}
