import {expect, test} from 'vitest'
import {Secret} from '../../src/secret.ts'
import type {Vault, VaultAnswer, VaultRequest} from '../../src/tools/vault.ts'
import {dialectOf, takenOf, vaultSys} from '../../src/tools/vault-sys.ts'

/** A Vault that answers every request alike, and tells what it was asked. */
const recording = (committed: string | undefined, answer: Partial<VaultAnswer> = {}) => {
  const asked: VaultRequest[] = []
  const vault = {
    address: 'https://vault',
    sealStatus: async () => ({
      type: 'shamir',
      initialized: true,
      sealed: false,
      version: '2.0.4',
      ...(committed && {commit_date: committed}),
    }),
    request: async (request: VaultRequest) => {
      asked.push(request)
      return {status: 200, data: {started: true, nonce: 'n', keys_base64: {}}, errors: [], ...answer}
    },
  } as unknown as Vault
  return {asked, sys: vaultSys(vault)}
}

const share = new Secret('share-sentinel')

test('OpenBao and Vault are spoken to in their own words', async () => {
  expect([dialectOf({commit_date: '2026-10-26'}), dialectOf({})]).toEqual(['openbao', 'vault'])
  const pathsOf = async (committed: string | undefined): Promise<readonly string[]> => {
    const {asked, sys} = recording(committed)
    await sys.rotation()
    await sys.startRotation({shares: 5, threshold: 3, keys: []})
    await sys.giveToRotation(share, 'n', 'administrator')
    await sys.proof()
    await sys.prove(share, 'n', 'administrator')
    await sys.rotationBackup()
    await sys.removeRotationBackup()
    await sys.cancelRotation('n')
    await sys.rootToken()
    await sys.startRootToken('key')
    await sys.giveToRootToken(share, 'n', 'administrator')
    await sys.cancelRootToken('n')
    return asked.map(({method, path}) => `${method} ${path}`)
  }
  const openbao = await pathsOf('2026-10-26')
  expect(openbao).toMatchInlineSnapshot(`
    [
      "GET sys/rotate/root/init",
      "POST sys/rotate/root/init",
      "POST sys/rotate/root/update",
      "GET sys/rotate/root/verify",
      "POST sys/rotate/root/verify",
      "GET sys/rotate/root/backup",
      "DELETE sys/rotate/root/backup",
      "DELETE sys/rotate/root/init",
      "GET sys/generate-root-token/attempt",
      "POST sys/generate-root-token/attempt",
      "POST sys/generate-root-token/update",
      "DELETE sys/generate-root-token/attempt",
    ]
  `)
  const toVault = (path: string) => path.replace('rotate/root', 'rekey').replace('generate-root-token', 'generate-root')
  expect(await pathsOf(undefined)).toEqual(openbao.map(toVault))
})

test('a rotation wants a proof of the new shares, and keeps them, encrypted, for the administrator', async () => {
  const {asked, sys} = recording('yes')
  await sys.startRotation({shares: 5, threshold: 3, keys: ['k']})
  expect(asked[0]?.data).toEqual({secret_shares: 5, secret_threshold: 3, pgp_keys: ['k'], backup: true, require_verification: true})
})

test.for<readonly [taken: string | undefined, status: number, words: string]>([
  ['duplicate', 400, 'given key has already been provided during this rotation'],
  ['duplicate', 500, '1 error occurred:\n\t* given key has already been provided during this generation operation\n\n'],
  ['foreign', 400, 'incorrect nonce supplied; nonce for rotation is "3244f2a2"'],
  ['wrong', 400, 'unable to retrieve stored keys: invalid key: failed to decrypt keys from storage: cipher: message authentication failed'],
  ['wrong', 400, 'rotation verification failed; incorrect key shares supplied'],
  ['wrong', 400, 'invalid key: failed to compute combined key: all parts must be the same length'],
  ['wrong', 500, '1 error occurred:\n\t* root generation aborted: unable to authenticate: unable to retrieve stored keys'],
  ['malformed', 400, "'key' must be a valid hex or base64 string"],
  ['malformed', 400, 'invalid key: key is shorter than minimum 16 bytes'],
  ['expired', 400, 'no rotation in progress'],
  ['expired', 400, 'no root generation in progress'],
  ['denied', 403, 'permission denied'],
  [undefined, 503, 'Vault is sealed'],
])('%s: %d %s', ([taken, status, words]) => {
  expect(takenOf({status, errors: [words]})).toBe(taken)
})

test('a refusal has the path and the words of Vault, not what was sent', async () => {
  const {sys} = recording('yes', {status: 500, errors: ['it is broken']})
  await expect(sys.giveToRotation(share, 'n', new Secret('token-sentinel'))).rejects.toThrow(
    'sys/rotate/root/update at https://vault: 500 it is broken',
  )
})
