import {inspect} from 'node:util'
import {expect, test} from 'vitest'
import {boardOf, boardText, reset, unseal} from '../../src/ceremony/unseal.ts'
import {LkeobsError} from '../../src/errors.ts'
import type {VaultNode} from '../../src/platforms/platform.ts'
import {Secret} from '../../src/secret.ts'
import type {SealStatus, Vault, VaultAnswer} from '../../src/tools/vault.ts'

const shareOf = (name: string): string => Buffer.from(name.padEnd(33, '.')).toString('hex')
const holders = ['ada', 'bea', 'cem', 'dan', 'eve']

/** Nodes as OpenBao answers: three shares of five open them, followers can take shares once the first is open. */
const fakeNodes = ({names = ['vault-0', 'vault-1', 'vault-2'], initialized = true} = {}) => {
  const right = new Set(holders.map(shareOf))
  let nonces = 0
  const nodes = names.map((name, index) => {
    const given = new Set<string>()
    const state = {open: false, joined: index === 0 && initialized, nonce: '', silent: false, given}
    const status = (): SealStatus => ({
      type: 'shamir',
      initialized: state.joined,
      sealed: !state.open,
      version: '2.7.2',
      commit_date: '',
      t: state.joined ? 3 : 0,
      n: state.joined ? 5 : 0,
      progress: given.size,
      nonce: state.nonce,
    })
    const forget = () => {
      given.clear()
      state.nonce = ''
    }
    const answer = (): VaultAnswer => ({status: 200, data: {...status()}, errors: []})
    const refuse = (code: number, text: string): VaultAnswer => ({status: code, data: {}, errors: [text]})
    const take = (data: Readonly<Record<string, unknown>>): VaultAnswer => {
      if (data['reset'] === true) forget()
      const {key} = data
      if (!(key instanceof Secret)) return answer()
      const share = key.reveal()
      if (share.length < 32) return refuse(400, 'invalid key: key is shorter than minimum 16 bytes')
      if (state.open) return answer()
      given.add(share)
      state.nonce ||= `nonce-${(nonces += 1)}`
      if (given.size < 3) return answer()
      const isRight = [...given].every((one) => right.has(one))
      forget()
      if (!isRight) return refuse(400, 'unable to retrieve stored keys: invalid key: failed to decrypt keys from storage')
      state.open = true
      for (const node of nodes) node.state.joined = true
      return answer()
    }
    const vault = {
      address: name,
      sealStatus: async () => (state.silent ? undefined : status()),
      request: async ({path, data = {}}: {path: string; data?: Readonly<Record<string, unknown>>}) =>
        path === 'sys/leader' ? {status: 200, data: {leader_address: 'one', is_self: index === 0}, errors: []} : take(data),
    } as unknown as Vault
    return {name, state, vault, admin: vault}
  })
  return nodes
}
type Fakes = ReturnType<typeof fakeNodes>

const give = (nodes: readonly VaultNode[], share: string, more: {nonce?: string; wait?: boolean} = {}) =>
  unseal(async () => new Secret(share), {hub: 'hub', nodes, wait: false, show: () => undefined, ...more})

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
  } catch (error) {
    for (const name of [...holders, 'old']) expect(inspect(error, {depth: 9, showHidden: true})).not.toContain(shareOf(name))
    if (error instanceof LkeobsError) return error.code
  }
  return 'nothing was thrown'
}

test('a share counts once; the board says how far it is', async () => {
  const nodes = fakeNodes({names: ['vault-0']})
  await give(nodes, shareOf('ada'))
  const {board, given} = await give(nodes, shareOf('bea'))
  expect(given).toMatchObject([{node: 'vault-0', taken: 'counted'}])
  expect(boardText(board)).toMatch(/Vault hub — unseal {3}3 shares of 5[\s\S]*vault-0 +██░ 2\/3 +waiting for 1 more +nonce-1/)
  expect(await codeOf(give(nodes, shareOf('ada')))).toBe('LKO-5024')
})

test('a wrong share sets the progress back, visibly, and the next three open it', async () => {
  const nodes = fakeNodes({names: ['vault-0']})
  await give(nodes, shareOf('ada'))
  await give(nodes, shareOf('old'))
  expect(await codeOf(give(nodes, shareOf('bea')))).toBe('LKO-5023')
  expect((await boardOf('hub', nodes)).nodes[0]).toMatchObject({state: 'sealed', progress: 0, nonce: ''})
  for (const name of ['ada', 'bea', 'cem']) await give(nodes, shareOf(name))
  expect((await boardOf('hub', nodes)).nodes[0]).toMatchObject({state: 'unsealed', leader: true})
})

test('what is no share is not sent', async () => {
  const nodes = fakeNodes()
  for (const text of ['', 'abc', 'not a share', shareOf('ada').slice(1)]) expect(await codeOf(give(nodes, text))).toBe('LKO-5021')
  expect(nodes[0]?.state.given.size).toBe(0)
})

test('another attempt than the one that was told, and one that is over, are two things', async () => {
  const nodes = fakeNodes({names: ['vault-0']})
  expect(await codeOf(give(nodes, shareOf('ada'), {nonce: 'nonce-1'}))).toBe('LKO-5026')
  await give(nodes, shareOf('ada'))
  expect(await codeOf(give(nodes, shareOf('bea'), {nonce: 'nonce-7'}))).toBe('LKO-5025')
  expect(nodes[0]?.state.given.size).toBe(1)
  await give(nodes, shareOf('bea'), {nonce: 'nonce'})
  expect(nodes[0]?.state.given.size).toBe(2)
  await reset('hub', nodes)
  expect(nodes[0]?.state.given.size).toBe(0)
})

test('whoever waits types once: followers get the share when they can take it', async () => {
  const nodes: Fakes = fakeNodes()
  const all = await Promise.all(['ada', 'cem', 'eve'].map((name) => give(nodes, shareOf(name), {wait: true})))
  for (const {board} of all) expect(board.nodes.map(({state}) => state)).toEqual(['unsealed', 'unsealed', 'unsealed'])
})

test('whoever gave the last share is told when somebody leads', async () => {
  const nodes = fakeNodes({names: ['vault-0']})
  let asked = 0
  const [node] = nodes
  if (!node) throw new Error('no node')
  const {request} = node.vault
  node.vault.request = async (what) => {
    if (what.path !== 'sys/leader' || (asked += 1) > 2) return request(what)
    return {status: 200, data: {leader_address: '', is_self: false}, errors: []}
  }
  for (const name of ['ada', 'bea']) await give(nodes, shareOf(name))
  expect(asked).toBe(0)
  expect((await give(nodes, shareOf('cem'))).board.leader).toBe('vault-0')
  expect(asked).toBe(3)
})

test('nothing to unseal, nobody there, nothing initialised', async () => {
  const open = fakeNodes({names: ['vault-0']})
  for (const name of ['ada', 'bea', 'cem']) await give(open, shareOf(name))
  const asked = unseal(() => Promise.reject(new Error('a share was asked for')), {
    hub: 'hub',
    nodes: open,
    wait: false,
    show: () => undefined,
  })
  expect((await asked).given).toEqual([])
  const silent = fakeNodes()
  for (const {state} of silent) state.silent = true
  expect(await codeOf(give(silent, shareOf('ada')))).toBe('LKO-5001')
  expect(await codeOf(give(fakeNodes({initialized: false}), shareOf('ada')))).toBe('LKO-5028')
})
