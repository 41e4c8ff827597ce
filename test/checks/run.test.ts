import {setTimeout as sleep} from 'node:timers/promises'
import {expect, test} from 'vitest'
import {atMost, type Check, failed, ok, runChecks, skipped, type Verdict, warning} from '../../src/checks/check.ts'
import {LkeobsError} from '../../src/errors.ts'

const check = (id: string, run: () => Promise<Verdict>, needs?: readonly string[]): Check<undefined> => ({
  id,
  about: `${id} is so`,
  of: 'kubernetes',
  ...(needs && {needs}),
  run,
})
const statesOf = async (checks: readonly Check<undefined>[], timeoutMs?: number) =>
  Object.fromEntries((await runChecks(checks, undefined, timeoutMs === undefined ? {} : {timeoutMs})).map(({id, state}) => [id, state]))

test('everything runs, whatever fails; what means nothing without it is skipped with that reason, also further on', async () => {
  const findings = await runChecks(
    [
      check('a', async () => failed('LKO-3102', 'silent')),
      check('b', async () => ok('fine')),
      check('c', async () => ok(), ['a', 'b']),
      check('d', async () => ok(), ['c']),
      check('e', async () => warning('soon not')),
      check('f', async () => ok(), ['e']),
    ],
    undefined,
  )
  expect(findings.map(({id, state}) => `${id} ${state}`)).toEqual(['a failed', 'b ok', 'c skipped', 'd skipped', 'e warning', 'f ok'])
  expect(findings[2]).toMatchObject({why: 'says nothing unless a is so'})
  expect(findings[0]).toMatchObject({code: 'LKO-3102', next: ['lkeobs explain LKO-3102']})
})

test('an error is a verdict: in its own words, or skipped where looking is not permitted', async () => {
  const not = async (): Promise<Verdict> => {
    throw new LkeobsError('LKO-3103', 'cannot list nodes', {next: ['kubectl auth can-i list nodes']})
  }
  const findings = await runChecks(
    [
      check('first', not),
      check('there', async () => ok()),
      check('later', not, ['there']),
      check('bug', async () => {
        throw new Error('oops')
      }),
    ],
    undefined,
  )
  expect(findings[0]).toMatchObject({state: 'failed', code: 'LKO-3103', next: ['kubectl auth can-i list nodes', 'lkeobs explain LKO-3103']})
  expect(findings[2]).toMatchObject({state: 'skipped', why: 'not permitted to look: cannot list nodes'})
  expect(findings[3]).toMatchObject({state: 'failed', why: 'oops'})
})

test('one that does not answer in time fails, and the others are not held up', async () => {
  const slow = check('slow', async () => {
    await sleep(2000, undefined, {ref: false})
    return ok()
  })
  expect(await statesOf([slow, check('quick', async () => skipped('no reason'))], 30)).toEqual({slow: 'failed', quick: 'skipped'})
})

test('a few at a time, answered in their order', async () => {
  let now = 0
  let most = 0
  const answers = await atMost(3, [5, 1, 4, 2, 3], async (ms) => {
    now += 1
    most = Math.max(most, now)
    await sleep(ms)
    now -= 1
    return ms * 10
  })
  expect(answers).toEqual([50, 10, 40, 20, 30])
  expect(most).toBe(3)
})
