import {expect, test} from 'vitest'
import {parse} from 'yaml'
import {edgeOf, openFleet} from '../../src/clusters.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {render, renderTools} from '../../src/steps/render.ts'
import {createX509} from '../../src/tools/x509.ts'
import {checkSeal} from '../../src/trust/seal.ts'
import {fakeWorld, type FakeWorld, fleetOf, remembered} from '../support/fake-world.ts'

const plain = newLabFleet({edges: 1})
const text = `${plain.trimEnd()}\n    vault: {seal: transit}\n`
const opened = ({tools}: Pick<FakeWorld, 'tools'>, fleet = text, ways = {}) => {
  const {hub, edges, file} = openFleet(fleetOf(fleet), tools, ways)
  return {hub, edge: edgeOf({hub, edges, file}, 'edge-1')}
}
const joining = (world: FakeWorld) => {
  const {hub, edge} = opened(world)
  return edgeJoin(hub, edge)
}
const x509 = remembered(createX509())
const hubOnly = (async () => {
  const world = fakeWorld({x509})
  await world.play(hubInit(opened(world).hub, world.tools))
  return world.snapshot()
})()
const worldWithHub = async () => {
  const world = fakeWorld({x509})
  world.restore(await hubOnly)
  return world
}

test('the hub makes key, policy and token before the Vault of the edge starts; a second run writes nothing', async () => {
  const world = await worldWithHub()
  const lines = (await world.play(joining(world))).split('\n')
  const started = lines.findIndex((line) => line.includes('start edge-1/vault-0'))
  expect(lines.slice(0, started).filter((line) => /vault of hub|edge-1\/vault\//.test(line))).toMatchInlineSnapshot(`
    [
      "  vault of hub: sys/mounts/seals type=transit config={"max_lease_ttl":"0s"}",
      "  vault of hub: lkeobs/clusters/edge-1 uid=‹id›",
      "  vault of hub: seals/keys/edge-1 type=aes256-gcm96",
      "  vault of hub: sys/policies/acl/lkeobs-seal-edge-1 policy='path "seals/encrypt/edge-1" {capabilities = ["update"]}",
      "  write edge-1/vault/seal-ca.pem",
      "  vault of hub: auth/token/create-orphan policies=["lkeobs-seal-edge-1"] period=2592000s no_default_policy=true display_name=seal-edge-1",
      "  write edge-1/vault/seal-token (secret)",
      "  write edge-1/vault/admin.password (secret)",
    ]
  `)
  expect(await world.play(joining(world))).toBe('')
  // no key of its own lies anywhere
  expect([...world.files.keys()].filter((file) => file.includes('edge-1/vault/'))).toHaveLength(3)
})

test('the token stands in a file that OpenBao reads, not in its configuration', async () => {
  const world = await worldWithHub()
  await world.play(joining(world))
  const config = JSON.parse(world.files.get(`${world.folder}/edge-1/vault-0/vault.json`) ?? '') as {seal: [{transit: object}]}
  expect(config.seal).toEqual([
    {
      transit: {
        address: 'https://127.0.0.1:14310',
        token: `file://${world.folder}/edge-1/vault/seal-token`,
        mount_path: 'seals/',
        key_name: 'edge-1',
        tls_ca_cert: `${world.folder}/edge-1/vault/seal-ca.pem`,
      },
    },
  ])
})

test('killed before any of its writes, a join goes on to the same end', async () => {
  const world = await worldWithHub()
  const moments = await world.momentsOf(joining(world))
  const end = JSON.stringify(world.shape())
  for (const {state} of moments) {
    world.restore(state)
    await world.play(joining(world))
    expect(JSON.stringify(world.shape())).toBe(end)
  }
})

test('a token that the hub no longer knows is made anew, and Vault started with it', async () => {
  const world = await worldWithHub()
  await world.play(joining(world))
  const token = () => world.files.get(`${world.folder}/edge-1/vault/seal-token`)
  const before = token()
  for (const data of world.vaults.values()) data.tokens.clear()
  const played = await world.play(joining(world))
  expect(token()).not.toBe(before)
  expect(played).toContain('stop edge-1/vault-0')
  expect(await world.play(joining(world))).toBe('')
})

test('a key that the hub has lost is not replaced by one that opens nothing', async () => {
  const world = await worldWithHub()
  await world.play(joining(world))
  for (const data of world.vaults.values()) data.mounts.get('seals')?.values.clear()
  const before = world.transcript.length
  await expect(world.play(joining(world))).rejects.toMatchObject({code: 'LKO-5209'})
  expect(world.transcript).toHaveLength(before)
})

test('a hub that unseals edges is never made anew', () => {
  const world = fakeWorld({x509})
  expect(opened(world, plain).hub.vaultRemade).toBeDefined()
  expect(opened(world).hub.vaultRemade).toBeUndefined()
})

