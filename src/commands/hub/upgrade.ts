import {Flags} from '@oclif/core'
import {checkPrograms} from '../../clusters.ts'
import {chartFlags, LkeobsCommand} from '../../command.ts'
import {hubInit} from '../../plans/hub-init.ts'
import {upgraded} from '../../plans/upgrade.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {checkSeal} from '../../trust/seal.ts'
import {upgradeData, upgradeQuestion, upgradeText} from '../../upgrade/report.ts'
import {isNothing, survey} from '../../upgrade/survey.ts'

const ways = {upgrade: true}
const schema = 'lkeobs/upgrade/v1'

export default class HubUpgrade extends LkeobsCommand {
  static override summary = 'Show what the pinned versions and the fleet file would change on the hub, and change it when agreed.'
  static override description =
    'Charts, images, values, definitions and objects are compared with what is installed. A step back, or one over more than one major version, is refused.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --dry-run --diff']
  static override flags = {
    ...chartFlags,
    diff: Flags.boolean({description: 'also print the differences of every object', env: 'LKEOBS_DIFF'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(HubUpgrade)
    const tools = await this.tools(flags)
    const {file, hub} = await this.fleet(flags, tools, ways)
    await checkPrograms(hub, tools)
    await hub.checked()
    await checkSeal(hub, hub)
    const found = await survey(hubInit(hub, tools), hub)
    const [data, text] = [upgradeData(found, flags), upgradeText(found, {...flags, command: 'hub upgrade'})]
    if (flags['dry-run'] || isNothing(found)) return this.result(schema, data, text)
    this.progress(`${text}\n`)
    await tools.ask.confirm(upgradeQuestion(found), {mustAgree: true})
    await this.carryOut(flags, async (those) => upgraded(hubInit((await this.fleet(flags, those, ways)).hub, those), hub), {
      lock: lockOf(file.folder),
      after: async (steps) => ({schema, data: {...data, steps}, text: `${hub.name} is as wished.`}),
    })
  }
}
