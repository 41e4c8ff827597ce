import {Flags} from '@oclif/core'
import {ceremonyFolder, transcriptFile} from '../../ceremony/ceremony.ts'
import {holderOf, shareOf} from '../../ceremony/share.ts'
import {transcriptIn} from '../../ceremony/transcript.ts'
import {type Board, boardOf, boardText, givenText, isOpen, reset, unseal} from '../../ceremony/unseal.ts'
import {LkeobsCommand, shareFlags} from '../../command.ts'

export default class VaultUnseal extends LkeobsCommand {
  static override summary = "Give your share to every sealed node of the hub's Vault."
  static override description =
    'The share goes from your gpg, or from what you type unseen, straight to Vault: never to a file, an argument or a log. With --wait it is kept in memory until every node is unsealed, also those that can take it only when the first is.'
  static override examples = [
    '<%= config.bin %> <%= command.id %> --envelope ada.share.asc --wait',
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --reset',
  ]
  static override flags = {
    ...shareFlags,
    nonce: Flags.string({description: 'the attempt you were told of, or its beginning; refuse any other', env: 'LKEOBS_NONCE'}),
    reset: Flags.boolean({description: 'forget the shares given so far', env: 'LKEOBS_RESET'}),
    wait: Flags.boolean({description: 'stay until every node is unsealed, up to an hour', env: 'LKEOBS_WAIT'}),
  }

  /** Drawn over the one before, on a terminal. */
  #board(): (board: Board) => void {
    let drawn = 0
    return (board) => {
      const text = `${boardText(board)}\n`
      if (drawn > 0 && process.stderr.isTTY) process.stderr.write(`\u001B[${drawn}A\u001B[J`)
      drawn = text.split('\n').length
      this.progress(text)
    }
  }

  async run(): Promise<void> {
    const {flags} = await this.parse(VaultUnseal)
    const tools = await this.tools(flags)
    const {file, hub} = await this.fleet(flags, tools)
    const folder = ceremonyFolder(file.folder, hub.name)
    // a holder's own machine has none
    const transcript = (await tools.files.exists(folder)) ? transcriptIn(`${folder}/${transcriptFile}`, tools.files) : undefined
    const nodes = hub.vaultNodes()
    const answer = (board: Board, more: object, said = '') =>
      this.result('lkeobs/vault-unseal/v1', {...board, unsealed: isOpen(board), ...more}, `${boardText(board)}${said && `\n\n${said}`}`)
    if (flags.reset)
      return answer(flags['dry-run'] ? await boardOf(hub.name, nodes) : await reset(hub.name, nodes, transcript), {reset: true})
    if (flags['dry-run']) return answer(await boardOf(hub.name, nodes), {given: []})
    const who = await holderOf(tools, flags.envelope)
    const wish = {hub: hub.name, who, nodes, nonce: flags.nonce, wait: flags.wait, ...(transcript && {transcript})}
    const show = this.#board()
    const {board, given} = await unseal(() => shareOf(tools, flags), {...wish, show})
    const already = given.length === 0
    answer(
      board,
      {given, ...(already && {code: 'LKO-5027'})},
      already ? 'LKO-5027  Vault is unsealed already; no share was asked for.' : givenText(given),
    )
  }
}
