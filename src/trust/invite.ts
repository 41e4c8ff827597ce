import {createHash} from 'node:crypto'
import {LkeobsError} from '../errors.ts'
import {Secret} from '../secret.ts'
import {readCertificate} from '../tools/x509.ts'

/** What an edge is told once, and everything it needs to find its hub and to know it. */
export type Invite = {
  readonly fleet: string
  readonly hub: string
  readonly edge: string
  /** What edges dial, `host:port`. */
  readonly endpoint: string
  /** The hub's Vault, `host:port`, and the name in its certificate where that is another. */
  readonly vault: string
  readonly serverName?: string
  /** The hub's root CA, by the sum of its public key. */
  readonly pin: string
  /** How the edge's Vault is to be unsealed. */
  readonly seal: 'static' | 'transit'
  /** Seconds since 1970. */
  readonly expires: number
  /** Opens this edge's place at the hub, and nothing else. */
  readonly token: Secret
}

const prefix = 'lkeobs-invite-1'
const sumOf = (payload: string): string => createHash('sha256').update(payload).digest('base64url').slice(0, 8)

/** One string, to be pasted. */
export const inviteText = ({token, ...invite}: Invite): Secret => {
  const payload = Buffer.from(JSON.stringify({...invite, token: token.reveal()})).toString('base64url')
  return new Secret(`${prefix}.${payload}.${sumOf(payload)}`)
}

/** Reads what was pasted. Throws LKO-6001 where it is not whole, without repeating it. */
export const readInvite = (text: Secret): Invite => {
  const pasted = text.reveal().replaceAll(/\s/g, '')
  const [mark, payload = '', sum, ...more] = pasted.split('.')
  if (mark !== prefix)
    throw new LkeobsError('LKO-6001', `An invite begins with ${prefix}; this does not, and has ${pasted.length} characters.`, {
      next: ['lkeobs edge invite NAME          (on the hub)'],
    })
  if (more.length > 0 || sum !== sumOf(payload))
    throw new LkeobsError('LKO-6001', `Its ${pasted.length} characters do not match the sum at its end: some are missing or changed.`, {
      next: ['lkeobs edge join --invite -          (paste all of it)', 'lkeobs edge invite NAME          (on the hub)'],
    })
  const {token, ...invite} = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Omit<Invite, 'token'> & {token: string}
  return {...invite, token: new Secret(token)}
}

/** Throws LKO-6002 where the invite is over, LKO-6003 where it is for another edge. Asks nobody. */
export const checkInvite = (invite: Invite, edge: string | undefined, now = Date.now()): void => {
  if (edge !== undefined && edge !== invite.edge)
    throw new LkeobsError('LKO-6003', `The invite is for ${invite.edge} of the fleet ${invite.fleet}, not for ${edge}.`, {
      next: [`lkeobs edge join ${invite.edge} --invite -`, `lkeobs edge invite ${edge}          (on ${invite.hub})`],
    })
  if (invite.expires * 1000 > now) return
  throw new LkeobsError('LKO-6002', `The invite for ${invite.edge} ended ${new Date(invite.expires * 1000).toISOString()}.`, {
    next: [`lkeobs edge invite ${invite.edge}          (on ${invite.hub})`],
  })
}

/** The sum of a certificate's public key (SubjectPublicKeyInfo, RFC 7469). Empty where the text is no certificate. */
export const pinOf = (pem: string): string => {
  const key = readCertificate(pem)?.publicKey.export({type: 'spki', format: 'der'})
  return key ? createHash('sha256').update(key).digest('base64url') : ''
}

const wordBits = 11
const words = 4

/**
 * Four words that both sides show: of the key that the edge made, the hub that it found, and the name it goes by. 44 bits:
 * to match them, somebody in between would have to try 2^44 keys before the invite ends.
 */
export const fingerprintOf = async (edge: string, thumbprint: string, pin: string): Promise<string> => {
  const {wordlist} = await import('@scure/bip39/wordlists/english.js')
  const digest = createHash('sha256').update([edge, thumbprint, pin].join('\n')).digest()
  const bits = [...digest].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const indices = Array.from({length: words}, (_, at) => Number.parseInt(bits.slice(at * wordBits, (at + 1) * wordBits), 2))
  return indices.map((index) => wordlist[index]).join('-')
}

/** The words of an edge that asks, at the hub. */
export const wordsOf = async (
  hub: {rootCa(): Promise<string>},
  edge: string,
  {thumbprint}: {readonly thumbprint: string},
): Promise<string> => fingerprintOf(edge, thumbprint, pinOf(await hub.rootCa()))

/** As people read words to each other: in any case, with spaces or dashes. */
export const sameFingerprint = (one: string, other: string): boolean => {
  const plain = (text: string) =>
    text
      .toLowerCase()
      .split(/[^a-z]+/)
      .filter(Boolean)
      .join('-')
  return plain(one) === plain(other)
}
