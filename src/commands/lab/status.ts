import {labFile, labFlags, LkeobsCommand} from '../../command.ts'
import {labStatus, labStatusText} from '../../status/lab.ts'

export default class LabStatus extends LkeobsCommand {
  static override summary = 'Show what of the lab runs on this machine, where, and how large it is.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']
  static override flags = labFlags

  async run(): Promise<void> {
    const {flags} = await this.parse(LabStatus)
    const tools = await this.tools(flags)
    const fleet = await this.fleet({fleet: labFile(flags)}, tools)
    const status = await labStatus(fleet)
    if (!status.ok) this.failChecks()
    this.result('lkeobs/lab-status/v1', status, labStatusText(status))
  }
}
