import {expect, onTestFinished, test, vi} from 'vitest'
import {edgeOf, openFleet} from '../../src/clusters.ts'
import {LkeobsError} from '../../src/errors.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {edgeLeave} from '../../src/plans/edge-leave.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import type {EdgeCluster} from '../../src/platforms/platform.ts'
import {createX509, readCertificate} from '../../src/tools/x509.ts'
import {splitPem} from '../support/pem.ts'
import {fakeWorld, type FakeWorld, fleetOf, fleetPath, remembered} from '../support/fake-world.ts'

const text = newLabFleet({edges: 2})
const x509 = remembered(createX509())
const waiting = `${fleetPath.replace('lkeobs.yaml', '')}.lkeobs/edge-1/agent/queue/logs`

const made = (async () => {
  const world = fakeWorld({x509})
  world.files.set(fleetPath, text)
  const {hub, edges} = openFleet(fleetOf(text), world.tools)
  await world.play(hubInit(hub, world.tools))
  for (const edge of edges) await world.play(edgeJoin(hub, edge))
  world.files.set(waiting, 'records')
  return world.snapshot()
})()
const fleetWorld = async () => {
  const world = fakeWorld({x509})
  world.restore(await made)
  return world
}

type How = {readonly abandon?: boolean; readonly reached?: boolean; readonly queued?: EdgeCluster['queued']}

/** What an agent says of its queue is tried on real ones; here it has sent everything as soon as it is closed. */
const leaving = ({tools, files}: FakeWorld, {abandon = false, reached = true, queued = async () => 0}: How = {}) => {
  const fleet = openFleet(fleetOf(files.get(fleetPath) ?? ''), tools)
  return edgeLeave({...fleet, edge: {...edgeOf(fleet, 'edge-1'), queued}, abandon, reached}, tools)
}

test('an edge leaves by these writes, and nothing of it is left', async () => {
  const world = await fleetWorld()
  expect(await world.play(leaving(world))).toMatchInlineSnapshot(`
    "agent on edge-1 takes nothing in, and sends what it has
      stop edge-1/agent
      write edge-1/agent/agent.yaml
      start edge-1/agent: otelcol --config=edge-1/agent/agent.yaml --feature-gates=stanza.synchronousLogEmitter
    agent on edge-1 and its queue are gone
      stop edge-1/agent
      remove edge-1/agent/queue-checkpoints
      remove edge-1/agent/queue
    hub no longer knows edge-1
      vault of hub: remove lkeobs/edges/edge-1
    the gateway trusts the issuers of these edges and no one else
      write hub/gateway/clients.pem
    nothing of edge-1 runs
      stop edge-1/vault-0
      stop edge-1/leaf
    nothing is kept of edge-1
      remove edge-1
    edge-1 is not in lab/lkeobs.yaml
      write lkeobs.yaml (0644)"
  `)
  expect([...world.files.keys()].filter((file) => file.includes('edge-1'))).toEqual([])
  expect(world.shape().running.filter((line) => line.includes('edge-1'))).toEqual([])
  expect(world.files.get(fleetPath)).toBe(text.replace(/ {2}- name: edge-1\n.*\n/, ''))
  const bundle = splitPem(world.files.get(`${world.folder}/hub/gateway/clients.pem`) ?? '').map((pem) => readCertificate(pem)?.subject)
  expect(bundle).toEqual(['CN=lkeobs trusts nobody', 'CN=lkeobs edge edge-2'])
})

test('killed before any write, the next run finishes, and comes to the same', async () => {
  const first = await fleetWorld()
  const moments = await first.momentsOf(leaving(first))
  const end = first.shape()
  expect(moments.length).toBeGreaterThan(8)
  for (const {state} of moments) {
    const world = fakeWorld({x509})
    world.restore(state)
    await world.play(leaving(world))
    expect(world.shape()).toEqual(end)
  }
})

test('nothing of the rest of the fleet is written to', async () => {
  const world = await fleetWorld()
  const of = (name: string) => [...world.files].filter(([file]) => file.includes(`/${name}/`) && !file.endsWith('clients.pem'))
  const before = [...of('hub'), ...of('edge-2')]
  await world.play(leaving(world))
  expect([...of('hub'), ...of('edge-2')]).toEqual(before)
})

test('a hub that takes nothing: exit code 6 with how many items wait, and all of the edge is there', async () => {
  vi.useFakeTimers({toFake: ['Date']})
  onTestFinished(() => void vi.useRealTimers())
  const world = await fleetWorld()
  const queued = async () => {
    vi.setSystemTime(Date.now() + 60_000)
    return 10_000
  }
  const error: unknown = await world.play(leaving(world, {queued})).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(LkeobsError)
  expect(error).toMatchObject({code: 'LKO-2002', oclif: {exit: 6}})
  expect(String(error)).toContain('10000 items in the queue of edge-1')
  expect(world.files.has(waiting)).toBe(true)
  expect(world.files.get(fleetPath)).toBe(text)
})

test('an agent that does not say what it has is waited for', async () => {
  const world = await fleetWorld()
  const answers = [undefined, undefined, 10_000, 7, undefined, 7, 0]
  await world.play(leaving(world, {queued: async () => (answers.length > 1 ? answers.shift() : answers[0])}))
  expect(world.files.has(waiting)).toBe(false)
})

test('an abandoned queue is not waited for', async () => {
  const world = await fleetWorld()
  const queued = async () => 10_000
  expect(await world.play(leaving(world, {abandon: true, queued}))).not.toContain('start edge-1/agent')
  expect(world.files.has(waiting)).toBe(false)
})

test('of a hub that cannot be told, the edge stays in the fleet file, so that the next run tells it', async () => {
  const world = await fleetWorld()
  await world.play(leaving(world, {reached: false}))
  expect([...world.files.keys()].filter((file) => file.includes('edge-1/'))).toEqual([])
  expect(world.files.get(fleetPath)).toBe(text)
  expect(await world.play(leaving(world))).toMatchInlineSnapshot(`
    "hub no longer knows edge-1
      vault of hub: remove lkeobs/edges/edge-1
    the gateway trusts the issuers of these edges and no one else
      write hub/gateway/clients.pem
    edge-1 is not in lab/lkeobs.yaml
      write lkeobs.yaml (0644)"
  `)
})
