import {Args} from '@oclif/core'
import {LkeobsCommand} from '../../command.ts'
import {reachOf, readLetter} from '../../dead-letters/letters.ts'
import {letterText} from '../../dead-letters/text.ts'

export default class DeadLettersShow extends LkeobsCommand {
  static override summary = 'Show one dead letter: why it was taken out, and the item itself.'
  static override description =
    'The item is printed as OTLP/JSON with its resource and scope. Characters that a terminal would act on are printed as their numbers. Changes nothing.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> 5f1c0a9be2d34a77',
    '<%= config.bin %> <%= command.id %> hub/gateway-0/5f1c0a9be2d34a77',
    '<%= config.bin %> <%= command.id %> 5f1c0a9be2d34a77 --json',
  ]
  static override args = {id: Args.string({description: 'the id, as dead-letters list shows it', required: true})}

  async run(): Promise<void> {
    const {args, flags} = await this.parse(DeadLettersShow)
    const tools = await this.tools(flags)
    const letter = await readLetter(await reachOf(await this.fleet(flags, tools)), args.id)
    this.result('lkeobs/dead-letter/v1', letter, letterText(letter))
  }
}
