import path from 'node:path'
import {Flags} from '@oclif/core'
import {LkeobsCommand} from '../../command.ts'
import {labStatus, labStatusText} from '../../status/lab.ts'

export default class LabStatus extends LkeobsCommand {
  static override summary = 'Show what of the lab runs on this machine, where, and how large it is.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']
  static override flags = {
    dir: Flags.string({description: 'the folder of the lab; the current one unless given', env: 'LKEOBS_DIR', helpValue: 'DIR'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(LabStatus)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags.dir === undefined ? flags : {fleet: path.join(flags.dir, 'lkeobs.yaml')}, tools)
    const status = await labStatus(fleet)
    if (!status.ok) this.failChecks()
    this.result('lkeobs/lab-status/v1', status, labStatusText(status))
  }
}
