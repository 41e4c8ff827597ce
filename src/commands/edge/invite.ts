import {Args, Flags} from '@oclif/core'
import {checkHub} from '../../clusters.ts'
import {LkeobsCommand, passwordFlags} from '../../command.ts'
import {nextCommands, readDuration} from '../../output.ts'
import {checkInvitable, edgeInvite, edgeUninvited} from '../../plans/edge-invite.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {invitesOf, invitesText} from '../../status/edges.ts'
import {type Invite, inviteText} from '../../trust/invite.ts'
import type {Fleet} from '../../clusters.ts'

export default class EdgeInvite extends LkeobsCommand {
  static override summary = 'Invite an edge that is looked after elsewhere: one string, for one edge, once, for a while.'
  static override description =
    'The string is printed once and kept nowhere: who has it can ask to be that edge until it ends or is used. It names the hub by the key of its root CA, so that it is shown to nobody else. The hub lets the edge in with `edge accept`.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> edge-2',
    '<%= config.bin %> <%= command.id %> edge-2 --ttl 10m --out edge-2.invite',
    '<%= config.bin %> <%= command.id %> --list',
    '<%= config.bin %> <%= command.id %> edge-2 --revoke',
  ]
  static override args = {name: Args.string({description: 'the edge, as it is to be called', ignoreStdin: true})}

  static override flags = {
    ...passwordFlags,
    list: Flags.boolean({description: 'show the invites there are', exclusive: ['revoke', 'ttl', 'out'], env: 'LKEOBS_LIST'}),
    out: Flags.string({
      char: 'o',
      description: 'the file to write it to, for nobody else to read; stdout unless given',
      env: 'LKEOBS_OUT',
      helpValue: 'FILE',
    }),
    revoke: Flags.boolean({description: 'end the invite of this edge', exclusive: ['ttl', 'out'], env: 'LKEOBS_REVOKE'}),
    seal: Flags.option({
      options: ['static', 'transit'] as const,
      default: 'static',
      description: 'how its Vault is unsealed: by a key beside its data, or by the hub',
      env: 'LKEOBS_SEAL',
    })(),
    ttl: Flags.string({description: 'how long it holds: 90s, 30m, 2h, 1d', default: '1h', env: 'LKEOBS_TTL', helpValue: 'TIME'}),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(EdgeInvite)
    const ttlSeconds = readDuration(flags.ttl)
    if (ttlSeconds === undefined || ttlSeconds < 1 || ttlSeconds > 30 * 86_400)
      this.error(`--ttl ${flags.ttl}: expected a time of 1s to 30d, such as 90s, 30m, 2h or 1d.`, {exit: 2})
    const {name: edge} = args
    if (edge === undefined && !flags.list) this.error('Missing 1 required arg: name, the edge as it is to be called.', {exit: 2})
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    await this.check(flags, () => checkHub(fleet.hub))
    if (flags.list || edge === undefined) return this.list(fleet)
    const lock = lockOf(fleet.file.folder)
    if (flags.revoke) return this.carryOut(flags, async (those) => edgeUninvited(await this.fleet(flags, those), edge), {lock})
    await this.check(flags, () => checkInvitable(fleet, edge))
    let given: Invite | undefined
    await this.carryOut(
      flags,
      async (those) => edgeInvite(await this.fleet(flags, those), {edge, seal: flags.seal, ttlSeconds}, those, (made) => (given = made)),
      {
        lock,
        after: async (steps) => {
          if (!given) throw new Error('no invite was made')
          const text = inviteText(given)
          const expires = new Date(given.expires * 1000).toISOString()
          if (flags.out !== undefined) await tools.files.write(flags.out, `${text.reveal()}\n`)
          this.progress(
            `\nIt holds until ${expires}, once.\n${nextCommands([`lkeobs edge join --invite -          (where ${edge} is)`, `lkeobs edge accept ${edge}          (here)`])}\n`,
          )
          return {
            schema: 'lkeobs/edge-invite/v1',
            data: {edge, expires, ...(flags.out === undefined ? {invite: text.reveal()} : {file: flags.out}), steps},
            text: flags.out === undefined ? text.reveal() : flags.out,
          }
        },
      },
    )
  }

  private async list({hub}: Fleet): Promise<void> {
    const invites = await invitesOf(hub)
    this.result('lkeobs/edge-invites/v1', {invites}, invitesText(invites))
  }
}
