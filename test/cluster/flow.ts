import {randomBytes} from 'node:crypto'
import {setTimeout as sleep} from 'node:timers/promises'
import type {Forwards} from './stores.ts'

type Id = string
type Batch = {readonly ids: readonly Id[]; readonly body: object}
type Signal = {readonly path: string; readonly make: () => Batch}

const everyMs = 250
const records = 50
const spansOfTrace = 25
const service = 'lkeobs-flow'

const attributes = (pairs: Readonly<Record<string, string>>) =>
  Object.entries(pairs).map(([key, value]) => ({key, value: {stringValue: value}}))
const resource = {attributes: attributes({'service.name': service})}
const scope = {name: service}

/**
 * Logs, metrics and spans, each with a number of its own, posted until they are stopped: 500 a second. What is not
 * acknowledged is posted again, and only what is acknowledged counts.
 */
export const openFlow = async (forwards: Forwards) => {
  const base = await forwards.agent()
  const run = randomBytes(4).toString('hex')
  const startedMs = Date.now()
  let lastMs = startedMs
  let made = 0
  const next = (): {readonly id: Id; readonly ms: number} => {
    // distinct milliseconds: Prometheus keeps one sample of a series in each
    lastMs = Math.max(lastMs + 1, Date.now() - records)
    return {id: String(made++), ms: lastMs}
  }
  const ns = (ms: number) => `${ms}000000`

  const signals: Readonly<Record<'logs' | 'metrics' | 'traces', Signal>> = {
    logs: {
      path: '/v1/logs',
      make() {
        const items = Array.from({length: records}, next)
        const logRecords = items.map(({id, ms}) => ({timeUnixNano: ns(ms), severityNumber: 9, body: {stringValue: `flow ${run} ${id}`}}))
        return {ids: items.map(({id}) => id), body: {resourceLogs: [{resource, scopeLogs: [{scope, logRecords}]}]}}
      },
    },
    metrics: {
      path: '/v1/metrics',
      make() {
        const items = Array.from({length: records}, next)
        const dataPoints = items.map(({id, ms}) => ({timeUnixNano: ns(ms), asDouble: Number(id), attributes: attributes({run})}))
        const metrics = [{name: 'lkeobs_flow', gauge: {dataPoints}}]
        return {ids: items.map(({id}) => id), body: {resourceMetrics: [{resource, scopeMetrics: [{scope, metrics}]}]}}
      },
    },
    traces: {
      path: '/v1/traces',
      make() {
        const traceId = randomBytes(16).toString('hex')
        const spans = Array.from({length: spansOfTrace}, () => {
          const {ms} = next()
          const spanId = randomBytes(8).toString('hex')
          return {traceId, spanId, name: 'flow', kind: 1, startTimeUnixNano: ns(ms), endTimeUnixNano: ns(ms + 1)}
        })
        const ids = spans.map(({spanId}) => `${traceId}/${spanId}`)
        return {ids, body: {resourceSpans: [{resource, scopeSpans: [{scope, spans}]}]}}
      },
    },
  }

  const acknowledged: Record<keyof typeof signals, Set<Id>> = {logs: new Set(), metrics: new Set(), traces: new Set()}
  let repeated = 0
  const stop = new AbortController()

  const post = async (path: string, body: object): Promise<boolean> => {
    try {
      const answer = await fetch(`${base}${path}`, {
        method: 'POST',
        headers: {'content-type': 'application/json'},
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(5000),
      })
      const text = await answer.text()
      return answer.status === 200 && !/rejected/i.test(text)
    } catch {
      return false
    }
  }
  const work = async (name: keyof typeof signals): Promise<void> => {
    const {path, make} = signals[name]
    while (!stop.signal.aborted) {
      const due = Date.now() + everyMs
      const {ids, body} = make()
      while (!(await post(path, body))) {
        repeated++
        if (stop.signal.aborted && Date.now() > due + 60_000) return
        await sleep(200)
      }
      for (const id of ids) acknowledged[name].add(id)
      await sleep(Math.max(0, due - Date.now()))
    }
  }
  const working = Promise.all((['logs', 'metrics', 'traces'] as const).map((name) => work(name)))

  const lacking = (wanted: ReadonlySet<Id>, found: ReadonlySet<Id>) => [...wanted].filter((id) => !found.has(id))
  const read = {
    async logs(): Promise<ReadonlySet<Id>> {
      const lines = await forwards.lines(`{service_name="${service}"} |= "flow ${run} "`, startedMs - 60_000)
      return new Set(lines.map(({line}) => line.split(' ')[2] ?? ''))
    },
    async metrics(): Promise<ReadonlySet<Id>> {
      const seconds = Math.ceil((Date.now() - startedMs) / 1000) + 60
      const series = await forwards.series(`lkeobs_flow{run="${run}"}[${seconds}s]`)
      return new Set(series.flatMap(({samples}) => samples.map(([, value]) => value)))
    },
    /** Trace by trace; those that are complete are not asked for again. */
    async traces(complete: ReadonlySet<Id>): Promise<ReadonlySet<Id>> {
      const found = new Set(complete)
      const traces = [...new Set(lacking(acknowledged.traces, complete).map((id) => id.split('/')[0] ?? ''))]
      for (let at = 0; at < traces.length; at += 8)
        await Promise.all(
          traces.slice(at, at + 8).map(async (traceId) => {
            for (const spanId of await forwards.spans(traceId)) found.add(`${traceId}/${spanId}`)
          }),
        )
      return found
    },
  }

  return {
    acknowledged: () => Object.values(acknowledged).reduce((sum, ids) => sum + ids.size, 0),
    /** Stops when everything begun is acknowledged. */
    async stop(): Promise<void> {
      stop.abort()
      await working
    },
    /** What was acknowledged and is in no store after the time: nothing, it is hoped. */
    async lost(withinMs: number): Promise<{readonly logs: number; readonly metrics: number; readonly traces: number}> {
      let logs: ReadonlySet<Id> = new Set()
      let metrics = logs
      let traces = logs
      const count = () => ({
        logs: lacking(acknowledged.logs, logs).length,
        metrics: lacking(acknowledged.metrics, metrics).length,
        traces: lacking(acknowledged.traces, traces).length,
      })
      for (const end = Date.now() + withinMs; ; await sleep(2000)) {
        const left = count()
        if (left.logs > 0) logs = await read.logs()
        if (left.metrics > 0) metrics = await read.metrics()
        if (left.traces > 0) traces = await read.traces(traces)
        const now = count()
        if (now.logs + now.metrics + now.traces === 0 || Date.now() > end) return now
      }
    },
    figures: () => ({
      items: Object.fromEntries(Object.entries(acknowledged).map(([name, ids]) => [name, ids.size])),
      repeated,
      seconds: Math.round((Date.now() - startedMs) / 1000),
    }),
  }
}
