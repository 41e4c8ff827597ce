import {LkeobsError} from '../errors.ts'
import {plain, type Secret} from '../secret.ts'

/** A program call. Arguments are visible to everybody on the machine: never a secret among them. */
export type Command = {
  readonly file: string
  readonly args: readonly string[]
  readonly cwd?: string
  /** Added to the environment the child gets. */
  readonly env?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
  /** What it reads on stdin; never part of an error or of what is printed. Nothing unless given. */
  readonly input?: string | Secret
  /** What it prints on stdout is secret: an error shows its stderr alone. */
  readonly secretOutput?: true
  /** It changes the world: a dry run prints it instead. */
  readonly mutates?: true
  /** Called for every line of output while it runs. */
  readonly onLine?: (line: string) => void
  /** Called with its process id when it has started. */
  readonly onStart?: (pid: number) => void
  /** Ends it. */
  readonly signal?: AbortSignal
}

export type Shell = {
  /** Runs to the end and returns stdout. Throws LKO-4003 with the command, its exit code and its last lines. */
  run(command: Command): Promise<string>
}

/** The command as a person would type it. */
export const typed = ({file, args}: Pick<Command, 'file' | 'args'>): string =>
  [file, ...args].map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`)).join(' ')

/** What a child needs of our environment; nothing of ours (LKEOBS_*), no Vault token. */
const childEnvironment = (): Record<string, string> =>
  Object.fromEntries(
    Object.entries(process.env).filter(
      (pair): pair is [string, string] => pair[1] !== undefined && !/^(LKEOBS|VAULT|BAO|DEBUG)(_|$)/.test(pair[0]),
    ),
  )

export const createShell = (): Shell => ({
  async run(command) {
    const {execa} = await import('execa')
    const {input} = command
    const child = execa(command.file, command.args, {
      ...(command.cwd !== undefined && {cwd: command.cwd}),
      env: {...childEnvironment(), ...command.env},
      extendEnv: false,
      ...(input === undefined ? {stdin: 'ignore'} : {input: plain(input)}),
      all: true,
      reject: false,
      timeout: command.timeoutMs ?? 0,
      ...(command.signal && {cancelSignal: command.signal}),
    })
    if (child.pid !== undefined) command.onStart?.(child.pid)
    if (command.onLine) for await (const line of child.iterable({from: 'all'})) command.onLine(line)
    const result = await child
    if (!result.failed) return result.stdout
    const reason = result.timedOut
      ? `did not end within ${command.timeoutMs} ms`
      : result.exitCode === undefined
        ? (result.originalMessage ?? 'could not be started')
        : `ended with exit code ${result.exitCode}`
    const lastLines = ((command.secretOutput ? result.stderr : result.all) ?? '').split('\n').slice(-20).join('\n')
    throw new LkeobsError('LKO-4003', `${typed(command)}\n${reason}${lastLines ? `:\n${lastLines}` : ''}`, {
      cause: command.secretOutput ? undefined : result.cause,
    })
  },
})

export const dryShell = (shell: Shell, record: (line: string) => void): Shell => ({
  async run(command) {
    if (!command.mutates) return shell.run(command)
    record(typed(command))
    return ''
  },
})
