import type {Signal} from '../collector/config.ts'

/** One value for each signal. */
export type PerSignal<T> = Readonly<Record<Signal, T>>

/** What makes two runs alike enough to be compared. */
export type Fingerprint = {
  /** `local`, `kubernetes` */
  readonly platform: string
  readonly machine: {readonly processor: string; readonly cores: number; readonly memoryBytes: number}
  /** Programs and their versions, lkeobs among them. */
  readonly versions: Readonly<Record<string, string>>
  /** SHA-256 over the rendered configuration of every collector and store, without names, ports and folders. */
  readonly configuration: string
  /** SHA-256 over the profile as it was run. */
  readonly profile: string
}

/** Milliseconds from sent to queryable; null where nothing was read back. */
export type Latency = {readonly p50: number | null; readonly p99: number | null; readonly samples: number}

/**
 * What a hop counted of one signal within a run. null where its counter could not be read: a missing series is not zero.
 * An exporter counts an item as sent when the next hop has answered for it.
 */
export type Hop = {
  /** `agent` with its edge, `gateway`, or the exporter at the gateway: a store or a destination. */
  readonly hop: 'agent' | 'gateway' | 'exporter'
  /** The edge, the hub, or the exporter's name: `otlp_http/loki`, `splunk_hec/corp`. */
  readonly name: string
  readonly signal: Signal
  readonly accepted?: number | null
  readonly refused?: number | null
  readonly sent?: number | null
  readonly failed?: number | null
  readonly enqueueFailed?: number | null
  /** Still waiting when the run ended. */
  readonly queued?: number | null
  /** Changed so that the store takes them, and stored. */
  readonly repaired?: number | null
  /** Taken out alone, and kept as dead letters. */
  readonly takenOut?: number | null
  /** Dropped from a queue on disk, since it was full or they were too old. */
  readonly dropped?: number | null
  /** Lost in damaged files of a queue. */
  readonly lost?: number | null
  /** What a queue did not take, by reason; the sender keeps it and sends it again. */
  readonly refusedBy?: Readonly<Record<string, number>>
  /** What the store itself says it discarded after it had acknowledged it. */
  readonly discarded?: number | null
}

/** A part of the balance: where items went that were generated and are not stored, and where some came from that were not generated. */
export type Explained = {
  readonly where: string
  readonly why: string
  readonly items: number
  /** They may still come. */
  readonly isWaiting?: true
  /** They are dead letters: not lost, and not stored. */
  readonly isKept?: true
}

/** generated = stored + the sum of `explained` + unexplained */
export type Balance = {
  /** Configured rate × window. */
  readonly offered: number
  /** Acknowledged to the generators. */
  readonly generated: number
  /** Counted in the store itself, by a query; null where it could not be asked. */
  readonly stored: number | null
  readonly explained: readonly Explained[]
  readonly unexplained: number | null
  /** Generated, and not stored though everything came to rest: explained as lost, or unexplained. */
  readonly lost: number | null
  readonly latencyMs: Latency
}

/** What a process cost within the window. */
export type ProcessCost = {
  /** `otelcol agent`, `loki` */
  readonly process: string
  readonly cluster: string
  readonly cpuSeconds: number
  /** CPU seconds for each second of the window. */
  readonly cores: number
  readonly coresMost: number
  readonly residentBytesMost: number
  /** Cores for each 1,000 items a second that went through it; null where none did. */
  readonly coresPer1000: number | null
}

/** Bytes on the wire of a hop, for each item of all signals together. */
export type Wire = {readonly hop: string; readonly bytes: number; readonly items: number; readonly bytesPerItem: number}

/** A line of a plot: its values stand at the moments of `seconds`; null is a gap. */
export type Line = {readonly name: string; readonly values: readonly (number | null)[]}

/** Everything over time, one moment a second from the beginning of the warm-up. */
export type Timeline = {
  readonly seconds: readonly number[]
  /** Items a second, `agent edge-1 logs`. */
  readonly rates: readonly Line[]
  /** Items waiting. */
  readonly queues: readonly Line[]
  /** Cores. */
  readonly cpu: readonly Line[]
  /** Bytes. */
  readonly memory: readonly Line[]
  /** Milliseconds, of the canaries sent in that second. */
  readonly latency: readonly Line[]
}

/** Something that was seen to happen: a process that started anew, a hop that did not answer. */
export type Happening = {readonly second: number; readonly what: string}

/** One pass over the profile: its window, and all that was counted. */
export type Repetition = {
  readonly startedAt: string
  readonly warmUpSeconds: number
  readonly windowSeconds: number
  /** From the end of the window until everything had come to rest; null where it did not. */
  readonly drainSeconds: number | null
  readonly signals: PerSignal<Balance>
  readonly hops: readonly Hop[]
  readonly processes: readonly ProcessCost[]
  readonly wire: readonly Wire[]
  readonly timeline: Timeline
  readonly happenings: readonly Happening[]
}

/** pass: the commitments held. fail: something did not. inconclusive: it cannot be said. */
export type Verdict = {readonly result: 'pass' | 'fail' | 'inconclusive'; readonly reasons: readonly string[]}

/** A rate that was tried: a share of the profile's, in percent, and what broke at it; nothing where it held. */
export type KneeStep = {readonly percent: number; readonly broke: readonly string[]}

/** How far the rate could be raised. */
export type Knee = {
  /** The highest share that held, in percent of the profile's rates; null where none did. */
  readonly held: number | null
  /** What gave out first above it; null where nothing did. */
  readonly saturated: string | null
  /** One for each repetition. */
  readonly steps: readonly KneeStep[]
}

/** A load test, as `loadtest run --json` answers it and as it is stored: `lkeobs/loadtest/v1`. */
export type LoadTest = {
  readonly run: string
  readonly startedAt: string
  readonly fleet: string
  readonly edges: readonly string[]
  readonly profile: {
    readonly name: string
    /** Items a second over all edges together. */
    readonly rates: PerSignal<number>
    readonly warmUpSeconds: number
    readonly windowSeconds: number
    readonly repetitions: number
  }
  readonly fingerprint: Fingerprint
  readonly verdict: Verdict
  /** It was ended before its time. */
  readonly partial: boolean
  /** Over all repetitions: sums of items, medians of latencies. */
  readonly signals: PerSignal<Balance>
  readonly repetitions: readonly Repetition[]
  /** Where the rate was raised step by step. */
  readonly knee?: Knee
}
