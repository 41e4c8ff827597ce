import type {EdgeCluster, HubCluster} from '../platforms/platform.ts'
import type {Processes} from '../tools/processes.ts'
import type {Hop, Line, ProcessCost} from './result.ts'

const collectors: Readonly<Record<string, string>> = {agent: 'otelcol agent', gateway: 'otelcol gateway'}
/** What a load goes through; the others of a cluster only stand by. */
const loaded = ['agent', 'gateway', 'prometheus', 'loki', 'tempo']
const generator = 'telemetrygen'

/** Processes of one name: their processor time and memory, summed. */
type Meter = {
  readonly process: string
  readonly cluster: string
  /** As its cluster calls it; undefined where it is of none. */
  readonly component?: string
  pids: readonly number[]
  readonly had: Map<number, number>
  cpuSeconds: number
  coresMost: number
  residentMost: number
  readonly cpu: (number | null)[]
  readonly memory: (number | null)[]
}

const newMeter = (named: Pick<Meter, 'process' | 'cluster' | 'component' | 'pids'>): Meter => ({
  ...named,
  had: new Map(),
  cpuSeconds: 0,
  coresMost: 0,
  residentMost: 0,
  cpu: [],
  memory: [],
})

export type CostsWish = {
  readonly processes: Pick<Processes, 'cpuSeconds' | 'usage'>
  readonly hub: HubCluster
  readonly edges: readonly EdgeCluster[]
  readonly happened: (what: string) => void
}

/** What each process on the way costs, as the system counts it. Only those of this machine: a cluster elsewhere has none. */
export const costsOf = async ({processes, hub, edges, happened}: CostsWish) => {
  const clusters = [hub, ...edges].filter((cluster) => cluster.processes !== undefined)
  const isGone = (pid: number) => processes.cpuSeconds(pid) === undefined
  const pidOf = (pid: number | undefined) => (pid === undefined ? [] : [pid])
  const generators = newMeter({process: generator, cluster: edges.map(({name}) => name).join(', '), pids: []})
  const meters = [generators, newMeter({process: 'lkeobs', cluster: 'here', pids: [process.pid]})]
  for (const {name: cluster, inspect} of clusters)
    for (const {component, pid} of await inspect())
      if (loaded.includes(component))
        meters.push(newMeter({process: collectors[component] ?? component, cluster, component, pids: pidOf(pid)}))

  /** Those that were started anew are found by their names again. */
  const findAgain = async (): Promise<void> => {
    for (const cluster of clusters) {
      const lost = meters.filter((meter) => meter.component !== undefined && meter.cluster === cluster.name && meter.pids.every(isGone))
      if (lost.length === 0) continue
      const states = await cluster.inspect()
      for (const meter of lost) {
        const pids = pidOf(states.find(({component}) => component === meter.component)?.pid)
        if (meter.pids.length > 0) happened(`${meter.process} on ${meter.cluster} ended`)
        if (pids.length > 0) happened(`${meter.process} on ${meter.cluster} was started anew`)
        meter.pids = pids
        for (const pid of pids) meter.had.set(pid, 0)
      }
    }
  }

  const look = (meter: Meter, passedSeconds: number, isCharged: boolean): void => {
    let [cpu, resident, alive] = [0, 0, 0]
    for (const pid of meter.pids) {
      const now = processes.cpuSeconds(pid)
      if (now === undefined) continue
      alive++
      cpu += now - (meter.had.get(pid) ?? now)
      meter.had.set(pid, now)
      resident += processes.usage(pid)?.residentBytes ?? 0
    }
    meter.cpu.push(alive > 0 ? cpu / passedSeconds : null)
    meter.memory.push(alive > 0 ? resident : null)
    if (!isCharged) return
    meter.cpuSeconds += cpu
    meter.coresMost = Math.max(meter.coresMost, cpu / passedSeconds)
    meter.residentMost = Math.max(meter.residentMost, resident)
  }

  const line = ({process: name, cluster}: Meter, values: readonly (number | null)[]): Line => ({name: `${name} ${cluster}`, values})
  return {
    /** A generator was started. */
    generator(pid: number) {
      generators.pids = [...generators.pids.filter((each) => !isGone(each)), pid]
      generators.had.set(pid, 0)
    },
    async look(passedSeconds: number, isCharged: boolean): Promise<void> {
      for (const meter of meters) look(meter, passedSeconds, isCharged)
      await findAgain()
    },
    cpu: () => meters.map((meter) => line(meter, meter.cpu)),
    memory: () => meters.map((meter) => line(meter, meter.memory)),
    /** What each has cost, and for each 1,000 items that went through it. */
    costs(windowSeconds: number, hops: readonly Hop[], generated: number): readonly ProcessCost[] {
      const sum = (items: (hop: Hop) => number | null | undefined) => hops.reduce((all, hop) => all + (items(hop) ?? 0), 0)
      const through = ({process: name, component, cluster}: Meter): number => {
        if (name === generator) return generated
        if (component === 'agent' || component === 'gateway')
          return sum((hop) => (hop.hop === component && hop.name === cluster ? hop.accepted : 0))
        return sum((hop) => (hop.hop === 'exporter' && hop.name.endsWith(`/${component}`) ? hop.sent : 0))
      }
      return meters
        .filter(({pids, cpuSeconds}) => pids.length > 0 || cpuSeconds > 0)
        .map((meter) => {
          const {process: name, cluster, cpuSeconds, coresMost, residentMost} = meter
          const items = through(meter)
          return {
            process: name,
            cluster,
            cpuSeconds,
            cores: cpuSeconds / windowSeconds,
            coresMost,
            residentBytesMost: residentMost,
            coresPer1000: items > 0 ? (cpuSeconds * 1000) / items : null,
          }
        })
    },
  }
}
