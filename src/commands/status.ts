import {LkeobsCommand} from '../command.ts'
import {fleetStatus, fleetStatusText} from '../status/fleet.ts'

export default class Status extends LkeobsCommand {
  static override summary = 'Show the fleet: what each edge sends, how fresh, what waits, when its certificate ends.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']

  async run(): Promise<void> {
    const {flags} = await this.parse(Status)
    const tools = await this.tools(flags)
    const status = await fleetStatus(tools.http, await this.fleet(flags, tools))
    if (!status.ok) this.failChecks()
    this.result('lkeobs/status/v1', status, fleetStatusText(status))
  }
}
