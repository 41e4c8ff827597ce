import {Flags} from '@oclif/core'
import {openCeremony} from '../../ceremony/ceremony.ts'
import {partOf, partText} from '../../ceremony/part.ts'
import {attemptFlags, LkeobsCommand, passwordFlags, shareFlags} from '../../command.ts'
import {vaultCancel, vaultCloseRoot, vaultGenerateRoot} from '../../plans/vault-attempt.ts'
import {lockOf} from '../../platforms/local/index.ts'

const rootTokenVariable = 'LKEOBS_ROOT_TOKEN_FILE'

export default class VaultGenerateRoot extends LkeobsCommand {
  static override summary = "Break glass: holders make a root token of the hub's Vault, for the custodian."
  static override description =
    'The administrator begins; holders run it with their ticket. The token is encrypted to the custodian. Tickets end by themselves; an attempt whose time has passed is cancelled by the next run. Close it when the work is done.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --yes',
    '<%= config.bin %> <%= command.id %> --ticket ada.ticket.asc --envelope ada.share.asc',
    'gpg --quiet --decrypt root-token.asc | <%= config.bin %> <%= command.id %> --close --root-token-file -',
  ]
  static override flags = {
    ...passwordFlags,
    ...shareFlags,
    ...attemptFlags,
    close: Flags.boolean({
      description: 'revoke the root token, and prove that it is refused',
      env: 'LKEOBS_CLOSE',
      exclusive: ['cancel', 'ticket'],
    }),
    minutes: Flags.integer({description: 'how long holders may take', default: 15, min: 1, max: 60, env: 'LKEOBS_MINUTES'}),
    'root-token-file': Flags.string({
      description: 'a file or pipe with the root token, as the custodian decrypts it; - is stdin',
      env: rootTokenVariable,
      helpValue: 'FILE',
    }),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(VaultGenerateRoot)
    const tools = await this.tools(flags)
    const {file, hub} = await this.fleet(flags, tools)
    if (flags.ticket !== undefined) {
      const part = await partOf('generate-root', {file, hub, tools, flags: {...flags, ticket: flags.ticket}})
      return this.result('lkeobs/vault-part/v1', part, partText(part))
    }
    if (!flags.cancel && !flags.close && !flags['dry-run'])
      await tools.ask.confirm(`Make a root token for Vault on ${hub.name}?`, {mustAgree: true})
    const from = {file: flags['root-token-file'], flag: '--root-token-file', variable: rootTokenVariable}
    await this.carryOut(
      flags,
      async (those) => {
        const ceremony = await openCeremony(file, (await this.fleet(flags, those)).hub, those)
        if (flags.close) return vaultCloseRoot(ceremony, () => those.ask.secret('Root token, as the custodian decrypted it', from))
        return flags.cancel ? vaultCancel(ceremony, 'generate-root') : vaultGenerateRoot(ceremony, flags)
      },
      {lock: lockOf(file.folder)},
    )
  }
}
