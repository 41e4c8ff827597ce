import {createReadStream} from 'node:fs'
import {createInterface} from 'node:readline'
import {LkeobsError, messageOf} from '../errors.ts'
import {Secret} from '../secret.ts'

export type Ask = {
  /**
   * Returns when agreed; throws LKO-1005 when declined. Without a terminal nobody is asked: the flag that led here is the
   * agreement. Where there was no such flag, `mustAgree`, only --yes is one.
   */
  confirm(question: string, options?: {readonly mustAgree?: boolean}): Promise<void>
  /** What a person types, for all to see; undefined where nobody can be asked. Throws LKO-1005 where it is left empty. */
  text(question: string): Promise<string | undefined>
  /**
   * What a person types without its being seen, or the next line of a file or pipe (`-` is stdin). Throws LKO-5010 where there
   * is neither a file nor a terminal.
   */
  secret(question: string, from: {readonly file?: string | undefined; readonly flag: string; readonly variable: string}): Promise<Secret>
  /** The administrator's password: asked for once in a run, from the file that --password-file or the variable names. */
  password(question: string, variable: string): Promise<Secret>
  /** The password once more, where it was typed unseen and is about to become the password. Throws LKO-5010 where it differs. */
  again(question: string): Promise<void>
}

/** One line after another, however many ask; a pipe can be read once only. */
const linesOf = (file: string) => {
  // stdin may be a socket, which cannot be opened by its name
  const input = ['-', '/dev/stdin'].includes(file) ? process.stdin : createReadStream(file)
  const lines = createInterface({input})[Symbol.asyncIterator]()
  return {
    next: async () => {
      const {value, done} = await lines.next()
      return done === true ? undefined : value
    },
    close: () => input.destroy(),
  }
}

/** Asks on the terminal; `yes` answers every confirmation. */
export const createAsk = ({
  yes,
  passwordFile,
}: {
  readonly yes: boolean
  readonly passwordFile?: string | undefined
}): Ask & {readonly end: () => void} => {
  let known: Promise<Secret> | undefined
  let wasTyped = false
  const opened = new Map<string, ReturnType<typeof linesOf>>()
  const ask: Ask & {readonly end: () => void} = {
    password(question, variable) {
      const file = passwordFile ?? process.env[variable]
      wasTyped = file === undefined
      return (known ??= ask.secret(question, {file, flag: '--password-file', variable}))
    },
    end: () => {
      for (const lines of opened.values()) lines.close()
    },
    async again(question) {
      if (!wasTyped || !known) return
      const [one, other] = [await known, await ask.secret(question, {flag: '--password-file', variable: ''})]
      if (one.reveal() !== other.reveal()) throw new LkeobsError('LKO-5010', 'The two passwords differ.')
    },
    async text(question) {
      if (!process.stdin.isTTY) return undefined
      const {input} = await import('@inquirer/prompts')
      try {
        const typed = await input({message: question}, {output: process.stderr})
        if (typed.trim() !== '') return typed.trim()
      } catch (error) {
        if (!(error instanceof Error && error.name === 'ExitPromptError')) throw error
      }
      throw new LkeobsError('LKO-1005', 'Nothing was changed.')
    },
    async secret(question, {file, flag, variable}) {
      if (file !== undefined) {
        const lines = opened.get(file) ?? linesOf(file)
        opened.set(file, lines)
        const line = await lines.next().catch((error: unknown) => {
          throw new LkeobsError('LKO-5010', `${question}: ${file} cannot be read: ${messageOf(error)}`)
        })
        if (line === undefined || line.trim() === '')
          throw new LkeobsError('LKO-5010', `${question}: ${file === '-' ? 'stdin' : file} has no line for it.`)
        return new Secret(line.trim())
      }
      if (!process.stdin.isTTY)
        throw new LkeobsError('LKO-5010', `${question}: nobody can be asked here. Give it with ${flag} or ${variable}.`)
      const {password} = await import('@inquirer/prompts')
      try {
        const typed = await password({message: question, mask: false}, {output: process.stderr})
        if (typed.trim() !== '') return new Secret(typed.trim())
      } catch (error) {
        if (!(error instanceof Error && error.name === 'ExitPromptError')) throw error
      }
      throw new LkeobsError('LKO-1005', 'Nothing was changed.')
    },
    async confirm(question, {mustAgree = false} = {}) {
      if (yes) return
      if (!process.stdin.isTTY) {
        if (!mustAgree) return
        throw new LkeobsError('LKO-1005', `Nobody can be asked here: ${question} Agree with --yes. Nothing was changed.`)
      }
      const {confirm} = await import('@inquirer/prompts')
      try {
        if (await confirm({message: question, default: false}, {output: process.stderr})) return
      } catch (error) {
        // Ctrl-C at the question is an answer
        if (!(error instanceof Error && error.name === 'ExitPromptError')) throw error
      }
      throw new LkeobsError('LKO-1005', 'Nothing was changed.')
    },
  }
  return ask
}
