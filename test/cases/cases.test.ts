import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {type Signal, signals} from '../../src/collector/config.ts'
import {type DataLab, openDataLab} from '../support/data-lab.ts'
import type {Case} from './case.ts'
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

/** So many of a signal side by side, each told from the others by its workload; one after the other where all are to be tried. */
const perRound = process.env['LKEOBS_CASES'] === 'all' ? 1 : 4

const roundsOf = (signal: Signal): readonly (readonly Case[])[] =>
  Array.from({length: Math.ceil(cases[signal].length / perRound)}, (_, at) => cases[signal].slice(at * perRound, (at + 1) * perRound))

// the signals beside each other, the rounds of one after the other: what its counters grow by is then of one round
describe.concurrent.each(signals)('%s', (signal) => {
  test.each(roundsOf(signal).map((round) => ({title: round.map(({name}) => name).join(', '), round})))(
    '$title',
    {concurrent: false},
    async ({round}) => {
      expect(await runCases(lab, round)).toEqual([])
      const verified = await lab.run('verify', '--all', '--signal', signal)
      expect(verified.code, verified.stdout).toBe(0)
    },
  )
})

test('and after all of them canaries of every signal arrive through every edge', async () => {
  const verified = await lab.run('verify', '--all')
  expect(verified.code, verified.stdout).toBe(0)
})
