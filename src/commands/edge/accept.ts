import {Args, Flags} from '@oclif/core'
import {checkHub} from '../../clusters.ts'
import {LkeobsCommand, passwordFlags} from '../../command.ts'
import {LkeobsError} from '../../errors.ts'
import {nextCommands} from '../../output.ts'
import {agreeTo, edgeAccept} from '../../plans/edge-accept.ts'

export default class EdgeAccept extends LkeobsCommand {
  static override summary = 'Let an edge in that asks with its invite; done when its canaries are in the stores of the hub.'
  static override description =
    'The edge shows four words where it joins. Given with --fingerprint they prove that it is this edge that asks, and nobody who read its invite on the way; without, they are shown here to be compared. Waits for an edge that has not asked yet.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> edge-2 --fingerprint above-cloud-river-stone',
    '<%= config.bin %> <%= command.id %> edge-2 --auto-accept --wait 30',
  ]
  static override args = {name: Args.string({description: 'the edge that was invited', required: true})}

  static override flags = {
    ...passwordFlags,
    'auto-accept': Flags.boolean({
      description: 'whoever asks first with the invite: for scripts that carry it themselves',
      exclusive: ['fingerprint'],
      env: 'LKEOBS_AUTO_ACCEPT',
    }),
    fingerprint: Flags.string({description: 'the four words that the edge shows', env: 'LKEOBS_FINGERPRINT', helpValue: 'WORDS'}),
    wait: Flags.integer({description: 'minutes it may be waited for', default: 15, min: 0, max: 1440, env: 'LKEOBS_WAIT_MINUTES'}),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(EdgeAccept)
    const {name: edge} = args
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    await this.check(flags, () => checkHub(fleet.hub))
    const listed = fleet.file.fleet.edges.find(({name}) => name === edge)
    if (!listed?.platform.elsewhere)
      throw new LkeobsError('LKO-6006', listed ? `${edge} is looked after here.` : `${edge} was not invited.`, {
        next: [listed ? `lkeobs edge join ${edge}` : `lkeobs edge invite ${edge}`],
      })
    const {fingerprint} = flags
    const agree = flags['auto-accept']
      ? async () => undefined
      : fingerprint === undefined
        ? (words: string) => tools.ask.confirm(`Does the operator of ${edge} read out ${words}?`, {mustAgree: true})
        : agreeTo(edge, fingerprint)
    const wish = {edge, seal: listed.vault.seal, agree, waitMs: flags.wait * 60_000}
    await this.carryOut(flags, async (those) => edgeAccept(await this.fleet(flags, those), wish, those), {
      after: async (steps) => ({
        schema: 'lkeobs/edge-accept/v1',
        data: {edge, ok: true, steps},
        text: `${edge} has joined, and its canaries were read back.\n${nextCommands(['lkeobs edge list'])}`,
      }),
    })
  }
}
