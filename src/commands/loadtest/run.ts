import {Flags} from '@oclif/core'
import {edgesOf} from '../../clusters.ts'
import {LkeobsCommand} from '../../command.ts'
import {exit} from '../../errors.ts'
import {conclude} from '../../loadtest/conclude.ts'
import {planned, plannedText, sourcesOf} from '../../loadtest/generators.ts'
import {otherwise, profileNames, readProfile} from '../../loadtest/profile.ts'
import {progressOn} from '../../loadtest/progress.ts'
import {loadTestText} from '../../loadtest/report/text.ts'
import {runLoadTest} from '../../loadtest/run.ts'
import {loadTestSchema} from '../../loadtest/stored.ts'
import {interruptible} from '../../tools/interrupt.ts'

const rate = (items: string, env: string) => Flags.integer({description: `${items} a second over all edges`, min: 0, env, helpValue: 'N'})

export default class LoadtestRun extends LkeobsCommand {
  static override summary = 'Send load through the edges, account for every item, and judge the run.'
  static override description =
    'telemetrygen sends into the agents; what arrives is counted in the stores. Exit code 7 where the verdict is fail, 130 where it was ended early: the report then says so.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --profile baseline --json',
    '<%= config.bin %> <%= command.id %> --profile target --find-knee --report knee.html',
  ]
  static override flags = {
    duration: Flags.string({description: 'the window: 90s, 5m, 2h', env: 'LKEOBS_DURATION', helpValue: 'TIME'}),
    edge: Flags.string({description: 'only this edge; may be given again', multiple: true, env: 'LKEOBS_EDGE', helpValue: 'NAME'}),
    'find-knee': Flags.boolean({description: 'raise the rate step by step until something gives out', env: 'LKEOBS_FIND_KNEE'}),
    profile: Flags.string({
      description: `${profileNames.join(', ')}, or a file`,
      default: 'baseline',
      env: 'LKEOBS_PROFILE',
      helpValue: 'NAME',
    }),
    'rate-logs': rate('log records', 'LKEOBS_RATE_LOGS'),
    'rate-metrics': rate('data points', 'LKEOBS_RATE_METRICS'),
    'rate-traces': rate('spans', 'LKEOBS_RATE_TRACES'),
    repetitions: Flags.integer({description: 'how often it is measured', min: 1, max: 20, env: 'LKEOBS_REPETITIONS'}),
    report: Flags.string({description: 'also write the page (.html) or the summary (.md)', env: 'LKEOBS_REPORT', helpValue: 'FILE'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(LoadtestRun)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const edges = edgesOf(fleet, flags.edge)
    const profile = otherwise(await readProfile(flags.profile, tools.files), flags)
    if (flags['dry-run']) {
      const processes = planned(profile, await sourcesOf(edges))
      this.result('lkeobs/loadtest-plan/v1', {profile, processes}, plannedText(processes))
      return
    }
    const {tell, end} = progressOn(process.stderr)
    const wish = {tools, fleet, edges, profile, findKnee: flags['find-knee'], version: this.config.version, over: interruptible(), tell}
    const measured = await runLoadTest(wish).finally(end)
    const run = await conclude(measured, {files: tools.files, fleetFile: flags.fleet, report: flags.report})
    this.result(loadTestSchema, run, loadTestText(run))
    if (run.partial) process.exitCode = exit.cancelled
    else if (run.verdict.result === 'fail') this.failChecks()
  }
}
