import {Flags} from '@oclif/core'
import {letterFlags, LkeobsCommand} from '../../command.ts'
import {listLetters, reachOf} from '../../dead-letters/letters.ts'
import {lettersText} from '../../dead-letters/text.ts'

export default class DeadLettersList extends LkeobsCommand {
  static override summary = 'List items that a store or destination refused for good, newest first.'
  static override description =
    'A dead letter is an item that was taken out of the data path alone and kept on the disk of the collector that took it out, with the reason. Asks the gateways of the hub and the agents of the edges. Changes nothing. The exit code is 7 when a collector could not be asked. `--json` has the full answer of the store in `detail`.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --edge edge-1 --signal logs',
    '<%= config.bin %> <%= command.id %> --sink loki --reason refused --limit 1000 --json',
  ]
  static override flags = {
    ...letterFlags,
    limit: Flags.integer({description: 'how many at most', default: 100, min: 1, max: 1_000_000, env: 'LKEOBS_LIMIT'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(DeadLettersList)
    const {limit, edge, signal, sink, reason} = flags
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const reach = await reachOf(fleet, edge)
    const found = await listLetters(reach, {edge, signal, sink, reason}, limit)
    if (reach.unreached.length > 0) this.failChecks()
    const data = {fleet: fleet.file.fleet.fleet, total: found.total, deadLetters: found.letters, unreached: reach.unreached}
    this.result('lkeobs/dead-letters/v1', data, lettersText(found, reach))
  }
}
