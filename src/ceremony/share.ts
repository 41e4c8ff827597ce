import {LkeobsError} from '../errors.ts'
import {Secret} from '../secret.ts'
import {decrypt} from '../tools/gpg.ts'
import {recipientsOf} from '../tools/openpgp.ts'
import type {Tools} from '../tools/index.ts'

/** The next share. */
export type AskedShare = () => Promise<Secret>

/** A holder's share: out of their envelope by their own gpg, or typed unseen, or from a pipe. */
export const shareOf = async (
  {shell, files, ask}: Pick<Tools, 'shell' | 'files' | 'ask'>,
  flags: {readonly envelope?: string | undefined; readonly 'share-file'?: string | undefined},
): Promise<Secret> => {
  const {envelope} = flags
  if (envelope === undefined) {
    const from = {file: flags['share-file'], flag: '--envelope or --share-file', variable: 'LKEOBS_SHARE_FILE'}
    return ask.secret('Your share', from)
  }
  const armoured = await files.read(envelope)
  if (armoured === undefined) throw new LkeobsError('LKO-5021', `There is no file ${envelope}.`)
  return new Secret((await decrypt(shell, armoured, envelope)).reveal().trim())
}

type ShareFlags = {readonly holders: boolean; readonly envelope?: readonly string[] | undefined; readonly 'share-file'?: string | undefined}

/**
 * One share after another: out of envelopes, or lines of a pipe, or typed unseen by one holder after the other. Undefined where
 * no flag says that holders take part.
 */
export const sharesOf = (tools: Pick<Tools, 'shell' | 'files' | 'ask'>, flags: ShareFlags): AskedShare | undefined => {
  const {holders, envelope: all = [], 'share-file': file} = flags
  if (!holders && all.length === 0 && file === undefined) return undefined
  const rest = [...all]
  return () => {
    const envelope = rest.shift()
    if (envelope !== undefined || all.length === 0) return shareOf(tools, {envelope, 'share-file': file})
    throw new LkeobsError('LKO-5015', `The shares of ${all.length} envelopes were given, and the throw-away node is closed.`)
  }
}

/** Whose envelope it is, by the key it is encrypted to: nothing is decrypted for that. */
export const holderOf = async ({files}: Pick<Tools, 'files'>, envelope: string | undefined): Promise<string> => {
  const [id] = envelope === undefined ? [] : await recipientsOf((await files.read(envelope)) ?? '')
  return id === undefined ? 'a holder' : `holder of key ${id}`
}
