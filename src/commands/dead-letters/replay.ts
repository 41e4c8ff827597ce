import {Flags} from '@oclif/core'
import {letterArgs, letterFlags, letterSelection, LkeobsCommand} from '../../command.ts'
import {checkSelection, reachOf, selectLetters} from '../../dead-letters/letters.ts'
import {replayLetters} from '../../dead-letters/replay.ts'
import {replayedText, selectionText} from '../../dead-letters/text.ts'

export default class DeadLettersReplay extends LkeobsCommand {
  static override summary = 'Send dead letters to their store or destination again, and wait until it has them.'
  static override description =
    'Use it after the cause is gone: a limit was raised, a schema was changed. Each item goes into the queue of the sink that refused it, and of no other, so it is stored once. Waits until each is stored or a dead letter again and says how many of which; with the exit code 7 where some were refused again, 6 where some still wait when --timeout is over. Run again, it goes on from there: an item that was replayed is no dead letter any more.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> 5f1c0a9be2d34a77',
    '<%= config.bin %> <%= command.id %> --sink loki --reason refused',
    '<%= config.bin %> <%= command.id %> --edge edge-1 --timeout 600',
    '<%= config.bin %> <%= command.id %> --all --dry-run',
  ]
  static override args = letterArgs
  static override flags = {
    ...letterFlags,
    all: Flags.boolean({description: 'all dead letters that the filters leave', env: 'LKEOBS_DEAD_LETTERS_REPLAY_ALL'}),
    timeout: Flags.integer({
      description: 'seconds to wait until they are stored; 0 does not wait',
      default: 120,
      min: 0,
      max: 86_400,
      env: 'LKEOBS_DEAD_LETTERS_REPLAY_TIMEOUT',
    }),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(DeadLettersReplay)
    const selection = letterSelection(args.id, flags)
    checkSelection(selection)
    const tools = await this.tools(flags)
    const reach = await reachOf(await this.fleet(flags, tools), flags.edge)
    const {letters, missing} = await selectLetters(reach, selection)
    if (flags['dry-run']) {
      this.result('lkeobs/dead-letters-plan/v1', {deadLetters: letters, missing}, `would replay ${selectionText(letters)}`)
      return
    }
    const replayed = await replayLetters(reach, letters, {timeoutMs: flags.timeout * 1000, tell: (line) => this.progress(line)})
    if (replayed.deadAgain > 0 || reach.unreached.length > 0) this.failChecks()
    if (replayed.waiting > 0) this.notSettled()
    const data = {...replayed, missing, unreached: reach.unreached}
    this.result('lkeobs/dead-letters-replay/v1', data, replayedText(replayed, missing, reach))
  }
}
