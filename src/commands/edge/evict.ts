import {Args} from '@oclif/core'
import {checkHub} from '../../clusters.ts'
import {LkeobsCommand, passwordFlags} from '../../command.ts'
import {nextCommands} from '../../output.ts'
import {edgeEvict} from '../../plans/edge-evict.ts'
import {lockOf} from '../../platforms/local/index.ts'

export default class EdgeEvict extends LkeobsCommand {
  static override summary = 'Shut an edge out, from the hub: whether it answers or not, what it sends is refused.'
  static override description =
    'Takes away its credential, its place in the trust bundle of the gateway, its invites, and what its tokens may do in the Vault of the hub; with seal transit its Vault does not open again. Connections that are open are refused, too. Other edges notice nothing. The edge itself is not asked and not touched: what is to be run there is printed. It comes back only by a new invite, or by `edge join` where its cluster is in the fleet file again.'
  static override examples = ['<%= config.bin %> <%= command.id %> edge-2', '<%= config.bin %> <%= command.id %> edge-2 --yes --json']
  static override args = {name: Args.string({description: 'the edge', required: true})}
  static override flags = passwordFlags

  async run(): Promise<void> {
    const {args, flags} = await this.parse(EdgeEvict)
    const {name: edge} = args
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    await this.check(flags, () => checkHub(fleet.hub))
    if (!flags['dry-run'])
      await tools.ask.confirm(`Shut ${edge} out of ${fleet.hub.name}? What it sends from now on is refused: it waits there, or is lost.`, {
        mustAgree: true,
      })
    await this.carryOut(flags, async (those) => edgeEvict(await this.fleet(flags, those), edge, those), {
      lock: lockOf(fleet.file.folder),
      after: async (steps) => {
        const onEdge = `lkeobs edge leave ${edge} --abandon-queue          (where ${edge} is, if it can be reached)`
        return {
          schema: 'lkeobs/edge-evict/v1',
          data: {edge, ok: true, steps, next: [onEdge.split('   ')[0]]},
          text: `${edge} is shut out of ${fleet.hub.name}.\n${nextCommands([onEdge, 'lkeobs edge list'])}`,
        }
      },
    })
  }
}
