import {Flags} from '@oclif/core'
import {doctor, doctorText} from '../checks/doctor.ts'
import {edgesOf} from '../clusters.ts'
import {chartFlags, LkeobsCommand} from '../command.ts'
import {exit} from '../errors.ts'

export default class Doctor extends LkeobsCommand {
  static override summary = 'Check the clusters of the fleet and this machine before anything is changed.'
  static override description =
    'Looks at everything that `hub init` and `edge join` need, whether they have run or not, and does not stop at the first thing that is not so; then the exit code is 4. Warnings do not count. It changes nothing: the only thing it sends are questions about permissions (SelfSubjectAccessReviews), which the API server answers and does not keep.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --edge edge-1',
    '<%= config.bin %> <%= command.id %> --hub --json',
  ]
  static override flags = {
    ...chartFlags,
    edge: Flags.string({
      description: 'only this edge; may be given again',
      multiple: true,
      env: 'LKEOBS_EDGE',
      helpValue: 'NAME',
    }),
    hub: Flags.boolean({description: 'only the hub, or the hub as well as the edges named', env: 'LKEOBS_HUB'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(Doctor)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const isAll = flags.edge === undefined && !flags.hub
    const edges = isAll ? fleet.edges : flags.edge === undefined ? [] : edgesOf(fleet, flags.edge)
    const clusters = isAll || flags.hub ? [fleet.hub, ...edges] : edges
    const report = await doctor(fleet, clusters, tools, {charts: flags.charts})
    if (!report.ok) process.exitCode = exit.notReady
    this.result('lkeobs/doctor/v1', report, doctorText(report))
  }
}
