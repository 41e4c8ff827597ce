import {LkeobsError} from '../errors.ts'
import type {FleetFile} from '../fleet/load.ts'
import type {HubCluster} from '../platforms/platform.ts'
import {decrypt} from '../tools/gpg.ts'
import type {Tools} from '../tools/index.ts'
import {ceremonyFolder, transcriptFile} from './ceremony.ts'
import {shareOf} from './share.ts'
import {type Kind, type Part, partBefore, readTicket, takePart} from './ticket.ts'
import {transcriptIn} from './transcript.ts'

type Given = {
  readonly file: FleetFile
  readonly hub: HubCluster
  readonly tools: Tools
  readonly flags: {
    readonly 'dry-run': boolean
    readonly ticket: string
    readonly envelope?: string | undefined
    readonly 'share-file'?: string | undefined
  }
}

/** A holder's part, on their own machine: ticket and envelope are decrypted by their own gpg. */
export const partOf = async (attempt: Kind, {file, hub, tools, flags}: Given): Promise<Part> => {
  const {files, shell} = tools
  const armoured = await files.read(flags.ticket)
  if (armoured === undefined) throw new LkeobsError('LKO-5031', `There is no file ${flags.ticket}.`)
  const ticket = readTicket(await decrypt(shell, armoured, flags.ticket), attempt)
  const folder = ceremonyFolder(file.folder, hub.name)
  // ciphertext, should what follows fail: Vault says it only once
  const keep = (name: string, base64: string) => files.write(`${folder}/${attempt}.${name}`, `${base64}\n`)
  if (flags['dry-run']) return partBefore(hub.vaultNodes(), ticket)
  const part = await takePart(hub.vaultNodes(), ticket, await shareOf(tools, flags), keep)
  if (await files.exists(folder)) {
    const step = `${attempt}: share ${part.phase === 'proving' ? 'proven' : 'given'}`
    await transcriptIn(`${folder}/${transcriptFile}`, files).note({who: ticket.holder, step, status: 200, digests: {nonce: ticket.nonce}})
  }
  return part
}

/** What the holder is told. */
export const partText = ({holder, attempt, phase, progress, required, complete, hub}: Part): string => {
  const word = phase === 'proving' ? 'proven' : 'given'
  const after = complete ? `The administrator goes on with: lkeobs vault ${attempt}` : `${required - progress} more to come.`
  return `Share of ${holder} ${word} to Vault on ${hub}: ${progress} of ${required}. ${after}`
}
