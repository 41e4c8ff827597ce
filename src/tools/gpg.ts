import {LkeobsError, messageOf} from '../errors.ts'
import {Secret} from '../secret.ts'
import type {Shell} from './shell.ts'

const failed = (what: string, error: unknown): LkeobsError =>
  new LkeobsError('LKO-5022', `${what}: ${messageOf(error).split('\n').slice(1).join('\n').trim() || messageOf(error)}`, {
    next: ['gpg --list-secret-keys'],
  })

/** What an armoured message says, by the gpg of whoever runs this. It goes from pipe to pipe: never a file or an argument. */
export const decrypt = async (shell: Shell, armoured: string, shownName: string): Promise<Secret> => {
  try {
    const plain = await shell.run({file: 'gpg', args: ['--quiet', '--batch', '--decrypt'], input: armoured, secretOutput: true})
    return new Secret(plain)
  } catch (error) {
    throw failed(`${shownName} cannot be decrypted`, error)
  }
}

/** A detached, armoured signature. */
export const sign = async (shell: Shell, content: string, key: string | undefined): Promise<string> => {
  const as = key === undefined ? [] : ['--local-user', key]
  try {
    return await shell.run({file: 'gpg', args: ['--quiet', '--batch', ...as, '--armor', '--detach-sign'], input: content})
  } catch (error) {
    throw failed('it cannot be signed', error)
  }
}
