import path from 'node:path'
import {Args, Command, Flags, type Interfaces} from '@oclif/core'
import {signals} from './collector/config.ts'
import {exit, LkeobsError, messageOf} from './errors.ts'
import {bold, count, mark, nextCommands} from './output.ts'
import type {Fleet} from './clusters.ts'
import type {Ways} from './platforms/kubernetes/site.ts'
import type {Outcome, Plan, RunFailed} from './steps/step.ts'
import type {Tools} from './tools/index.ts'

/** The flags every command has, each with its variable. */
export type GlobalFlags = Interfaces.InferredFlags<typeof LkeobsCommand.baseFlags>

/** What a command answers: one document for machines, the same as text for people. */
export type Result = {readonly schema: string; readonly data: object; readonly text: string}

type Work = {
  /** Held while the plan runs, so that two runs do not undo each other. */
  readonly lock?: string
  /** What goes on while the plan runs; whatever it does, the outcomes are those of the run. */
  readonly around?: (run: () => Promise<readonly Outcome[]>, tools: Tools) => Promise<readonly Outcome[]>
  /** What to answer after the plan has run; the outcomes unless given. */
  readonly after?: (outcomes: readonly Outcome[], tools: Tools) => Promise<Result | undefined>
  /** What to answer where the plan failed; the error says so in any case, and is all there is unless given. */
  readonly afterFailure?: (failure: RunFailed, tools: Tools) => Promise<Result>
}

/** Where charts come from, for the commands that install them. */
export const chartFlags = {
  charts: Flags.string({
    description: 'a folder of packaged charts, used instead of their repositories',
    env: 'LKEOBS_CHARTS',
    helpValue: 'DIR',
  }),
}

/** Where the password of a Vault's administrator comes from, where it is in no file of the lab. */
export const passwordFlags = {
  'password-file': Flags.string({
    description: "a file or pipe with the password of Vault's administrator; - is stdin",
    env: 'LKEOBS_VAULT_PASSWORD_FILE',
    helpValue: 'FILE',
  }),
}

/** Of ceremonies in which people answer challenges. */
export const answerFlags = {
  answer: Flags.string({
    description: 'a file with answers to challenges, or a folder of files NAME.answer; - is stdin; may be given again',
    multiple: true,
    env: 'LKEOBS_ANSWER',
    helpValue: 'FILE',
  }),
}

/** Where a holder's share comes from; asked for on the terminal unless given. */
export const shareFlags = {
  envelope: Flags.string({description: 'your envelope, which your own gpg decrypts', env: 'LKEOBS_ENVELOPE', helpValue: 'FILE'}),
  'share-file': Flags.string({
    description: 'a pipe with your share, instead of an envelope; - is stdin',
    env: 'LKEOBS_SHARE_FILE',
    helpValue: 'FILE',
    exclusive: ['envelope'],
  }),
}

/** Of a drill with a snapshot of a Vault that holders open. */
export const drillShareFlags = {
  holders: Flags.boolean({
    description: 'holders are here, and open the throw-away node: each types their share unseen',
    env: 'LKEOBS_HOLDERS',
  }),
  envelope: Flags.string({
    description: "a holder's envelope for the drill, which gpg decrypts here; may be given again",
    multiple: true,
    env: 'LKEOBS_DRILL_ENVELOPE',
    helpValue: 'FILE',
  }),
  'share-file': Flags.string({
    description: 'a pipe with the shares for the drill, a line each, instead of envelopes; - is stdin',
    env: 'LKEOBS_DRILL_SHARE_FILE',
    helpValue: 'FILE',
    exclusive: ['envelope'],
  }),
}

/** Of what several holders do together while Vault runs. */
export const attemptFlags = {
  cancel: Flags.boolean({description: 'end the attempt, whoever began it', env: 'LKEOBS_CANCEL', exclusive: ['ticket']}),
  ticket: Flags.string({
    description: 'your ticket, as a holder; your own gpg decrypts it',
    env: 'LKEOBS_TICKET',
    helpValue: 'FILE',
  }),
  wait: Flags.boolean({description: 'wait for the holders', env: 'LKEOBS_WAIT'}),
}

