import path from 'node:path'
import {Flags} from '@oclif/core'
import {signals} from '../../collector/config.ts'
import {labFile, labFlags, LkeobsCommand} from '../../command.ts'
import {labUp, openLab} from '../../plans/lab-up.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {labUpData, labUpText} from '../../status/lab.ts'
import {checkBound} from '../../trust/binding.ts'
import {checkSeal} from '../../trust/seal.ts'
import {patientTimeoutMs, verify} from '../../verify/verify.ts'

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
    ...labFlags,
    edges: Flags.integer({description: 'how many edges; none is ever removed', min: 1, max: 50, env: 'LKEOBS_EDGES'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(LabUp)
    const file = labFile(flags)
    await this.carryOut(
      flags,
      async (tools) => {
        const fleet = await openLab(file, flags.edges, tools)
        await this.check(flags, async () => {
          const clusters = [fleet.hub, ...fleet.edges]
          for (const cluster of clusters) await cluster.checked()
          for (const edge of fleet.edges) await checkBound(fleet.hub, edge)
          for (const cluster of clusters) await checkSeal(cluster, fleet.hub)
        })
        return labUp(fleet, tools)
      },
      {
        lock: lockOf(path.dirname(path.resolve(file))),
        after: async (steps, tools) => {
          const fleet = await openLab(file, undefined, tools)
          const verification = await verify(tools.http, {...fleet, signals, timeoutMs: patientTimeoutMs}, (line) => this.progress(line))
          if (!verification.ok) this.failChecks()
          return {schema: 'lkeobs/lab/v1', data: labUpData(fleet, steps, verification), text: labUpText(fleet, verification)}
        },
      },
    )
  }
}
