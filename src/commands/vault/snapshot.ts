import {Args, Flags} from '@oclif/core'
import {clusterOf} from '../../clusters.ts'
import {LkeobsCommand, passwordFlags} from '../../command.ts'
import {bytes, nextCommands} from '../../output.ts'
import {vaultSnapshot} from '../../plans/vault-snapshot.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {type Note, noteFile} from '../../trust/drill.ts'

export default class VaultSnapshot extends LkeobsCommand {
  static override summary = 'Take a snapshot of a Vault into a file, with a marker in it that a drill reads back.'
  static override description =
    "The file is what the Raft has on disk, encrypted by Vault's barrier: who has it without the seal can read nothing in it, and who loses the seal cannot either. The note beside it, FILE.json, is not secret: cluster, time, sum, marker."
  static override examples = [
    '<%= config.bin %> <%= command.id %> --out hub.snap',
    '<%= config.bin %> <%= command.id %> edge-1 --out edge-1.snap',
  ]
  static override args = {cluster: Args.string({description: 'the hub or an edge, as the fleet file calls it; the hub unless given'})}

  static override flags = {
    ...passwordFlags,
    out: Flags.string({char: 'o', description: 'the file, which is replaced whole', required: true, env: 'LKEOBS_OUT', helpValue: 'FILE'}),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(VaultSnapshot)
    const tools = await this.tools(flags)
    const fleet = await this.fleet(flags, tools)
    const {name} = clusterOf(fleet, args.cluster ?? fleet.hub.name)
    if (!flags['dry-run'] && (await tools.files.exists(flags.out)))
      await tools.ask.confirm(`Replace ${flags.out} by a new snapshot?`, {mustAgree: true})
    let note: Note | undefined
    await this.carryOut(
      flags,
      async (those) => {
        const opened = await this.fleet(flags, those)
        return vaultSnapshot(opened, clusterOf(opened, name), flags.out, those, (taken) => (note = taken))
      },
      {
        lock: lockOf(fleet.file.folder),
        after: async (steps) => ({
          schema: 'lkeobs/vault-snapshot/v1',
          data: {file: flags.out, noteFile: noteFile(flags.out), note, steps},
          text: [
            `${flags.out}: Vault of ${name}, ${bytes(note?.bytes ?? 0)}, encrypted by its barrier. Without its seal (${note?.seal}) nobody can open it: keep that apart, and safe.`,
            nextCommands([`lkeobs vault restore ${flags.out} ${name} --drill`]),
          ].join('\n'),
        }),
      },
    )
  }
}
