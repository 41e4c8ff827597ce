/**
 * `npm run test:fuzz -- [--requests 2000] [--signal logs]… [--seed 7] [--rate 40]`: hostile requests through one edge of a lab while
 * good items go through both. Prints a line for each signal; exit code 1 when a good item is missing, something waits, or a
 * collector was started anew. `LKEOBS_TEST_LAB` names a lab that runs already.
 */
import {parseArgs} from 'node:util'
import {signals} from '../../src/collector/config.ts'
import {openDataLab} from '../support/data-lab.ts'
import {fuzz} from './fuzz.ts'

const {values} = parseArgs({
  options: {
    requests: {type: 'string', default: '2000'},
    signal: {type: 'string', multiple: true, default: [...signals]},
    seed: {type: 'string', default: String(Math.floor(Math.random() * 1e6))},
    rate: {type: 'string', default: '40'},
  },
})

const lab = await openDataLab()
try {
  for (const signal of signals.filter((one) => values.signal.includes(one))) {
    const found = await fuzz(lab, {signal, requests: Number(values.requests), seed: Number(values.seed), perSecond: Number(values.rate)})
    console.log(JSON.stringify(found))
    if (found.problems.length > 0) process.exitCode = 1
  }
} finally {
  await lab.close()
}
