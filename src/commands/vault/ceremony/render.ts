import {Args} from '@oclif/core'
import {transcriptMarkdown, verifyTranscript} from '../../../ceremony/transcript.ts'
import {LkeobsCommand} from '../../../command.ts'
import {LkeobsError} from '../../../errors.ts'

export default class VaultCeremonyRender extends LkeobsCommand {
  static override summary = 'Print a transcript as Markdown, to be filed and initialled.'
  static override examples = ['<%= config.bin %> <%= command.id %> transcript.jsonl > transcript.md']
  static override args = {file: Args.string({description: 'the transcript, transcript.jsonl', required: true})}

  async run(): Promise<void> {
    const {args, flags} = await this.parse(VaultCeremonyRender)
    const {files} = await this.tools(flags)
    const verdict = verifyTranscript((await files.read(args.file)) ?? '')
    if (!verdict.holds) throw new LkeobsError('LKO-5029', `${args.file}:${verdict.line}: ${verdict.why}.`)
    const markdown = transcriptMarkdown(verdict.lines, verdict.digest)
    this.result('lkeobs/vault-ceremony/v1', {markdown, lines: verdict.lines}, markdown)
  }
}
