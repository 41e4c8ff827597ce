import {checkPrograms} from '../../clusters.ts'
import {chartFlags, LkeobsCommand, runText} from '../../command.ts'
import {nextCommands} from '../../output.ts'
import {hubInit} from '../../plans/hub-init.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {checkSeal} from '../../trust/seal.ts'

export default class HubInit extends LkeobsCommand {
  static override summary = 'Make the hub of the fleet file: Vault, PKI, stores and gateway.'
  static override description =
    'On this machine or on a Kubernetes cluster, as the fleet file says. Run it again to repair: it skips what holds, and writes nothing where all does.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --dry-run']

  static override flags = chartFlags

  async run(): Promise<void> {
    const {flags} = await this.parse(HubInit)
    const tools = await this.tools(flags)
    const {file, hub} = await this.fleet(flags, tools)
    await this.check(flags, () => checkPrograms(hub, tools))
    await this.check(flags, () => hub.checked())
    await this.check(flags, () => checkSeal(hub, hub))
    await this.carryOut(flags, async (those) => hubInit((await this.fleet(flags, those)).hub, those), {
      lock: lockOf(file.folder),
      after: async (steps) => {
        const endpoint = await hub.endpoint()
        const [edge] = file.fleet.edges
        const next = nextCommands([...(edge ? [`lkeobs edge join ${edge.name}`] : []), 'lkeobs hub status'])
        const text = `${runText(steps)}\n${hub.name} is up; edges dial ${endpoint}.\n${next}`
        return {schema: 'lkeobs/run/v1', data: {command: 'hub init', steps, endpoint}, text}
      },
    })
  }
}
