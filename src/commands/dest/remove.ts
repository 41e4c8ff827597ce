import {Args, Flags} from '@oclif/core'
import {checkHub, refuseHubElsewhere} from '../../clusters.ts'
import {chartFlags, LkeobsCommand, passwordFlags} from '../../command.ts'
import {count, nextCommands, readDuration} from '../../output.ts'
import {destRemove} from '../../plans/dest-remove.ts'
import {lockOf} from '../../platforms/local/index.ts'

export default class DestRemove extends LkeobsCommand {
  static override summary = 'Stop sending to a destination: what waits for it is sent first, then nothing of it is left.'
  static override description =
    'The gateway feeds it no more and sends what is in its queue. When that is empty, or the time for it has passed, it is taken out of the fleet file, the gateway and Vault, and it is said how many items were left. Run again, it goes on from there.'
  static override examples = ['<%= config.bin %> <%= command.id %> corp', '<%= config.bin %> <%= command.id %> corp --drain 0s --yes']
  static override args = {name: Args.string({description: 'the destination', required: true})}

  static override flags = {
    ...chartFlags,
    ...passwordFlags,
    drain: Flags.string({
      description: 'how long it is waited for its queue: 90s, 30m, 2h; 0s gives it up at once',
      default: '10m',
      env: 'LKEOBS_DRAIN',
      helpValue: 'TIME',
    }),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(DestRemove)
    const {name} = args
    const drainSeconds = readDuration(flags.drain)
    if (drainSeconds === undefined) this.error(`--drain ${flags.drain}: expected a time such as 0s, 90s, 30m or 2h.`, {exit: 2})
    const tools = await this.tools(flags)
    const ways = {charts: flags.charts}
    const fleet = await this.fleet(flags, tools, ways)
    refuseHubElsewhere(fleet.hub)
    await this.check(flags, () => checkHub(fleet.hub))
    if (!flags['dry-run']) await tools.ask.confirm(`Stop sending to ${name}, and forget its secret?`, {mustAgree: true})
    let items = 0
    await this.carryOut(
      flags,
      async (those) => {
        const opened = await this.fleet(flags, those, ways)
        return destRemove({fleet: opened, name, drainMs: drainSeconds * 1000, left: (found) => (items = found), ways}, those)
      },
      {
        lock: lockOf(fleet.file.folder),
        after: async (steps) => ({
          schema: 'lkeobs/dest-remove/v1',
          data: {destination: name, left: items, steps},
          text: `${fleet.hub.name} sends nothing to ${name}${steps.every(({state}) => state === 'already so') ? ', and did not before' : left(items)}.\n${nextCommands(['lkeobs dest list'])}`,
        }),
      },
    )
  }
}

/** What became of the items that waited. */
const left = (items: number): string =>
  items === 0 ? '; its queue was empty' : `; ${count(items, 'item')} that waited for it ${items === 1 ? 'was' : 'were'} given up`
