import {Args, Flags, type Interfaces} from '@oclif/core'
import {checkHub, checkPrograms, edgeOf, type Fleet} from '../../clusters.ts'
import {signals} from '../../collector/config.ts'
import {chartFlags, LkeobsCommand} from '../../command.ts'
import {edgeJoin} from '../../plans/edge-join.ts'
import {checkUnused, edgeJoinInvited, edgeRepaired, keptInvite, openInvited} from '../../plans/edge-join-invited.ts'
import {lockOf} from '../../platforms/local/index.ts'
import type {EdgeCluster} from '../../platforms/platform.ts'
import type {Tools} from '../../tools/index.ts'
import {checkBound} from '../../trust/binding.ts'
import {checkInvite, type Invite, readInvite} from '../../trust/invite.ts'
import {checkSeal} from '../../trust/seal.ts'
import {verificationText} from '../../verify/report.ts'
import {patientTimeoutMs, verify} from '../../verify/verify.ts'

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
    if (args.name === undefined || flags.invite !== undefined) {
      const invite = readInvite(await tools.ask.secret('Invite', {file: flags.invite, flag: '--invite FILE', variable: 'LKEOBS_INVITE'}))
      checkInvite(invite, args.name)
      return this.#joinInvited(invite, flags, tools)
    }
    const fleet = await this.fleet(flags, tools)
    const edge = edgeOf(fleet, args.name)
    if (fleet.file.fleet.hub.platform.elsewhere) {
      const invite = await keptInvite(fleet.file.folder, edge.name, tools)
      return invite ? this.#joinInvited(invite, flags, tools) : this.#repair(fleet, edge, flags, tools)
    }
    return this.#joinInReach(fleet, edge, flags, tools)
  }

  async #joinInReach(fleet: Fleet, edge: EdgeCluster, flags: JoinFlags, tools: Tools): Promise<void> {
    await this.check(flags, () => checkPrograms(edge, tools))
    await this.check(flags, () => checkHub(fleet.hub))
    await this.check(flags, () => edge.checked())
    if (!flags.rebind) await this.check(flags, () => checkBound(fleet.hub, edge))
    await this.check(flags, () => checkSeal(edge, fleet.hub))
    await this.carryOut(
      flags,
      async (those) => {
        const opened = await this.fleet(flags, those)
        return edgeJoin(opened.hub, edgeOf(opened, edge.name))
      },
      {
        lock: lockOf(fleet.file.folder),
        after: async (steps) => {
          const wish = {hub: fleet.hub, edges: [edge], signals, timeoutMs: patientTimeoutMs}
          const verification = await verify(tools.http, wish, (line) => this.progress(line))
          if (!verification.ok) this.failChecks()
          const text = `${verificationText(verification)}${verification.ok ? `\n\n${edge.name} is sending.` : ''}`
          return {schema: 'lkeobs/edge-join/v1', data: {edge: edge.name, ok: verification.ok, steps, verification}, text}
        },
      },
    )
  }

  async #joinInvited(invite: Invite, flags: JoinFlags, tools: Tools): Promise<void> {
    const fleet = await openInvited(flags, invite, tools)
    const edge = edgeOf(fleet, invite.edge)
    const wish = {invite, waitMs: flags.wait * 60_000, timeoutMs: patientTimeoutMs}
    await this.check(flags, () => checkUnused(fleet, edge, wish, tools))
    await this.check(flags, () => checkPrograms(edge, tools))
    await this.check(flags, () => edge.checked())
    await this.check(flags, () => checkSeal(edge, fleet.hub))
    await this.carryOut(
      flags,
      async (those) => {
        const opened = await openInvited(flags, invite, those)
        return edgeJoinInvited(opened, edgeOf(opened, invite.edge), wish, those)
      },
      {
        lock: lockOf(fleet.file.folder),
        after: async (steps) => ({
          schema: 'lkeobs/edge-join/v1',
          data: {edge: edge.name, ok: true, steps},
          text: `${edge.name} is sending: ${fleet.hub.name} has read its canaries of metrics, logs and traces back.`,
        }),
      },
    )
  }

  /** An edge that joined by invite, once more. */
  async #repair(fleet: Fleet, edge: EdgeCluster, flags: JoinFlags, tools: Tools): Promise<void> {
    await this.check(flags, () => checkPrograms(edge, tools))
    await this.check(flags, () => edge.checked())
    await this.check(flags, () => checkSeal(edge, fleet.hub))
    await this.carryOut(
      flags,
      async (those) => {
        const opened = await this.fleet(flags, those)
        return edgeRepaired(opened, edgeOf(opened, edge.name), those)
      },
      {lock: lockOf(fleet.file.folder)},
    )
  }
}

type JoinFlags = Interfaces.InferredFlags<typeof EdgeJoin.flags & typeof EdgeJoin.baseFlags>
