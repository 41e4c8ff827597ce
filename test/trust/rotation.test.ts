import {X509Certificate} from 'node:crypto'
import {afterEach, beforeEach, expect, test, vi} from 'vitest'
import type {Dialler} from '../../src/platforms/platform.ts'
import {flatten, type Step} from '../../src/steps/step.ts'
import {createX509} from '../../src/tools/x509.ts'
import {agentRotated, type Rotated} from '../../src/trust/rotation.ts'

const x509 = createX509()
const ca = await x509.createCa({commonName: 'edge-1', days: 1, pathLength: 0})
const leaf = async () => (await x509.issueServer(ca, {commonName: 'edge-1.edge.lkeobs', names: ['localhost'], days: 1})).certificate
const [old, fresh] = [await leaf(), await leaf()]
const serial = (pem: string) => new X509Certificate(pem).serialNumber

const seconds = (count: number) => vi.setSystemTime(count * 1000)

beforeEach(() => {
  vi.useFakeTimers({toFake: ['Date']})
  seconds(1)
})
afterEach(() => vi.useRealTimers())

/** An edge of which is seen what is set here. */
const edge = (...agents: readonly Dialler[]) => {
  const world = {leaf: old as string | undefined, agents, asked: 0, brought: 0}
  const told: Rotated[] = []
  const group = agentRotated(
    {
      name: 'edge-1',
      role: 'edge',
      leavesNow: async () => [{leaf: world.leaf}],
      leafRenewed: async () => void world.asked++,
      leafBrought: async () => void world.brought++,
      diallersSeen: () => [],
      diallers: async () => world.agents,
    },
    (one) => told.push(one),
  )
  const [there, shown] = flatten([group]) as [Step, Step]
  return {world, told, there, shown}
}
const agent = (pod: string, its: string | undefined, ...connections: readonly string[]): Dialler => ({
  pod,
  leaf: its,
  connections: connections.map((port) => `${pod}:${port}`),
})

/** Asked for at 2 s, there at 3 s. */
const asked = async ({world, there}: ReturnType<typeof edge>) => {
  expect(await there.done()).toBe('the one from before')
  seconds(2)
  await there.apply(() => undefined)
  expect(await there.done()).toBe('the one from before')
  world.leaf = fresh
  seconds(3)
  expect(await there.done()).toBe(true)
  expect(world.asked).toBe(1)
}

test('each agent counts from its own last connection of before, and the slowest ends the wait', async () => {
  const one = edge(agent('a', old, '1', '2'), agent('b', old, '1'))
  await asked(one)
  const {world, told, shown} = one
  expect(await shown.done()).toMatch(/^a: .*from before \(and 1 more\)$/)
  await shown.apply(() => undefined)
  expect(world.brought).toBe(1)

  world.agents = [agent('a', fresh, '1', '2'), agent('b', old, '1')]
  seconds(4)
  expect(await shown.done()).toBe('a: its connections are from before (and 1 more)')
  seconds(6)
  expect(await shown.done()).toBe('a: its connections are from before (and 1 more)')
  world.agents = [agent('a', fresh, '2', '3'), agent('b', fresh, '1')]
  seconds(7)
  expect(await shown.done()).toBe('a: 1 of 2 connections from before (and 1 more)')
  world.agents = [agent('a', fresh, '3', '4'), agent('b', fresh, '1')]
  seconds(10)
  expect(await shown.done()).toBe('b: its connections are from before')
  expect(told.map(({pod}) => pod)).toEqual(['a'])
  seconds(12)
  expect(await shown.done()).toBe('b: 1 of 1 connections from before')
  world.agents = [agent('a', fresh, '3', '4'), agent('b', fresh, '2')]
  seconds(20)
  expect(await shown.done()).toBe(true)
  // from the last look that did not find it
  expect(told.map(({pod, propagationMs}) => [pod, propagationMs])).toEqual([
    ['a', 8000],
    ['b', 18_000],
  ])
  for (const {cluster, before, after} of told) expect([cluster, before, after]).toEqual(['edge-1', serial(old), serial(fresh)])
})

test('a connection that was made before the file had to be read anew is of before, also when nobody looked meanwhile', async () => {
  const one = edge(agent('a', old, '1'))
  await asked(one)
  const {world, shown} = one
  world.agents = [agent('a', fresh, '1')]
  seconds(4)
  await shown.done()
  // made within the second, seen for the first time after it
  world.agents = [agent('a', fresh, '2')]
  seconds(6)
  expect(await shown.done()).toBe('a: its connections are from before')
  expect(await shown.done()).toBe('a: 1 of 1 connections from before')
  world.agents = [agent('a', fresh)]
  expect(await shown.done()).toBe('a: it has no connection')
  world.agents = [agent('a', fresh, '3')]
  expect(await shown.done()).toBe(true)
})

test('an agent that goes is not waited for, one that comes with the new leaf is, and so is one that is not seen', async () => {
  const one = edge(agent('a', old, '1'))
  await asked(one)
  const {world, told, shown} = one
  world.agents = [agent('b', undefined)]
  expect(await shown.done()).toBe('b: its leaf is not seen')
  world.agents = []
  expect(await shown.done()).toBe('it is not seen')
  world.agents = [agent('b', old, '1')]
  seconds(4)
  await shown.done()
  seconds(6)
  await shown.done()
  world.agents = [agent('b', old, '2')]
  expect(await shown.done()).toBe('b: it has the one from before')
  world.agents = [agent('b', fresh, '2')]
  seconds(7)
  await shown.done()
  seconds(9)
  await shown.done()
  world.agents = [agent('b', fresh, '3')]
  expect(await shown.done()).toBe(true)
  expect(told.map(({pod}) => pod)).toEqual(['b'])
})
