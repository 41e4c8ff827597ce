import {describe, expect, test} from 'vitest'
import {Secret} from '../../src/secret.ts'
import {newSealingKey, publicKeyOf, sealedTo, thumbprintOf, unsealed} from '../../src/tools/jose.ts'
import {createX509} from '../../src/tools/x509.ts'
import {checkInvite, fingerprintOf, type Invite, inviteText, pinOf, readInvite, sameFingerprint} from '../../src/trust/invite.ts'
import {pinnedCa} from '../../src/trust/pinned.ts'

const invite: Invite = {
  fleet: 'lab',
  hub: 'hub',
  edge: 'edge-2',
  endpoint: '127.0.0.1:14300',
  vault: '127.0.0.1:14310',
  pin: 'p'.repeat(43),
  seal: 'transit',
  expires: 2_000_000_000,
  token: new Secret('s.of-the-invite'),
}
const codeOf = (work: () => unknown): unknown => {
  try {
    work()
    return 'none'
  } catch (error) {
    return (error as {code?: string}).code
  }
}

describe('an invite', () => {
  test('is one string, of which nothing is lost; line breaks of a mail do no harm', () => {
    const text = inviteText(invite).reveal()
    expect(text).toMatch(/^[\w.-]+$/)
    expect(readInvite(new Secret(text))).toEqual(invite)
    expect(readInvite(new Secret(`  ${text.replaceAll(/(.{60})/g, '$1\r\n')}\n`)).token.reveal()).toBe('s.of-the-invite')
    expect(JSON.stringify(readInvite(new Secret(text)))).not.toContain('s.of-the-invite')
  })

  test('cut off anywhere, or with any character changed, is refused without being repeated', () => {
    const text = inviteText(invite).reveal()
    for (let length = 0; length < text.length; length++)
      expect(
        codeOf(() => readInvite(new Secret(text.slice(0, length)))),
        String(length),
      ).toBe('LKO-6001')
    for (let at = 0; at < text.length; at++) {
      const changed = `${text.slice(0, at)}${text[at] === 'x' ? 'y' : 'x'}${text.slice(at + 1)}`
      expect(
        codeOf(() => readInvite(new Secret(changed))),
        String(at),
      ).toBe('LKO-6001')
    }
    expect(() => readInvite(new Secret(text.slice(0, -3)))).toThrow(/^Its \d+ characters do not match/)
  })

  test('holds for its edge, until its end', () => {
    const until = invite.expires * 1000
    expect(codeOf(() => checkInvite(invite, 'edge-2', until - 1))).toBe('none')
    expect(codeOf(() => checkInvite(invite, undefined, until - 1))).toBe('none')
    expect(codeOf(() => checkInvite(invite, 'edge-2', until))).toBe('LKO-6002')
    expect(codeOf(() => checkInvite(invite, 'edge-3', until - 1))).toBe('LKO-6003')
  })
})

describe('the root CA behind a pin', () => {
  const x509 = createX509()
  const shown = (certificate: string, chain: readonly string[]) => ({
    unverified: async () => JSON.stringify({data: {certificate, ca_chain: chain}}),
  })

  test('is the one with that key, whatever stands beside it', async () => {
    const [root, other] = await Promise.all(['root', 'other'].map((commonName) => x509.createCa({commonName, days: 1, pathLength: 1})))
    const certificate = root?.certificate ?? ''
    const pin = pinOf(certificate)
    const there = {vault: 'hub:8200', pin}
    expect(pinOf(await pinnedCa(shown(other?.certificate ?? '', [certificate]), there, 'hub'))).toBe(pin)
    await expect(pinnedCa(shown(other?.certificate ?? '', []), there, 'hub')).rejects.toMatchObject({code: 'LKO-6005'})
    await expect(pinnedCa({unverified: async () => '<html>'}, there, 'hub')).rejects.toMatchObject({code: 'LKO-6005'})
    await expect(pinnedCa({unverified: async () => undefined}, there, 'hub')).rejects.toMatchObject({code: 'LKO-5001'})
  })

  test('no text that is no certificate has a pin', () => {
    expect(pinOf('')).toBe('')
    expect(pinOf('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')).toBe('')
  })
})

describe('words', () => {
  test('are four, of all three parts', async () => {
    const words = await fingerprintOf('edge-2', 'a', 'pin')
    expect(words).toMatch(/^[a-z]+(-[a-z]+){3}$/)
    const others = await Promise.all([
      fingerprintOf('edge-3', 'a', 'pin'),
      fingerprintOf('edge-2', 'b', 'pin'),
      fingerprintOf('edge-2', 'a', 'nip'),
    ])
    expect(new Set([words, ...others]).size).toBe(4)
    expect(await fingerprintOf('edge-2', 'a', 'pin')).toBe(words)
  })

  test('are the same however they are read out', () => {
    expect(sameFingerprint('a-b-c-d', ' A B  c,d ')).toBe(true)
    expect(sameFingerprint('a-b-c-d', 'a-b-c')).toBe(false)
    expect(sameFingerprint('', 'a-b-c-d')).toBe(false)
  })
})

test('what is sealed to a key is opened by it alone, and not when it was changed', async () => {
  const [own, other] = await Promise.all([newSealingKey(), newSealingKey()])
  const sealed = await sealedTo(own.publicKey, 'a token')
  expect(sealed).not.toContain('a token')
  expect((await unsealed(own.privateKey, sealed))?.reveal()).toBe('a token')
  expect(await unsealed(other.privateKey, sealed)).toBeUndefined()
  expect(await unsealed(own.privateKey, `${sealed.slice(0, -4)}AAAA`)).toBeUndefined()
  expect(publicKeyOf(own.privateKey)).toEqual(own.publicKey)
  expect(JSON.stringify(own)).not.toContain((JSON.parse(own.privateKey.reveal()) as {d: string}).d)
  expect(await thumbprintOf(own.publicKey)).not.toBe(await thumbprintOf(other.publicKey))
})
