import path from 'node:path'
import {Flags} from '@oclif/core'
import {LkeobsCommand} from '../../command.ts'

const canaryTimeoutMs = 30_000

export default class LabUp extends LkeobsCommand {
  static override summary = 'Bring up a whole fleet on this machine and read its own telemetry back.'
  static override description =
    'Makes a hub and edges out of the real programs on loopback, over mutual TLS, and sends canaries through them. Run it again to repair, or to add edges. The seal keys of Vault lie in files: this is a lab.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --edges 3',
    '<%= config.bin %> <%= command.id %> --dry-run',
  ]
  static override flags = {
    dir: Flags.string({description: 'the folder of the lab; the current one unless given', env: 'LKEOBS_DIR', helpValue: 'DIR'}),
    edges: Flags.integer({description: 'how many edges; none is ever removed', min: 1, max: 50, env: 'LKEOBS_EDGES'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(LabUp)
    const file = flags.dir === undefined ? flags.fleet : path.join(flags.dir, 'lkeobs.yaml')
    const [{labUp, openLab}, {checkClusterPorts}, {stateFolderOf}, {labUpText}, {verify}, {verificationText}, {signals}] =
      await Promise.all([
        import('../../plans/lab-up.ts'),
        import('../../clusters.ts'),
        import('../../platforms/local/index.ts'),
        import('../../status/lab.ts'),
        import('../../verify/verify.ts'),
        import('../../verify/report.ts'),
        import('../../collector/config.ts'),
      ])
    await this.carryOut(
      flags,
      async (tools) => {
        const fleet = await openLab(file, flags.edges, tools)
        await this.check(flags, () => checkClusterPorts(fleet.file, [fleet.hub, ...fleet.edges], tools))
        return labUp(fleet, tools)
      },
      {
        lock: path.join(stateFolderOf(path.dirname(path.resolve(file))), 'lock'),
        after: async (steps, tools) => {
          const fleet = await openLab(file, undefined, tools)
          const verification = await verify(tools.http, {hub: fleet.hub, edges: fleet.edges, signals, timeoutMs: canaryTimeoutMs})
          if (!verification.ok) this.failChecks()
          const where = [fleet.hub, ...fleet.edges].flatMap(({name, components}) =>
            Object.entries(components).map(([component, {url}]) => ({cluster: name, component, url})),
          )
          const data = {fleet: fleet.file.fleet.fleet, file: fleet.file.file, ok: verification.ok, steps, where, verification}
          return {schema: 'lkeobs/lab/v1', data, text: labUpText(fleet, verificationText(verification), verification.ok)}
        },
      },
    )
  }
}
