import {mkdtemp, readdir, rm, writeFile, mkdir} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {expect, onTestFinished, test} from 'vitest'
import {LkeobsError} from '../../src/errors.ts'
import {refounded} from '../../src/plans/vault-refound.ts'
import type {Cluster} from '../../src/platforms/platform.ts'
import {Secret} from '../../src/secret.ts'
import {createFiles} from '../../src/tools/files.ts'
import type {Tools} from '../../src/tools/index.ts'
import type {SealStatus, Vault, VaultRequest} from '../../src/tools/vault.ts'

/** What a node holds: nothing, something with one share, or something that holders open. */
type Held = 'nothing' | 'makeshift' | 'holders' | 'silent'
const shares = {nothing: 0, makeshift: 1, holders: 5, silent: 0}

/** A hub of nodes that hold this, and all that is done to it. */
const world = async (held: Held[], {declared = false, canRemove = true} = {}) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'lkeobs-refound-'))
  onTestFinished(() => rm(folder, {recursive: true}))
  const hub = path.join(folder, '.lkeobs', 'hub')
  await mkdir(hub, {recursive: true})
  if (declared) await writeFile(path.join(hub, 'restore.json'), '{}')
  const log: string[] = []
  const inFolder = async () => (await readdir(hub)).join()
  const open = new Set<number>()
  let restored = false
  const sealOf = (index: number): SealStatus | undefined => {
    const now = held[index] ?? 'silent'
    if (now === 'silent') return undefined
    return {
      type: 'shamir',
      initialized: now !== 'nothing',
      sealed: !open.has(index),
      version: '2.7.2',
      commit_date: '',
      t: shares[now],
      n: shares[now],
    }
  }
  const nodes = held.map((_, index) => {
    const vault = {
      address: `https://vault-${index}`,
      sealStatus: async () => sealOf(index),
      async request({path: at, data = {}}: VaultRequest) {
        if (at !== 'sys/leader') log.push(`${at} of vault-${index}, beside ${await inFolder()}`)
        const answer = (body: object) => ({status: 200, data: {...body}, errors: []})
        if (at === 'sys/leader') return answer({is_self: true, leader_address: 'here'})
        if (at === 'sys/unseal') {
          expect(data['key']).toBeInstanceOf(Secret)
          open.add(index)
          return answer({sealed: false})
        }
        expect(data).toEqual({secret_shares: 1, secret_threshold: 1})
        held.fill('makeshift')
        return answer({keys_base64: ['share-sentinel'], root_token: 'token-sentinel'})
      },
      async raw(at: string, {as}: {as?: Secret}) {
        log.push(`${at} of vault-${index}`)
        expect(as?.reveal()).toBe('token-sentinel')
        open.clear()
        restored = true
        return {status: 204, body: Buffer.alloc(0), certificate: ''}
      },
    } as unknown as Vault
    return {name: `vault-${index}`, vault, admin: vault}
  })
  const cluster = {
    name: 'hub',
    vaultNodes: () => nodes,
    vaultSeals: async () => held.map((_, index) => sealOf(index)),
    async vaultRestarted(name: string) {
      log.push(`${name} restarted`)
      const index = Number(name.slice(-1))
      held[index] = index === 0 && restored ? 'holders' : 'nothing'
    },
    ...(canRemove && {
      async vaultRemade() {
        log.push('removed')
        held.fill('nothing')
      },
    }),
  } as unknown as Cluster
  const tools = {files: createFiles(), download: {dry: false}} as unknown as Tools
  const step = refounded({folder, cluster, file: 'hub.snap', snapshot: Buffer.from('x'), tools})
  return {step, log, inFolder, held}
}
const apply = async ({step}: Awaited<ReturnType<typeof world>>): Promise<string | undefined> => {
  try {
    await step.apply(() => undefined)
  } catch (error) {
    return error instanceof LkeobsError ? error.code : String(error)
  }
  return undefined
}

const taken = [
  'sys/init of vault-0, beside restore.json',
  'sys/unseal of vault-0, beside restore.json',
  'sys/storage/raft/snapshot-force of vault-0',
  'vault-0 restarted',
  'vault-1 restarted',
]

test('where nothing is, the first node takes it; that it is worth nothing is written before, and forgotten after', async () => {
  const fresh = await world(['nothing', 'nothing'])
  expect(await fresh.step.done()).toBe('it holds nothing')
  expect(await apply(fresh)).toBeUndefined()
  expect(fresh.log).toEqual(taken)
  expect(await fresh.inFolder()).toBe('')
  expect(await fresh.step.done()).toBe(true)
})

test('what a run that was killed has left is removed where it was declared worthless', async () => {
  const left = await world(['makeshift', 'makeshift'], {declared: true})
  expect(await left.step.done()).not.toBe(true)
  expect(await apply(left)).toBeUndefined()
  expect(left.log).toEqual(['removed', ...taken])
})

test.each([
  ['nobody declared it worthless', {}],
  ['its platform removes nothing', {declared: true, canRemove: false}],
])('it is left alone where %s', async (_why, how) => {
  const left = await world(['makeshift', 'nothing'], how)
  expect(await apply(left)).toBe('LKO-5210')
  expect(left.log).toEqual([])
})

test('what holders open is never removed, whatever was declared', async () => {
  const held = await world(['holders', 'nothing'], {declared: true})
  expect(await held.step.done()).toBe(true)
  expect(await apply(held)).toBeUndefined()
  expect(held.log).toEqual([])
  // one that waits to join what is gone is only started anew
  const waiting = await world(['holders', 'makeshift'], {declared: true})
  expect(await waiting.step.done()).not.toBe(true)
  expect(await apply(waiting)).toBeUndefined()
  expect(waiting.log).toEqual(['vault-1 restarted'])
})

test('while a node is silent nobody knows what is there', async () => {
  const silent = await world(['nothing', 'silent'], {declared: true})
  expect(await silent.step.done()).toBe('not every node answers')
  expect(await apply(silent)).toBeUndefined()
  expect(silent.log).toEqual([])
})
