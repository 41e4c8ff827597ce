import {LkeobsCommand} from '../command.ts'

export default class Status extends LkeobsCommand {
  static override summary = 'Show the fleet: what each edge sends, how fresh, what waits, when its certificate ends.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']

  async run(): Promise<void> {
    const {flags} = await this.parse(Status)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const {fleetStatus, fleetStatusText} = await import('../status/fleet.ts')
    const status = await fleetStatus(tools.http, fleet)
    if (!status.ok) this.failChecks()
    this.result('lkeobs/status/v1', status, fleetStatusText(status))
  }
}
