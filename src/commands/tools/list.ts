import {LkeobsCommand} from '../../command.ts'
import {inventory, inventoryText} from '../../programs/inventory.ts'

export default class ToolsList extends LkeobsCommand {
  static override summary = 'Show the external programs, where they came from and where they are.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']

  async run(): Promise<void> {
    const {flags} = await this.parse(ToolsList)
    const {shell} = await this.tools(flags)
    const tools = await inventory(shell)
    this.result('lkeobs/tools/v1', {tools}, inventoryText(tools))
  }
}
