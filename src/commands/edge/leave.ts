import {Args, Flags} from '@oclif/core'
import {checkPrograms, edgeOf} from '../../clusters.ts'
import {chartFlags, LkeobsCommand, passwordFlags} from '../../command.ts'
import {edgeLeave} from '../../plans/edge-leave.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {leaveQuestions, leftText, nothingToLeave} from '../../status/leave-text.ts'
import {checkBound} from '../../trust/binding.ts'
import {canForget} from '../../trust/bundle.ts'

// an agent of another version is closed by one of ours
const ways = {upgrade: true}
const schema = 'lkeobs/edge-leave/v1'

export default class EdgeLeave extends LkeobsCommand {
  static override summary = 'Take an edge out of the fleet: the hub gets all that its agent holds, then nothing of it is left.'
  static override description =
    'The agent takes nothing in any more and sends what is in its queue. When that is empty, the hub stops letting the edge in, what lkeobs made on it is removed, and it is taken out of the fleet file. A hub that does not answer ends the command with how many items are queued, and nothing is removed. Run again, it goes on from there.'
  static override examples = ['<%= config.bin %> <%= command.id %> edge-2', '<%= config.bin %> <%= command.id %> edge-2 --dry-run']
  static override args = {name: Args.string({description: 'the edge, as the fleet file calls it', required: true})}

  static override flags = {
    ...chartFlags,
    ...passwordFlags,
    'abandon-queue': Flags.boolean({description: 'remove the queue with all that is in it, unsent', env: 'LKEOBS_ABANDON_QUEUE'}),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(EdgeLeave)
    const {name} = args
    const abandon = flags['abandon-queue']
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools, ways)
    if (fleet.edges.every((edge) => edge.name !== name)) {
      this.result(schema, {edge: name, ok: true, forgotten: true, abandoned: false, steps: []}, nothingToLeave(fleet, name))
      return
    }
    const edge = edgeOf(fleet, name)
    await this.check(flags, () => checkPrograms(edge, tools))
    // a machine needs no room to be left
    await this.check(flags, async () => (edge.site ? edge.checked() : undefined))
    if (!fleet.hub.elsewhere) await this.check(flags, () => checkBound(fleet.hub, edge))
    const reached = await canForget(fleet.hub)
    if (!flags['dry-run'])
      for (const question of leaveQuestions(fleet, name, {reached, queued: abandon ? await edge.queued() : 0, abandon}))
        await tools.ask.confirm(question, {mustAgree: true})
    await this.carryOut(
      flags,
      async (those) => {
        const opened = await this.fleet(flags, those, ways)
        return edgeLeave({...opened, edge: edgeOf(opened, name), abandon, reached}, those)
      },
      {
        lock: lockOf(fleet.file.folder),
        after: async (steps) => {
          const isDone = reached || fleet.hub.elsewhere === true
          if (!isDone) this.failChecks()
          return {
            schema,
            data: {edge: name, ok: isDone, forgotten: reached, abandoned: abandon, steps},
            text: leftText(fleet, name, reached),
          }
        },
      },
    )
  }
}
