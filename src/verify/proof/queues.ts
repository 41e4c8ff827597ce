import {setTimeout as sleep} from 'node:timers/promises'
import type {EdgeCluster} from '../../platforms/platform.ts'
import {queueOf} from '../hops.ts'

const everyMs = 1000

/**
 * Looks at the agents' queues once a second. What an exporter has in its hands, and offers to a gateway that does not
 * answer, is no longer counted there: an empty queue does not say that everything is through.
 */
export const watchQueues = (edges: readonly EdgeCluster[], startedMs: number) => {
  const peaks = new Map<string, number>()
  const waited = new Map<number, number | null>()
  const over = new AbortController()
  const look = async () => {
    for (let due = Date.now() + everyMs; !over.signal.aborted; due = Date.now() + everyMs) {
      const queues = await Promise.all(edges.map((edge) => queueOf(edge)))
      for (const [index, {name}] of edges.entries()) {
        const queue = queues[index]
        if (queue !== undefined) peaks.set(name, Math.max(peaks.get(name) ?? 0, queue))
      }
      const known = queues.filter((queue) => queue !== undefined)
      const second = Math.floor((Date.now() - startedMs) / 1000)
      waited.set(second, known.length < edges.length ? null : known.reduce((sum, queue) => sum + queue, 0))
      await sleep(Math.max(0, due - Date.now()))
    }
  }
  const looking = look()
  return {
    /** The most that was seen to wait in the agent of an edge; null where it never answered. */
    peakOf: (edge: string): number | null => peaks.get(edge) ?? null,
    /** What waited in all agents together in that second; null where one did not answer. Looks may be a little more than a second apart. */
    at: (second: number): number | null => [waited.get(second), waited.get(second - 1), null].find((queue) => queue !== undefined) ?? null,
    async end(): Promise<void> {
      over.abort()
      await looking
    },
  }
}
