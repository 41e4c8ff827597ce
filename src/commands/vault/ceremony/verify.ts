import {Args, Flags} from '@oclif/core'
import {verifyTranscript} from '../../../ceremony/transcript.ts'
import {LkeobsCommand} from '../../../command.ts'
import {LkeobsError} from '../../../errors.ts'
import {count} from '../../../output.ts'
import {checkSignature} from '../../../tools/openpgp.ts'

export default class VaultCeremonyVerify extends LkeobsCommand {
  static override summary = 'Check that a transcript is as it was written.'
  static override description =
    'Names the first line that was changed, is missing or is out of its place; exit code 7. With signatures, also that the file is the one that was signed, to its last line.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> .lkeobs/hub/ceremony/transcript.jsonl',
    '<%= config.bin %> <%= command.id %> transcript.jsonl --signature transcript.jsonl.wes.asc --key wes.asc',
  ]
  static override args = {file: Args.string({description: 'the transcript, transcript.jsonl', required: true})}
  static override flags = {
    key: Flags.string({
      description: 'the public key of the signature at the same place; may be given again',
      multiple: true,
      env: 'LKEOBS_KEY',
      helpValue: 'FILE',
    }),
    signature: Flags.string({
      description: 'a detached signature of the file; may be given again',
      multiple: true,
      env: 'LKEOBS_SIGNATURE',
      helpValue: 'FILE',
      dependsOn: ['key'],
    }),
  }

  async run(): Promise<void> {
    const {args, flags} = await this.parse(VaultCeremonyVerify)
    const {files} = await this.tools(flags)
    const read = async (file: string): Promise<string> => {
      const text = await files.read(file)
      if (text === undefined) throw new LkeobsError('LKO-5029', `There is no file ${file}.`)
      return text
    }
    const text = await read(args.file)
    const verdict = verifyTranscript(text)
    if (!verdict.holds) throw new LkeobsError('LKO-5029', `${args.file}:${verdict.line}: ${verdict.why}.`)
    const signed: string[] = []
    for (const [index, file] of (flags.signature ?? []).entries()) {
      const checked = await checkSignature(text, await read(file), await read(flags.key?.[index] ?? ''))
      if (typeof checked === 'string') throw new LkeobsError('LKO-5029', `${file}: ${checked}.`)
      signed.push(checked.by)
    }
    const {lines, digest} = verdict
    const by = signed.map((who) => `\nSigned by ${who}.`).join('')
    this.result(
      'lkeobs/vault-ceremony/v1',
      {holds: true, lines: lines.length, digest, signed},
      `${count(lines.length, 'line')}, each as it was written. SHA-256 ${digest}.${by}`,
    )
  }
}
