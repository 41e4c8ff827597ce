import {toHub} from '../collector/queue.ts'
import type {EdgeCluster} from '../platforms/platform.ts'
import type {Shell} from '../tools/shell.ts'
import type {Counters} from '../tools/stores.ts'
import {type Wires, wiresTo} from '../tools/wire-bytes.ts'
import type {Hop, Wire} from './result.ts'

const toGateway = 'agents → gateway'
const toStore = 'gateway → '
const toAgent = 'generators → agent '

const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(':') + 1))

/**
 * Bytes on the wire, TLS and all, as the kernel counts them for each connection of this machine. A connection that ends between two
 * looks takes its last second with it. Exporters say with their counters which port they send to.
 */
export const wiresOf = (shell: Shell, edges: readonly EdgeCluster[]) => {
  const hops = new Map(edges.map(({name, generators}) => [portOf(generators.otlpGrpc), {hop: `${toAgent}${name}`, bytes: 0}]))
  let seen: Wires = new Map()
  let isSeen = true

  const learn = (page: Counters): void => {
    for (const {name, labels} of page) {
      const port = Number(labels['server_port'])
      if (!name.startsWith('otelcol_exporter_sent_') || !(port > 0) || hops.has(port)) continue
      hops.set(port, {hop: labels['exporter'] === toHub ? toGateway : `${toStore}${labels['exporter']}`, bytes: 0})
    }
  }

  return {
    async look(pages: readonly (Counters | undefined)[], isCharged: boolean): Promise<void> {
      if (!isSeen) return
      for (const page of pages) learn(page ?? [])
      const now = await wiresTo(shell, [...hops.keys()])
      isSeen = now !== undefined
      for (const [connection, {port, bytes}] of now ?? []) {
        const hop = hops.get(port)
        if (hop && isCharged) hop.bytes += Math.max(0, bytes - (seen.get(connection)?.bytes ?? 0))
      }
      seen = now ?? new Map()
    },
    /** For each item, of all signals together. */
    wires(counted: readonly Hop[], generated: number): readonly Wire[] {
      const sent = (wanted: (hop: Hop) => boolean) => counted.filter(wanted).reduce((sum, hop) => sum + (hop.sent ?? 0), 0)
      const itemsOf = (hop: string): number => {
        if (hop.startsWith(toAgent)) return generated / edges.length
        return sent(
          hop === toGateway ? (each) => each.hop === 'agent' : (each) => each.hop === 'exporter' && hop === `${toStore}${each.name}`,
        )
      }
      return [...hops.values()].flatMap(({hop, bytes}) => {
        const items = itemsOf(hop)
        return items > 0 && bytes > 0 ? [{hop, bytes, items, bytesPerItem: bytes / items}] : []
      })
    },
  }
}
