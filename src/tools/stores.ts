import type {Http} from './http.ts'

/** The data of a JSON answer, or undefined when the store does not answer or says no. */
const json = async <T>(http: Http, url: string, timeoutMs?: number): Promise<T | undefined> => {
  const answer = await http.get(url, timeoutMs)
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

/** From a time until another, both included, in ms. */
export type Period = {readonly fromMs: number; readonly toMs: number}

// a busy store may take its time over thousands of items
const patientMs = 60_000

/** The values of every sample of the series that a selector names; undefined when Prometheus does not answer. */
export const samplesPrometheus = async (
  http: Http,
  base: string,
  selector: string,
  {fromMs, toMs}: Period,
): Promise<readonly number[] | undefined> => {
  type Answer = {data: {result: {values: [number, string][]}[]}}
  // the range is open at its beginning
  const parameters = new URLSearchParams({query: `${selector}[${toMs - fromMs + 1}ms]`, time: (toMs / 1000).toFixed(3)})
  const answer = await json<Answer>(http, `${base}/api/v1/query?${parameters.toString()}`, patientMs)
  return answer?.data.result.flatMap(({values}) => values.map(([, value]) => Number(value)))
}

/** The one number of an instant query over all its series, 0 where there is none; undefined when nobody answers. */
const oneNumber = async (http: Http, url: string, parameters: Readonly<Record<string, string>>): Promise<number | undefined> => {
  type Answer = {data: {result: {value: [number, string]}[]}}
  const answer = await json<Answer>(http, `${url}?${new URLSearchParams(parameters).toString()}`, patientMs)
  return answer && Number(answer.data.result[0]?.value[1] ?? 0)
}

/** How many samples the series of a selector have, after one time and until another; undefined when Prometheus does not answer. */
export const countPrometheus = (http: Http, base: string, selector: string, {fromMs, toMs}: Period): Promise<number | undefined> =>
  oneNumber(http, `${base}/api/v1/query`, {
    query: `sum(count_over_time(${selector}[${toMs - fromMs}ms]))`,
    time: (toMs / 1000).toFixed(3),
  })

/** How many log lines a query finds, after one time and until another; undefined when Loki does not answer. */
export const countLinesLoki = (http: Http, base: string, query: string, {fromMs, toMs}: Period): Promise<number | undefined> =>
  oneNumber(http, `${base}/loki/api/v1/query`, {
    query: `sum(count_over_time(${query}[${toMs - fromMs}ms]))`,
    time: `${toMs}000000`,
  })

/** One element of a range query's matrix: what a series was at its times, in ms, oldest first. */
export type Series = {readonly labels: Readonly<Record<string, string>>; readonly values: readonly (readonly [ms: number, value: number])[]}

/** The samples of every series that a selector names, of the last so many seconds; undefined when Prometheus does not answer. */
export const seriesPrometheus = async (
  http: Http,
  base: string,
  selector: string,
  seconds: number,
): Promise<readonly Series[] | undefined> => {
  type Answer = {data: {result: {metric: Record<string, string>; values: [number, string][]}[]}}
  const answer = await json<Answer>(http, `${base}/api/v1/query?query=${encodeURIComponent(`${selector}[${seconds}s]`)}`, patientMs)
  return answer?.data.result.map(({metric, values}) => ({
    labels: metric,
    values: values.map(([second, value]) => [Math.round(second * 1000), Number(value)]),
  }))
}

/** At most `limit` log lines; undefined when Loki does not answer. */
export const linesLoki = async (
  http: Http,
  base: string,
  query: string,
  {fromMs, toMs, limit}: Period & {readonly limit: number},
): Promise<readonly string[] | undefined> => {
  type Answer = {data: {result: {values: [string, string][]}[]}}
  const parameters = new URLSearchParams({query, start: `${fromMs}000000`, end: `${toMs + 1}000000`, limit: String(limit)})
  const answer = await json<Answer>(http, `${base}/loki/api/v1/query_range?${parameters.toString()}`, patientMs)
  return answer?.data.result.flatMap(({values}) => values.map(([, line]) => line))
}

/**
 * How many spans of each trace a TraceQL query finds, for at most `limit` traces; undefined when Tempo does not answer.
 * What came in the last seconds may not be found yet.
 */
export const searchTempo = async (
  http: Http,
  base: string,
  query: string,
  {fromMs, toMs, limit}: Period & {readonly limit: number},
): Promise<ReadonlyMap<string, number> | undefined> => {
  type Answer = {traces?: {traceID: string; spanSets: {matched: number}[]}[]}
  const [start, end] = [Math.floor(fromMs / 1000), Math.floor(toMs / 1000) + 1]
  const parameters = new URLSearchParams({q: query, start: String(start), end: String(end), limit: String(limit), spss: '1'})
  const answer = await json<Answer>(http, `${base}/api/search?${parameters.toString()}`, patientMs)
  // zeros at the beginning of an id are left out
  const found = (answer?.traces ?? []).map(({traceID, spanSets}) => {
    return [traceID.padStart(32, '0'), spanSets.reduce((sum, {matched}) => sum + matched, 0)] as const
  })
  return answer && new Map(found)
}

/** How many spans a trace has of the resources with this attribute; undefined when Tempo does not answer. */
export const spansTempo = async (
  http: Http,
  base: string,
  traceId: string,
  attribute: {readonly key: string; readonly value: string},
): Promise<number | undefined> => {
  type Batch = {resource?: {attributes?: {key: string; value: {stringValue?: string}}[]}; scopeSpans: {spans: unknown[]}[]}
  const answer = await http.get(`${base}/api/traces/${traceId}`, patientMs)
  if (answer?.status === 404) return 0
  if (answer?.status !== 200) return undefined
  const {batches} = JSON.parse(answer.body) as {batches: readonly Batch[]}
  return batches
    .filter(({resource}) => resource?.attributes?.some(({key, value}) => key === attribute.key && value.stringValue === attribute.value))
    .reduce((sum, {scopeSpans}) => sum + scopeSpans.reduce((spans, scope) => spans + scope.spans.length, 0), 0)
}

/** Which of several processes a sample is of, where they are read together. */
export const processLabel = 'lkeobs_process'

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
