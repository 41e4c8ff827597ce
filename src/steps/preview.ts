import {bold, dim, mark} from '../output.ts'
import {isGroup, type Plan, type Task} from './step.ts'

/** Collects what would be written while a step is previewed, as a person would type it. */
export type Recorder = {
  readonly record: (line: string) => void
  /** The lines since the last call. */
  readonly take: () => readonly string[]
}

export const createRecorder = (): Recorder => {
  let lines: string[] = []
  return {
    record: (line) => void lines.push(line),
    take() {
      const taken = lines
      lines = []
      return taken
    },
  }
}

/** What a step would do: nothing (`holds`), these writes (`would run`), or not known before an earlier step has run (`unknown`). */
export type Preview = {
  readonly title: string
  readonly state: 'holds' | 'would run' | 'unknown'
  readonly writes: readonly string[]
}

/** The second interpreter of a plan: asks every step and applies none; its tools only record (see dryTools). */
export const preview = async (plan: Plan, recorder: Recorder): Promise<readonly Preview[]> => {
  const previews: Preview[] = []
  const visit = async (tasks: readonly Task[]): Promise<void> => {
    for (const task of tasks) {
      if (isGroup(task)) await visit(task.steps)
      else {
        recorder.take()
        let state: Preview['state'] = 'would run'
        try {
          if ((await task.done()) === true) state = 'holds'
          else await task.apply(() => undefined)
        } catch {
          // what it asks about does not exist before an earlier step has run
          state = 'unknown'
        }
        previews.push({title: task.title, state, writes: state === 'holds' ? [] : recorder.take()})
      }
    }
  }
  await visit(plan.steps)
  return previews
}

/** The preview as a person reads it: each step, and under it the commands it would run. */
export const previewText = (plan: Plan, previews: readonly Preview[]): string => {
  const lines = previews.flatMap(({title, state, writes}) => [
    `  ${state === 'holds' ? mark.so : mark.next} ${title}${state === 'would run' ? '' : `   ${dim(state === 'holds' ? 'already so' : 'known only after the steps before it')}`}`,
    ...writes.map((line) => `      ${line}`),
  ])
  const pending = previews.filter(({state}) => state !== 'holds').length
  const verdict =
    pending === 0 ? 'Dry run: nothing would change.' : `Dry run: ${pending} of ${previews.length} steps would run; nothing was changed.`
  return [bold(plan.title), '', ...lines, '', verdict].join('\n')
}
