import {LkeobsCommand} from '../../command.ts'
import {destinationsOf} from '../../status/destinations.ts'
import {destinationsText} from '../../status/destinations-text.ts'

export default class DestList extends LkeobsCommand {
  static override summary = 'List the destinations: what they take, what waits for them, what was dropped and why.'
  static override description =
    'As the gateways report it to the hub, every 10 s: items a second of the last minute, how full the queue is, how long its oldest item has waited, what was dropped with the reason, and the last error of the exporter. Replicas are added up.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']

  async run(): Promise<void> {
    const {flags} = await this.parse(DestList)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const destinations = await destinationsOf(tools.http, fleet)
    this.result('lkeobs/destinations/v2', {fleet: fleet.file.fleet.fleet, destinations}, destinationsText(destinations))
  }
}
