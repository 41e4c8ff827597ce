import {Args, Flags} from '@oclif/core'
import {checkHub, checkPrograms, edgeOf} from '../../clusters.ts'
import {signals} from '../../collector/config.ts'
import {chartFlags, LkeobsCommand} from '../../command.ts'
import {edgeJoin} from '../../plans/edge-join.ts'
import {upgraded} from '../../plans/upgrade.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {checkBound} from '../../trust/binding.ts'
import {checkSeal} from '../../trust/seal.ts'
import {upgradeData, upgradeQuestion, upgradeText} from '../../upgrade/report.ts'
import {isNothing, survey} from '../../upgrade/survey.ts'
import {verificationText} from '../../verify/report.ts'
import {patientTimeoutMs, verify} from '../../verify/verify.ts'

const ways = {upgrade: true}
const schema = 'lkeobs/upgrade/v1'

export default class EdgeUpgrade extends LkeobsCommand {
  static override summary = 'Show what the pinned versions and the fleet file would change on an edge, and change it when agreed.'
  static override description =
    'Charts, images, values, definitions and objects are compared with what is installed. A step back, or one over more than one major version, is refused. Done when the canaries of the edge have been read back.'
  static override examples = ['<%= config.bin %> <%= command.id %> edge-2', '<%= config.bin %> <%= command.id %> edge-2 --dry-run --diff']
  static override args = {name: Args.string({description: 'the edge, as the fleet file calls it', required: true})}

  static override flags = {
    ...chartFlags,
    diff: Flags.boolean({description: 'also print the differences of every object', env: 'LKEOBS_DIFF'}),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(EdgeUpgrade)
    const tools = await this.tools(flags)
    const {file, ...fleet} = await this.fleet(flags, tools, ways)
    const {hub} = fleet
    const edge = edgeOf({file, ...fleet}, args.name)
    await checkPrograms(edge, tools)
    await checkHub(hub)
    await edge.checked()
    await checkBound(hub, edge)
    await checkSeal(edge, hub)
    const found = await survey(edgeJoin(hub, edge), edge)
    const [data, text] = [upgradeData(found, flags), upgradeText(found, {...flags, command: `edge upgrade ${edge.name}`})]
    if (flags['dry-run'] || isNothing(found)) return this.result(schema, data, text)
    this.progress(`${text}\n`)
    await tools.ask.confirm(upgradeQuestion(found), {mustAgree: true})
    const plan = async (those: typeof tools) => {
      const opened = await this.fleet(flags, those, ways)
      return upgraded(edgeJoin(opened.hub, edgeOf(opened, edge.name)), edge)
    }
    const after = async (steps: readonly object[]) => {
      const wish = {hub, edges: [edge], signals, timeoutMs: patientTimeoutMs}
      const verification = await verify(tools.http, wish, (line) => this.progress(line))
      if (!verification.ok) this.failChecks()
      return {schema, data: {...data, steps, verification}, text: verificationText(verification)}
    }
    await this.carryOut(flags, plan, {lock: lockOf(file.folder), after})
  }
}
