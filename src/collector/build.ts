/**
 * Which collector runs: the one that lkeobs builds, with a durable queue of its own, or the publisher's distribution, whose
 * exporters queue one by one.
 */
export const collectorBuilds = ['lkeobs', 'upstream'] as const
export type CollectorBuild = (typeof collectorBuilds)[number]
