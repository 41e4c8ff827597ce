import {text} from 'node:stream/consumers'
import {Flags} from '@oclif/core'
import {openCeremony, transcriptFile} from '../../ceremony/ceremony.ts'
import {checkPrograms} from '../../clusters.ts'
import {answerFlags, chartFlags, LkeobsCommand, passwordFlags} from '../../command.ts'
import {vaultInit} from '../../plans/vault-init.ts'
import {lockOf} from '../../platforms/local/index.ts'
import {passwordVariable} from '../../trust/admin.ts'
import {checkSeal} from '../../trust/seal.ts'

export default class VaultInit extends LkeobsCommand {
  static override summary = "Initialise the hub's Vault with its holders, so that nobody can open it alone."
  static override description =
    'A ceremony that goes on where it stopped: run it again whenever somebody has done their part. Shares and root token leave Vault encrypted to the keys of the fleet file; lkeobs never holds one. Exit code 6 says who is needed next.'
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --answer answers/',
    'gpg --quiet --decrypt root-token.asc | <%= config.bin %> <%= command.id %> --root-token-file -',
  ]
  static override flags = {
    ...chartFlags,
    ...passwordFlags,
    ...answerFlags,
    'root-token-file': Flags.string({
      description: 'a file or pipe with the root token, as the custodian decrypts it; - is stdin',
      env: 'LKEOBS_ROOT_TOKEN_FILE',
      helpValue: 'FILE',
    }),
    'start-over': Flags.boolean({description: 'remove a Vault whose shares were lost before it was used', env: 'LKEOBS_START_OVER'}),
    wait: Flags.boolean({description: 'wait for the holders, up to an hour', env: 'LKEOBS_WAIT'}),
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(VaultInit)
    const tools = await this.tools(flags)
    const {file, hub} = await this.fleet(flags, tools)
    await this.check(flags, () => checkPrograms(hub, tools))
    await this.check(flags, () => hub.checked())
    await this.check(flags, () => checkSeal(hub, hub))
    const rootFrom = {file: flags['root-token-file'], flag: '--root-token-file', variable: 'LKEOBS_ROOT_TOKEN_FILE'}
    const makePlan = async (those: typeof tools) => {
      let rootToken: ReturnType<typeof those.ask.secret> | undefined
      return vaultInit(await openCeremony(file, (await this.fleet(flags, those)).hub, those), {
        answers: flags.answer ?? [],
        stdin: () => text(process.stdin),
        rootToken: () => (rootToken ??= those.ask.secret('Root token, as the custodian decrypted it', rootFrom)),
        password: () => those.ask.password(`Password for Vault's administrator on ${hub.name}`, passwordVariable),
        wait: flags.wait,
        startOver: flags['start-over'],
      })
    }
    await this.carryOut(flags, makePlan, {
      lock: lockOf(file.folder),
      after: async (steps) => {
        const transcript = (await openCeremony(file, hub, tools)).file(transcriptFile)
        const said = `Vault on ${hub.name} is in the hands of its holders; the root token is revoked.\n› lkeobs hub init\n› lkeobs vault ceremony verify ${transcript}`
        return {schema: 'lkeobs/vault-init/v1', data: {hub: hub.name, transcript, steps}, text: said}
      },
    })
  }
}
