import {type Fleet, refuseElsewhere} from '../clusters.ts'
import {bytes, count, duration, mark, nextCommands, table} from '../output.ts'
import {stateFolderOf} from '../platforms/local/index.ts'
import type {Cluster, ComponentState} from '../platforms/platform.ts'
import type {Outcome} from '../steps/step.ts'
import {verificationText} from '../verify/report.ts'
import type {Verification} from '../verify/verify.ts'

export type LabComponent = ComponentState & {readonly cluster: string; readonly url?: string}

export type LabStatus = {
  readonly fleet: string
  readonly ok: boolean
  readonly residentBytes: number
  readonly components: readonly LabComponent[]
}

/** What runs on this machine, as the machine says. */
export const labStatus = async (fleet: Fleet): Promise<LabStatus> => {
  refuseElsewhere(fleet)
  const {file, hub, edges} = fleet
  const components = (await Promise.all([hub, ...edges].map(inspectAll))).flat()
  return {
    fleet: file.fleet.fleet,
    ok: components.every(({state}) => state === 'ready'),
    residentBytes: components.reduce((sum, {residentBytes = 0}) => sum + residentBytes, 0),
    components,
  }
}

const inspectAll = async ({name: cluster, inspect, processes = []}: Cluster): Promise<readonly LabComponent[]> => {
  const urls = new Map(processes.map(({name, url}) => [name, url]))
  return (await inspect()).map((state) => {
    const url = urls.get(state.component)
    return {cluster, ...state, ...(url !== undefined && {url})}
  })
}

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

/** Where things are: what a person opens or sends to. */
const places = ({hub, edges}: Fleet) => [
  ...(hub.processes ?? [])
    .filter(({name, url}) => url !== undefined && !name.startsWith('vault'))
    .map(({name: component, url = ''}) => ({cluster: hub.name, component, url})),
  {cluster: hub.name, component: 'vault', url: hub.vault.address},
  ...edges.map(({name, otlp}) => ({cluster: name, component: 'OTLP in (HTTP)', url: otlp})),
]

export const labUpData = (fleet: Fleet, steps: readonly Outcome[], verification: Verification) => ({
  fleet: fleet.file.fleet.fleet,
  file: fleet.file.file,
  ok: verification.ok,
  steps,
  where: places(fleet),
  verification,
})

/** What to know right after a lab came up: where things are, and what to try. */
export const labUpText = (fleet: Fleet, verification: Verification): string => {
  const {folder} = fleet.file
  const next = [
    ...(folder === process.cwd() ? [] : [`cd ${folder}`]),
    'lkeobs status',
    'lkeobs verify --all',
    `lkeobs lab up --edges ${fleet.edges.length + 2}`,
    'lkeobs lab down',
  ]
  return [
    '',
    table(
      ['cluster', 'component', 'where'],
      places(fleet).map(({cluster, component, url}) => [cluster, component, url]),
    ),
    '',
    verificationText(verification),
    '',
    `${mark.soon} This is a lab: Vault's seal keys and passwords lie in ${stateFolderOf(folder)}; who reads that folder can open everything.`,
    ...(verification.ok ? [nextCommands(next)] : []),
  ].join('\n')
}
