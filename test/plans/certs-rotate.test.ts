import {expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {rotationOf, type RotateWish} from '../../src/plans/certs-rotate.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {readCertificate} from '../../src/tools/x509.ts'
import type {Rotated} from '../../src/trust/rotation.ts'
import {type FakeWorld, fakeWorld, fleetOf} from '../support/fake-world.ts'

const nothing: RotateWish = {all: false, gateway: false, vault: false, root: false, rollback: false, concurrency: 1}
const lab = newLabFleet({edges: 2})

const made = async () => {
  const world = fakeWorld()
  const {hub, edges} = openFleet(fleetOf(lab), world.tools)
  await world.play(hubInit(hub, world.tools))
  for (const edge of edges) await world.play(edgeJoin(hub, edge))
  return world.snapshot()
}
let fleet: ReturnType<typeof made> | undefined
const worldWithFleet = async () => {
  const world = fakeWorld()
  world.restore(await (fleet ??= made()))
  return world
}

const rotate = async (world: FakeWorld, wish: Partial<RotateWish>) => {
  const rotated: Rotated[] = []
  const rotation = rotationOf({...nothing, ...wish})
  if (!rotation) throw new Error('nothing is wished for')
  const opened = openFleet(fleetOf(lab), world.tools)
  await rotation.checked(opened)
  const told = await world.play(await rotation.plan(opened, world.tools, {mark: () => undefined, rotated: (one) => void rotated.push(one)}))
  return {told, rotated}
}
const serialOf = async ({tools}: FakeWorld, address: string) => readCertificate(await tools.tls.served(address))?.serialNumber

test('where nothing is wished for, there is nothing to do', () => {
  expect(rotationOf(nothing)).toBeUndefined()
})

test("other certificates for Vault's nodes: written, and taken up by one after the other without a restart", async () => {
  const world = await worldWithFleet()
  const before = await serialOf(world, '127.0.0.1:14310')
  const {told, rotated} = await rotate(world, {vault: true})
  expect(told).toMatchInlineSnapshot(`
    "another certificate for Vault on hub
      write hub/vault-0/tls.pem (secret)
      write hub/vault-1/tls.pem (secret)
      write hub/vault-2/tls.pem (secret)
    vault-0 on hub shows the certificate in its hands
      reload hub/vault-0
    vault-1 on hub shows the certificate in its hands
      reload hub/vault-1
    vault-2 on hub shows the certificate in its hands
      reload hub/vault-2
    another certificate for Vault on edge-1
      write edge-1/vault-0/tls.pem (secret)
    vault-0 on edge-1 shows the certificate in its hands
      reload edge-1/vault-0
    another certificate for Vault on edge-2
      write edge-2/vault-0/tls.pem (secret)
    vault-0 on edge-2 shows the certificate in its hands
      reload edge-2/vault-0"
  `)
  expect(rotated.map(({cluster, node}) => `${cluster} ${node}`)).toEqual([
    'hub vault-0',
    'hub vault-1',
    'hub vault-2',
    'edge-1 vault-0',
    'edge-2 vault-0',
  ])
  expect(rotated[0]).toMatchObject({before, after: await serialOf(world, '127.0.0.1:14310')})
  for (const one of rotated) expect(one.after).not.toBe(one.before)
})

test('with --edge only of that edge', async () => {
  const world = await worldWithFleet()
  const {rotated} = await rotate(world, {vault: true, edge: ['edge-2']})
  expect(rotated.map(({cluster}) => cluster)).toEqual(['edge-2'])
})

test('certificates that were written and not taken up are taken up by the next run of whatever brings the hub up', async () => {
  const world = await worldWithFleet()
  const {hub} = openFleet(fleetOf(lab), world.tools)
  await hub.vaultCertificates?.renewed()
  expect((await world.play(hubInit(hub, world.tools))).split('\n').filter((line) => line.startsWith('  '))).toEqual([
    '  reload hub/vault-0',
    '  reload hub/vault-1',
    '  reload hub/vault-2',
  ])
})

test('the leaf of the gateway, written at once and shown to who dials it', async () => {
  const world = await worldWithFleet()
  const before = await serialOf(world, '127.0.0.1:14300')
  const {rotated} = await rotate(world, {gateway: true})
  expect(rotated).toMatchObject([{cluster: 'hub', before, after: await serialOf(world, '127.0.0.1:14300')}])
  expect(rotated[0]?.after).not.toBe(before)
})
