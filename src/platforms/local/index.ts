import {randomUUID} from 'node:crypto'
import path from 'node:path'
import type {CollectorBuild} from '../../collector/build.ts'
import {LkeobsError} from '../../errors.ts'
import type {Tools} from '../../tools/index.ts'
import type {Component} from '../../components/component.ts'
import type {Secret} from '../../secret.ts'
import type {Step} from '../../steps/step.ts'
import type {ComponentState, Place} from '../platform.ts'
import {type Authority, authority} from './authority.ts'
import {portsOf} from './ports.ts'
import {checkSpace, inspect, logOf, logsBounded, recordOf, reloaded, runs, stopped} from './process.ts'

/** A cluster that is processes on this machine, over loopback. */
export type LocalCluster = {
  readonly name: string
  readonly role: 'hub' | 'edge'
  readonly firstPort: number
  readonly build: CollectorBuild
  /** How many destinations it feeds. */
  readonly destinations?: number
  /** The fleet's state folder; the cluster's own is one below it. */
  readonly stateFolder: string
}

/** Where a fleet keeps what can be made again: beside its file, never in Git. */
export const stateFolderOf = (fleetFolder: string): string => path.join(fleetFolder, '.lkeobs')

/** Held by whoever changes the fleet. */
export const lockOf = (fleetFolder: string): string => path.join(stateFolderOf(fleetFolder), 'lock')

const host = '127.0.0.1'

/** What is done with processes and their files, whichever cluster they are of. */
export type Machine = {
  readonly cluster: string
  place(component: string): Place
  /** A step: the component runs as described, and is ready. */
  runs(component: Component): Step
  /** A step: nothing of the component runs. */
  stopped(component: string, title: string): Step
  /** Has the component read its files again that it reads when it is told to. */
  reloaded(component: string): Promise<void>
  inspect(component: Component): Promise<ComponentState>
  read(component: string, file: string): Promise<string | undefined>
  hand(component: string, file: string, content: string | Secret): Promise<void>
  log(component: string, lines: number): Promise<readonly string[]>
  uid(): Promise<string | undefined>
  /** A step: the cluster has a file that tells it from every other. */
  hasUid(): Step
  /** A step: what its components log does not fill the disk. */
  logsBounded(): Step
} & Authority

export const machineOf = (cluster: LocalCluster, tools: Tools): Machine => {
  const folder = path.join(cluster.stateFolder, cluster.name)
  const place = (component: string): Place => {
    const ports = portsOf(cluster, component)
    const port = (name: string): number => {
      const number = ports[name]
      if (number === undefined) throw new Error(`${component} of a ${cluster.role} has no port ${name}`)
      return number
    }
    return {
      folder: path.join(folder, component),
      file: (name) => path.join(folder, component, name),
      host,
      port,
      address: (name) => `${host}:${port(name)}`,
    }
  }
  const idFile = path.join(folder, 'id')
  const uid = async () => (await tools.files.read(idFile))?.trim()
  const local = {cluster: cluster.name, folder, place, tools}
  return {
    cluster: cluster.name,
    place,
    runs: (component) => runs(local, component),
    stopped: (component, title) => stopped(local, component, title),
    reloaded: (component) => reloaded(local, component),
    inspect: (component) => inspect(local, component),
    read: (component, file) => tools.files.read(place(component).file(file)),
    hand: (component, file, content) => tools.files.write(place(component).file(file), content),
    log: (component, lines) => tools.processes.tail(logOf(local, component), lines),
    uid,
    hasUid: () => ({
      title: `${cluster.name} can be told from every other cluster`,
      done: async () => ((await uid()) === undefined ? 'it has no id' : true),
      // a dry run says the same each time
      apply: () => tools.files.write(idFile, `${tools.download.dry ? '‹id›' : randomUUID()}\n`),
    }),
    logsBounded: () => logsBounded(local),
    ...authority(local),
  }
}

/** What the stores and Vaults of a lab write in their first hours. */
const labBytes = 200e6

/** Throws LKO-3004 where clusters of this fleet have no room to start. */
export const checkRoom = (fleetFolder: string, {files}: Pick<Tools, 'files'>): Promise<void> =>
  checkSpace(stateFolderOf(fleetFolder), labBytes, files)

/** Throws LKO-3001 when a port that these components want is held by somebody else; ours that already run hold their own. */
export const checkPorts = async (
  cluster: LocalCluster,
  components: readonly string[],
  {processes}: Pick<Tools, 'processes'>,
  fleetFile: string,
): Promise<void> => {
  const folder = path.join(cluster.stateFolder, cluster.name)
  const taken: string[] = []
  for (const component of components) {
    const own = await processes.find(recordOf({folder}, component))
    const held = new Map<string, number[]>()
    for (const port of Object.values(portsOf(cluster, component))) {
      const holder = await processes.holder(port)
      if (holder && holder.pid !== own?.pid) held.set(holder.shown, [...(held.get(holder.shown) ?? []), port])
    }
    for (const [holder, ports] of held)
      taken.push(`${ports.length === 1 ? 'Port' : 'Ports'} ${ports.join(', ')} (${component} of ${cluster.name}): held by ${holder}.`)
  }
  if (taken.length === 0) return
  throw new LkeobsError('LKO-3001', taken.join('\n'), {
    next: [`edit ${fleetFile}   (${cluster.name}: platform.local.ports, now ${cluster.firstPort})`],
  })
}
