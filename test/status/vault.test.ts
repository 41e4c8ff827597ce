import {expect, test} from 'vitest'
import {LkeobsError} from '../../src/errors.ts'
import type {Cluster, HubCluster, Seal} from '../../src/platforms/platform.ts'
import {hubSealFault, openness} from '../../src/status/seals.ts'
import {vaultStatus} from '../../src/status/vault.ts'
import {vaultStatusText} from '../../src/status/vault-text.ts'
import type {SealStatus, Vault} from '../../src/tools/vault.ts'
import {createX509} from '../../src/tools/x509.ts'

const x509 = createX509()
const ca = await x509.createCa({commonName: 'root', days: 400, pathLength: 0})
const certificateOf = async (days: number) =>
  (await x509.issueServer(ca, {commonName: 'localhost', names: ['localhost'], days})).certificate
const [long, short] = [await certificateOf(300), await certificateOf(5)]

type Node = {
  readonly sealed?: boolean
  readonly leads?: boolean
  readonly bare?: boolean
  readonly certificate?: string
  readonly shares?: readonly [number, number]
}
type Wish = {
  /** Undefined for a node that does not answer. */
  readonly nodes: readonly (Node | undefined)[]
  readonly seal?: Seal
  readonly login?: boolean
  readonly nonVoters?: readonly string[]
  readonly token?: object | string
  readonly keyless?: boolean
}

const clusterOf = (
  name: string,
  {nodes, seal = 'static', login = true, nonVoters = [], token, keyless = false}: Wish,
): Cluster & HubCluster => {
  const names = nodes.map((_, index) => `vault-${index}`)
  const sealOf = (node: Node | undefined): SealStatus | undefined =>
    node && {
      type: node.shares ? 'shamir' : seal,
      initialized: !node.bare,
      sealed: node.sealed ?? node.bare ?? false,
      version: '2.7.2',
      ...(node.shares && {progress: node.shares[0], t: node.shares[1]}),
    }
  const vaultOf = (node: Node | undefined) =>
    ({
      sealStatus: async () => sealOf(node),
      async raw(path: string) {
        if (!node) return undefined
        const body = path === 'sys/seal-status' ? sealOf(node) : {is_self: node.leads ?? false, leader_address: 'https://leader'}
        return {status: 200, body: Buffer.from(JSON.stringify(body)), certificate: node.certificate ?? long}
      },
      async read(path: string) {
        if (!login) throw new LkeobsError('LKO-5002', 'log in as lkeobs: 400')
        if (path.startsWith('seals/keys/')) return keyless ? undefined : {}
        const servers = names.map((id) => ({node_id: id, leader: false, voter: !nonVoters.includes(id)}))
        if (path.endsWith('configuration')) return {config: {servers}}
        return {healthy: nonVoters.length === 0, servers: Object.fromEntries(names.map((id) => [id, {healthy: true}]))}
      },
      async lookup() {
        if (typeof token === 'string') throw new LkeobsError('LKO-5002', `look up: 403 ${token}`)
        return token
      },
    }) as unknown as Vault
  return {
    name,
    seal,
    vault: vaultOf(nodes[0]),
    vaultSeals: async () => nodes.map(sealOf),
    vaultNodes: () => nodes.map((node, index) => ({name: `vault-${index}`, vault: vaultOf(node), admin: vaultOf(node)})),
    read: async () => 'token',
  } as unknown as Cluster & HubCluster
}

const leader: Node = {leads: true}
const three: Wish = {nodes: [leader, {}, {}]}
const token = {ttl: 29 * 86_400, period: 30 * 86_400, orphan: true, policies: [], last_renewal_time: 1_795_449_535}
const hub = clusterOf('hub', {...three, token})
const edge = (wish: Partial<Wish> = {}) => clusterOf('edge-1', {nodes: [leader], seal: 'transit', ...wish})

test('three nodes that are well', async () => {
  const status = await vaultStatus(hub, hub)
  expect(status).toMatchObject({
    ok: true,
    raft: {peers: 3, voters: 3, healthy: true, failureTolerance: 1},
    problems: [],
    warnings: [],
    leftOut: [],
  })
  expect(status.nodes.map(({state}) => state)).toEqual(['leader', 'standby', 'standby'])
  expect(vaultStatusText([status], hub)).toContain('3 of 3 nodes open   3 voters, 1 may fail   sealed by a key in its hands')
})

test.each<[string, Wish, object]>([
  ['one of three silent', {nodes: [leader, {}, undefined]}, {problems: ['1 of 3 nodes: no answer'], raft: {failureTolerance: 0}}],
  ['the first node silent: another is asked', {nodes: [undefined, leader, {}]}, {problems: ['1 of 3 nodes: no answer'], raft: {peers: 3}}],
  ['one sealed, one silent', {nodes: [leader, {sealed: true}, undefined]}, {problems: ['1 of 3 nodes: sealed']}],
  ['all silent', {nodes: [undefined]}, {problems: ['no answer'], leftOut: ['peers and voters: no node is open']}],
  ['nobody leads', {nodes: [{}, {}]}, {problems: ['nobody leads']}],
  [
    'a node that just joined',
    {...three, nonVoters: ['vault-2']},
    {problems: [expect.stringContaining('vault-2: no vote yet')], raft: {voters: 2}},
  ],
  [
    'a certificate that ends soon',
    {nodes: [{...leader, certificate: short}]},
    {ok: true, warnings: ['the certificate of vault-0 ends in 4 days']},
  ],
])('%s', async (_what, wish, expected) => {
  const status = await vaultStatus(clusterOf('hub', wish), hub)
  expect(status).toMatchObject({ok: false, ...expected})
})

