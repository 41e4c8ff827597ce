import type {Settings} from './config.ts'

/**
 * Every limit in bytes on the way from a workload to a store derives from this one: the largest item, with its resource and
 * scope, that the fleet carries. What is larger is refused where it comes in, with its size and the limit.
 */
export const maxItemBytes = 8 * 2 ** 20

/** What an item may grow by on its way: the gateway writes the name of the edge into its resource. */
const growthBytes = 2 ** 16

/** The largest item at the gateway: one that the agent took is not refused there. */
export const maxGatewayItemBytes = maxItemBytes + growthBytes

/**
 * A batch in the queue, with resource and scope counted for each item, since stores keep them so. An item that is larger is a
 * batch of its own: no message is larger than the largest item.
 */
export const maxBatchBytes = maxItemBytes / 4
export const maxBatchItems = 8192

/**
 * What agent and gateway receive in one message. Requests of workloads hold many items, and the queue splits them; an agent of
 * an earlier version sends batches that are bounded in items only.
 */
const maxReceiveBytes = 8 * maxItemBytes

/**
 * What a store receives in one message, and what its parts send each other. A store that keeps text may make up to six bytes of
 * one (JSON's \u0000), so an item and a batch are far below it.
 */
export const maxStoreBytes = 8 * maxItemBytes

/** What Loki takes of a record, and the gateway cuts it to: bodies as JSON at twice an item, attributes at an eighth. */
export const lokiRecord = {lineBytes: 2 * maxItemBytes, metadataBytes: maxItemBytes / 8, metadataEntries: 1024} as const

/** A whole trace, which Tempo puts together in memory. */
export const maxTraceBytes = 8 * maxStoreBytes

/** Settings of an OTLP receiver. */
export const grpcReceiveLimit: Settings = {max_recv_msg_size_mib: maxReceiveBytes / 2 ** 20}
export const httpReceiveLimit: Settings = {max_request_body_size: maxReceiveBytes}

/** A batch of an exporter that has a queue of its own. It drops an item above `max_size`, and joins requests up to `min_size`. */
export const exporterBatch = {sizer: 'bytes', min_size: maxBatchBytes, max_size: maxItemBytes} as const satisfies Settings
