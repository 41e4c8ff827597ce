import {Args, Flags} from '@oclif/core'
import {checkPrograms, clusterOf} from '../../clusters.ts'
import {sharesOf} from '../../ceremony/share.ts'
import {drillShareFlags, LkeobsCommand, passwordFlags} from '../../command.ts'
import {foundSnapshot, vaultDrill, vaultRestore} from '../../plans/vault-restore.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {restoredText} from '../../status/vault-text.ts'
import type {Drilled} from '../../platforms/local/drill.ts'

export default class VaultRestore extends LkeobsCommand {
  static override summary = 'Restore a snapshot into a Vault; with --drill, into a throw-away node only.'
  static override description =
    'A drill starts a node of its own on this machine with the seal of the cluster, restores the snapshot into it, logs in as the administrator, reads the marker that `vault snapshot` wrote, and removes the node. Without --drill the same comes first; then the nodes of the cluster are started where they do not run, and the snapshot replaces what they hold. A Vault that holds data is left alone unless --force is given. Where holders open it, they open the throw-away node too when a flag says that they take part; otherwise the drill ends before that, and says so.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> hub.snap --drill',
    '<%= config.bin %> <%= command.id %> hub.snap',
    '<%= config.bin %> <%= command.id %> edge-1.snap edge-1 --drill',
  ]
  static override args = {
    file: Args.string({description: 'the snapshot', required: true}),
    cluster: Args.string({description: 'the hub or an edge, as the fleet file calls it; the hub unless given'}),
  }

  static override flags = {
    ...passwordFlags,
    ...drillShareFlags,
    drill: Flags.boolean({description: 'only into a throw-away node; nothing of the fleet is changed', env: 'LKEOBS_DRILL'}),
    force: Flags.boolean({description: 'also where that Vault holds data, which is lost', exclusive: ['drill'], env: 'LKEOBS_FORCE'}),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(VaultRestore)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const {name} = clusterOf(fleet, args.cluster ?? fleet.hub.name)
    const found = await foundSnapshot(args.file, fleet.file.fleet.fleet, name, tools)
    await tools.program('openbao')
    if (!flags.drill) await this.check(flags, () => checkPrograms(clusterOf(fleet, name), tools))
    if (!flags.drill && !flags['dry-run'])
      await tools.ask.confirm(`Let Vault of ${name} become what it was in ${args.file}?`, {mustAgree: true})
    const shares = sharesOf(tools, flags)
    let shown: Drilled | undefined
    const seen = (by: Drilled) => (shown = by)
    await this.carryOut(
      flags,
      async (those) => {
        const opened = await this.fleet(flags, those)
        const restore = {fleet: opened, cluster: clusterOf(opened, name), found, tools: those, shares, seen}
        return flags.drill ? vaultDrill(restore) : vaultRestore(restore, flags.force)
      },
      {
        lock: lockOf(fleet.file.folder),
        after: async (steps) => ({
          schema: 'lkeobs/vault-restore/v1',
          data: {file: args.file, cluster: name, drill: flags.drill, ok: true, ...shown, steps},
          text: restoredText({file: args.file, cluster: name, isHub: name === fleet.hub.name, isDrill: flags.drill}, shown),
        }),
      },
    )
  }
}
