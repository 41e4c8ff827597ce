import {LkeobsCommand} from '../../command.ts'
import {hubStatusText} from '../../status/hub-text.ts'
import {hubStatus} from '../../status/hub.ts'

export default class HubStatus extends LkeobsCommand {
  static override summary = 'Show the hub: what is installed, what runs, where it is reached, which certificates end when.'
  static override description =
    'Reads only. Digests are those of the containers that run. The exit code is 7 when something is not ready, a certificate is over, or there is no address for edges to dial.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']

  async run(): Promise<void> {
    const {flags} = await this.parse(HubStatus)
    const tools = await this.tools(flags)
    const status = await hubStatus(await this.fleet(flags, tools), tools)
    if (!status.ok) this.failChecks()
    this.result('lkeobs/hub-status/v1', status, hubStatusText(status))
  }
}
