import {LkeobsError} from '../errors.ts'

export type Ask = {
  /**
   * Returns when agreed; throws LKO-1005 when declined. Without a terminal nobody is asked: the flag that led here is the
   * agreement. Where there was no such flag, `mustAgree`, only --yes is one.
   */
  confirm(question: string, options?: {readonly mustAgree?: boolean}): Promise<void>
}

/** Asks on the terminal; `yes` answers every confirmation. */
export const createAsk = ({yes}: {readonly yes: boolean}): Ask => ({
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
})
