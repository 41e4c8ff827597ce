import {Args, Flags} from '@oclif/core'
import {LkeobsCommand} from '../../command.ts'
import {compare, members} from '../../loadtest/compare.ts'
import {comparisonText} from '../../loadtest/report/text.ts'
import {storedRuns} from '../../loadtest/stored.ts'

export default class LoadtestCompare extends LkeobsCommand {
  static override summary = 'Compare two load tests: what became better, what worse, and what is noise.'
  static override description =
    'Medians over the repetitions, how far they spread, and the effect, figure by figure. Runs that are not alike are refused, with what differs. The exit code is 7 where a figure became worse.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> 4b1f09ce 77ab02d1',
    '<%= config.bin %> <%= command.id %> before.json after.json --despite versions',
  ]
  static override args = {
    first: Args.string({description: 'the earlier run: its name, or a file', required: true}),
    second: Args.string({description: 'the run that is compared with it', required: true}),
  }
  static override flags = {
    despite: Flags.option({
      options: members,
      description: 'compare although this differs; may be given again',
      multiple: true,
      env: 'LKEOBS_DESPITE',
    })(),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(LoadtestCompare)
    const {files} = await this.tools(flags)
    const runs = storedRuns(files, flags.fleet)
    const comparison = compare(await runs.read(args.first), await runs.read(args.second), flags.despite)
    if (comparison.result === 'worse') this.failChecks()
    this.result('lkeobs/loadtest-compare/v1', comparison, comparisonText(comparison))
  }
}
