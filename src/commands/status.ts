import {Flags} from '@oclif/core'
import {LkeobsCommand} from '../command.ts'
import {fleetStatus} from '../status/fleet.ts'
import {fleetStatusText} from '../status/fleet-text.ts'

export default class Status extends LkeobsCommand {
  static override summary = 'Show the fleet: what each edge sends, what was stored, what waits and why.'
  static override description =
    'One row for each edge; below it what needs attention, with the full answer of the store. Counts are since the collectors started. The exit code is 7 when an edge is silent, the head of a queue does not move, items wait too long in an agent, or something was lost. `--json` has everything.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --wide',
    '<%= config.bin %> <%= command.id %> --json',
  ]
  static override flags = {
    wide: Flags.boolean({description: 'also a row for each edge and signal', env: 'LKEOBS_WIDE'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(Status)
    const tools = await this.tools(flags)
    const status = await fleetStatus(tools.http, await this.fleet(flags, tools))
    if (!status.ok) this.failChecks()
    this.result('lkeobs/status/v2', status, fleetStatusText(status, {wide: flags.wide}))
  }
}
