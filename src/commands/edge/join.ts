import {Args, Flags} from '@oclif/core'
import {checkHub, checkPrograms, edgeOf} from '../../clusters.ts'
import {signals} from '../../collector/config.ts'
import {chartFlags, LkeobsCommand} from '../../command.ts'
import {edgeJoin} from '../../plans/edge-join.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {checkBound} from '../../trust/binding.ts'
import {checkSeal} from '../../trust/seal.ts'
import {verificationText} from '../../verify/report.ts'
import {patientTimeoutMs, verify} from '../../verify/verify.ts'

export default class EdgeJoin extends LkeobsCommand {
  static override summary = 'Join an edge of the fleet file to the hub; done when its canaries have been read back.'
  static override examples = ['<%= config.bin %> <%= command.id %> edge-2', '<%= config.bin %> <%= command.id %> edge-2 --dry-run']
  static override args = {name: Args.string({description: 'the edge, as the fleet file calls it', required: true})}

  static override flags = {
    ...chartFlags,
    rebind: Flags.boolean({
      description: 'let the name mean the cluster that is there now, instead of the one it was bound to',
      env: 'LKEOBS_REBIND',
    }),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(EdgeJoin)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const edge = edgeOf(fleet, args.name)
    await this.check(flags, () => checkPrograms(edge, tools))
    await this.check(flags, () => checkHub(fleet.hub))
    await this.check(flags, () => edge.checked())
    if (!flags.rebind) await this.check(flags, () => checkBound(fleet.hub, edge))
    await this.check(flags, () => checkSeal(edge, fleet.hub))
    await this.carryOut(
      flags,
      async (those) => {
        const opened = await this.fleet(flags, those)
        return edgeJoin(opened.hub, edgeOf(opened, args.name))
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
}
