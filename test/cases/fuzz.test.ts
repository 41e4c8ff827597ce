import {afterAll, beforeAll, expect, test} from 'vitest'
import {signals} from '../../src/collector/config.ts'
import {type DataLab, openDataLab} from '../support/data-lab.ts'
import {fuzz} from './fuzz.ts'

let lab: DataLab

beforeAll(async () => {
  lab = await openDataLab()
})
afterAll(async () => {
  await lab?.close()
})

test.each(signals)('100 hostile requests of %s cost no good item and block nothing', async (signal) => {
  const seed = Number(process.env['LKEOBS_FUZZ_SEED'] ?? Math.floor(Math.random() * 1e6))
  const {problems, ...figures} = await fuzz(lab, {signal, requests: 100, seed})
  console.log(JSON.stringify(figures))
  expect(problems, `LKEOBS_FUZZ_SEED=${seed}`).toEqual([])
})
