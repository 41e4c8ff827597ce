import path from 'node:path'
import {Flags} from '@oclif/core'
import {labFile, labFlags, LkeobsCommand} from '../../command.ts'
import {labDown} from '../../plans/lab-down.ts'
import {lockOf, stateFolderOf} from '../../platforms/local/index.ts'

export default class LabDown extends LkeobsCommand {
  static override summary = 'Stop every process of the lab; with --purge, remove all it kept.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --purge']
  static override flags = {
    ...labFlags,
    purge: Flags.boolean({description: 'also remove the telemetry, the Vaults and the fleet file', env: 'LKEOBS_PURGE'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(LabDown)
    const file = path.resolve(labFile(flags))
    const folder = path.dirname(file)
    const tools = await this.tools(flags)
    if (flags.purge && !flags['dry-run']) await tools.ask.confirm(`Remove ${file} and ${stateFolderOf(folder)} with all telemetry in it?`)
    // where no lab ever was there is nothing to lock, and nothing is made
    const there = await tools.files.exists(stateFolderOf(folder))
    await this.carryOut(flags, (those) => labDown(file, flags.purge, those), there ? {lock: lockOf(folder)} : {})
  }
}
