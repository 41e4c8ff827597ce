import {Flags} from '@oclif/core'
import {LkeobsCommand} from '../../command.ts'
import {chartsPull} from '../../plans/charts-pull.ts'

export default class ChartsPull extends LkeobsCommand {
  static override summary = 'Fill a folder with the pinned charts, for a machine that does not reach their repositories.'
  static override description =
    'Charts that are there already are left alone. `hub init`, `hub upgrade`, `edge join` and `edge upgrade` take charts from such a folder with --charts.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --charts charts',
    '<%= config.bin %> <%= command.id %> --charts charts --dry-run',
  ]
  static override flags = {
    charts: Flags.string({description: 'the folder for the packaged charts', required: true, env: 'LKEOBS_CHARTS', helpValue: 'DIR'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(ChartsPull)
    const tools = await this.tools(flags)
    await this.check(flags, async () => void (await tools.program('helm')))
    await this.carryOut(flags, (those) => chartsPull(flags.charts, those))
  }
}
