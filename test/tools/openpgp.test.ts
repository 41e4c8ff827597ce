import {createMessage, encrypt, generateKey, readKey, revokeKey, readPrivateKey, sign} from 'openpgp'
import {expect, test} from 'vitest'
import {Secret} from '../../src/secret.ts'
import {armouredFor, checkSignature, encryptTo, isCiphertext, keptPublicKey, readPublicKey} from '../../src/tools/openpgp.ts'

const userIDs = [{name: 'Ada', email: 'ada@example'}]
const day = 86_400
const made = await generateKey({userIDs, format: 'armored'})

const fine = async (text: string) => {
  const key = await readPublicKey(text)
  if (typeof key === 'string') throw new Error(key)
  return key
}

test('a key that can be encrypted to', async () => {
  const key = await fine(made.publicKey)
  expect(key).toMatchObject({userIds: ['Ada <ada@example>'], algorithm: 'curve25519'})
  expect(key.fingerprint).toMatch(/^[0-9A-F]{40}$/)
  expect(await keptPublicKey(key.binary)).toEqual(key)
})

test.for<readonly [what: string, key: () => Promise<string>, wrong: RegExp]>([
  ['a secret key', async () => made.privateKey, /SECRET key/],
  ['no key', async () => 'hello', /not an armoured OpenPGP key/],
  ['two keys', async () => `${made.publicKey}\n${(await generateKey({userIDs, format: 'armored'})).publicKey}`, /2 keys|not an armoured/],
  [
    'an expired key',
    async () =>
      (await generateKey({userIDs, format: 'armored', date: new Date(Date.now() - 3 * day * 1000), keyExpirationTime: day})).publicKey,
    /expired on \d{4}-/,
  ],
  [
    'a revoked key',
    async () => (await revokeKey({key: await readPrivateKey({armoredKey: made.privateKey}), format: 'armored'})).publicKey,
    /revoked/,
  ],
  [
    'a key that only signs',
    async () => (await generateKey({userIDs, format: 'armored', subkeys: [{sign: true}]})).publicKey,
    /no part that can be encrypted to/,
  ],
  ['a key of version 6', async () => (await generateKey({userIDs, format: 'armored', config: {v6Keys: true}})).publicKey, /version 6/],
])('%s is refused', async ([, key, wrong]) => {
  expect(await readPublicKey(await key())).toMatch(wrong)
})

test('ciphertext for this key becomes a file; for another, or no ciphertext at all, it does not', async () => {
  const key = await fine(made.publicKey)
  const message = await createMessage({binary: new Uint8Array(Buffer.from('share'))})
  const binary = await encrypt({message, encryptionKeys: await readKey({armoredKey: made.publicKey}), format: 'binary'})
  const base64 = Buffer.from(binary as Uint8Array).toString('base64')
  expect(isCiphertext(base64)).toBe(true)
  expect(await armouredFor(key, base64)).toMatch(/^-----BEGIN PGP MESSAGE-----\n[\s\S]*\n=[A-Za-z0-9+/]{4}\n-----END PGP MESSAGE-----\n$/)
  const other = await fine((await generateKey({userIDs, format: 'armored'})).publicKey)
  expect(await armouredFor(other, base64)).toBeUndefined()
  for (const plain of ['cy5hYmNk', Buffer.from('s.9f3e2a1b9f3e2a1b9f3e2a1b').toString('base64'), 's.9f3e2a1b', '']) {
    expect(isCiphertext(plain)).toBe(false)
    expect(await armouredFor(key, plain)).toBeUndefined()
  }
  expect(await encryptTo(key, new Secret('hello'))).toMatch(/^-----BEGIN PGP MESSAGE-----/)
})

test('a signature is of one content and one key', async () => {
  const signingKeys = await readPrivateKey({armoredKey: made.privateKey})
  const signature = String(
    await sign({message: await createMessage({binary: new Uint8Array(Buffer.from('lines\n'))}), signingKeys, detached: true}),
  )
  expect(await checkSignature('lines\n', signature, made.publicKey)).toMatchObject({by: expect.stringContaining('Ada') as string})
  expect(typeof (await checkSignature('lines\nmore\n', signature, made.publicKey))).toBe('string')
  expect(typeof (await checkSignature('lines\n', signature, (await generateKey({userIDs, format: 'armored'})).publicKey))).toBe('string')
  expect(typeof (await checkSignature('lines\n', 'nothing', made.publicKey))).toBe('string')
})