test.each([
  ['transit', text, plain, 'static'],
  ['static', plain, text, 'transit'],
])('an edge sealed by %s is not switched, running or stopped', async (had, before, after, wished) => {
  const world = await worldWithHub()
  const {hub, edge} = opened(world, before)
  await world.play(edgeJoin(hub, edge))
  const check = (fleet: string) => {
    const then = opened(world, fleet)
    return checkSeal(then.edge, then.hub)
  }
  await expect(check(before)).resolves.toBeUndefined()
  const refused = {code: 'LKO-5206', message: `Vault of edge-1 is sealed by ${had}; the fleet file says ${wished}.`}
  await expect(check(after)).rejects.toMatchObject(refused)
  world.kill('edge-1/vault-0')
  await expect(check(after)).rejects.toMatchObject(refused)
  await expect(check(before)).resolves.toBeUndefined()
})

test('a new edge may have either seal', async () => {
  const world = await worldWithHub()
  for (const fleet of [plain, text]) {
    const {hub, edge} = opened(world, fleet)
    await expect(checkSeal(edge, hub)).resolves.toBeUndefined()
  }
})

const kubernetes = (vault = '') => `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, endpoint: 'hub.example.org:4317', platform: {kubernetes: {context: hub}}, vault: {${vault}}}
edges: [{name: edge-1, platform: {kubernetes: {context: edge-1}}, vault: {seal: transit}}]
`

test('on Kubernetes the token is a Secret of its own, mounted into Vault, which may dial the hub', async () => {
  const world = fakeWorld({x509})
  const fleet = kubernetes("endpoint: 'vault.example.org:8443'")
  const {hub, edge} = opened(world, fleet)
  await checkSeal(edge, hub)
  await world.play(hubInit(hub, world.tools))
  await world.play(edgeJoin(hub, edge))
  expect(await world.play(edgeJoin(opened(world, fleet).hub, opened(world, fleet).edge))).toBe('')

  const tools = renderTools(world.tools)
  const dry = opened({tools}, fleet, {rendered: true})
  const {files} = await render(edgeJoin(dry.hub, dry.edge), dry.edge)
  const values = files.get('edges/edge-1/vault.values.yaml') ?? ''
  expect(values).toContain('secretName: vault-seal-token')
  expect(values).toContain('secretName: vault-seal-ca')
  expect(values).not.toMatch(/secretName: vault-seal$/m)
  const {server} = parse(values) as {server: {ha: {raft: {config: string}}}}
  // as text, which the chart takes for a template
  for (const word of [
    '"token": "file:///openbao/handed/vault-seal-token/seal-token"',
    '"address": "https://vault.example.org:8443"',
    '"tls_server_name": "vault.lkeobs.svc"',
  ])
    expect(server.ha.raft.config).toContain(word)
  expect(files.get('edges/edge-1/network-policies.yaml')).toContain('port: 8443')
  for (const content of files.values()) expect(content).not.toMatch(/s\.[0-9a-f]{24}/)
})

test('an edge cannot be sealed by a hub that it cannot reach', async () => {
  const {hub, edge} = opened(fakeWorld({x509}), kubernetes())
  await expect(checkSeal(edge, hub)).rejects.toMatchObject({code: 'LKO-5207'})
  const mixed = kubernetes().replace('platform: {kubernetes: {context: hub}}', 'platform: {local: {ports: 14300}}')
  const local = opened(fakeWorld({x509}), mixed)
  await expect(checkSeal(local.edge, local.hub)).rejects.toMatchObject({code: 'LKO-5207'})
})

const people = ['ada', 'bea', 'cem'].map((name) => `{name: ${name}, key: ${name}.asc}`).join(', ')
const held = `{replicas: 3, seal: shamir, threshold: 2, holders: [${people}], custodian: {name: kay, key: kay.asc}}`

test.each([
  ['transit', text],
  ['static', plain],
])('below a hub that holders unseal, an edge sealed by %s initialises itself', (type, fleet) => {
  const {hub, edge} = opened(fakeWorld({x509}), fleet.replace('{replicas: 3, seal: static}', held))
  const configOf = ({processes = []}: typeof hub | typeof edge, node: string) =>
    JSON.parse(processes.find(({name}) => name === node)?.files['vault.json'] ?? '') as Record<string, unknown>
  expect([hub.seal, edge.seal]).toEqual(['shamir', type])
  for (const node of ['vault-0', 'vault-1', 'vault-2']) {
    const own = configOf(hub, node)
    expect(Object.keys(own)).toContain('audit')
    expect(Object.keys(own)).not.toContain('seal')
    expect(Object.keys(own)).not.toContain('initialize')
  }
  const own = configOf(edge, 'vault-0')
  expect(own['seal']).toEqual([{[type]: expect.anything()}])
  expect(Object.keys(own)).toContain('initialize')
  expect(Object.keys(own)).not.toContain('audit')
})

test('a hub that opened by itself is not handed to holders by an edit of the fleet file', async () => {
  const world = await worldWithHub()
  const {hub} = opened(world, plain.replace('{replicas: 3, seal: static}', held))
  const refused = {code: 'LKO-5206', message: 'Vault of hub is sealed by static; the fleet file says shamir.'}
  await expect(checkSeal(hub, hub)).rejects.toMatchObject(refused)
  const before = opened(world, plain).hub
  await expect(checkSeal(before, before)).resolves.toBeUndefined()
  const fresh = opened(fakeWorld({x509}), plain.replace('{replicas: 3, seal: static}', held)).hub
  await expect(checkSeal(fresh, fresh)).resolves.toBeUndefined()
})
