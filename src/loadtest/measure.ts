import {setTimeout as sleep} from 'node:timers/promises'
import {perSignal, type Signal} from '../collector/config.ts'
import {toHub} from '../collector/queue.ts'
import {orElse} from '../errors.ts'
import type {Cluster, EdgeCluster, HubCluster} from '../platforms/platform.ts'
import type {Tools} from '../tools/index.ts'
import type {Counters} from '../tools/stores.ts'
import {summed} from './balance.ts'
import {costsOf} from './costs.ts'
import {fromGenerators, type Growth, growth, hopsOf, queuesOf, underWay} from './counters.ts'
import type {Happening, Hop, Line, Repetition, Timeline} from './result.ts'
import {wiresOf} from './wires.ts'

const everyMs = 1000

/** Values by name, each line as long as there are moments. */
const newLines = () => {
  const all = new Map<string, Map<number, number | null>>()
  return {
    set(name: string, moment: number, value: number | null) {
      all.set(name, (all.get(name) ?? new Map<number, number | null>()).set(moment, value))
    },
    lines: (moments: number): readonly Line[] =>
      [...all].map(([name, values]) => ({name, values: Array.from({length: moments}, (_, moment) => values.get(moment) ?? null)})),
  }
}

/** A collector on the way, and what its page said at the last look. */
type Watched = {
  readonly cluster: Cluster
  readonly component: 'agent' | 'gateway'
  readonly title: string
  readonly counts: Growth
  page?: Counters | undefined
  isSilent: boolean
}

/** What the last look saw, for whoever watches; `waiting` is null where a collector did not answer. */
export type Sight = {readonly rates: Readonly<Record<Signal, number>>; readonly waiting: number | null}

export type MeasureWish = {
  readonly tools: Pick<Tools, 'processes' | 'shell'>
  readonly hub: HubCluster
  readonly edges: readonly EdgeCluster[]
}

/** Looks at every hop once a second, from now until it is ended. */
export const measuring = async ({tools: {processes, shell}, hub, edges}: MeasureWish) => {
  const startedMs = Date.now()
  const elapsed = () => (Date.now() - startedMs) / 1000
  const rounded = () => Math.round(elapsed() * 10) / 10
  const seconds: number[] = []
  const happenings: Happening[] = []
  const happened = (what: string) => void happenings.push({second: rounded(), what})

  const agents: readonly Watched[] = edges.map((edge) => {
    return {cluster: edge, component: 'agent', title: `agent ${edge.name}`, counts: growth(), isSilent: false}
  })
  const gateway: Watched = {cluster: hub, component: 'gateway', title: `gateway ${hub.name}`, counts: growth(), isSilent: false}
  const collectors = [...agents, gateway]
  const isHere = [hub, ...edges].every((cluster) => cluster.processes !== undefined)
  const costs = await costsOf({processes, hub, edges, happened})
  const wires = isHere ? wiresOf(shell, edges) : undefined
  const rates = newLines()
  const queues = newLines()
  let sight: Sight = {rates: perSignal(() => 0), waiting: null}
  let isWindow = false
  let lookedMs = Date.now()

  /** Takes in what a collector says, or that it says nothing. */
  const take = (collector: Watched, page: Counters | undefined, moment: number, passedSeconds: number): number => {
    const {counts, title, component, page: before} = collector
    const {isNew} = counts.read(page)
    // where its process is seen, that says more
    if (isNew && !isHere) happened(`${title} was started anew`)
    if ((page === undefined) !== collector.isSilent) happened(`${title} ${page === undefined ? 'does not answer' : 'answers again'}`)
    Object.assign(collector, {page, isSilent: page === undefined})
    // what grew while it did not answer is of no second
    const rateOf = (grew: number): number | null => (before === undefined ? null : grew / passedSeconds)
    const latest = counts.latest()
    for (const [figure, grew] of latest) {
      const [kind, signal = '', exporter = ''] = figure.split(' ')
      if (kind === 'accepted') rates.set(`${title} ${signal}`, moment, rateOf(grew))
      if (kind === 'sent' && exporter !== toHub) rates.set(`${exporter} ${signal}`, moment, rateOf(grew))
    }
    const waiting = queuesOf(page ?? [])
    for (const [queue, size] of waiting) {
      const [signal = '', exporter = ''] = queue.split(' ')
      queues.set(`${exporter === toHub ? title : exporter} ${signal}`, moment, size)
    }
    if (component === 'agent') {
      const now = perSignal((signal) => sight.rates[signal] + (rateOf(latest.get(`${fromGenerators} ${signal}`) ?? 0) ?? 0))
      sight = {...sight, rates: now}
    }
    return [...waiting.values()].reduce((sum, size) => sum + size, 0)
  }

  const lookNow = async (): Promise<void> => {
    const pages = await Promise.all(collectors.map(({cluster, component}) => orElse(cluster.counters(component), () => undefined)))
    const passedSeconds = Math.max(0.001, (Date.now() - lookedMs) / 1000)
    lookedMs = Date.now()
    sight = {...sight, rates: perSignal(() => 0)}
    const waiting = collectors.map((collector, index) => take(collector, pages[index], seconds.length, passedSeconds))
    sight = {...sight, waiting: pages.includes(undefined) ? null : waiting.reduce((sum, size) => sum + size, 0)}
    seconds.push(rounded())
    await costs.look(passedSeconds, isWindow)
    await wires?.look(pages, isWindow)
  }
  // whoever asks for a look waits for the one under way
  let looks = Promise.resolve()
  const look = () => (looks = looks.then(lookNow))

  await look()
  const over = new AbortController()
  const looking = (async () => {
    for (let due = Date.now(); !over.signal.aborted;) {
      due = Math.max(due + everyMs, Date.now())
      await sleep(Math.max(0, due - Date.now()), undefined, {signal: over.signal}).catch(() => undefined)
      await look()
    }
  })()

  return {
    elapsed,
    happened,
    generator: costs.generator,
    sight: () => sight,
    /** What is counted from here on is the window's. */
    async begin(): Promise<void> {
      await look()
      for (const {counts} of collectors) counts.begin()
      isWindow = true
    },
    /** Nothing more is charged to the window; the hops go on counting. */
    async endOfWindow(): Promise<void> {
      await look()
      isWindow = false
    },
    /** Every collector answers, nothing waits, and nothing is under way. */
    isAtRest: () => sight.waiting === 0 && collectors.every(({page}) => page !== undefined && underWay(page) === 0),
    /** What the agents have accepted from generators; null where one could not be read. */
    accepted: (signal: Signal): number | null => summed(agents.map(({counts}) => counts.of(`${fromGenerators} ${signal}`))),
    async end(): Promise<void> {
      over.abort()
      await looking
    },
    hops: (): readonly Hop[] =>
      hopsOf(new Map(edges.map(({name}, index) => [name, agents[index]?.counts ?? growth()])), hub.name, gateway.counts),
    /** All that was seen. `generated` are the items of all signals together. */
    seen(windowSeconds: number, hops: readonly Hop[], generated: number): Seen {
      return {
        processes: costs.costs(windowSeconds, hops, generated),
        wire: wires?.wires(hops, generated) ?? [],
        timeline: {
          seconds,
          rates: rates.lines(seconds.length),
          queues: queues.lines(seconds.length),
          cpu: costs.cpu(),
          memory: costs.memory(),
        },
        happenings,
      }
    },
  }
}

type Seen = Pick<Repetition, 'processes' | 'wire' | 'happenings'> & {readonly timeline: Omit<Timeline, 'latency'>}

export type Measuring = Awaited<ReturnType<typeof measuring>>
