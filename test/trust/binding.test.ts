import {expect, test} from 'vitest'
import {edgeOf, openFleet} from '../../src/clusters.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {createX509} from '../../src/tools/x509.ts'
import {checkBound} from '../../src/trust/binding.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {fakeWorld, type FakeWorld, fleetOf, remembered} from '../support/fake-world.ts'

const x509 = remembered(createX509())
const fleetOn = (context: string) =>
  JSON.stringify({
    apiVersion: 'lkeobs/v1',
    fleet: 'prod',
    hub: {name: 'hub', platform: {kubernetes: {context: 'hub'}}},
    edges: [{name: 'edge-1', platform: {kubernetes: {context}}}],
  })
const opened = ({tools}: FakeWorld, text: string) => {
  const fleet = openFleet(fleetOf(text), tools)
  return {hub: fleet.hub, edge: edgeOf(fleet, 'edge-1')}
}
const check = (world: FakeWorld, text: string) => {
  const {hub, edge} = opened(world, text)
  return checkBound(hub, edge)
}
test('a cluster that nobody prepared is free to be bound; a bound name means that cluster from then on', async () => {
  const world = fakeWorld({x509})
  const right = fleetOn('edge-1')
  await expect(check(world, right)).resolves.toBeUndefined()
  const {hub, edge} = opened(world, right)
  await world.play(hubInit(hub, world.tools))
  await expect(check(world, right)).resolves.toBeUndefined()
  await world.play(edgeJoin(hub, edge))
  await expect(check(world, right)).resolves.toBeUndefined()

  const error: unknown = await check(world, fleetOn('edge-2')).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({code: 'LKO-3116', oclif: {exit: 4}})
  expect(String(error)).toContain('edge-1 is the cluster uid-of-edge-1; the context edge-2 leads to uid-of-edge-2.')
  expect(error).toMatchObject({next: expect.arrayContaining([expect.stringContaining('lkeobs edge join edge-1 --rebind')])})

  // joined all the same, which is what --rebind lets happen, the name means the other
  const other = opened(world, fleetOn('edge-2'))
  await world.play(edgeJoin(other.hub, other.edge))
  await expect(check(world, fleetOn('edge-2'))).resolves.toBeUndefined()
  await expect(check(world, right)).rejects.toMatchObject({code: 'LKO-3116'})
})

test('two names cannot mean one cluster: the second is told whose it is', async () => {
  const world = fakeWorld({x509})
  const {hub, edge} = opened(world, fleetOn('edge-1'))
  await world.play(hubInit(hub, world.tools))
  await world.play(edgeJoin(hub, edge))
  const second = fleetOn('edge-1').replace('"edge-1","platform"', '"edge-9","platform"')
  await expect(edgeOf(openFleet(fleetOf(second), world.tools), 'edge-9').checked()).rejects.toMatchObject({code: 'LKO-3112'})
})

test('a lab: the folder of another edge in its place is refused, a folder that is gone is made anew', async () => {
  const world = fakeWorld({x509})
  const text = newLabFleet({edges: 2})
  const fleet = openFleet(fleetOf(text), world.tools)
  await world.play(hubInit(fleet.hub, world.tools))
  for (const edge of fleet.edges) await world.play(edgeJoin(fleet.hub, edge))
  const idOf = (edge: string) => `${world.folder}/${edge}/id`
  await expect(check(world, text)).resolves.toBeUndefined()
  world.files.set(idOf('edge-1'), world.files.get(idOf('edge-2')) ?? '')
  await expect(check(world, text)).rejects.toMatchObject({code: 'LKO-3116'})
  world.files.delete(idOf('edge-1'))
  await expect(check(world, text)).resolves.toBeUndefined()
})
