import {Args} from '@oclif/core'
import {LkeobsCommand} from '../command.ts'
import {catalogue, type Code, LkeobsError} from '../errors.ts'
import {nearest} from '../nearest.ts'
import {bold, table} from '../output.ts'

const isCode = (text: string): text is Code => Object.hasOwn(catalogue, text)

export default class Explain extends LkeobsCommand {
  static override summary = 'Explain an error code: why it happens and what to do.'
  static override description = 'Works offline. Without a code, lists all of them.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> LKO-3001',
    '<%= config.bin %> <%= command.id %> 3001',
    '<%= config.bin %> <%= command.id %> --json',
  ]
  static override args = {code: Args.string({description: 'an error code such as LKO-3001, or its number'})}

  async run(): Promise<void> {
    const {args} = await this.parse(Explain)
    if (args.code === undefined) {
      const codes = Object.entries(catalogue).map(([code, {exit, title}]) => ({code, exit, title}))
      this.result(
        'lkeobs/codes/v1',
        {codes},
        table(
          ['CODE', 'EXIT', 'WHAT HAPPENED'],
          codes.map(({code, exit, title}) => [code, String(exit), title]),
        ),
      )
      return
    }
    const code = `LKO-${args.code.toUpperCase().replace(/^LKO-?/, '')}`
    if (!isCode(code)) {
      const near = nearest(code, Object.keys(catalogue)).slice(0, 3)
      throw new LkeobsError('LKO-1006', `${code} is not an error code.${near.length === 0 ? '' : ` Near it: ${near.join(', ')}.`}`, {
        next: ['lkeobs explain'],
      })
    }
    const {exit, title, why, fix} = catalogue[code]
    this.result(
      'lkeobs/explain/v1',
      {code, exit, title, why, fix},
      `${bold(code)}  ${title}  (exit ${exit})\n\n${why}\n\n${bold('What to do')}\n${fix}`,
    )
  }
}
