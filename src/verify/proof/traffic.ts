import {setTimeout as sleep} from 'node:timers/promises'
import {type Signal, signals} from '../../collector/config.ts'
import type {EdgeCluster} from '../../platforms/platform.ts'
import type {Http} from '../../tools/http.ts'
import {sendOtlp} from '../../tools/otlp.ts'
import {canaryOf, type Item, type Source, sourceOf} from './item.ts'

const againMs = 500
/** What was refused is offered together, so that an agent that comes back is not stormed. */
const mostAtOnce = 500

/** One signal through one edge. */
export type Way = {
  readonly source: Source
  readonly signal: Signal
  /** What the agent accepted, in the order it was made. */
  readonly accepted: readonly Item[]
  /** What nobody accepted yet. */
  readonly waiting: readonly Item[]
  /** What the agent said when it last did not accept. */
  refusal(): string | undefined
}

type Post = (items: readonly [Item, ...Item[]]) => Promise<true | string>

/** An item is offered, the same again and again, until the agent accepts it. One request at a time. */
const openWay = (source: Source, signal: Signal, post: Post, onAccepted: (count: number) => void) => {
  const accepted: Item[] = []
  const waiting: Item[] = []
  let refusal: string | undefined
  let giveUpAt = Infinity
  let isSending = false
  const send = async (): Promise<void> => {
    for (let [item, ...more] = waiting; item; [item, ...more] = waiting) {
      const batch = [item, ...more.slice(0, mostAtOnce - 1)] as const
      for (let answer = await post(batch); answer !== true; answer = await post(batch)) {
        refusal = answer
        if (Date.now() >= giveUpAt) return
        await sleep(againMs)
      }
      accepted.push(...waiting.splice(0, batch.length))
      onAccepted(batch.length)
    }
  }
  let sending = Promise.resolve()
  return {
    source,
    signal,
    accepted,
    waiting,
    refusal: () => refusal,
    offer(item: Item) {
      waiting.push(item)
      if (isSending) return
      isSending = true
      sending = send().finally(() => (isSending = false))
    },
    /** Resolves when nothing waits, or when what waits was offered for the last time. */
    async ended(at: number): Promise<void> {
      giveUpAt = at
      await sending
    },
  }
}

type TrafficWish = {
  readonly run: string
  readonly edges: readonly EdgeCluster[]
  /** Items a second on each way. */
  readonly perSecond: number
  readonly onAccepted: (count: number) => void
}

/** Sends an item on every way with each tick, as workloads of the edges do, until it is stopped. */
export const startTraffic = async (http: Http, {run, edges, perSecond, onAccepted}: TrafficWish) => {
  const everyMs = 1000 / perSecond
  let isOver = false
  const bases = await Promise.all(edges.map((edge) => edge.otlpFromHere()))
  const byEdge = edges.map(({name}, index) => {
    const source = sourceOf(run, name)
    const base = bases[index] ?? ''
    return signals.map((signal) => {
      const post: Post = ([first, ...more]) =>
        sendOtlp(http, base, signal, canaryOf(source, first), ...more.map((item) => canaryOf(source, item)))
      return openWay(source, signal, post, onAccepted)
    })
  })
  const tick = async (ways: (typeof byEdge)[number], startMs: number): Promise<void> => {
    let ms = 0
    for (let sequence = 1; ; sequence++) {
      await sleep(Math.max(0, startMs + (sequence - 1) * everyMs - Date.now()))
      if (isOver) return
      // a store keeps one sample of a series in each ms
      ms = Math.max(ms + 1, Date.now())
      for (const way of ways) way.offer({sequence, ms})
    }
  }
  // edges take turns within a tick
  const ticking = byEdge.map((ways, index) => tick(ways, Date.now() + (index * everyMs) / edges.length))
  return {
    ways: byEdge.flat() as readonly Way[],
    /** No new items; what nobody accepted yet is offered for that much longer. */
    async stop(forMs: number): Promise<void> {
      isOver = true
      const giveUpAt = Date.now() + forMs
      await Promise.all(ticking)
      await Promise.all(byEdge.flat().map((way) => way.ended(giveUpAt)))
    },
  }
}
