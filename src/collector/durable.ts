import type {Settings, Signal} from './config.ts'
import {deadLetterBytes} from './budget.ts'
import {exporterBatch, maxBatchBytes, maxBatchItems} from './sizes.ts'

/** The extension that keeps queues on disk. */
export const queueStorage = 'file_storage/queue'

/**
 * fsync: without it a power cut can lose the whole queue, not only its end (contrib#50102). A queue that was long is packed when
 * it is empty again, and at the start unless that has to be quick.
 */
export const queueStorageAt = (folder: string, {startsAtOnce = false} = {}): Record<string, Settings> => ({
  [queueStorage]: {
    directory: folder,
    create_directory: true,
    fsync: true,
    timeout: '10s',
    // a file that a crash left broken must not keep the collector from starting
    recreate: true,
    compaction: {on_start: !startsAtOnce, on_rebound: true, directory: folder, cleanup_on_start: true},
  },
})

/** Where agents gather what they send, and gateways what they store. */
export const usualFlush = '200ms'

/**
 * Of the build `upstream`. Nothing accepted is lost: items wait on disk until the other side has them, however long that takes.
 * Batching happens in the queue; a batch processor before it would acknowledge what it holds in memory. The queue counts items,
 * as everything that reads its size does; its batches are bounded in bytes. Batches of several edges are not kept apart
 * (`batch.partition`): a queue on disk forgets what it would be done by, unless it keeps the senders' tokens, too.
 */
export const durable = {
  retry_on_failure: {enabled: true, initial_interval: '1s', max_interval: '15s', max_elapsed_time: 0},
  sending_queue: {
    enabled: true,
    storage: queueStorage,
    sizer: 'items',
    queue_size: 2_000_000,
    num_consumers: 4,
    batch: {flush_timeout: usualFlush, ...exporterBatch},
  },
} as const satisfies Settings

/** An exporter behind a durable queue: it answers with what the other side answers, and keeps nothing. */
export const synchronous = {sending_queue: {enabled: false}, retry_on_failure: {enabled: false}} as const satisfies Settings

/** What empties a durable queue: pipelines of one or several signals. */
export type Sink = {
  readonly pipelines: readonly string[]
  readonly exporter: string
  /** The kind of store whose refusals are foreseen. */
  readonly rules?: 'prometheus' | 'loki' | 'tempo'
  /** `retry`: only what is wrong with an item itself is for good. */
  readonly refusals?: 'retry'
  readonly consumers: number
  readonly in_flight?: number
  /** `drop`: the oldest that waits gives way. */
  readonly on_full?: 'drop'
  /** Of each signal. */
  readonly max_bytes?: Readonly<Partial<Record<Signal, number>>>
  readonly max_age?: string
  readonly closing?: true
  /** What the store took within this time is sent again when its process was started anew, by what its metrics page says. */
  readonly settle?: {readonly after: string; readonly start_page: string}
}

/** A durable queue: a connector that every signal has an instance of, each with a folder of its own. */
export const durableQueue = (queue: {
  readonly directory: string
  /** The resource attribute that says whose data it is, and whose it is where that is missing. */
  readonly partitionBy?: string
  readonly partition: string
  readonly bytes: Readonly<Record<Signal, number>>
  readonly partitionBytes?: Readonly<Record<Signal, number>>
  readonly itemBytes: number
  readonly flushAfter: string
  readonly shares?: object
  readonly sinks: Readonly<Record<string, Sink>>
  readonly ruleSettings?: object
}): Settings => ({
  directory: queue.directory,
  partition_by: queue.partitionBy ?? '',
  partition: queue.partition,
  max_bytes: queue.bytes,
  ...(queue.partitionBytes && {max_partition_bytes: queue.partitionBytes}),
  max_item_bytes: queue.itemBytes,
  commit_interval: '5ms',
  batch: {max_items: maxBatchItems, max_bytes: maxBatchBytes, flush_after: queue.flushAfter},
  retry: {initial: '1s', max: '5s', stuck_after: '30s'},
  dead_letters: {max_bytes: deadLetterBytes},
  ...(queue.shares && {shares: queue.shares}),
  sinks: queue.sinks,
  ...(queue.ruleSettings && {rule_settings: queue.ruleSettings}),
})

/** Where a person or a command asks about a collector's queues; left out where the build has none of its own. */
export type QueueAdmin = {
  /** `host:port`, on loopback. */
  readonly endpoint: string
  /** A token that who asks has to show, where others reach that loopback, too. */
  readonly tokenFile?: string
}

export const queueAdmin = ({endpoint, tokenFile}: QueueAdmin): Record<string, Settings> => ({
  queue_admin: {endpoint, ...(tokenFile !== undefined && {token_file: tokenFile})},
})

/** First in every pipeline: refuses, retryably, before the process runs out of memory: from 384 MiB of heap. */
export const memoryLimiter: Settings = {check_interval: '1s', limit_mib: 512, spike_limit_mib: 128}

/**
 * How a collector's Go runtime collects garbage. Its heap is small and what passes through is much: by Go's default it spends a
 * third of its time on that (docs/performance.md). Below the memory limiter, which counts garbage, too, and would refuse for it.
 */
export const goRuntime = {GOGC: '400', GOMEMLIMIT: '320MiB'} as const
