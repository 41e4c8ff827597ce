import {LkeobsCommand} from '../../command.ts'
import {toolsInstall} from '../../plans/tools-install.ts'

export default class ToolsInstall extends LkeobsCommand {
  static override summary = 'Install the external programs at their pinned versions.'
  static override description =
    "NAME is a program, or what programs are for: lab, kubernetes, loadtest. Without a name all are installed. A right version on PATH is used as it is; otherwise the publisher's release is fetched and verified, otherwise the program is had from a language registry."
  static override usage = 'tools install [NAME…]'
  static override strict = false
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> lab',
    '<%= config.bin %> <%= command.id %> openbao otelcol --dry-run',
  ]

  async run(): Promise<void> {
    const {argv, flags} = await this.parse(ToolsInstall)
    await this.carryOut(flags, (tools) => toolsInstall(argv.map(String), tools))
  }
}
