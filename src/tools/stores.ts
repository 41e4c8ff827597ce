import type {Http} from './http.ts'

/** The data of a JSON answer, or undefined when the store does not answer or says no. */
const json = async <T>(http: Http, url: string): Promise<T | undefined> => {
  const answer = await http.get(url)
  if (answer?.status !== 200) return undefined
  try {
    return JSON.parse(answer.body) as T
  } catch {
    return undefined
  }
}

/** One element of an instant query's vector. */
export type Sample = {readonly labels: Readonly<Record<string, string>>; readonly value: number}

/** An instant query of Prometheus; undefined when it does not answer. */
export const queryPrometheus = async (http: Http, base: string, query: string): Promise<readonly Sample[] | undefined> => {
  type Answer = {data: {result: {metric: Record<string, string>; value: [number, string]}[]}}
  const answer = await json<Answer>(http, `${base}/api/v1/query?query=${encodeURIComponent(query)}`)
  return answer?.data.result.map(({metric, value}) => ({labels: metric, value: Number(value[1])}))
}

/** How many log lines Loki returns for a query since a time (ms); undefined when it does not answer. */
export const countLoki = async (http: Http, base: string, query: string, sinceMs: number): Promise<number | undefined> => {
  type Answer = {data: {result: {values: unknown[]}[]}}
  const answer = await json<Answer>(
    http,
    `${base}/loki/api/v1/query_range?query=${encodeURIComponent(query)}&start=${sinceMs}000000&limit=100`,
  )
  return answer?.data.result.reduce((sum, {values}) => sum + values.length, 0)
}

/** A trace as Tempo has it, as JSON text; undefined when it has none of that id. */
export const readTempo = async (http: Http, base: string, traceId: string): Promise<string | undefined> => {
  const answer = await http.get(`${base}/api/traces/${traceId}`)
  return answer?.status === 200 ? answer.body : undefined
}

/** Samples of a process's own metrics page. */
export type Counters = readonly (Sample & {readonly name: string})[]

/** The samples of a page in the Prometheus text format; undefined when nobody answers. */
export const readCounters = async (http: Http, url: string): Promise<Counters | undefined> => {
  const answer = await http.get(url)
  if (answer?.status !== 200) return undefined
  return answer.body.split('\n').flatMap((line) => {
    const parts = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line)
    if (!parts) return []
    const labels = Object.fromEntries(
      [...(parts[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', value = '']) => [key, value]),
    )
    return [{name: parts[1] ?? '', labels, value: Number(parts[3])}]
  })
}
