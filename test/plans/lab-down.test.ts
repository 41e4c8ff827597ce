import {expect, test} from 'vitest'
import {labDown} from '../../src/plans/lab-down.ts'
import {labUp, openLab} from '../../src/plans/lab-up.ts'
import {createRecorder, preview} from '../../src/steps/preview.ts'
import {dryTools} from '../../src/tools/index.ts'
import {createX509} from '../../src/tools/x509.ts'
import {fakeWorld, fleetPath, remembered} from '../support/fake-world.ts'
import {everyProgramInstalled} from '../support/programs.ts'

const x509 = remembered(createX509())
const labUpOnce = async () => {
  everyProgramInstalled()
  const world = fakeWorld({x509})
  await world.play(labUp(await openLab(fleetPath, 2, world.tools), world.tools))
  return world.snapshot()
}
let lab: ReturnType<typeof labUpOnce> | undefined
const worldWithLab = async () => {
  const world = fakeWorld({x509})
  world.restore(await (lab ??= labUpOnce()))
  return world
}

test('a lab goes down senders first, Vault last, and nothing is left to stop', async () => {
  const world = await worldWithLab()
  expect(await world.play(await labDown(fleetPath, false, world.tools))).toMatchInlineSnapshot(`
    "agent on edge-1 stopped
      stop edge-1/agent
    agent on edge-2 stopped
      stop edge-2/agent
    gateway on hub stopped
      stop hub/gateway
    leaf on edge-1 stopped
      stop edge-1/leaf
    leaf on edge-2 stopped
      stop edge-2/leaf
    leaf on hub stopped
      stop hub/leaf
    loki on hub stopped
      stop hub/loki
    prometheus on hub stopped
      stop hub/prometheus
    tempo on hub stopped
      stop hub/tempo
    vault-0 on edge-1 stopped
      stop edge-1/vault-0
    vault-0 on edge-2 stopped
      stop edge-2/vault-0
    vault-0 on hub stopped
      stop hub/vault-0
    vault-1 on hub stopped
      stop hub/vault-1
    vault-2 on hub stopped
      stop hub/vault-2"
  `)
  expect(await world.play(await labDown(fleetPath, false, world.tools))).toBe('')
})

test('what went down comes up with all it kept', async () => {
  const world = await worldWithLab()
  everyProgramInstalled()
  const before = world.shape()
  await world.play(await labDown(fleetPath, false, world.tools))
  const {length} = world.transcript
  await world.play(labUp(await openLab(fleetPath, undefined, world.tools), world.tools))
  const written = world.transcript.slice(length)
  expect(written.filter((line) => !line.startsWith('start ') && !/^write .*\.(yaml|json)$/.test(line))).toEqual([])
  expect(world.shape()).toEqual(before)
})

test('purged, nothing of the lab is left, and there is nothing to purge', async () => {
  const world = await worldWithLab()
  const told = await world.play(await labDown(fleetPath, true, world.tools))
  expect(told.split('\n').slice(-4)).toEqual(['.lkeobs removed', '  remove .lkeobs', 'lkeobs.yaml removed', '  remove lkeobs.yaml'])
  expect([...world.files.keys()]).toEqual([])
  expect(await world.play(await labDown(fleetPath, true, world.tools))).toBe('')
})

test('where no lab ever was there is nothing to stop', async () => {
  const world = fakeWorld()
  expect(await world.play(await labDown(fleetPath, false, world.tools))).toBe('')
})

test('killed at any of its writes, the next run completes it', async () => {
  const world = await worldWithLab()
  const moments = await world.momentsOf(await labDown(fleetPath, true, world.tools))
  for (const {line, state} of moments) {
    world.restore(state)
    await world.play(await labDown(fleetPath, true, world.tools))
    expect(world.shape(), `killed before ${line}`).toEqual({files: [], running: [], vaults: {}})
  }
  // two runs for each of its writes
}, 180_000)

test('a preview lists every step and stops nothing', async () => {
  const world = await worldWithLab()
  const {length} = world.transcript
  const recorder = createRecorder()
  const previews = await preview(await labDown(fleetPath, true, dryTools(world.tools, recorder.record)), recorder)
  expect(previews.flatMap(({writes}) => writes)).toMatchInlineSnapshot(`
    [
      "stop edge-1/agent",
      "stop edge-2/agent",
      "stop hub/gateway",
      "stop edge-1/leaf",
      "stop edge-2/leaf",
      "stop hub/leaf",
      "stop hub/loki",
      "stop hub/prometheus",
      "stop hub/tempo",
      "stop edge-1/vault-0",
      "stop edge-2/vault-0",
      "stop hub/vault-0",
      "stop hub/vault-1",
      "stop hub/vault-2",
      "rm -rf lab/.lkeobs",
      "rm -rf lab/lkeobs.yaml",
    ]
  `)
  expect(previews.every(({state}) => state === 'would run')).toBe(true)
  expect(world.transcript).toHaveLength(length)
})

test('a process that ended by itself is not stopped again', async () => {
  const world = await worldWithLab()
  world.kill('edge-1/agent')
  expect(await world.play(await labDown(fleetPath, false, world.tools))).not.toContain('edge-1/agent')
  expect(world.shape().running).toEqual([])
})
