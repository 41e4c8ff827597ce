import type {CollectorBuild} from '../../collector/build.ts'

/**
 * How far a component's ports are from the first port of its cluster. The distances are part of what the
 * fleet file means: add at the end. Vault nodes come in pairs after the others.
 */
const distances = {
  hub: {
    gateway: {otlp: 0, own: 1, counters: 2, health: 3, ask: 20},
    prometheus: {http: 4},
    loki: {http: 5, grpc: 6},
    tempo: {http: 7, grpc: 8, otlp: 9},
    vault: {api: 10, cluster: 11},
  },
  edge: {
    agent: {grpc: 0, http: 1, counters: 2, health: 3, admin: 6},
    vault: {api: 4, cluster: 5},
  },
} as const satisfies Record<string, Record<string, Record<string, number>>>

/**
 * After all others: where the gateway's destinations are fed in the build upstream, one each, in the order of the file. In the
 * build lkeobs they are fed by its queue, and the first of these is where that is asked about.
 */
const firstDestination = 21

type PortedCluster = {
  readonly role: 'hub' | 'edge'
  readonly firstPort: number
  readonly build: CollectorBuild
  readonly destinations?: number
}

/** The name of the port at which a destination is fed, by its place in the file. */
export const destinationPort = (at: number): string => `destination-${at}`

/** The ports of a component by name; none for one that only dials out. */
export const portsOf = ({role, firstPort, build, destinations = 0}: PortedCluster, component: string): Readonly<Record<string, number>> => {
  const node = /^vault-(\d+)$/.exec(component)?.[1]
  const table: Record<string, Record<string, number>> = distances[role]
  const doors = Array.from({length: destinations}, (_, at) => [destinationPort(at), firstDestination + at])
  const fed = component !== 'gateway' ? [] : build === 'lkeobs' ? [['admin', firstDestination]] : doors
  const own = {...table[node === undefined ? component : 'vault'], ...(Object.fromEntries(fed) as Record<string, number>)}
  return Object.fromEntries(Object.entries(own).map(([name, distance]) => [name, firstPort + distance + 2 * Number(node ?? 0)]))
}
