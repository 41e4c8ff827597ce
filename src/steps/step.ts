import type {Release} from '../components/release.ts'
import {type Code, LkeobsError} from '../errors.ts'
import type {KubeObject} from '../tools/kube/kube.ts'

/** Shows one line while a step works or waits: progress that the next line replaces, or a `lasting` remark that stays. */
export type Tell = (line: string, how?: 'lasting') => void

/** What a step puts on a Kubernetes cluster: objects or a release, and the file that they, or its values, are in. Nothing secret. */
export type Wish = {
  /** As `render` names it, and as a dry run prints it: `hub/vault.values.yaml`. */
  readonly file: string
  /** On which clusters, where it is not on all of them. */
  readonly only?: string
} & ({readonly objects: readonly KubeObject[]} | {readonly release: Release})

/** One state of the world and how to bring it about. Asked before (skip), after (verify) and on the next run (resume). */
export type Step = {
  /** A noun phrase that is true when the step holds: `Vault unsealed`. */
  readonly title: string
  /** `true` when the world is as this step leaves it, otherwise what is not so yet, in a few words. Only reads. */
  done(): Promise<true | string>
  /** Makes it so. May return before it is so: the engine then asks done() until patience is over. */
  apply(tell: Tell): Promise<void>
  /** Asked while the step settles: throws when it can no longer become so, so that nobody waits for nothing. */
  watch?(): Promise<void>
  /** What it hands to kubectl or helm: `render` writes it, and an upgrade compares it with what is there. */
  wish?(): Promise<Wish>
  /** How long done() may take to become true after apply(), in ms. */
  readonly patienceMs?: number
}

/** Steps under one heading. */
export type Group = {
  readonly title: string
  readonly steps: readonly Task[]
  /** How many run side by side; 1 unless given. */
  readonly concurrency?: number
  /** How many of its members may fail before no other begins; any number unless given. */
  readonly mostFailures?: number | undefined
  /** A failure does not stop the siblings (they work on different edges or programs); the group then ends with this error. */
  readonly independent?: Code
}

export type Task = Step | Group

/** A guided command: what it is for, in one line, and its steps in order. */
export type Plan = {
  /** The command, as typed: `edge join edge-2`. */
  readonly command: string
  /** What it does, in one sentence, for the first line on the screen. */
  readonly title: string
  readonly steps: readonly Task[]
  /** What to type once members of an independent group have failed and were mended; the command itself unless given. */
  again?(members: readonly string[]): string
}

export const isGroup = (task: Task): task is Group => 'steps' in task

/** The steps in order, groups opened. */
export const flatten = (tasks: readonly Task[]): readonly Step[] => tasks.flatMap((task) => (isGroup(task) ? flatten(task.steps) : [task]))

/** What became of a step in one run. */
export type Outcome = {
  readonly title: string
  readonly state: 'already so' | 'done' | 'failed'
  readonly durationMs: number
  /** What a person should know although it went well. */
  readonly remarks?: readonly string[]
}

/** A step that failed. */
export type Failed = {
  /** The member of an independent group that it is of: an edge. Left out where there is no such group. */
  readonly member?: string
  readonly step: string
  readonly code: Code
  readonly message: string
  /** Commands to type next. */
  readonly next: readonly string[]
}

/** A run that did not come to its end, with what became of its steps until then. */
export class RunFailed extends LkeobsError {
  readonly outcomes: readonly Outcome[]
  readonly failed: readonly Failed[]

  constructor(
    code: Code,
    what: string,
    {outcomes, failed, ...options}: ConstructorParameters<typeof LkeobsError>[2] & Pick<RunFailed, 'outcomes' | 'failed'>,
  ) {
    super(code, what, options)
    this.outcomes = outcomes
    this.failed = failed
  }
}
