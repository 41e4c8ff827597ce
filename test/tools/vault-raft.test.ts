import {createHash} from 'node:crypto'
import {gzipSync} from 'node:zlib'
import {expect, test} from 'vitest'
import {LkeobsError} from '../../src/errors.ts'
import {Secret} from '../../src/secret.ts'
import {askNode, downloadSnapshot, forceSnapshot, inspectSnapshot, uploadSnapshot} from '../../src/tools/vault-raft.ts'
import type {RawAnswer, RawRequest, Vault} from '../../src/tools/vault.ts'

const block = 512
const entry = (name: string, content: string): Buffer => {
  const head = Buffer.alloc(block)
  head.write(name, 0)
  head.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124)
  const body = Buffer.alloc(Math.ceil(content.length / block) * block)
  body.write(content)
  return Buffer.concat([head, body])
}
const sum = (text: string) => createHash('sha256').update(text).digest('hex')

const state = 'the encrypted state of a Raft'
const meta = JSON.stringify({Index: 87, Term: 3, Size: state.length, Configuration: {Servers: [{ID: 'vault-1'}, {ID: 'vault-0'}]}})
const whole = {
  'meta.json': meta,
  'state.bin': state,
  SHA256SUMS: `${sum(meta)}  meta.json\n${sum(state)}  state.bin\n`,
  'SHA256SUMS.sealed': 'sealed',
}
const packed = (files: Readonly<Record<string, string>>): Buffer =>
  gzipSync(Buffer.concat([...Object.entries(files).map(([name, content]) => entry(name, content)), Buffer.alloc(2 * block)]))

test('a whole snapshot says how far its Raft was, and whose it is', async () => {
  const bytes = packed(whole)
  expect(await inspectSnapshot('hub.snap', bytes)).toEqual({
    sha256: createHash('sha256').update(bytes).digest('hex'),
    bytes: bytes.length,
    index: 87,
    term: 3,
    nodes: ['vault-0', 'vault-1'],
  })
})

const {'state.bin': _, ...withoutState} = whole
test.each([
  ['nothing', Buffer.alloc(0), /cannot be unpacked/],
  ['something else', Buffer.from('{"not":"a snapshot"}'), /cannot be unpacked/],
  ['cut off', packed(whole).subarray(0, -20), /cannot be unpacked/],
  ['cut off before it was packed', gzipSync(entry('state.bin', 'x'.repeat(3000)).subarray(0, 1500)), /it ends too early/],
  ['without its state', packed(withoutState), /state.bin is missing/],
  ['changed', packed({...whole, 'state.bin': state.replace('the', 'teh')}), /state.bin in it does not match its sum/],
  ['of another size', packed({...whole, 'meta.json': '{"Size":1}', SHA256SUMS: `${sum('{"Size":1}')}  meta.json`}), /another size/],
])('a snapshot that is %s is LKO-5201', async (_what, bytes, why) => {
  const error = await inspectSnapshot('hub.snap', bytes).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(LkeobsError)
  expect(error).toMatchObject({code: 'LKO-5201', message: expect.stringMatching(why) as unknown})
})

/** A Vault that gives these answers to what is asked as it is. */
const answering = (answers: Readonly<Record<string, readonly [number, string]>>) => {
  const asked: string[] = []
  const vault = {
    address: 'https://vault',
    async raw(path: string, {method = 'GET', loggedIn = false}: RawRequest = {}): Promise<RawAnswer | undefined> {
      asked.push(`${method} ${path}${loggedIn ? ' (logged in)' : ''}`)
      const [status, body] = answers[path] ?? []
      return status === undefined ? undefined : {status, body: Buffer.from(body ?? ''), certificate: 'PEM'}
    },
  } as Vault
  return {vault, asked}
}

test('a node is asked without a login, and for its leader only while it is open', async () => {
  const open = answering({
    'sys/seal-status': [200, '{"type":"static","sealed":false,"initialized":true}'],
    'sys/leader': [200, '{"is_self":true,"leader_address":"https://a"}'],
  })
  expect(await askNode(open.vault)).toMatchObject({leader: {isSelf: true, address: 'https://a'}, certificate: 'PEM'})
  const sealed = answering({'sys/seal-status': [200, '{"type":"shamir","sealed":true,"initialized":true,"t":3,"progress":1}']})
  expect(await askNode(sealed.vault)).toMatchObject({seal: {t: 3, progress: 1}})
  expect([...open.asked, ...sealed.asked]).toEqual(['GET sys/seal-status', 'GET sys/leader', 'GET sys/seal-status'])
  const leaderless = answering({
    'sys/seal-status': [200, '{"sealed":false,"initialized":true}'],
    'sys/leader': [200, '{"is_self":false,"leader_address":""}'],
  })
  expect((await askNode(leaderless.vault))?.leader).toBeUndefined()
  expect(await askNode(answering({}).vault)).toBeUndefined()
  expect(await askNode(answering({'sys/seal-status': [502, '<html>']}).vault)).toBeUndefined()
})

const snapshot = 'sys/storage/raft/snapshot'
test.each([
  [[200, ''] as const, undefined],
  [[204, ''] as const, undefined],
  [[400, '{"errors":["could not verify hash file, possibly the snapshot is using a different autoseal key"]}'] as const, 'LKO-5202'],
  [[400, '{"errors":["could not verify hash file, possibly a different set of unseal keys"]}'] as const, 'LKO-5202'],
  [[500, '{"errors":["1 error occurred:\\n\\t* no space left"]}'] as const, 'LKO-5002'],
  [undefined, 'LKO-5001'],
])('a restore that is answered with %j', async (answer, code) => {
  const {vault, asked} = answering(answer ? {[snapshot]: answer} : {})
  const ended = await uploadSnapshot(vault, Buffer.from('x')).catch((thrown: unknown) => thrown)
  expect(ended instanceof LkeobsError ? ended.code : ended).toBe(code)
  // never by force: the node itself is asked whether its seal can open it
  expect(asked).toEqual([`POST ${snapshot} (logged in)`])
})

test('by force it is put with the token that is given, and refused in words', async () => {
  const token = new Secret('token-sentinel')
  const {vault, asked} = answering({[`${snapshot}-force`]: [204, '']})
  await forceSnapshot(vault, Buffer.from('x'), token)
  expect(asked).toEqual([`POST ${snapshot}-force`])
  const refused = forceSnapshot(
    answering({[`${snapshot}-force`]: [403, '{"errors":["permission denied"]}']}).vault,
    Buffer.from('x'),
    token,
  )
  await expect(refused).rejects.toMatchObject({code: 'LKO-5002', message: expect.stringContaining('permission denied') as unknown})
})

test('a snapshot that Vault refuses, or breaks off, is an error in its words', async () => {
  expect(Buffer.from(await downloadSnapshot(answering({[snapshot]: [200, 'bytes']}).vault)).toString()).toBe('bytes')
  const refused = downloadSnapshot(answering({[snapshot]: [403, '{"errors":["permission denied"]}']}).vault)
  await expect(refused).rejects.toMatchObject({code: 'LKO-5002', message: expect.stringContaining('permission denied') as unknown})
  await expect(downloadSnapshot(answering({}).vault)).rejects.toMatchObject({code: 'LKO-5001'})
})
