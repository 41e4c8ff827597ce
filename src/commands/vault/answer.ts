import {Args} from '@oclif/core'
import {answerOf, readChallenge} from '../../ceremony/challenge.ts'
import {LkeobsCommand} from '../../command.ts'
import {LkeobsError} from '../../errors.ts'
import {decrypt} from '../../tools/gpg.ts'

export default class VaultAnswer extends LkeobsCommand {
  static override summary = 'Answer the challenge of a ceremony, on the machine that has your key.'
  static override description =
    'Your own gpg decrypts the challenge; the line that is printed shows that it could, and gives nothing away. Send it to whoever leads the ceremony. Compare the fingerprint with them by voice.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> ada.challenge.asc',
    '<%= config.bin %> <%= command.id %> ada.challenge.asc > ada.answer',
  ]
  static override args = {file: Args.string({description: 'the challenge, NAME.challenge.asc', required: true})}

  async run(): Promise<void> {
    const {args, flags} = await this.parse(VaultAnswer)
    const {shell, files} = await this.tools(flags)
    const armoured = await files.read(args.file)
    if (armoured === undefined) throw new LkeobsError('LKO-5014', `There is no file ${args.file}.`)
    const challenge = readChallenge(await decrypt(shell, armoured, args.file))
    const {fleet, hub, name, fingerprint} = challenge
    const answer = answerOf(challenge)
    this.progress(`Challenge for ${name}, hub ${hub} of fleet ${fleet}, to the key ${fingerprint}.`)
    this.result('lkeobs/vault-answer/v1', {fleet, hub, name, fingerprint, answer}, answer)
  }
}
