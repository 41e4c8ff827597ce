import {once} from 'node:events'
import {setTimeout as sleep} from 'node:timers/promises'
import {expect, test} from 'vitest'
import {type Code, LkeobsError} from '../../src/errors.ts'
import {createRecorder, preview, previewText} from '../../src/steps/preview.ts'
import {run} from '../../src/steps/run.ts'
import {type Group, type Plan, RunFailed, type Step, type Task} from '../../src/steps/step.ts'

const planOf = (...steps: readonly Task[]): Plan => ({command: 'some plan', title: 'Some plan.', steps})

/** A step that notes when it is applied and holds from then on. */
const stepsNoting = () => {
  const applied: string[] = []
  const step = (title: string, more: Partial<Step> = {}): Step => ({
    title,
    done: async () => (applied.includes(title) ? true : 'not yet'),
    async apply() {
      applied.push(title)
    },
    ...more,
  })
  const failing = (title: string, code: Code = 'LKO-4003', next: readonly string[] = []) =>
    step(title, {
      async apply() {
        throw new LkeobsError(code, `${title} is broken`, {next})
      },
    })
  return {applied, step, failing}
}

const failureOf = async (plan: Plan): Promise<LkeobsError> => {
  const error = await run(plan, 'silent').then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof LkeobsError) return error
  throw new Error('no LkeobsError was thrown', {cause: error})
}

test("a step that holds is skipped, another is applied, and the order is the plan's", async () => {
  const {applied, step} = stepsNoting()
  const plan = planOf(step('a'), step('b', {done: async () => true}), {title: 'group', steps: [step('c'), step('d')]})
  expect(await run(plan, 'silent')).toMatchObject([
    {title: 'a', state: 'done'},
    {title: 'b', state: 'already so'},
    {title: 'c', state: 'done'},
    {title: 'd', state: 'done'},
  ])
  expect(applied).toEqual(['a', 'c', 'd'])
  expect((await run(plan, 'silent')).map(({state}) => state)).toEqual(Array.from({length: 4}, () => 'already so'))
  expect(applied).toEqual(['a', 'c', 'd'])
})

test('a step is asked again until it holds, and tells what it waits for', async () => {
  const answers = ['no', 'almost', 'almost', true] as const
  let asked = 0
  const step: Step = {title: 'slow', done: async () => answers[Math.min(asked++, 3)] ?? true, apply: async () => undefined}
  expect(await run(planOf(step), 'silent')).toMatchObject([{state: 'done'}])
  expect(asked).toBe(4)
})

test('a step that does not settle says what was last seen, how far the plan got, and what to type', async () => {
  const {step, applied} = stepsNoting()
  let seen = 0
  const plan = planOf(step('first'), step('Vault unsealed', {done: async () => `${(seen += 1)} of 9 nodes`, patienceMs: 60}), step('last'))
  const error = await failureOf(plan)
  expect(error).toMatchObject({
    code: 'LKO-3005',
    oclif: {exit: 6},
    message: `Vault unsealed: after 60ms still ${seen} of 9 nodes\nNothing was undone; 1 of 3 steps hold.`,
    next: ['lkeobs some plan          (goes on from there)', 'lkeobs explain LKO-3005'],
  })
  expect(seen).toBeGreaterThan(1)
  expect(applied).toEqual(['first', 'Vault unsealed'])
})

test('where the world can no longer become so, nobody waits', async () => {
  const {step} = stepsNoting()
  const started = Date.now()
  const ended = step('Loki', {
    done: async () => 'not running',
    async watch() {
      throw new LkeobsError('LKO-3003', 'Loki ended before it was ready.', {next: ['less loki.log']})
    },
  })
  expect(await failureOf(planOf(ended))).toMatchObject({
    code: 'LKO-3003',
    next: ['less loki.log', 'lkeobs some plan          (goes on from there)', 'lkeobs explain LKO-3003'],
  })
  expect(Date.now() - started).toBeLessThan(1000)
})

test('an error that nobody foresaw comes out as it is', async () => {
  const mistake = new TypeError('x is not a function')
  const plan = planOf({title: 'a', done: async () => 'no', apply: () => Promise.reject(mistake)})
  await expect(run(plan, 'silent')).rejects.toBe(mistake)
})

test('after a failure nothing is begun', async () => {
  const {applied, step, failing} = stepsNoting()
  await failureOf(planOf({title: 'group', steps: [step('a'), failing('b'), step('c')]}, step('d')))
  expect(applied).toEqual(['a'])
})

test('edges are independent: all that fail are named, the others are finished, and what follows them is not begun', async () => {
  const {applied, step, failing} = stepsNoting()
  const edge = (name: string, ...steps: readonly Step[]): Group => ({title: name, steps})
  const plan = planOf(
    step('hub'),
    {
      title: 'edges',
      concurrency: 2,
      independent: 'LKO-8001',
      steps: [
        edge('edge-1', step('Vault of edge-1'), failing('agent of edge-1', 'LKO-3003', ['less edge-1.log']), step('more of edge-1')),
        edge('edge-2', step('Vault of edge-2'), step('agent of edge-2')),
        edge('edge-3', failing('Vault of edge-3', 'LKO-3004', ['df -h']), step('agent of edge-3')),
        edge('edge-4', step('Vault of edge-4')),
      ],
    },
    step('afterwards'),
  )
  expect(await failureOf(plan)).toMatchObject({
    code: 'LKO-8001',
    oclif: {exit: 8},
    message: [
      'agent of edge-1: LKO-3003 agent of edge-1 is broken',
      'Vault of edge-3: LKO-3004 Vault of edge-3 is broken',
      'Nothing was undone; 5 of 10 steps hold.',
    ].join('\n'),
    next: ['less edge-1.log', 'df -h', 'lkeobs some plan          (goes on from there)', 'lkeobs explain LKO-8001'],
  })
  expect(applied.toSorted()).toEqual(['Vault of edge-1', 'Vault of edge-2', 'Vault of edge-4', 'agent of edge-2', 'hub'])
})

