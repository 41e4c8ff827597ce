import {Listr, ListrLogger, type ListrTask, ProcessOutput} from 'listr2'
import {LkeobsError} from '../errors.ts'
import {dim, duration, mark} from '../output.ts'
import {flatten, type Group, isGroup, type Outcome, type Plan, RunFailed, type Step, type Task, type Tell} from './step.ts'
import {until} from './wait.ts'

/** How progress is shown on stderr: redrawn on a terminal, one line a step elsewhere, or not at all. */
export type Screen = 'live' | 'lines' | 'silent'

const defaultPatienceMs = 30_000
const heartbeatMs = 10_000
const widestTitle = 72

/** The member of a group of independent steps that a step belongs to: a failure stops its own lane only. */
type Lane = {readonly group: Group; readonly member: Task} | undefined

type Failure = {readonly step: Step; readonly lane: Lane; readonly error: unknown}

/** Takes the steps in order, skips those that hold, and returns what became of each. Throws after a failure, once the steps beside it have ended. */
export const run = async (plan: Plan, screen: Screen): Promise<readonly Outcome[]> => {
  const outcomes: Outcome[] = []
  const failures: Failure[] = []
  /** Members of the group that have failed. */
  const failed = ({steps}: Group) => steps.filter((member) => failures.some(({lane}) => lane?.member === member)).length
  const halted = (lane: Lane) => failures.some(({lane: other}) => other === undefined || lane === undefined || other.member === lane.member)
  const isOver = (lane: Lane) => lane !== undefined && failed(lane.group) > (lane.group.mostFailures ?? Number.POSITIVE_INFINITY)

  const stepTask = (step: Step, lane: Lane, row?: Row): ListrTask => ({
    title: step.title,
    skip: () => halted(lane) || isOver(lane),
    async task(_, handle) {
      const line = row?.(step) ?? lineFor(step, screen)
      const started = Date.now()
      const remarks: string[] = []
      const finish = (state: Outcome['state']) => {
        const durationMs = Date.now() - started
        outcomes.push({title: step.title, state, durationMs, ...(remarks.length > 0 && {remarks})})
        const note = dim(state === 'already so' ? state : duration(durationMs))
        handle.title = `${step.title.padEnd(titleWidth())} ${note}`
        line.finished(state, note)
      }
      const tell: Tell = (text, how) => {
        if (how === 'lasting') remarks.push(text)
        handle.output = `${text}  ${dim(duration(Date.now() - started))}`
        line.progress(text, how)
      }
      try {
        finish(await take(step, tell))
      } catch (error) {
        failures.push({step, lane, error})
        finish('failed')
        throw error
      }
    },
  })

  // errors never end the list: every task asks for itself whether it may begin, so nothing runs on unseen
  const listrTask = (task: Task, lane: Lane, row?: Row): ListrTask => {
    if (!isGroup(task)) return stepTask(task, lane, row)
    const isBoard = screen === 'live' && task.independent !== undefined && task.steps.length > 1
    const nameWidth = Math.max(...task.steps.map(({title}) => title.length))
    const members = task.steps.map((member) => {
      const own = task.independent ? {group: task, member} : lane
      return isBoard && isGroup(member) ? rowTask(member, own, nameWidth) : listrTask(member, own, row)
    })
    return {
      title: task.title,
      skip: () => halted(lane) || isOver(lane),
      task: (_, handle) => handle.newListr(members, {concurrent: task.concurrency ?? false, exitOnError: false}),
    }
  }

  /** A member of a board: its steps in one row, since not all of them have room on a screen. */
  const rowTask = (member: Group, lane: Lane, nameWidth: number): ListrTask => ({
    title: member.title,
    skip: () => halted(lane) || isOver(lane),
    async task(_, handle) {
      const row = rowOf(member, nameWidth, (text) => (handle.title = text))
      const tasks = member.steps.map((task) => listrTask(task, lane, row))
      await new Listr(tasks, {registerSignalListeners: false, exitOnError: false, renderer: 'silent'}).run()
      const failure = failures.find(({lane: other}) => other?.member === member)
      if (failure) throw failure.error
    },
  })

  const list = new Listr(
    plan.steps.map((task) => listrTask(task, undefined)),
    {registerSignalListeners: false, exitOnError: false, ...rendererFor(screen)},
  )
  await list.run()
  if (screen === 'live')
    for (const {title, remarks = []} of outcomes) for (const remark of remarks) process.stderr.write(`${mark.soon} ${title}: ${remark}\n`)
  if (failures.length > 0) throw summary(plan, outcomes, failures)
  return outcomes
}

