import {createLocalJWKSet, type JSONWebKeySet, jwtVerify} from 'jose'
import {expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {known, issued, jwks, takenAway} from '../../src/trust/credential.ts'
import {type Entry, mayAsk} from '../../src/trust/register.ts'
import {readToken} from '../../src/tools/jose.ts'
import {fakeWorld, type FakeWorld, fleetOf} from '../support/fake-world.ts'

const opened = (world: FakeWorld) => {
  const {hub, edges} = openFleet(fleetOf(newLabFleet({edges: 2})), world.tools)
  const [one, two] = edges
  if (!one || !two) throw new Error('no edges')
  return {hub, one, two}
}
const join = (world: FakeWorld, which: 'one' | 'two' = 'one') => {
  const fleet = opened(world)
  return edgeJoin(fleet.hub, fleet[which])
}

const made = async (world: FakeWorld) => {
  await world.play(hubInit(opened(world).hub, world.tools))
  await world.play(join(world))
  return world.snapshot()
}
let fleet: ReturnType<typeof made> | undefined
const worldWithFleet = async () => {
  const world = fakeWorld()
  world.restore(await (fleet ??= made(fakeWorld())))
  return world
}

const file = (world: FakeWorld, name: string) => world.files.get(`${world.folder}/${name}`)
const tokenOf = (world: FakeWorld, edge = 'edge-1') => file(world, `${edge}/agent/credential.jwt`) ?? ''
const keysAt = (world: FakeWorld) => (JSON.parse(file(world, 'hub/gateway/edges.jwks') ?? '{}') as JSONWebKeySet).keys.map(({kid}) => kid)
const kidOf = async (token: string) => (await readToken(token))?.kid
const entriesIn = (world: FakeWorld) => [...world.vaults.values()].find(({mounts}) => mounts.has('lkeobs'))?.mounts.get('lkeobs')?.values
const entryIn = (world: FakeWorld, edge = 'edge-1') => entriesIn(world)?.get(`lkeobs/edges/${edge}`) as Entry | undefined
const setEntry = (world: FakeWorld, entry: Entry) => entriesIn(world)?.set('lkeobs/edges/edge-1', {...entry})
const titles = (told: string) => told.split('\n').filter((line) => line !== '' && !line.startsWith(' '))

test('a credential says which edge it is, for one hub, for ten years, and its key alone proves it', async () => {
  const [own, other] = await Promise.all([issued('edge-1', 'hub'), issued('edge-1', 'hub')])
  const keys = createLocalJWKSet(JSON.parse(jwks([own.publicKey])) as JSONWebKeySet)
  const wish = {issuer: 'lkeobs:hub', audience: 'lkeobs:hub:gateway', algorithms: ['ES256']}
  const {payload} = await jwtVerify(own.token.reveal(), keys, wish)
  expect(payload.sub).toBe('edge-1')
  expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(3650 * 86_400)
  await expect(jwtVerify(other.token.reveal(), keys, wish)).rejects.toThrow(/no applicable key/)
  expect(jwks([own.publicKey])).not.toContain('"d"')
  expect(JSON.stringify(own)).not.toContain(own.token.reveal())
})

test('the agent has a credential that the gateway knows, beside a key of nobody', async () => {
  const world = await worldWithFleet()
  expect(keysAt(world)).toHaveLength(2)
  expect(keysAt(world)).toContain(await kidOf(tokenOf(world)))
  expect(entryIn(world)).toMatchObject({issuer: expect.stringContaining('CERTIFICATE'), keys: [{kid: await kidOf(tokenOf(world))}]})
  expect(await world.play(join(world))).toBe('')
})

test('a gateway that has not taken the key up is waited for, and the agent gets nothing', async () => {
  const world = await worldWithFleet()
  const steps = join(world, 'two').steps.flatMap((task) => ('done' in task ? [task] : []))
  const step = (title: RegExp) => {
    const found = steps.find((each) => title.test(each.title))
    if (!found) throw new Error(String(title))
    return found
  }
  // the key is in the register, and not in the gateway's file
  await step(/^credential of edge-2/).apply(() => undefined)
  expect(await step(/every gateway takes/).done()).toBe('1 of 1 do not know it yet')
  world.kill('hub/gateway')
  expect(await step(/every gateway takes/).done()).toBe('a gateway does not answer')
  expect(tokenOf(world, 'edge-2')).toBe('')
})

test('a new credential is good beside the one that the agent shows, until it shows the new one', async () => {
  const world = await worldWithFleet()
  const before = await kidOf(tokenOf(world))
  // as one that is about to end
  const late = Date.now() + 9.5 * 365 * 86_400_000
  const now = Date.now
  Date.now = () => late
  let during: readonly (string | undefined)[] = []
  world.beforeWrite = (line) => {
    if (line.includes('credential.jwt')) during = keysAt(world)
  }
  try {
    const plan = join(world)
    for (const task of plan.steps)
      if ('done' in task && /credential|known by/.test(task.title) && (await task.done()) !== true) await task.apply(() => undefined)
  } finally {
    Date.now = now
  }
  const after = await kidOf(tokenOf(world))
  expect(after).not.toBe(before)
  expect(during).toEqual(expect.arrayContaining([before, after]))
  expect(keysAt(world)).not.toContain(before)
  expect(keysAt(world)).toContain(after)
})

test('whose keys were taken away is not known any more, and others are', async () => {
  const world = await worldWithFleet()
  await world.play(join(world, 'two'))
  const {hub} = opened(world)
  const evict = {command: 'x', title: 'x', steps: [takenAway(hub.vault, 'edge-1'), known(hub, hub.vault)]}
  expect(await world.play(evict)).toMatch(/lkeobs\/edges\/edge-1 issuer=‹certificate› keys=\[\]|keys=\[\] issuer/)
  expect(keysAt(world)).not.toContain(await kidOf(tokenOf(world)))
  expect(keysAt(world)).toContain(await kidOf(tokenOf(world, 'edge-2')))
  expect(await mayAsk(hub.vault)).toBe(true)
  expect(await world.play(evict)).toBe('')
  // who may join it again gives it another
  const old = tokenOf(world)
  expect(titles(await world.play(join(world)))).toContain('credential of edge-1: says which edge it is, and its key is thrown away')
  expect(tokenOf(world)).not.toBe(old)
})

test('a fleet from before: agents get their credentials before the gateway asks, whatever run is killed', async () => {
  const world = await worldWithFleet()
  const issuer = entryIn(world)?.issuer ?? ''
  setEntry(world, {issuer})
  world.files.delete(`${world.folder}/edge-1/agent/credential.jwt`)
  // a hub that is brought up to date first does not ask yet: the edge would be refused
  const {hub} = opened(world)
  expect(await mayAsk(hub.vault)).toBe(false)
  await world.play(hubInit(hub, world.tools))
  expect(file(world, 'hub/gateway/gateway.yaml')).not.toContain('edge_credentials')
  const moments = await world.momentsOf(join(world))
  expect(file(world, 'hub/gateway/gateway.yaml')).toContain('edge_credentials')
  expect(entryIn(world)).not.toHaveProperty('unbound')
  const order = moments.map(({line}) => line).filter((line) => /credential.jwt|start|edges.jwks/.test(line))
  expect(order).toEqual([
    'write hub/gateway/edges.jwks',
    'write edge-1/agent/credential.jwt (secret)',
    expect.stringMatching(/^start edge-1\/agent/),
    expect.stringMatching(/^start hub\/gateway/),
  ])
  for (const {line, state} of moments) {
    world.restore(state)
    const asks = () => file(world, 'hub/gateway/gateway.yaml')?.includes('edge_credentials') === true
    // even a hub that is looked after in between does not ask too early
    await world.play(hubInit(opened(world).hub, world.tools))
    expect(asks() && entryIn(world)?.unbound, `killed before ${line}`).not.toBe(true)
    await world.play(join(world))
    expect(asks(), `killed before ${line}`).toBe(true)
    expect(await world.play(join(world)), `killed before ${line}`).toBe('')
  }
})
