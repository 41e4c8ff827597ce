import {Flags} from '@oclif/core'
import {letterArgs, letterFlags, letterSelection, LkeobsCommand} from '../../command.ts'
import {changeLetters, checkSelection, reachOf, selectLetters} from '../../dead-letters/letters.ts'
import {droppedText, selectionText} from '../../dead-letters/text.ts'

export default class DeadLettersDrop extends LkeobsCommand {
  static override summary = 'Delete dead letters for good.'
  static override description =
    'Use it when nobody needs the items any more. Asks first; without a terminal it needs --yes. Deleted items cannot be brought back. Run again, it finds nothing to do.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> 5f1c0a9be2d34a77',
    '<%= config.bin %> <%= command.id %> --edge edge-1 --reason too-old --yes',
    '<%= config.bin %> <%= command.id %> --all --dry-run',
  ]
  static override args = letterArgs
  static override flags = {
    ...letterFlags,
    all: Flags.boolean({description: 'all dead letters that the filters leave', env: 'LKEOBS_DEAD_LETTERS_DROP_ALL'}),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(DeadLettersDrop)
    const selection = letterSelection(args.id, flags)
    checkSelection(selection)
    const tools = await this.tools(flags)
    const reach = await reachOf(await this.fleet(flags, tools), flags.edge)
    const {letters, missing} = await selectLetters(reach, selection)
    if (flags['dry-run']) {
      this.result('lkeobs/dead-letters-plan/v1', {deadLetters: letters, missing}, `would drop ${selectionText(letters)}`)
      return
    }
    if (letters.length > 0) await tools.ask.confirm(`Delete ${selectionText(letters)}?`, {mustAgree: true})
    const dropped = await changeLetters(reach, letters, (admin, ids) => admin.drop(ids))
    if (reach.unreached.length > 0) this.failChecks()
    this.result('lkeobs/dead-letters-drop/v1', {dropped, missing, unreached: reach.unreached}, droppedText(dropped, missing, reach))
  }
}
