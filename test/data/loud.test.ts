import {readFile, writeFile} from 'node:fs/promises'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, expect, test} from 'vitest'
import {signals} from '../../src/collector/config.ts'
import {countBulk, figures, newBulk, sendBulk} from '../support/bulk.ts'
import {type DataLab, openDataLab} from '../support/data-lab.ts'
import {countGood, percentile, startGood, watchLatency} from '../support/good-traffic.ts'
import {atFullLength, mostMs} from './wish.ts'

let lab: DataLab

const itemsPerSecond = 300
const loudness = 20
const minutes = Number(process.env['LKEOBS_DATA_MINUTES'] ?? (atFullLength ? 5 : 0.5))
const shareLine = `    share: {itemsPerSecond: ${itemsPerSecond}}\n`

beforeAll(async () => {
  lab = await openDataLab({edges: 2, fleet: (text) => text.replace(/( {2}- name: edge-1\n.*\n)/, `$1${shareLine}`)})
})
afterAll(async () => {
  await lab?.close()
})

test(`an edge at ${loudness} times its share: the other does not notice, and its own is complete once the share is raised`, async () => {
  const good = startGood(lab, {edges: ['edge-2'], signals, perSecond: 5})
  const watching = watchLatency(lab, good.ways)
  await sleep(2000)
  const quietMs = Date.now()
  await sleep(20_000)

  const loudMs = Date.now()
  const bulk = newBulk({signal: 'logs', edge: 'edge-1'})
  const perRequest = 200
  await sendBulk(lab, bulk, {
    signal: 'logs',
    edge: 'edge-1',
    bytes: 200,
    perRequest,
    perSecond: (loudness * itemsPerSecond) / perRequest,
    count: loudness * itemsPerSecond * minutes * 60,
  })
  const quietAgainMs = Date.now()
  const {refused: loudRefused} = (await lab.edgeQueue('edge-1', 'logs')) ?? {}
  const storedMeanwhile = (await countBulk(lab, bulk, 0)).stored
  await good.stop()
  const latencies = await watching.end()
  const p99 = latencies.map(({signal, took}) => {
    const between = (from: number, to: number) => took.filter(([made]) => made >= from && made < to).map(([, ms]) => ms)
    return {signal, quiet: percentile(between(quietMs, loudMs), 0.99), loud: percentile(between(loudMs, quietAgainMs), 0.99)}
  })
  const {lost, accepted} = await countGood(lab, good.ways, 10_000)
  const refusedOfOther = await Promise.all(signals.map(async (signal) => (await lab.edgeQueue('edge-2', signal))?.refused))

  const file = path.join(lab.folder, 'lkeobs.yaml')
  await writeFile(file, (await readFile(file, 'utf8')).replace(shareLine, ''))
  await lab.up()
  const raisedMs = Date.now()
  const found = await countBulk(lab, bulk, 120_000)
  figures('loud edge', {
    seconds: (quietAgainMs - loudMs) / 1000,
    sent: bulk.accepted.length,
    refusals: Object.fromEntries(bulk.refusals),
    loudRefused,
    storedMeanwhile,
    p99,
    good: accepted,
    goodLost: lost,
    refusedOfOther,
    stored: found.stored,
    completeMs: Date.now() - raisedMs,
  })
  expect(lost).toBe(0)
  expect(good.ways.flatMap(({refusals}) => [...refusals])).toEqual([])
  expect(refusedOfOther).toEqual([{}, {}, {}])
  expect(loudRefused?.['share']).toBeGreaterThan(0)
  // above its share it is held back, not let through
  expect(storedMeanwhile).toBeLessThan(bulk.accepted.length / 2)
  expect(found.missing.slice(0, 5)).toEqual([])
  for (const {signal, quiet, loud} of p99) expect(loud, `p99 of ${signal}, ${quiet} ms before`).toBeLessThanOrEqual(mostMs(quiet, 0.1))
}, 1_800_000)
