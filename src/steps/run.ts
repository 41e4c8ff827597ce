import {Listr, ListrLogger, type ListrTask, ProcessOutput} from 'listr2'
import {type Code, LkeobsError, messageOf} from '../errors.ts'
import {dim, duration, mark} from '../output.ts'
import {flatten, isGroup, type Outcome, type Plan, type Step, type Task, type Tell} from './step.ts'
import {until} from './wait.ts'

/** How progress is shown on stderr: redrawn on a terminal, one line a step elsewhere, or not at all. */
export type Screen = 'live' | 'lines' | 'silent'

const defaultPatienceMs = 30_000
const heartbeatMs = 10_000
const titleWidth = 64

type Failure = {readonly step: Step; readonly error: unknown}

/** Takes the steps in order, skips those that hold, and returns what became of each. Throws after the first failure; a group of independent steps is finished first. */
export const run = async (plan: Plan, screen: Screen): Promise<readonly Outcome[]> => {
  const outcomes: Outcome[] = []
  const failures: Failure[] = []
  let someOf: Code | undefined

  const stepTask = (step: Step): ListrTask => ({
    title: step.title,
    async task(_, handle) {
      const line = lineFor(step, screen)
      const started = Date.now()
      const finish = (state: Outcome['state']) => {
        const durationMs = Date.now() - started
        outcomes.push({title: step.title, state, durationMs})
        const note = dim(state === 'already so' ? state : duration(durationMs))
        handle.title = `${step.title.padEnd(titleWidth)} ${note}`
        line.finished(state, note)
      }
      try {
        finish(
          await take(step, (text) => {
            handle.output = `${text}  ${dim(duration(Date.now() - started))}`
            line.progress(text)
          }),
        )
      } catch (error) {
        failures.push({step, error})
        finish('failed')
        throw error
      }
    },
  })

  const listrTask = (task: Task): ListrTask => {
    if (!isGroup(task)) return stepTask(task)
    return {
      title: task.title,
      async task(_, handle) {
        const before = failures.length
        await handle.newListr(task.steps.map(listrTask), {concurrent: task.concurrency ?? false, exitOnError: !task.independent}).run()
        if (failures.length === before) return
        if (task.independent && task.steps.length > 1) someOf ??= task.independent
        throw failures[before]?.error
      },
    }
  }

  const output = new ProcessOutput(process.stderr, process.stderr)
  const list = new Listr(plan.steps.map(listrTask), {
    registerSignalListeners: false,
    renderer: screen === 'live' ? 'default' : 'silent',
    ...(screen === 'live' && {
      rendererOptions: {
        collapseSubtasks: false,
        collapseErrors: false,
        showErrorMessage: false,
        logger: new ListrLogger({processOutput: output}),
      },
    }),
  })
  try {
    await list.run()
  } catch (error) {
    throw summary(plan, outcomes, failures, someOf) ?? error
  }
  return outcomes
}

/** One step: ask, apply, ask until it holds. */
const take = async (step: Step, tell: Tell): Promise<'already so' | 'done'> => {
  if ((await step.done()) === true) return 'already so'
  await step.apply(tell)
  const patience = step.patienceMs ?? defaultPatienceMs
  const settled = async () => {
    const seen = await step.done()
    if (seen !== true) await step.watch?.()
    return seen
  }
  const seen = await until(settled, {forMs: patience, tell})
  if (seen === true) return 'done'
  throw new LkeobsError('LKO-3005', `${step.title}: after ${duration(patience)} still ${seen}`)
}

/** The error a person sees: the failure itself, or all of them where independent steps failed side by side. */
const summary = (plan: Plan, outcomes: readonly Outcome[], failures: readonly Failure[], someOf: Code | undefined): unknown => {
  const first = failures[0]
  if (first === undefined) return undefined
  const held = outcomes.filter((outcome) => outcome.state !== 'failed').length
  const holds = `Nothing was undone; ${held} of ${flatten(plan.steps).length} steps hold.`
  const expected = failures.every(({error}) => error instanceof LkeobsError)
  if (!expected) return failures.find(({error}) => !(error instanceof LkeobsError))?.error
  const again = `lkeobs ${plan.command}          (goes on from there)`
  if (someOf === undefined && first.error instanceof LkeobsError) {
    const {code, message, next, cause} = first.error
    return new LkeobsError(code, `${message}\n${holds}`, {
      next: [...next.slice(0, -1).filter((line) => line !== `lkeobs ${plan.command}`), again],
      cause,
    })
  }
  const lines = failures.map(({step, error}) => `${step.title}: ${error instanceof LkeobsError ? `${error.code} ` : ''}${messageOf(error)}`)
  const next = failures.flatMap(({error}) => (error instanceof LkeobsError ? error.next.slice(0, -1) : []))
  return new LkeobsError(someOf ?? 'LKO-8001', `${lines.join('\n')}\n${holds}`, {next: [...new Set(next), again]})
}

/** Without a terminal: one line when a step is finished, and a sign of life every ten seconds while it is not. */
const lineFor = (step: Step, screen: Screen): {progress: Tell; finished: (state: Outcome['state'], note: string) => void} => {
  if (screen !== 'lines') return {progress: () => undefined, finished: () => undefined}
  let last = Date.now()
  const print = (sign: string, note: string) =>
    process.stderr.write(`${dim(new Date().toISOString().slice(11, 19))}  ${sign} ${step.title.padEnd(titleWidth)} ${note}\n`)
  return {
    progress(text) {
      if (Date.now() - last < heartbeatMs) return
      last = Date.now()
      print('…', text)
    },
    finished: (state, note) => void print(state === 'failed' ? mark.not : mark.so, note),
  }
}
