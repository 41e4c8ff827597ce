import {LkeobsCommand} from '../../command.ts'
import {loadTestsText} from '../../loadtest/report/text.ts'
import {storedRuns} from '../../loadtest/stored.ts'

export default class LoadtestList extends LkeobsCommand {
  static override summary = 'List the load tests that are kept beside the fleet file.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json']

  async run(): Promise<void> {
    const {flags} = await this.parse(LoadtestList)
    const {files} = await this.tools(flags)
    const runs = await storedRuns(files, flags.fleet).list()
    const loadtests = runs.map(({run, startedAt, profile, edges, partial, verdict}) => ({
      run,
      startedAt,
      profile: profile.name,
      edges,
      partial,
      verdict,
    }))
    this.result('lkeobs/loadtest-list/v1', {loadtests}, loadTestsText(runs))
  }
}
