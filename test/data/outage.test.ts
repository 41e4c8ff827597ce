import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import type {Signal} from '../../src/collector/config.ts'
import {type Bulk, countBulk, figures, newBulk, sendBulk} from '../support/bulk.ts'
import {type DataLab, openDataLab} from '../support/data-lab.ts'
import {killingAround} from './kills.ts'
import {atFullLength} from './wish.ts'

let lab: DataLab

beforeAll(async () => {
  lab = await openDataLab()
})
afterAll(async () => {
  await lab?.close()
})

const few = (count: number) => (atFullLength ? count : count / 4)

const stores = ['prometheus', 'loki', 'tempo']

/** Workloads as heavy as those that were lost once: stack traces, statements, and single records of many MB. */
const workloads = () => {
  const one = (signal: Signal, count: number, bytes: number) => ({
    wish: {signal, edge: 'edge-1', count, bytes},
    bulk: newBulk({signal, edge: 'edge-1'}),
  })
  return {
    'logs of 3 kB': one('logs', few(20_000), 3000),
    'spans of 1.5 kB': one('traces', few(16_000), 1500),
    points: one('metrics', few(20_000), 0),
    'a record of 1 MB': one('logs', 1, 1_000_000),
    'a record of 5 MB': one('logs', 1, 5_000_000),
    'a span of 5 MB': one('traces', 1, 5_000_000),
    [largest]: one('logs', 1, 20_000_000),
  }
}

const largest = 'a record of 20 MB'

/** Larger than every limit: it may be refused where it is sent, with the reason. */
const saysTooLarge = (message: string) => /^(400|413) .*(too large|larger|limit|max|bytes)/i.test(message)

const sendAll = async (all: ReturnType<typeof workloads>) => {
  await Promise.all(
    Object.entries(all).map(async ([, {wish, bulk}]) => sendBulk(lab, bulk, {...wish, ...(wish.count === 1 && {givesUp: saysTooLarge})})),
  )
}

const countAll = async (all: ReturnType<typeof workloads>, withinMs: number) => {
  const found: Record<string, Awaited<ReturnType<typeof countBulk>>> = {}
  for (const [name, {bulk}] of Object.entries(all)) found[name] = await countBulk(lab, bulk, withinMs)
  return found
}

const expectAllStored = (what: string, found: Awaited<ReturnType<typeof countAll>>, bulks: readonly Bulk[]) => {
  const line = Object.fromEntries(Object.entries(found).map(([name, {accepted, stored, ms}]) => [name, {accepted, stored, ms}]))
  figures(what, {...line, refusals: Object.assign({}, ...bulks.map(({refusals}) => Object.fromEntries(refusals))) as object})
  for (const [name, {missing}] of Object.entries(found)) expect(missing.slice(0, 5), name).toEqual([])
}

describe('large records and an outage of gateway and stores', () => {
  test('before, during and after it what was accepted is stored', async () => {
    const all = workloads()
    const bulks = Object.values(all).map(({bulk}) => bulk)
    await sendAll(all)
    expectAllStored('outage, before', await countAll(all, 60_000), bulks)

    await lab.kill('hub', 'gateway')
    for (const store of stores) await lab.kill('hub', store)
    await sendAll(all)
    await lab.up()
    await sendAll(all)
    expectAllStored('outage, during and after', await countAll(all, 120_000), bulks)
    // the largest may be refused where it is sent, with its reason; each of the others was taken
    const said = ({refusals}: Bulk) => [...refusals].filter(([message]) => saysTooLarge(message)).reduce((sum, [, count]) => sum + count, 0)
    const offered = Object.entries(all).map(([name, {bulk}]) => [name, bulk.accepted.length + (name === largest ? said(bulk) : 0)])
    expect(Object.fromEntries(offered)).toEqual(Object.fromEntries(Object.entries(all).map(([name, {wish}]) => [name, 3 * wish.count])))
    expect(await lab.waiting(20_000)).toEqual([])
    const verified = await lab.run('verify', '--all')
    expect(verified.code, verified.stdout).toBe(0)
  }, 600_000)

  test.runIf(atFullLength)(
    'and the same with gateway, agent and stores killed at ten moments',
    async () => {
      const all = workloads()
      const kills = await killingAround(lab, async () => {
        for (let round = 0; round < 6; round++) {
          await sendAll(all)
          await sleep(2000)
        }
      })
      const found = await countAll(all, 180_000)
      expectAllStored(
        `outage, ${kills.join(', ')}`,
        found,
        Object.values(all).map(({bulk}) => bulk),
      )
      expect(await lab.waiting(30_000)).toEqual([])
    },
    1_200_000,
  )
})
