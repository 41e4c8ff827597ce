import path from 'node:path'
import {Args} from '@oclif/core'
import {LkeobsCommand} from '../../command.ts'

const canaryTimeoutMs = 30_000

export default class EdgeJoin extends LkeobsCommand {
  static override summary = 'Join an edge of the fleet file to the hub; done when its canaries have been read back.'
  static override examples = ['<%= config.bin %> <%= command.id %> edge-2', '<%= config.bin %> <%= command.id %> edge-2 --dry-run']
  static override args = {name: Args.string({description: 'the edge, as the fleet file calls it', required: true})}

  async run(): Promise<void> {
    const {args, flags} = await this.parse(EdgeJoin)
    const [{edgeJoin}, {checkClusterPorts, checkHub, checkPrograms, edgeOf}, {stateFolderOf}, {verify}, {verificationText}, {signals}] =
      await Promise.all([
        import('../../plans/edge-join.ts'),
        import('../../clusters.ts'),
        import('../../platforms/local/index.ts'),
        import('../../verify/verify.ts'),
        import('../../verify/report.ts'),
        import('../../collector/config.ts'),
      ])
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const edge = edgeOf(fleet, args.name)
    await this.check(flags, () => checkPrograms([edge], tools))
    await this.check(flags, () => checkHub(fleet.hub))
    await this.check(flags, () => checkClusterPorts(fleet.file, [edge], tools))
    await this.carryOut(
      flags,
      async (those) => {
        const opened = await this.fleet(flags, those)
        return edgeJoin(opened.hub, edgeOf(opened, args.name), those)
      },
      {
        lock: path.join(stateFolderOf(fleet.file.folder), 'lock'),
        after: async (steps) => {
          const verification = await verify(tools.http, {hub: fleet.hub, edges: [edge], signals, timeoutMs: canaryTimeoutMs})
          if (!verification.ok) this.failChecks()
          const text = `${verificationText(verification)}${verification.ok ? `\n\n${edge.name} is sending.` : ''}`
          return {schema: 'lkeobs/edge-join/v1', data: {edge: edge.name, ok: verification.ok, steps, verification}, text}
        },
      },
    )
  }
}
