import {randomBytes} from 'node:crypto'
import {setTimeout as sleep} from 'node:timers/promises'
import type {EdgeCluster, HubCluster, Stores} from '../platforms/platform.ts'
import type {Signal} from '../collector/config.ts'
import {orElse} from '../errors.ts'
import type {Http} from '../tools/http.ts'
import type {Canary} from '../tools/otlp.ts'
import {countLoki, queryPrometheus, readTempo} from '../tools/stores.ts'
import {type LastHop, lastHop, type Snapshot, snapshot} from './hops.ts'

/** What became of one canary. `latencyMs` is from before it was sent until the store returned it. */
export type CanaryResult = {
  readonly edge: string
  readonly signal: Signal
  readonly store: string
  readonly ok: boolean
  readonly latencyMs?: number
  /** Until the agent had accepted it. */
  readonly acceptedMs?: number
  readonly lastHop?: string
  readonly reason?: string
  /** The queue in which it waits. */
  readonly waiting?: LastHop['waiting']
  /** The id of the dead letter that it became. */
  readonly deadLetter?: string
}

export type Verification = {readonly run: string; readonly ok: boolean; readonly canaries: readonly CanaryResult[]}

export type VerifyWish = {
  readonly hub: HubCluster
  readonly edges: readonly EdgeCluster[]
  readonly signals: readonly Signal[]
  readonly timeoutMs: number
}

/** Longer than an edge that was refused for a while waits before it tries again (gRPC backs off up to 2 minutes). */
export const patientTimeoutMs = 150_000

/** The names of one run of canaries, by which they are found again. */
export const newRun = (): string => randomBytes(4).toString('hex')

const service = 'lkeobs-canary'
const pollMs = 100
// a person wants to see that it lives; a log does not want to be filled
const signOfLifeMs = process.stderr.isTTY ? 2000 : 10_000

type ReadBack = {
  readonly store: string
  readonly arrived: (http: Http, stores: Stores, edge: string, canary: Pick<Canary, 'traceId'>, run: string) => Promise<boolean>
}

/** How each signal is found again: by the run and by the edge that its identity names, never by what is merely there. */
const readBack: Readonly<Record<Signal, ReadBack>> = {
  metrics: {
    store: 'prometheus',
    arrived: async (http, stores, edge, _, run) =>
      ((await queryPrometheus(http, stores.prometheus, `lkeobs_canary{lkeobs_run="${run}",lkeobs_edge="${edge}"}`)) ?? []).length > 0,
  },
  logs: {
    store: 'loki',
    arrived: async (http, stores, edge, _, run) =>
      ((await countLoki(
        http,
        stores.loki,
        `{service_name="${service}", lkeobs_edge="${edge}"} | lkeobs_run="${run}"`,
        Date.now() - 3_600_000,
      )) ?? 0) > 0,
  },
  traces: {
    store: 'tempo',
    arrived: async (http, stores, edge, {traceId}) => (await readTempo(http, stores.tempo, traceId))?.includes(`"${edge}"`) === true,
  },
}

/** Whether a canary of this run is in its store, as this edge's. */
export const isBack = (
  http: Http,
  stores: Stores,
  edge: string,
  signal: Signal,
  {run, traceId}: {readonly run: string; readonly traceId: string},
): Promise<boolean> => readBack[signal].arrived(http, stores, edge, {traceId}, run)

/** One canary a signal through every edge's agent, read back from the hub's stores. Says now and then how many are back. */
export const verify = async (
  http: Http,
  {hub, edges, signals, timeoutMs}: VerifyWish,
  tell: (line: string) => void,
): Promise<Verification> => {
  const run = newRun()
  const started = Date.now()
  let back = 0
  const alive = setInterval(
    () =>
      tell(
        `canaries: ${back} of ${edges.length * signals.length} read back, ${Math.round((Date.now() - started) / 1000)}s of ${timeoutMs / 1000}s`,
      ),
    signOfLifeMs,
  )
  try {
    const stores = await hub.stores()
    const canaries = await Promise.all(
      edges.map(async (edge) => {
        const way = {http, stores, hub, edge, run, timeoutMs, before: await snapshot(hub, edge)}
        return Promise.all(
          signals.map(async (signal) => {
            const result = await follow(way, signal)
            if (result.ok) back++
            return result
          }),
        )
      }),
    )
    const results = canaries.flat()
    return {run, ok: results.every(({ok}) => ok), canaries: results}
  } finally {
    clearInterval(alive)
  }
}

type Way = {
  readonly http: Http
  readonly stores: Stores
  readonly hub: HubCluster
  readonly edge: EdgeCluster
  readonly run: string
  readonly timeoutMs: number
  /** The counters before any canary was sent. */
  readonly before: Snapshot
}

export const newCanary = (run: string): Canary => ({
  traceId: randomBytes(16).toString('hex'),
  spanId: randomBytes(8).toString('hex'),
  name: 'lkeobs.canary',
  service,
  attributes: {'lkeobs.run': run},
  time: `${Date.now()}000000`,
})

const follow = async ({http, stores, hub, edge, run, timeoutMs, before}: Way, signal: Signal): Promise<CanaryResult> => {
  const {store, arrived} = readBack[signal]
  const known = {edge: edge.name, signal, store}
  const canary = newCanary(run)
  const started = Date.now()
  const accepted = await orElse(edge.sendCanary(signal, canary), ({code, message}) => `${code} ${message}`)
  if (accepted !== true) return {...known, ok: false, lastHop: 'none', reason: `the agent did not accept it: ${accepted}`}
  const acceptedMs = Date.now() - started
  for (const end = started + timeoutMs; Date.now() < end; await sleep(pollMs)) {
    if (await arrived(http, stores, edge.name, canary, run)) return {...known, ok: true, latencyMs: Date.now() - started, acceptedMs}
  }
  const {hop, ...why} = await lastHop(hub, edge, signal, before, {service, run, sinceMs: started})
  return {...known, ok: false, acceptedMs, lastHop: hop, ...why}
}
