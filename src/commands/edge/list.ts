import {LkeobsCommand, passwordFlags} from '../../command.ts'
import {edgesOf, edgesText} from '../../status/edges.ts'

export default class EdgeList extends LkeobsCommand {
  static override summary = 'List the edges of the hub: invited, asking, joined, sending.'
  static override description =
    'What the hub knows of each edge, in its fleet file or not: how far it has joined, the words of one that asks to be let in, and for each signal how long ago the newest of it arrived.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']

  static override flags = passwordFlags

  async run(): Promise<void> {
    const {flags} = await this.parse(EdgeList)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const edges = await edgesOf(tools.http, fleet)
    this.result('lkeobs/edge-list/v1', {fleet: fleet.file.fleet.fleet, edges}, edgesText(edges))
  }
}
