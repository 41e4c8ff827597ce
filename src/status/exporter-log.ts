import {type Signal, signals} from '../collector/config.ts'

/** What an exporter of a collector said when an item did not get through. */
export type ExporterFailure = {readonly atMs: number; readonly signal: Signal; readonly error: string}

/** What the log of a collector says about an exporter, in its console encoding: time, level, place, words, fields. */
const failure = /^(\S+)\t(?:info|warn|error)\t\S+\tExporting failed\..*?\t(\{.*\})$/

/** A secret is in none of these words by their nature; what looks like one is left out all the same. */
export const withoutSecrets = (words: string): string =>
  words
    .replaceAll(/\b(Splunk|Bearer|Basic|DD-API-KEY:?)\s+\S+/gi, '$1 ***')
    .replaceAll(/([?&](?:token|api_?key|key)=)[^&\s"]+/gi, '$1***')
    .replaceAll(/(\/\/)[^/\s"@]+@/g, '$1***@')
    .replaceAll(/\b(?:[0-9a-f]{32,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b/gi, '***')

/** All failures of an exporter that its collector's log has, the newest first. */
export const failuresIn = (log: readonly string[], exporter: string): readonly ExporterFailure[] =>
  log.toReversed().flatMap((line) => {
    const [, at = '', json = ''] = failure.exec(line) ?? []
    if (!json.includes(JSON.stringify(exporter))) return []
    let fields: Readonly<Record<string, string | undefined>>
    try {
      fields = JSON.parse(json) as typeof fields
    } catch {
      // the log was cut in the middle of the line
      return []
    }
    const {error = ''} = fields
    const signal = signals.find((each) => each === fields['otelcol.signal'])
    // when a collector ends, what is on its way goes back into the queue
    if (fields['otelcol.component.id'] !== exporter || signal === undefined || error.startsWith('interrupted due to shutdown')) return []
    return [{atMs: Date.parse(at), signal, error: withoutSecrets(error.replace(/^no more retries left: /, ''))}]
  })

/** An exporter that retries says so every 15 s, and up to half as much later. */
const silenceMs = 40_000

/** For how long an exporter has failed without a pause that would let something through, and what it was told last. */
export const failingIn = (
  log: readonly string[],
  exporter: string,
  signal: Signal,
  nowMs: number,
): {readonly seconds: number; readonly error: string} | undefined => {
  const all = failuresIn(log, exporter).filter((one) => one.signal === signal)
  const [last] = all
  if (!last || nowMs - last.atMs > silenceMs) return undefined
  let sinceMs = last.atMs
  for (const {atMs} of all) {
    if (sinceMs - atMs > silenceMs) break
    sinceMs = atMs
  }
  return {seconds: Math.round((nowMs - sinceMs) / 1000), error: last.error}
}
