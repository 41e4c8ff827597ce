import type {Signal} from '../collector/config.ts'
import type {Stores} from '../platforms/platform.ts'
import type {Http} from '../tools/http.ts'
import {readCounters} from '../tools/stores.ts'
import type {Hop} from './result.ts'

/** What stores count of items that they acknowledged and did not keep. Prometheus refuses, and discards nothing. */
const counted = {
  logs: {exporter: 'otlp_http/loki', store: 'loki', series: 'loki_discarded_samples_total'},
  traces: {exporter: 'otlp_grpc/tempo', store: 'tempo', series: 'tempo_discarded_spans_total'},
} as const satisfies Partial<Record<Signal, {exporter: string; store: keyof Stores; series: string}>>

export type Discards = Readonly<Partial<Record<Signal, number>>>

/** What each store has discarded so far; left out where it does not say. */
export const readDiscards = async (http: Http, stores: Stores): Promise<Discards> => {
  const found = await Promise.all(
    Object.entries(counted).map(async ([signal, {store, series}]) => {
      const page = await readCounters(http, `${stores[store]}/metrics`)
      // the series begins with the first that it discards
      return page ? [[signal, page.filter(({name}) => name === series).reduce((sum, {value}) => sum + value, 0)] as const] : []
    }),
  )
  return Object.fromEntries(found.flat())
}

/** The hops with what their stores have discarded in between. */
export const withDiscards = (hops: readonly Hop[], before: Discards, after: Discards): readonly Hop[] =>
  hops.map((hop) => {
    const own = hop.signal === 'metrics' ? undefined : counted[hop.signal]
    const [then, now] = [before[hop.signal], after[hop.signal]]
    if (hop.hop !== 'exporter' || own?.exporter !== hop.name || then === undefined || now === undefined) return hop
    // one that was started anew counts from zero
    return {...hop, discarded: now >= then ? now - then : now}
  })
