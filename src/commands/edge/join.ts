import {Args, Flags} from '@oclif/core'
import {chartFlags, LkeobsCommand} from '../../command.ts'
import {wayByInvite, wayByName} from '../../plans/edge-join-ways.ts'
import {lockOf} from '../../platforms/local/index.ts'
import type {Tools} from '../../tools/index.ts'
import {checkInvite, type Invite, readInvite} from '../../trust/invite.ts'

export default class EdgeJoin extends LkeobsCommand {
  static override summary = 'Join an edge to the hub; done when its canaries have been read back.'
  static override description =
    'With both clusters in the fleet file, an edge joins in one go. Where the hub is looked after elsewhere, the edge comes with an invite of `edge invite`, shows four words, and waits until the hub lets it in with `edge accept`; the fleet file is written if there is none. Run again, it goes on from where it was.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> edge-2',
    '<%= config.bin %> <%= command.id %> edge-2 --dry-run',
    '<%= config.bin %> <%= command.id %> --invite - < edge-2.invite',
    '<%= config.bin %> <%= command.id %> --invite edge-2.invite --context edge-2',
  ]
  static override args = {
    // what is piped in is the invite
    name: Args.string({description: 'the edge, as the fleet file calls it; with an invite, as that does', ignoreStdin: true}),
  }

  static override flags = {
    ...chartFlags,
    invite: Flags.string({
      description: 'the file with the invite; - is stdin; it is asked for on a terminal where neither it nor a name is given',
      env: 'LKEOBS_INVITE',
      helpValue: 'FILE',
    }),
    context: Flags.string({
      description: 'with an invite: the context of the Kubernetes cluster that joins; processes on this machine unless given',
      env: 'LKEOBS_CONTEXT',
      exclusive: ['ports'],
    }),
    kubeconfig: Flags.string({description: 'with --context: the kubeconfig it is in', env: 'LKEOBS_KUBECONFIG', dependsOn: ['context']}),
    ports: Flags.integer({
      description: 'with an invite: the first port of the processes; the first ten that are free unless given',
      env: 'LKEOBS_PORTS',
      min: 1024,
      max: 65_000,
    }),
    wait: Flags.integer({description: 'minutes the hub may be waited for', default: 15, min: 0, max: 1440, env: 'LKEOBS_WAIT_MINUTES'}),
    rebind: Flags.boolean({
      description: 'let the name mean the cluster that is there now, instead of the one it was bound to',
      env: 'LKEOBS_REBIND',
    }),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(EdgeJoin)
    const tools = await this.tools(flags)
    const wish = {...flags, waitMs: flags.wait * 60_000}
    const way =
      args.name === undefined || flags.invite !== undefined
        ? await wayByInvite(await this.#invite(flags, args.name, tools), wish, tools)
        : await wayByName(args.name, wish, (those) => this.fleet(flags, those), tools)
    for (const check of way.checks) await this.check(flags, check)
    await this.carryOut(flags, way.plan, {
      lock: lockOf(way.fleet.file.folder),
      after: async (steps) => {
        const end = await way.ended?.((line) => this.progress(line))
        if (!end) return undefined
        if (!end.ok) this.failChecks()
        return {schema: 'lkeobs/edge-join/v1', data: {edge: way.edge, ok: end.ok, steps, ...end.more}, text: end.text}
      },
    })
  }

  async #invite(flags: {readonly invite: string | undefined}, name: string | undefined, tools: Tools): Promise<Invite> {
    const secret = await tools.ask.secret('Invite', {file: flags.invite, flag: '--invite FILE', variable: 'LKEOBS_INVITE'})
    const invite = readInvite(secret)
    checkInvite(invite, name)
    return invite
  }
}
