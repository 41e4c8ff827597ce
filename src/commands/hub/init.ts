import {checkPrograms} from '../../clusters.ts'
import {chartFlags, LkeobsCommand} from '../../command.ts'
import {hubInit} from '../../plans/hub-init.ts'
import {lockOf} from '../../platforms/local/index.ts'

export default class HubInit extends LkeobsCommand {
  static override summary = 'Make the hub of the fleet file: Vault, PKI, stores and gateway.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --dry-run']

  static override flags = chartFlags

  async run(): Promise<void> {
    const {flags} = await this.parse(HubInit)
    const tools = await this.tools(flags)
    const {file, hub} = await this.fleet(flags, tools)
    await this.check(flags, () => checkPrograms(hub, tools))
    await this.check(flags, () => hub.checked())
    await this.carryOut(flags, async (those) => hubInit((await this.fleet(flags, those)).hub, those), {lock: lockOf(file.folder)})
  }
}
