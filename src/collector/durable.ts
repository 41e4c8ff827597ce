import type {Settings} from './config.ts'

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

/**
 * Nothing accepted is lost: items wait on disk until the other side has them, however long that takes.
 * Batching happens in the queue; a batch processor before it would acknowledge what it holds in memory.
 */
export const durable = {
  retry_on_failure: {enabled: true, initial_interval: '1s', max_interval: '15s', max_elapsed_time: 0},
  sending_queue: {
    enabled: true,
    storage: queueStorage,
    sizer: 'items',
    queue_size: 2_000_000,
    num_consumers: 4,
    batch: {flush_timeout: '200ms', min_size: 8192, max_size: 8192, sizer: 'items'},
  },
} as const satisfies Settings

/** First in every pipeline: refuses, retryably, before the process runs out of memory: from 384 MiB of heap. */
export const memoryLimiter: Settings = {check_interval: '1s', limit_mib: 512, spike_limit_mib: 128}

/**
 * How a collector's Go runtime collects garbage. Its heap is small and what passes through is much: by Go's default it spends a
 * third of its time on that (docs/performance.md). Below the memory limiter, which counts garbage, too, and would refuse for it.
 */
export const goRuntime = {GOGC: '400', GOMEMLIMIT: '320MiB'} as const

/** The gateway's OTLP limit; batches of 8192 items pass the default of 4 MiB. */
export const maxMessageMib = 16