test('shares given so far are shown while it is sealed', async () => {
  const status = await vaultStatus(clusterOf('hub', {nodes: [{sealed: true, shares: [2, 3]}]}), hub)
  expect(status).toMatchObject({ok: false, seal: 'shamir', nodes: [{state: 'sealed', unsealing: {progress: 2, threshold: 3}}]})
  expect(vaultStatusText([status], hub)).toContain('sealed, 2 of 3 shares given')
})

test('where nobody can log in, what needs it is left out, and the rest stands', async () => {
  const status = await vaultStatus(clusterOf('hub', {...three, login: false}), hub)
  expect(status).toMatchObject({ok: true, leftOut: ['peers and voters: the administrator cannot log in, or may not']})
  expect(status.raft).toBeUndefined()
})

test('nobody types a password only to look: with holders, the administrator asks when the password is in a file', async () => {
  const held = clusterOf('hub', {...three, seal: 'shamir', token})
  const needs = 'needs the password of the administrator on hub (--password-file)'
  const status = await vaultStatus(held, held)
  expect(status).toMatchObject({ok: true, leftOut: [`peers and voters: ${needs}`]})
  expect(status.raft).toBeUndefined()
  // an edge has its own administrator, and its seal token is the hub's
  const below = await vaultStatus(edge(), held)
  expect(below).toMatchObject({ok: true, raft: {voters: 1}, leftOut: [`seal token of edge-1: ${needs}`]})
  expect(await vaultStatus(held, held, 'password')).toMatchObject({raft: {voters: 3}, leftOut: []})
  expect((await vaultStatus(edge(), held, 'password')).sealedBy?.tokenDaysLeft).toBe(29)
})

test('a hub that holders unseal says what they type', async () => {
  const next = async (node: Node) => {
    const held = clusterOf('hub', {nodes: [node], seal: 'shamir'})
    return vaultStatusText([await vaultStatus(held, held)], held)
  }
  expect(await next({sealed: true, shares: [2, 3]})).toContain('lkeobs vault unseal --wait')
  expect(await next({bare: true})).toContain('lkeobs vault init')
})

test('the seal token of an edge: days left, renewed when', async () => {
  expect((await vaultStatus(edge(), hub)).sealedBy).toEqual({
    hub: 'hub',
    answers: true,
    tokenDaysLeft: 29,
    tokenRenewed: new Date(1_795_449_535_000).toISOString(),
  })
})

test.each<[string, Wish, Partial<Wish>, object]>([
  [
    'hub sealed, edge open',
    {nodes: [{sealed: true}]},
    {},
    {problems: ["it would not open again: the hub's Vault, which unseals it, is sealed"]},
  ],
  [
    'hub sealed, edge sealed',
    {nodes: [{sealed: true}]},
    {nodes: [{sealed: true}]},
    {problems: ["sealed: the hub's Vault, which unseals it, is sealed"]},
  ],
  [
    'hub silent, edge ended',
    {nodes: [undefined]},
    {nodes: [undefined]},
    {problems: ["no answer: the hub's Vault, which unseals it, does not answer"]},
  ],
  ['hub well, edge ended', {...three, token}, {nodes: [undefined]}, {problems: ['no answer']}],
  ['token unknown', {...three, token: 'bad token'}, {}, {problems: ['it would not open again: its seal token: the hub does not know it']}],
  [
    'key lost',
    {...three, token, keyless: true},
    {nodes: [{sealed: true}]},
    {problems: ["sealed: the hub's Vault, which unseals it, has lost its key"]},
  ],
  [
    'token not renewed',
    {...three, token: {...token, ttl: 5 * 86_400}},
    {},
    {problems: ['it would not open again: its seal token is not renewed']},
  ],
])('an edge sealed by the hub: %s', async (_what, above, below, expected) => {
  const status = await vaultStatus(edge(below), clusterOf('hub', above))
  expect(status).toMatchObject({ok: false, ...expected})
  expect(vaultStatusText([status], hub)).toContain(status.problems[0])
})

test('what the fleet status says of a Vault needs no login', async () => {
  const silent = clusterOf('hub', {nodes: [undefined], login: false})
  const fault = await hubSealFault(silent)
  expect(await openness(edge({login: false}), fault)).toEqual({
    open: true,
    reason: "it would not open again: the hub's Vault, which unseals it, does not answer",
  })
  expect(await openness(clusterOf('edge-2', {nodes: [leader]}), fault)).toEqual({open: true})
  expect(await openness(silent)).toEqual({open: false, reason: 'no answer'})
  expect(await hubSealFault(hub)).toBeUndefined()
})
