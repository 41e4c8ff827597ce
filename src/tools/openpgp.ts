import type * as OpenPgp from 'openpgp'
import {messageOf} from '../errors.ts'
import type {Secret} from '../secret.ts'

/** A public key that something can be encrypted to. */
export type PublicKey = {
  /** Upper-case hex, as gpg prints it. */
  readonly fingerprint: string
  readonly userIds: readonly string[]
  /** `rsa4096`, `curve25519`: of the part that is encrypted to. */
  readonly algorithm: string
  /** ISO, where it has an end. */
  readonly expires?: string
  /** Base64 of the binary key: what Vault wants. */
  readonly binary: string
  /** Key IDs that a message to this key may name. */
  readonly encryptsTo: readonly string[]
}

// loaded when first needed: it is large, and few commands need it
const library = (): Promise<typeof OpenPgp> => import('openpgp')

const leastRsaBits = 2048
const curves: ReadonlySet<string> = new Set(['curve25519Legacy', 'curve25519', 'nistP256', 'nistP384', 'nistP521'])

/** Vault's own library decrypts nothing for us, so an algorithm it cannot encrypt to would only show after init. */
const algorithmOf = ({algorithm, bits = 0, curve}: OpenPgp.AlgorithmInfo): {readonly shown: string; readonly allowed: boolean} => {
  if (algorithm.startsWith('rsa')) return {shown: `rsa${bits}`, allowed: bits >= leastRsaBits && algorithm !== 'rsaSign'}
  if (algorithm === 'ecdh') return {shown: (curve ?? 'ecdh').replace('Legacy', ''), allowed: curves.has(curve ?? '')}
  return {shown: algorithm, allowed: false}
}

/** With its checksum, which gpg 2.2 needs where the base64 ends without padding. */
const armoured = async (what: 'message' | 'publicKey', base64: string): Promise<string> => {
  const {armor, enums} = await library()
  const bytes = new Uint8Array(Buffer.from(base64, 'base64'))
  return armor(enums.armor[what], bytes, undefined, undefined, undefined, true).replaceAll('\r\n', '\n')
}

/** The key that was kept as base64 of its binary form, or why nothing may be encrypted to it any more. */
export const keptPublicKey = async (binary: string): Promise<PublicKey | string> => readPublicKey(await armoured('publicKey', binary))

/** The key, or why nothing may be encrypted to it. */
export const readPublicKey = async (text: string): Promise<PublicKey | string> => {
  const {readKeys} = await library()
  let keys: readonly OpenPgp.Key[]
  try {
    keys = await readKeys({armoredKeys: text})
  } catch (error) {
    return `it is not an armoured OpenPGP key (${messageOf(error).split('\n')[0]})`
  }
  const [key] = keys
  // of several blocks only the first is read
  const number = Math.max(keys.length, text.match(/-----BEGIN PGP/g)?.length ?? 0)
  if (!key || number > 1) return `the file has ${number} keys; it must have one`
  if (key.isPrivate()) return 'it is a SECRET key: whoever sees this file has it. Remove it from here, and export the public one'
  const {version} = key.keyPacket
  if (version !== 4) return `it is an OpenPGP key of version ${version}; Vault takes version 4`
  if (await key.isRevoked()) return 'it is revoked'
  const expires = await key.getExpirationTime()
  if (expires instanceof Date && expires.getTime() <= Date.now()) return `it expired on ${expires.toISOString().slice(0, 10)}`
  let encrypting: OpenPgp.Key | OpenPgp.Subkey
  try {
    encrypting = await key.getEncryptionKey()
  } catch {
    return 'it has no part that can be encrypted to (none was made, or it expired or is revoked)'
  }
  const {shown, allowed} = algorithmOf(encrypting.getAlgorithmInfo())
  if (!allowed) return `${shown} is not accepted; RSA from ${leastRsaBits} bits, Curve25519 and NIST curves are`
  return {
    fingerprint: key.getFingerprint().toUpperCase(),
    userIds: key.users.flatMap(({userID}) => userID?.userID ?? []),
    algorithm: shown,
    ...(expires instanceof Date && {expires: expires.toISOString()}),
    binary: Buffer.from(key.toPublic().write()).toString('base64'),
    encryptsTo: key.getKeyIDs().map((id) => id.toHex().toUpperCase()),
  }
}

/** Armoured ciphertext that only the key's owner reads. */
export const encryptTo = async ({binary}: PublicKey, content: Secret): Promise<string> => {
  const {createMessage, encrypt, readKey} = await library()
  const encryptionKeys = await readKey({binaryKey: Buffer.from(binary, 'base64')})
  const message: unknown = await encrypt({message: await createMessage({text: content.reveal()}), encryptionKeys, format: 'armored'})
  return String(message).replaceAll('\r\n', '\n')
}

/** Whether this is, by its first byte, a message that is encrypted to somebody: cheap, and enough not to keep what is not. */
export const isCiphertext = (base64: string): boolean => {
  const [first = 0] = Buffer.from(base64, 'base64')
  // a packet of type 1, in the new format and the old
  return first === 0xc1 || (first >= 0x84 && first <= 0x87)
}

/** Base64 ciphertext as a file that gpg reads; undefined where it is no message to this key. */
export const armouredFor = async ({encryptsTo}: Pick<PublicKey, 'encryptsTo'>, base64: string): Promise<string | undefined> => {
  const {readMessage} = await library()
  try {
    const message = await readMessage({binaryMessage: Buffer.from(base64, 'base64')})
    const recipients = message.getEncryptionKeyIDs().map((id) => id.toHex().toUpperCase())
    if (recipients.length === 0 || !recipients.every((id) => encryptsTo.includes(id))) return undefined
  } catch {
    return undefined
  }
  return armoured('message', base64)
}

/** The key IDs that a message is encrypted to; none where it is no message. */
export const recipientsOf = async (text: string): Promise<readonly string[]> => {
  const {readMessage} = await library()
  try {
    return (await readMessage({armoredMessage: text})).getEncryptionKeyIDs().map((id) => id.toHex().toUpperCase())
  } catch {
    return []
  }
}

/** Who signed the content, or why the signature does not hold. */
export const checkSignature = async (content: string, signature: string, armouredKey: string): Promise<{readonly by: string} | string> => {
  const {createMessage, readKey, readSignature, verify} = await library()
  try {
    const key = await readKey({armoredKey: armouredKey})
    const {signatures} = await verify({
      message: await createMessage({binary: Buffer.from(content)}),
      signature: await readSignature({armoredSignature: signature}),
      verificationKeys: key,
    })
    if (signatures.length === 0) return 'there is no signature in it'
    for (const one of signatures) await one.verified
    return {by: `${key.getFingerprint().toUpperCase()} ${key.users[0]?.userID?.userID ?? ''}`.trim()}
  } catch (error) {
    return messageOf(error)
  }
}
