import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {type DataLab, openDataLab, storeOf} from '../support/data-lab.ts'
import type {Case} from './case.ts'
import {logCases} from './logs.ts'
import {metricCases} from './metrics.ts'
import {type Disturbance, runCases} from './run-cases.ts'
import {traceCases} from './traces.ts'

let lab: DataLab

beforeAll(async () => {
  lab = await openDataLab()
})
afterAll(async () => {
  await lab?.close()
})

const all = [...metricCases, ...logCases, ...traceCases]
/** As many of each signal at once; each is told from the others by its workload. */
const perRound = 5

/** A few cases of each signal, or all of them, in rounds. */
const rounds = (): readonly (readonly Case[])[] => {
  const wanted = process.env['LKEOBS_CASES'] === 'all' ? all : all.filter(({always}) => always)
  const bySignal = [...Map.groupBy(wanted, ({signal}) => signal).values()]
  const count = Math.max(...bySignal.map(({length}) => Math.ceil(length / perRound)))
  return Array.from({length: count}, (_, round) => bySignal.flatMap((cases) => cases.slice(round * perRound, (round + 1) * perRound)))
}

const storesAway: Disturbance = async (fleet, signals) => {
  await sleep(1000)
  for (const signal of signals) await fleet.kill('hub', storeOf[signal])
  await sleep(20_000)
  await fleet.up()
}
const gatewayKilled: Disturbance = async (fleet) => {
  await sleep(2500)
  await fleet.kill('hub', 'gateway')
  await fleet.up()
}

describe.each([
  ['the stores away for 20 s', storesAway],
  ['the gateway killed', gatewayKilled],
] as const)('with %s', (_, disturbance) => {
  test.each(rounds().map((cases, index) => ({name: `round ${index + 1}: ${cases.map((one) => one.name).join(', ')}`, cases})))(
    '$name',
    async ({cases}) => {
      expect(await runCases(lab, cases, disturbance)).toEqual([])
      const verified = await lab.run('verify', '--all')
      expect(verified.code, verified.stdout).toBe(0)
    },
  )
})