/** What dead letters have in common, for the commands about them. */
export const letterFlags = {
  edge: Flags.string({description: 'only of this edge', env: 'LKEOBS_DEAD_LETTERS_EDGE', helpValue: 'NAME'}),
  signal: Flags.option({options: signals, description: 'only of this signal', env: 'LKEOBS_DEAD_LETTERS_SIGNAL'})(),
  sink: Flags.string({
    description: 'only for this store or destination: prometheus, loki, tempo, a name; hub is what an agent could not send',
    env: 'LKEOBS_DEAD_LETTERS_SINK',
    helpValue: 'NAME',
  }),
  reason: Flags.string({description: 'only for this reason', env: 'LKEOBS_DEAD_LETTERS_REASON', helpValue: 'REASON'}),
}

export const letterArgs = {
  id: Args.string({description: 'the ids, as dead-letters list shows them', multiple: true}),
}

/** Which dead letters were named on the command line. */
export const letterSelection = (
  ids: readonly string[] | undefined,
  {edge, signal, sink, reason, all}: Readonly<Record<keyof typeof letterFlags, string | undefined>> & {readonly all: boolean},
) => ({ids: ids ?? [], filter: {edge, signal, sink, reason}, all})

/** Which lab, for the commands about labs. */
export const labFlags = {
  dir: Flags.string({description: 'the folder of the lab; the current one unless given', env: 'LKEOBS_DIR', helpValue: 'DIR'}),
}

/** The fleet file of that lab. */
export const labFile = (flags: {readonly dir: string | undefined; readonly fleet: string}): string =>
  flags.dir === undefined ? flags.fleet : path.join(flags.dir, 'lkeobs.yaml')

/** Parse, check, ask, run: what all commands share. */
export abstract class LkeobsCommand extends Command {
  static override baseFlags = {
    'dry-run': Flags.boolean({description: 'print what would be done, and do nothing', env: 'LKEOBS_DRY_RUN', helpGroup: 'GLOBAL'}),
    fleet: Flags.string({
      description: 'the fleet file',
      default: 'lkeobs.yaml',
      env: 'LKEOBS_FLEET',
      helpGroup: 'GLOBAL',
      helpValue: 'FILE',
    }),
    json: Flags.boolean({description: 'print the result as one JSON document', env: 'LKEOBS_JSON', helpGroup: 'GLOBAL'}),
    yes: Flags.boolean({description: 'agree to every confirmation', char: 'y', env: 'LKEOBS_YES', helpGroup: 'GLOBAL'}),
  }

  #json = this.argv.includes('--json') || /^(1|true|yes)$/i.test(process.env['LKEOBS_JSON'] ?? '')

  #tools: Tools | undefined

