/** At full length, which takes long, or as every run can afford it. */
export const atFullLength = process.env['LKEOBS_DATA'] === 'all'

/**
 * How much longer than before the slowest of a hundred items may take: a look at a store takes its time, too. In a run that shares
 * its machine only an item that stands in line behind others is seen.
 */
export const mostMs = (quietMs: number, share: number): number => Math.max(quietMs * (1 + share), quietMs + (atFullLength ? 150 : 15_000))
