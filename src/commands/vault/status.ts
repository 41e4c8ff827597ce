import {Args} from '@oclif/core'
import {clusterOf} from '../../clusters.ts'
import {LkeobsCommand, passwordFlags} from '../../command.ts'
import {vaultStatus} from '../../status/vault.ts'
import {vaultStatusText} from '../../status/vault-text.ts'

export default class VaultStatus extends LkeobsCommand {
  static override summary = 'Show the Vaults of the fleet: who leads, what is sealed and why, voters, certificates, seal tokens.'
  static override description =
    'Reads only. What a node says to anybody is asked without a login; the Raft and seal tokens need the administrator, and are left out with the reason where nobody can log in. Nobody is asked for a password: of a hub that holders unseal, they are shown when --password-file is given. The exit code is 7 when something is not well.'
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> edge-1 --json']
  static override args = {cluster: Args.string({description: 'the hub or an edge, as the fleet file calls it; all of them unless given'})}
  static override flags = passwordFlags

  async run(): Promise<void> {
    const {args, flags} = await this.parse(VaultStatus)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const clusters = args.cluster === undefined ? [fleet.hub, ...fleet.edges] : [clusterOf(fleet, args.cluster)]
    const all = await Promise.all(clusters.map((cluster) => vaultStatus(cluster, fleet.hub, flags['password-file'])))
    const ok = all.every((status) => status.ok)
    if (!ok) this.failChecks()
    this.result('lkeobs/vault-status/v1', {fleet: fleet.file.fleet.fleet, ok, vaults: all}, vaultStatusText(all, fleet.hub))
  }
}
