import {expect, test} from 'vitest'
import {runChecks} from '../../src/checks/check.ts'
import {type DataPath, dataPathChecks} from '../../src/checks/data-path.ts'
import type {Collector} from '../../src/status/collectors.ts'

const collector = (build: Collector['build'], problem?: Collector['problem']): Collector => ({
  cluster: 'hub',
  component: 'gateway',
  build,
  processes: [],
  page: undefined,
  problem,
})

const found = (more: Partial<DataPath>) =>
  runChecks(dataPathChecks<{readonly dataPath: DataPath}>('local', []), {
    dataPath: {
      need: {outageSeconds: 86_400, bytes: 15e9},
      room: async () => ({bytes: 40e9, what: 'the disk has free'}),
      collector: async () => collector('lkeobs'),
      upgrade: ['lkeobs lab up'],
      ...more,
    },
  })

test('the disk has room for the declared outage, or for how long it has', async () => {
  expect((await found({}))[0]).toMatchObject({state: 'ok', fact: '15.0 GB for 24h00m; the disk has free 40.0 GB'})
  expect((await found({room: async () => ({bytes: 5e9, what: 'the volume of a gateway has'})}))[0]).toMatchObject({
    state: 'warning',
    why: expect.stringMatching(/take 15\.0 GB; the volume of a gateway has 5\.0 GB\. At the declared rates that lasts for 8h00m/),
  })
  expect((await found({room: async () => undefined}))[0]).toMatchObject({state: 'skipped'})
})

test('the stock collector promises less: what, and what changes that', async () => {
  expect((await found({}))[1]).toMatchObject({state: 'ok', fact: 'the build of lkeobs'})
  const [, stock] = await found({collector: async () => collector('upstream'), upgrade: ['lkeobs images push', 'lkeobs hub upgrade']})
  expect(stock).toMatchObject({state: 'warning', next: ['lkeobs images push', 'lkeobs hub upgrade']})
  const {why} = stock as {readonly why: string}
  for (const promise of ['costs the batch', 'stops the queue', '400 requests', 'shares', 'collector: {build: lkeobs}'])
    expect(why).toContain(promise)
  expect((await found({collector: async () => collector('unknown')}))[1]).toMatchObject({state: 'skipped'})
  const problem = {code: 'LKO-2013', message: 'pod gateway-1 does not answer'}
  expect((await found({collector: async () => collector('lkeobs', problem)}))[1]).toMatchObject({state: 'warning'})
})
