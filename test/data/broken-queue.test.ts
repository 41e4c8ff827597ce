import {randomBytes} from 'node:crypto'
import {open, readdir, stat, truncate} from 'node:fs/promises'
import path from 'node:path'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {type BulkResult, countBulk, figures, newBulk, sendBulk} from '../support/bulk.ts'
import {type DataLab, openDataLab} from '../support/data-lab.ts'
import {startGood, countGood} from '../support/good-traffic.ts'

let lab: DataLab

beforeAll(async () => {
  lab = await openDataLab()
})
afterAll(async () => {
  await lab?.close()
})

/** The newest segment of the logs below a folder. */
const segmentIn = async (folder: string): Promise<string> => {
  const files = (await readdir(folder, {recursive: true})).filter((name) => /(^|\/)logs\/\d+\.seg$/.test(name))
  const number = (name: string) => Number(path.basename(name, '.seg'))
  const newest = files.toSorted((one, other) => number(other) - number(one))[0]
  if (newest === undefined) throw new Error(`no segment of logs in ${folder}`)
  return path.join(folder, newest)
}

/** Writes over bytes of a file, from its start or, where negative, its end. */
const overwrite = async (file: string, from: number, content: Buffer): Promise<void> => {
  const {size} = await stat(file)
  const handle = await open(file, 'r+')
  await handle.write(content, 0, content.length, Math.max(0, from < 0 ? size + from : from))
  await handle.close()
}

/** What a power cut leaves of a file. */
const damages = {
  'cut off': async (file: string) => truncate(file, Math.floor((await stat(file)).size / 2)),
  'zeroed at its end': (file: string) => overwrite(file, -600_000, Buffer.alloc(600_000)),
  // more than what is through already, such as the good items of the test before
  'with garbage at its beginning': (file: string) => overwrite(file, 0, randomBytes(600_000)),
} as const

const places = [
  {cluster: 'edge-1', component: 'agent', hub: 'gateway'},
  {cluster: 'hub', component: 'gateway', hub: 'loki'},
] as const

describe.each(places)('a queue file of the $component', ({cluster, component, hub}) => {
  test.each(Object.keys(damages) as (keyof typeof damages)[])('%s: it starts, the loss is counted, the rest arrives', async (damage) => {
    await lab.kill('hub', hub)
    const bulk = newBulk({signal: 'logs', edge: 'edge-1'})
    await sendBulk(lab, bulk, {signal: 'logs', edge: 'edge-1', count: 4000, bytes: 1000})
    // what is on its way to the gateway is there before its files are broken
    if (component === 'gateway') {
      const {accepted} = bulk
      const end = Date.now() + 30_000
      while (((await lab.edgeQueue('edge-1', 'logs'))?.waitingItems ?? 0) < accepted.length && Date.now() < end)
        await new Promise((resolve) => setTimeout(resolve, 200))
    }
    await lab.kill(cluster, component)
    await damages[damage](await segmentIn(lab.state(cluster, component, 'queue')))
    await lab.done('lab', 'up')
    const lost = (await lab.queues(cluster, component))?.find(({signal}) => signal === 'logs')?.lostItems ?? -1
    let found: BulkResult | undefined
    for (const end = Date.now() + 30_000; Date.now() < end && (found === undefined || found.missing.length > lost);)
      found = await countBulk(lab, bulk, 1)
    figures(`queue of the ${component} ${damage}`, {accepted: found?.accepted, stored: found?.stored, countedAsLost: lost})
    expect(lost).toBeGreaterThan(0)
    expect(lost).toBeLessThan(4000)
    expect(found?.missing.length).toBe(lost)
    const good = startGood(lab, {edges: lab.edges, signals: ['logs'], perSecond: 20})
    await new Promise((resolve) => setTimeout(resolve, 2000))
    await good.stop()
    expect((await countGood(lab, good.ways, 10_000)).lost).toBe(0)
    const damaged = (await readdir(lab.state(cluster, component, 'queue'), {recursive: true})).filter((name) => name.includes('damaged/'))
    expect(damaged.length).toBeGreaterThan(0)
  })
})