test('what failed is told by edge, beside what became of the others; what is typed next may name them', async () => {
  const {step, failing} = stepsNoting()
  const edge = (name: string, ...steps: readonly Step[]): Group => ({title: name, steps})
  const error = await failureOf({
    ...planOf({
      title: 'edges',
      independent: 'LKO-8001',
      steps: [edge('edge-1', step('a')), edge('edge-2', failing('b', 'LKO-3003', ['less b.log'])), edge('edge-3', failing('c'))],
    }),
    again: (members) => `some plan ${members.join(' ')}`,
  })
  expect(error).toBeInstanceOf(RunFailed)
  expect(error).toMatchObject({
    failed: [
      {member: 'edge-2', step: 'b', code: 'LKO-3003', message: 'b is broken', next: ['less b.log']},
      {member: 'edge-3', step: 'c', code: 'LKO-4003', message: 'c is broken', next: []},
    ],
    outcomes: [
      {title: 'a', state: 'done'},
      {title: 'b', state: 'failed'},
      {title: 'c', state: 'failed'},
    ],
    next: ['less b.log', 'lkeobs some plan edge-2 edge-3', 'lkeobs explain LKO-8001'],
  })
})

test('where something failed that is of no edge, the whole is typed again', async () => {
  const {failing} = stepsNoting()
  const error = await failureOf({...planOf(failing('hub')), again: () => 'another'})
  expect(error).toMatchObject({
    next: ['lkeobs some plan          (goes on from there)', 'lkeobs explain LKO-4003'],
    failed: [{step: 'hub'}],
  })
})

test("the failure of a single edge is that edge's", async () => {
  const {failing} = stepsNoting()
  const plan = planOf({title: 'edges', independent: 'LKO-8001', steps: [failing('agent', 'LKO-3003')]})
  expect(await failureOf(plan)).toMatchObject({code: 'LKO-3003', oclif: {exit: 5}})
})

test.for([undefined, 1, 3])('side by side run %s and no more', async (concurrency) => {
  let [now, most] = [0, 0]
  const step = (index: number): Step => {
    let so = false
    return {
      title: `${index}`,
      done: async () => so || 'not yet',
      async apply() {
        most = Math.max(most, (now += 1))
        await sleep(2)
        now -= 1
        so = true
      },
    }
  }
  const steps = Array.from({length: 7}, (_, index) => step(index))
  await run(planOf({title: 'group', steps, ...(concurrency !== undefined && {concurrency})}), 'silent')
  expect(most).toBe(concurrency ?? 1)
})

test('a run that failed has ended: no sibling goes on behind its back', async () => {
  const {applied, step, failing} = stepsNoting()
  const goOn = new EventTarget()
  const slow = step('stores', {
    async apply() {
      await once(goOn, 'go')
      applied.push('stores')
    },
  })
  const plan = planOf({
    title: 'both',
    concurrency: 2,
    steps: [
      {title: 'one', steps: [failing('Vault')]},
      {title: 'other', steps: [slow, step('more stores')]},
    ],
  })
  const failure = failureOf(plan).then(() => applied.push('the run ended'))
  await sleep(5)
  goOn.dispatchEvent(new Event('go'))
  await failure
  await sleep(5)
  expect(applied).toEqual(['stores', 'the run ended'])
})

test('a preview asks every step, applies none for real, and takes what cannot be asked yet as unknown', async () => {
  const recorder = createRecorder()
  const plan = planOf(
    {title: 'so', done: async () => true, apply: () => Promise.reject(new Error('applied'))},
    {
      title: 'group',
      steps: [
        {title: 'not so', done: async () => 'no', apply: async () => recorder.record('write a')},
        {title: 'in need of the one before', done: () => Promise.reject(new Error('there is none')), apply: async () => undefined},
      ],
    },
    {
      title: 'fails on the way',
      done: async () => 'no',
      async apply() {
        recorder.record('write b')
        throw new Error('no')
      },
    },
  )
  const previews = await preview(plan, recorder)
  expect(previews).toEqual([
    {title: 'so', state: 'holds', writes: []},
    {title: 'not so', state: 'would run', writes: ['write a']},
    {title: 'in need of the one before', state: 'unknown', writes: []},
    {title: 'fails on the way', state: 'unknown', writes: ['write b']},
  ])
  expect(previewText(plan, previews)).toMatchInlineSnapshot(`
    "Some plan.

      ✔ so   already so
      › not so
          write a
      › in need of the one before   known only after the steps before it
      › fails on the way   known only after the steps before it
          write b

    Dry run: 3 of 4 steps would run; nothing was changed."
  `)
  expect(previewText(plan, previews.slice(0, 1))).toContain('Dry run: nothing would change.')
})
