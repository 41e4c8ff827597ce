import path from 'node:path'
import {Args, Flags} from '@oclif/core'
import {verifyTranscript} from '../../../ceremony/transcript.ts'
import {LkeobsCommand} from '../../../command.ts'
import {LkeobsError} from '../../../errors.ts'
import {sign} from '../../../tools/gpg.ts'

export default class VaultCeremonySign extends LkeobsCommand {
  static override summary = 'Sign a transcript with your own gpg, as administrator or witness.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> transcript.jsonl --as witness',
    '<%= config.bin %> <%= command.id %> transcript.jsonl --local-user 9F2C…',
  ]
  static override args = {file: Args.string({description: 'the transcript, transcript.jsonl', required: true})}
  static override flags = {
    as: Flags.string({
      description: 'what you are, for the name of the file',
      default: 'administrator',
      env: 'LKEOBS_AS',
      helpValue: 'WHAT',
    }),
    'local-user': Flags.string({
      description: 'which of your keys; the default of your gpg unless given',
      env: 'LKEOBS_LOCAL_USER',
      helpValue: 'KEY',
    }),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(VaultCeremonySign)
    const {files, shell} = await this.tools(flags)
    const text = (await files.read(args.file)) ?? ''
    const verdict = verifyTranscript(text)
    if (!verdict.holds) throw new LkeobsError('LKO-5029', `${args.file}:${verdict.line}: ${verdict.why}.`)
    const signature = `${args.file}.${path.basename(flags.as)}.asc`
    if (!flags['dry-run']) await files.write(signature, `${await sign(shell, text, flags['local-user'])}\n`, 0o644)
    this.result(
      'lkeobs/vault-ceremony/v1',
      {signature, digest: verdict.digest},
      `${signature}\n› lkeobs vault ceremony verify ${args.file} --signature ${signature} --key PUBLIC-KEY.asc`,
    )
  }
}
