import {text} from 'node:stream/consumers'
import {Flags} from '@oclif/core'
import {openCeremony} from '../../ceremony/ceremony.ts'
import {partOf, partText} from '../../ceremony/part.ts'
import {answerFlags, attemptFlags, LkeobsCommand, passwordFlags, shareFlags} from '../../command.ts'
import {vaultCancel, vaultRekey} from '../../plans/vault-attempt.ts'
import {lockOf} from '../../platforms/local/index.ts'

export default class VaultRekey extends LkeobsCommand {
  static override summary = "Exchange the holders of the hub's Vault, or their shares."
  static override description =
    'The administrator changes the holders in the fleet file and runs it; it goes on where it stopped. Holders run it with their ticket: those who hold shares agree with them, then those who are to hold them prove the new ones. Until that, the old shares stay the right ones.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --ticket ada.ticket.asc --envelope ada.share.asc',
    '<%= config.bin %> <%= command.id %> --cancel',
  ]
  static override flags = {
    ...passwordFlags,
    ...shareFlags,
    ...attemptFlags,
    ...answerFlags,
    fresh: Flags.boolean({description: 'new shares although the holders stay', env: 'LKEOBS_FRESH'}),
    minutes: Flags.integer({description: 'how long holders may take', default: 60, min: 1, max: 1440, env: 'LKEOBS_MINUTES'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(VaultRekey)
    const tools = await this.tools(flags)
    const {file, hub} = await this.fleet(flags, tools)
    if (flags.ticket !== undefined) {
      const part = await partOf('rekey', {file, hub, tools, flags: {...flags, ticket: flags.ticket}})
      return this.result('lkeobs/vault-part/v1', part, partText(part))
    }
    const answers = {sources: flags.answer ?? [], stdin: () => text(process.stdin)}
    await this.carryOut(
      flags,
      async (those) => {
        const ceremony = await openCeremony(file, (await this.fleet(flags, those)).hub, those)
        return flags.cancel ? vaultCancel(ceremony, 'rekey') : vaultRekey(ceremony, flags, answers)
      },
      {lock: lockOf(file.folder)},
    )
  }
}