const rendererFor = (screen: Screen) => {
  if (screen !== 'live') return {renderer: 'silent'} as const
  const logger = new ListrLogger({processOutput: new ProcessOutput(process.stderr, process.stderr)})
  return {
    renderer: 'default',
    rendererOptions: {collapseSubtasks: false, collapseErrors: false, collapseSkips: false, showErrorMessage: false, logger},
  } as const
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
const summary = (plan: Plan, outcomes: readonly Outcome[], failures: readonly Failure[]): unknown => {
  const unexpected = failures.find(({error}) => !(error instanceof LkeobsError))
  if (unexpected) return unexpected.error
  const known = failures.flatMap(({step, lane, error}) => (error instanceof LkeobsError ? [{step, lane, error}] : []))
  const held = outcomes.filter((outcome) => outcome.state !== 'failed').length
  const holds = `Nothing was undone; ${held} of ${flatten(plan.steps).length} steps hold.`
  const own = `lkeobs ${plan.command}`
  const hints = new Set(known.flatMap(({error}) => error.next.slice(0, -1)).filter((line) => line !== own))
  const failed = known.map(({step, lane, error}) => ({
    ...(lane && {member: lane.member.title}),
    step: step.title,
    code: error.code,
    message: error.message,
    next: error.next.slice(0, -1),
  }))
  const members = [...new Set(failed.flatMap(({member}) => member ?? []))]
  const isAllOfMembers = members.length > 0 && failed.every(({member}) => member !== undefined)
  const again = isAllOfMembers && plan.again ? `lkeobs ${plan.again(members)}` : `${own}          (goes on from there)`
  const ended = {next: [...hints, again], outcomes, failed}
  const [first] = known
  const code = known
    .map(({lane}) => (lane && lane.group.steps.length > 1 ? lane.group.independent : undefined))
    .find((some) => some !== undefined)
  if (first && code === undefined)
    return new RunFailed(first.error.code, `${first.error.message}\n${holds}`, {...ended, cause: first.error.cause})
  const lines = known.map(({step, error}) => `${step.title}: ${error.code} ${error.message}`)
  return new RunFailed(code ?? 'LKO-8001', `${lines.join('\n')}\n${holds}`, ended)
}

/** Shows what becomes of a step. */
type Line = {readonly progress: Tell; readonly finished: (state: Outcome['state'], note: string) => void}
type Row = (step: Step) => Line

const columns = (): number => process.stderr.columns ?? 80
// beside it: how deep it is, its mark, and how long it took
const titleWidth = (): number => Math.min(widestTitle, columns() - 18)
const mostMarks = 12

/** `edge-4  ✔✔···  12s  the agent shows it: 3 of 4 connections from before` */
const rowOf = ({title: name, steps}: Group, nameWidth: number, show: (text: string) => void): Row => {
  const started = Date.now()
  const all = flatten(steps)
  const states = new Map<Step, Outcome['state']>()
  const marks = () => {
    if (all.length > mostMarks) return `${states.size}/${all.length}`.padStart(2 * `${all.length}`.length + 1)
    return all.map((step) => (states.has(step) ? (states.get(step) === 'failed' ? mark.not : mark.so) : dim('·'))).join('')
  }
  const draw = (text: string) => {
    const took = duration(Date.now() - started).padStart(5)
    const marksWidth = all.length > mostMarks ? 2 * `${all.length}`.length + 1 : all.length
    const room = Math.max(0, columns() - nameWidth - marksWidth - took.length - 12)
    show(`${name.padEnd(nameWidth)}  ${marks()}  ${dim(`${took}  ${text.length > room ? `${text.slice(0, room - 1)}…` : text}`)}`)
  }
  return (step) => {
    // whose row it is need not be said in it
    const title = step.title.replace(` on ${name}`, '')
    draw(title)
    return {
      progress: (text) => draw(`${title}: ${text}`),
      finished(state) {
        states.set(step, state)
        draw(state === 'failed' ? title : '')
      },
    }
  }
}

/** Without a terminal: one line when a step is finished, and a sign of life every ten seconds while it is not. */
const lineFor = (step: Step, screen: Screen): Line => {
  if (screen !== 'lines') return {progress: () => undefined, finished: () => undefined}
  let last = Date.now()
  const print = (sign: string, note: string) =>
    process.stderr.write(`${dim(new Date().toISOString().slice(11, 19))}  ${sign} ${step.title.padEnd(widestTitle)} ${note}\n`)
  return {
    progress(text, how) {
      if (how !== 'lasting' && Date.now() - last < heartbeatMs) return
      last = Date.now()
      print(how === 'lasting' ? mark.soon : '…', text)
    },
    finished: (state, note) => void print(state === 'failed' ? mark.not : mark.so, note),
  }
}
