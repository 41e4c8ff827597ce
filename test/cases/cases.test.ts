import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {signals} from '../../src/collector/config.ts'
import {type DataLab, openDataLab} from '../support/data-lab.ts'
import {logCases} from './logs.ts'
import {metricCases} from './metrics.ts'
import {runCases} from './run-cases.ts'
import {traceCases} from './traces.ts'

let lab: DataLab

beforeAll(async () => {
  lab = await openDataLab()
})
afterAll(async () => {
  await lab?.close()
})

const cases = {metrics: metricCases, logs: logCases, traces: traceCases}

// the signals beside each other, the cases of one after the other: what its counters grow by is then of one case
describe.concurrent.each(signals)('%s', (signal) => {
  test.each(cases[signal])('$name', {concurrent: false}, async (one) => {
    const {problems} = await runCases(lab, [one])
    expect(problems).toEqual([])
    const verified = await lab.run('verify', '--all', '--signal', signal)
    expect(verified.code, verified.stdout).toBe(0)
  })
})

test('and after all of them canaries of every signal arrive through every edge', async () => {
  const verified = await lab.run('verify', '--all')
  expect(verified.code, verified.stdout).toBe(0)
})
