import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, expect, test} from 'vitest'
import {type Signal, signals} from '../../src/collector/config.ts'
import {firstPorts} from '../lab/cli.ts'
import {countBulk, figures, newBulk, sendBulk} from '../support/bulk.ts'
import {type DataLab, openDataLab} from '../support/data-lab.ts'
import {countGood, percentile, startGood, watchLatency} from '../support/good-traffic.ts'
import {openWay} from './way.ts'
import {atFullLength, mostMs} from './wish.ts'

let lab: DataLab
let way: Awaited<ReturnType<typeof openWay>>

/** In every run a tenth of the budget; all of it with LKEOBS_DATA=all. */
const share = atFullLength ? 1 : 0.1
const relayPort = firstPorts.hub + 80
const smallRates = 'rates: {metrics: 10, logs: 10, traces: 10}\n'

beforeAll(async () => {
  let opened: DataLab | undefined
  way = await openWay(() => opened, relayPort, firstPorts.hub)
  opened = await openDataLab({
    edges: 2,
    fleet: (text) => `${text.replace(/endpoint: 127\.0\.0\.1:\d+/, `endpoint: 127.0.0.1:${relayPort}`)}\n${smallRates}`,
  })
  lab = opened
})
afterAll(async () => {
  await lab?.close()
  await way?.close()
})

const itemBytes = {metrics: 0, logs: 3000, traces: 1500}
/** In a request that has an item of each ms or so, what one item takes on disk. */
const onDisk = {metrics: 24, logs: 3050, traces: 1600}
const perRequest = {metrics: 1000, logs: 200, traces: 200}

test('an edge that was cut off for the whole budget arrives complete, and the other does not notice', async () => {
  const capacity = new Map((await lab.queues('edge-2', 'agent'))?.map(({signal, capacityBytes}) => [signal, capacityBytes]))
  const good = startGood(lab, {edges: ['edge-1'], signals, perSecond: 5})
  const watching = watchLatency(lab, good.ways)
  await sleep(2000)
  await way.cutOff('edge-2')

  const cutMs = Date.now()
  const day = 24 * 3_600_000
  const fill = async (signal: Signal) => {
    const bulk = newBulk({signal, edge: 'edge-2'})
    // metrics by count: a queue of points takes millions of them
    const wished = Math.ceil((share * (capacity.get(signal) ?? 0)) / onDisk[signal])
    const count = signal === 'metrics' ? Math.min(wished, 400_000) : Math.ceil(wished * (share === 1 ? 1.2 : 1))
    const from = Date.now() - day + 60_000
    const full = new Set<string>()
    for (let done = 0; done < count && full.size === 0; done += perRequest[signal])
      await sendBulk(lab, bulk, {
        signal,
        edge: 'edge-2',
        count: perRequest[signal],
        perRequest: perRequest[signal],
        bytes: itemBytes[signal],
        at: (sequence) => BigInt(Math.floor((from + Math.min(1, sequence / count) * (day - 120_000)) * 1000)) * 1000n,
        givesUp: (message) => /503|full/.test(message) && full.add(message).size > 0,
      })
    return {bulk, full: [...full]}
  }
  const filled = await Promise.all(signals.map(fill))
  const filledMs = Date.now() - cutMs
  const waited = (await lab.queues('edge-2', 'agent'))?.map(({signal, diskBytes, capacityBytes}) => ({signal, diskBytes, capacityBytes}))
  // what the other edge sees of a quiet fleet
  const quietMs = Date.now()
  await sleep(20_000)

  const backMs = Date.now()
  way.letThrough('edge-2')
  // counting by id is work for the stores: not before all is through
  await sleep(2000)
  const left = await lab.waiting(atFullLength ? 600_000 : 120_000)
  const drainedMs = Date.now()
  await sleep(Math.max(0, 15_000 - (drainedMs - backMs)))
  await good.stop()
  const latencies = await watching.end()
  const p99 = latencies.map(({signal, took}) => {
    const between = (from: number, to: number) => took.filter(([made]) => made >= from && made < to).map(([, ms]) => ms)
    return {
      signal,
      quiet: percentile(between(quietMs, backMs), 0.99),
      draining: percentile(between(backMs, Math.max(drainedMs, backMs + 15_000)), 0.99),
    }
  })
  const found = await Promise.all(filled.map(({bulk}) => countBulk(lab, bulk, 30_000)))
  const {lost, accepted} = await countGood(lab, good.ways, 10_000)
  figures('cut off', {
    filledMs,
    full: filled.map((one) => one.full),
    waited,
    accepted: found.map((one) => one.accepted),
    stored: found.map((one) => one.stored),
    drainedMs: drainedMs - backMs,
    p99,
    good: accepted,
    goodLost: lost,
  })
  expect(left).toEqual([])
  for (const {missing} of found) expect(missing.slice(0, 5)).toEqual([])
  expect(lost).toBe(0)
  for (const {signal, quiet, draining} of p99)
    expect(draining, `p99 of ${signal}, ${quiet} ms before`).toBeLessThanOrEqual(mostMs(quiet, 0.2))
}, 1_800_000)
