import {Args, Flags} from '@oclif/core'
import {LkeobsCommand} from '../../command.ts'
import {compare} from '../../loadtest/compare.ts'
import {loadTestText} from '../../loadtest/report/text.ts'
import {loadTestSchema, storedRuns} from '../../loadtest/stored.ts'

export default class LoadtestReport extends LkeobsCommand {
  static override summary = 'Show a load test: its verdict and figures, or as a page with plots.'
  static override description =
    'Prints what `loadtest run` has printed. --html writes one page that needs nothing but itself, --markdown a summary for a pull request.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> 4b1f09ce --html report.html --markdown report.md',
  ]
  static override args = {run: Args.string({description: 'a run: its name, or a file; the newest unless given'})}
  static override flags = {
    html: Flags.string({description: 'write the page', env: 'LKEOBS_HTML', helpValue: 'FILE'}),
    markdown: Flags.string({description: 'write the summary', env: 'LKEOBS_MARKDOWN', helpValue: 'FILE'}),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(LoadtestReport)
    const {files} = await this.tools(flags)
    const runs = storedRuns(files, flags.fleet)
    const run = await runs.read(args.run)
    const baseline = await runs.baselineFor(run)
    const comparison = baseline && compare(baseline, run)
    const wanted = [
      {file: flags.html, of: async () => (await import('../../loadtest/report/page.ts')).loadTestPage(run, comparison)},
      {file: flags.markdown, of: async () => (await import('../../loadtest/report/markdown.ts')).loadTestMarkdown(run, comparison)},
    ]
    for (const {file, of} of wanted) {
      if (file === undefined) continue
      if (flags['dry-run']) this.progress(`would write ${file}`)
      else await files.write(file, await of(), 0o644)
    }
    this.result(loadTestSchema, run, loadTestText(run))
  }
}
