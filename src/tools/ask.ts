import {LkeobsError} from '../errors.ts'

export type Ask = {
  /** Returns when agreed; throws LKO-1005 when declined. Without a terminal nobody is asked: the flag that led here is the agreement. */
  confirm(question: string): Promise<void>
}

/** Asks on the terminal; `yes` answers every confirmation. */
export const createAsk = ({yes}: {readonly yes: boolean}): Ask => ({
  async confirm(question) {
    if (yes || !process.stdin.isTTY) return
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
