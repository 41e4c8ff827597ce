import {createTools} from '../../src/tools/index.ts'
import {type ClusterName, files} from './bed.ts'

type Labels = Readonly<Record<string, string>>
/** A series of Prometheus with its samples, in ms. */
export type Series = {readonly labels: Labels; readonly samples: readonly (readonly [number, string])[]}
/** A line of Loki with its labels and its structured metadata. */
export type LogLine = {readonly labels: Labels; readonly time: bigint; readonly line: string}

const pageSize = 5000

/** The hub's stores and the edge's agent, by port-forward. */
export const openForwards = () => {
  const tools = createTools({yes: true})
  const kube = (cluster: ClusterName) => tools.kube({context: cluster, kubeconfig: files.node(cluster)})
  const addresses = new Map<string, Promise<string>>()
  const address = (cluster: ClusterName, namespace: string, release: string, port: number): Promise<string> => {
    const key = `${cluster}/${release}:${port}`
    const known = addresses.get(key)
    if (known) return known
    const opened = kube(cluster)
      .forward({namespace, labels: `app.kubernetes.io/instance=${release}`, port})
      .then((at) => `http://${at}`)
    addresses.set(key, opened)
    return opened
  }
  const ask = async <T>(base: Promise<string>, path: string, parameters: Labels = {}): Promise<T | undefined> => {
    try {
      const answer = await fetch(`${await base}${path}?${new URLSearchParams(parameters).toString()}`, {
        signal: AbortSignal.timeout(30_000),
      })
      return answer.ok ? ((await answer.json()) as T) : undefined
    } catch {
      // a store that starts again just now
      return undefined
    }
  }
  const prometheus = () => address('hub', 'lkeobs', 'prometheus', 9090)
  const loki = () => address('hub', 'lkeobs', 'loki', 3100)
  const tempo = () => address('hub', 'lkeobs', 'tempo', 3200)

  type Vector = {data: {result: {metric: Labels; value?: [number, string]; values?: [number, string][]}[]}}
  type Streams = {data: {result: {stream: Labels; values: [string, string][]}[]}}
  type Trace = {batches?: {scopeSpans: {spans: {spanId: string}[]}[]}[]}
  return {
    /** Where workloads of the edge send OTLP over HTTP. */
    agent: () => address('edge', 'lkeobs-node', 'agent', 4318),

    /** An instant query; a range selector gives all samples. Empty while Prometheus does not answer. */
    async series(query: string): Promise<readonly Series[]> {
      const answer = await ask<Vector>(prometheus(), '/api/v1/query', {query})
      return (answer?.data.result ?? []).map(({metric, value, values}) => ({
        labels: metric,
        samples: (values ?? (value ? [value] : [])).map(([seconds, text]) => [Math.round(seconds * 1000), text] as const),
      }))
    },

    /** All lines since a time (ms), page by page. Empty while Loki does not answer. */
    async lines(query: string, sinceMs: number): Promise<readonly LogLine[]> {
      const found = new Map<string, LogLine>()
      let start = BigInt(Math.trunc(sinceMs)) * 1_000_000n
      for (;;) {
        const answer = await ask<Streams>(loki(), '/loki/api/v1/query_range', {
          query,
          start: String(start),
          limit: String(pageSize),
          direction: 'forward',
        })
        const page = (answer?.data.result ?? []).flatMap(({stream, values}) =>
          values.map(([time, line]): LogLine => ({labels: stream, time: BigInt(time), line})),
        )
        const before = found.size
        for (const one of page) found.set(`${one.time} ${one.line}`, one)
        if (page.length < pageSize || found.size === before) return [...found.values()]
        // what has the last time once more: others of the same time may be on the next page
        start = page.reduce((last, {time}) => (time > last ? time : last), start)
      }
    },

    /** The spans of a trace. */
    async spans(traceId: string): Promise<ReadonlySet<string>> {
      const trace = await ask<Trace>(tempo(), `/api/traces/${traceId}`)
      const spans = (trace?.batches ?? []).flatMap(({scopeSpans}) => scopeSpans.flatMap((scope) => scope.spans))
      return new Set(spans.map(({spanId}) => Buffer.from(spanId, 'base64').toString('hex')))
    },

    end: () => tools.end(),
  }
}

export type Forwards = ReturnType<typeof openForwards>