  protected async tools(flags: {readonly yes: boolean; readonly 'password-file'?: string | undefined}): Promise<Tools> {
    const {createTools} = await import('./tools/index.ts')
    return (this.#tools ??= createTools({yes: flags.yes, passwordFile: flags['password-file']}))
  }

  /** Stdin is for secrets: oclif would take it for an argument that was left out, and an error would print it. */
  protected override async init(): Promise<void> {
    await super.init()
    for (const argument of Object.values(this.ctor.args)) argument.ignoreStdin = true
  }

  /** Whatever came of it: a forward or a kept connection would let the process linger. */
  protected override async finally(reason: Error | undefined): Promise<void> {
    await this.#tools?.end()
    await super.finally(reason)
  }

  /** The fleet of the file with its hub and edges opened. */
  protected async fleet(
    flags: {readonly fleet: string; readonly charts?: string | undefined},
    tools: Tools,
    ways: Ways = {},
  ): Promise<Fleet> {
    const [{loadFleet}, {openFleet}] = await Promise.all([import('./fleet/load.ts'), import('./clusters.ts')])
    return openFleet(await loadFleet(flags.fleet, tools.files), tools, {charts: flags.charts, ...ways})
  }

  /** What must be so before anything is changed. A dry run changes nothing, so there it is only a warning. */
  protected async check(flags: {readonly 'dry-run': boolean}, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!flags['dry-run'] || !(error instanceof LkeobsError)) throw error
      this.progress(`${mark.soon} ${error.code}  ${error.title} ${error.message}`)
    }
  }

  /** Runs the plan, or previews it under --dry-run, and answers. */
  protected async carryOut(
    flags: GlobalFlags,
    makePlan: (tools: Tools) => Plan | Promise<Plan>,
    {lock, around, after, afterFailure}: Work = {},
  ): Promise<void> {
    const tools = await this.tools(flags)
    if (flags['dry-run']) {
      const [{dryTools}, {createRecorder, preview, previewText}] = await Promise.all([
        import('./tools/index.ts'),
        import('./steps/preview.ts'),
      ])
      const recorder = createRecorder()
      const plan = await makePlan(dryTools(tools, recorder.record))
      const steps = await preview(plan, recorder)
      this.result('lkeobs/plan/v1', {command: plan.command, steps}, previewText(plan, steps))
      return
    }
    const [{run}, {flatten, RunFailed}, {withLock}] = await Promise.all([
      import('./steps/run.ts'),
      import('./steps/step.ts'),
      import('./tools/lock.ts'),
    ])
    const work = async () => {
      const plan = {...(await makePlan(tools)), command: this.#typed()}
      this.progress(`${bold(plan.title)} ${count(flatten(plan.steps).length, 'step')}.\n`)
      const live = process.stderr.isTTY && !this.#json && process.env['CI'] === undefined
      const running = () => run(plan, live ? 'live' : 'lines')
      const outcomes = await (around ? around(running, tools) : running()).catch(async (error: unknown) => {
        if (!(error instanceof RunFailed) || !afterFailure) throw error
        this.#resultOfFailure(error, await afterFailure(error, tools))
        return undefined
      })
      if (outcomes === undefined) return
      const answer = await after?.(outcomes, tools)
      if (answer) this.result(answer.schema, answer.data, answer.text)
      else this.result('lkeobs/run/v1', {command: plan.command, steps: outcomes}, runText(outcomes))
    }
    await (lock === undefined ? work() : withLock(lock, work))
  }

  /** The command as it was typed, to be typed again. */
  #typed(): string {
    const words = this.argv.filter((word) => word !== '--json')
    return [...(this.id ?? '').split(':'), ...words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word)))].join(' ')
  }

  /** The answer, on stdout. */
  protected result(schema: string, data: object, text: string): void {
    if (this.#json) process.stdout.write(`${JSON.stringify({schema, ...data}, undefined, 2)}\n`)
    else if (text !== '') process.stdout.write(`${text}\n`)
  }

  /** The answer where the plan failed, and the error: one document, or the one on stdout and the other on stderr. */
  #resultOfFailure(failure: RunFailed, {schema, data, text}: Result): void {
    if (!this.#json) {
      this.result(schema, data, text)
      throw failure
    }
    const {code, title, message, next, oclif} = failure
    process.exitCode = oclif.exit
    this.result(schema, {...data, error: {code, exit: oclif.exit, title, message, next}}, text)
  }

  /** A line on stderr. */
  protected progress(line: string): void {
    process.stderr.write(`${line}\n`)
  }

  /** What was begun is not over: the answer stands, and the exit code says so. */
  protected notSettled(): void {
    process.exitCode = exit.notSettled
  }

  /** The check found something: the answer stands, and the exit code says so. */
  protected failChecks(): void {
    process.exitCode = exit.checksFailed
  }

  protected override async catch(error: Error & {exitCode?: number; oclif?: {exit?: number}}): Promise<void> {
    const expected = error instanceof LkeobsError
    if (!expected && error.oclif?.exit !== undefined && !this.#json) throw error
    const code = expected ? error.code : error.oclif?.exit === undefined ? 'BUG' : 'USAGE'
    const status = error.oclif?.exit ?? exit.bug
    const title = expected ? error.title : code === 'BUG' ? 'This is a mistake in lkeobs itself.' : 'The command line is wrong.'
    const next = expected
      ? error.next
      : code === 'BUG'
        ? ['LKEOBS_DEBUG=1 with the same command shows where']
        : [`lkeobs ${this.id?.replaceAll(':', ' ') ?? ''} --help`]
    process.exitCode = status
    if (this.#json) {
      process.stdout.write(
        `${JSON.stringify({schema: 'lkeobs/error/v1', error: {code, exit: status, title, message: messageOf(error), next}}, undefined, 2)}\n`,
      )
      return
    }
    const stack = code === 'BUG' && process.env['LKEOBS_DEBUG'] ? `\n${error.stack ?? ''}` : ''
    process.stderr.write(`\n${bold(code)}  ${title}\n${messageOf(error)}${stack}\n${nextCommands(next)}\n`)
  }
}

/** What became of a plan, in one line. */
export const runText = (outcomes: readonly Outcome[]): string =>
  outcomes.every(({state}) => state === 'already so')
    ? 'Nothing to do: everything is already so.'
    : `${count(outcomes.length, 'step holds', 'steps hold')}.`
