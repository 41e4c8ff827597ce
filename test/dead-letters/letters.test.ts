import {stripVTControlCharacters} from 'node:util'
import {describe, expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {changeLetters, checkSelection, listLetters, reachOf, readLetter, selectLetters} from '../../src/dead-letters/letters.ts'
import {replayLetters} from '../../src/dead-letters/replay.ts'
import {droppedText, lettersText, letterText, replayedText, selectionText} from '../../src/dead-letters/text.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {type FakeLetter, fakeQueueAdmins, queueOf} from '../support/fake-queue-admin.ts'
import {fakeWorld, fleetOf} from '../support/fake-world.ts'

const gatewayAt = '127.0.0.1:14321'
const agentAt = '127.0.0.1:14406'
const counters = 'http://127.0.0.1:14302/metrics'
const agentCounters = 'http://127.0.0.1:14402/metrics'
const stockPage = 'otelcol_exporter_queue_size{data_type="logs",exporter="otlp_http/loki"} 0'

const letter = (id: string, more: Partial<FakeLetter> = {}): FakeLetter => ({
  id,
  signal: 'logs',
  sink: 'loki',
  edge: 'edge-1',
  reason: 'refused',
  detail: 'entry too far behind',
  time: '2026-11-05T10:00:00Z',
  bytes: 812,
  workload: 'checkout',
  item: {resourceLogs: []},
  ...more,
})

const loki = () => queueOf('logs', 'loki', 'otlp_http/loki', {edge: 'edge-1', stored: 10, waitingItems: 0})

const scene = (pages: Readonly<Record<string, string>> = {}) => {
  const {tools, files, folder} = fakeWorld()
  const admins = fakeQueueAdmins()
  const http = admins.http({get: async (url) => (pages[url] === undefined ? undefined : {status: 200, body: pages[url]})})
  return {admins, files, folder, fleet: openFleet(fleetOf(newLabFleet({edges: 1})), {...tools, http})}
}

const filled = (letters: readonly FakeLetter[] = [letter('a'), letter('b', {reason: 'too-old', time: '2026-11-05T11:00:00Z'})]) => {
  const {admins, fleet} = scene()
  const gateway = admins.add(gatewayAt, {letters, queues: [loki()]})
  const agent = admins.add(agentAt, {letters: [letter('c', {sink: 'hub', reason: 'too-large', time: '2026-11-05T09:00:00Z'})]})
  return {fleet, gateway, agent}
}

const quick = {timeoutMs: 50, tell: () => undefined}

describe('dead letters', () => {
  test('of gateway and agents are one list, the newest first', async () => {
    const {fleet} = filled()
    const reach = await reachOf(fleet)
    const found = await listLetters(reach, {}, 100)
    expect(found.letters.map(({id, at}) => `${at}/${id}`)).toEqual(['hub/gateway/b', 'hub/gateway/a', 'edge-1/agent/c'])
    expect(stripVTControlCharacters(lettersText(found, reach))).toMatchInlineSnapshot(`
      "time (UTC)            edge    signal  sink  reason     workload  size   id
      2026-11-05 11:00:00Z  edge-1  logs    loki  too-old    checkout  812 B  hub/gateway/b
      2026-11-05 10:00:00Z  edge-1  logs    loki  refused    checkout  812 B  hub/gateway/a
      2026-11-05 09:00:00Z  edge-1  logs    hub   too-large  checkout  812 B  edge-1/agent/c
      3 dead letters.
      › lkeobs dead-letters show hub/gateway/b"
    `)
  })

  test('are filtered where they lie, page after page, and the rest is said to be there', async () => {
    const {fleet, gateway} = filled(Array.from({length: 25}, (_, at) => letter(`l${at}`)))
    gateway.pageSize = 10
    const reach = await reachOf(fleet)
    expect((await listLetters(reach, {sink: 'loki'}, Infinity)).letters).toHaveLength(25)
    const some = await listLetters(reach, {sink: 'loki'}, 7)
    expect(some).toMatchObject({letters: {length: 7}, total: 25})
    expect(stripVTControlCharacters(lettersText(some, reach))).toContain('7 of 25 dead letters')
    expect((await listLetters(reach, {reason: 'nobody'}, 10)).letters).toEqual([])
  })

  test('are shown so that no terminal acts on them', async () => {
    const {fleet} = filled([letter('a', {workload: '\u001B[2Jx', item: {body: '\u009B31m\u202E evil'}, detail: 'no\r\u0007'})])
    const text = stripVTControlCharacters(letterText(await readLetter(await reachOf(fleet), 'a')))
    expect(text).toContain(String.raw`\u001b[2Jx`)
    expect(text).toContain(String.raw`\u202e evil`)
    // oxlint-disable-next-line no-control-regex -- that is the point
    expect(text).not.toMatch(/[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u202E]/)
    await expect(readLetter(await reachOf(fleet), 'nope')).rejects.toMatchObject({code: 'LKO-2011'})
  })

  test('with the same id in two places are told apart by the place', async () => {
    const {fleet, agent} = filled()
    agent.letters.push(letter('a', {sink: 'hub'}))
    const reach = await reachOf(fleet)
    await expect(readLetter(reach, 'a')).rejects.toMatchObject({code: 'LKO-2014'})
    expect((await readLetter(reach, 'edge-1/agent/a')).sink).toBe('hub')
  })

  test('of the stock collector there are none, and that is said; a silent one is another matter', async () => {
    await expect(reachOf(scene({[counters]: stockPage, [agentCounters]: stockPage}).fleet)).rejects.toMatchObject({code: 'LKO-2010'})
    await expect(reachOf(scene().fleet)).rejects.toMatchObject({code: 'LKO-2013'})
    const mixed = scene({[agentCounters]: stockPage})
    mixed.admins.add(gatewayAt, {letters: [letter('a')]})
    expect((await reachOf(mixed.fleet)).unreached).toEqual([
      {cluster: 'edge-1', why: 'its agent runs the stock collector, which keeps no dead letters'},
    ])
  })

  test('are asked for with the token in the folder of the collector', async () => {
    const {admins, files, folder, fleet} = scene()
    admins.add(gatewayAt, {letters: [letter('a')], token: 'ab12'})
    await expect(reachOf(fleet)).rejects.toMatchObject({code: 'LKO-2013'})
    files.set(`${folder}/hub/gateway/admin-token`, 'ab12\n')
    expect((await listLetters(await reachOf(fleet), {}, 10)).letters).toHaveLength(1)
  })
})

describe('which dead letters', () => {
  test('has to be said', () => {
    expect(() => checkSelection({ids: [], filter: {edge: undefined}, all: false})).toThrow('Neither ids nor filters')
    for (const ok of [
      {ids: ['a'], filter: {}, all: false},
      {ids: [], filter: {edge: 'edge-1'}, all: false},
      {ids: [], filter: {}, all: true},
    ])
      expect(() => checkSelection(ok)).not.toThrow()
  })

  test('is by id, by filter, or both; an id that is gone is named', async () => {
    const reach = await reachOf(filled().fleet)
    const ids = async (selection: Parameters<typeof selectLetters>[1]) => (await selectLetters(reach, selection)).letters.map(({id}) => id)
    expect(await ids({ids: ['a', 'a', 'hub/gateway/b'], filter: {}, all: false})).toEqual(['a', 'b'])
    expect(await ids({ids: [], filter: {reason: 'too-old'}, all: false})).toEqual(['b'])
    expect(await selectLetters(reach, {ids: ['a', 'gone'], filter: {reason: 'too-old'}, all: false})).toEqual({
      letters: [],
      missing: ['a', 'gone'],
    })
  })

  test('is asked about in words', async () => {
    const reach = await reachOf(filled().fleet)
    const {letters} = await selectLetters(reach, {ids: [], filter: {}, all: true})
    expect(selectionText(letters)).toBe(
      '3 dead letters: 1 logs of edge-1 for loki (too-old), 1 logs of edge-1 for loki (refused), 1 logs of edge-1 for hub (too-large)',
    )
  })
})

describe('replay', () => {
  test('says how many were stored and how many are dead letters again, and a second time does nothing', async () => {
    const {fleet, gateway} = filled([...Array.from({length: 1500}, (_, at) => letter(`l${at}`)), letter('bad', {reason: 'stuck'})])
    gateway.refusesAgain = ({id}) => id === 'bad'
    const reach = await reachOf(fleet)
    const {letters} = await selectLetters(reach, {ids: [], filter: {sink: 'loki'}, all: false})
    expect(await replayLetters(reach, letters, quick)).toEqual({
      replayed: 1501,
      stored: 1500,
      deadAgain: 1,
      waiting: 0,
      again: ['bad-again'],
    })
    expect(gateway.calls.filter((call) => call === 'POST /v1/dead-letters/replay')).toHaveLength(2)
    const again = await replayLetters(reach, letters, quick)
    expect(again).toMatchObject({replayed: 0, stored: 0, deadAgain: 0, waiting: 0})
    expect(replayedText(again, [], reach)).toBe('Nothing to do: there is no dead letter to replay.')
  })

  test('does not call stored what still waits', async () => {
    const {fleet, gateway} = filled()
    gateway.holds = true
    const reach = await reachOf(fleet)
    const {letters} = await selectLetters(reach, {ids: ['a', 'b'], filter: {}, all: false})
    const replayed = await replayLetters(reach, letters, quick)
    expect(replayed).toMatchObject({replayed: 2, stored: 0, waiting: 2})
    expect(stripVTControlCharacters(replayedText(replayed, [], reach))).toBe(
      '! 2 replayed: 0 stored, 0 refused again, 2 still waiting.\n› lkeobs status\n› lkeobs explain LKO-2012',
    )
  })

  test('is over when as much has left the queue as waited, however much came in behind', async () => {
    const {fleet, gateway} = filled()
    gateway.holds = true
    const [edge] = gateway.queues[0]?.sinks[0]?.edges ?? []
    if (!edge) throw new Error('no edge')
    const reach = await reachOf(fleet)
    const {letters} = await selectLetters(reach, {ids: ['a', 'b'], filter: {}, all: false})
    setTimeout(() => Object.assign(edge, {stored: (edge.stored ?? 0) + 2, waitingItems: 40}), 100)
    expect(await replayLetters(reach, letters, {...quick, timeoutMs: 5000})).toMatchObject({replayed: 2, stored: 2, waiting: 0})
  })
})

test('what is dropped is gone, and dropping it again does nothing', async () => {
  const {fleet, gateway} = filled()
  const reach = await reachOf(fleet)
  const {letters} = await selectLetters(reach, {ids: ['a'], filter: {}, all: false})
  expect(await changeLetters(reach, letters, (admin, ids) => admin.drop(ids))).toBe(1)
  expect(gateway.letters.map(({id}) => id)).toEqual(['b'])
  expect(await changeLetters(reach, letters, (admin, ids) => admin.drop(ids))).toBe(0)
  expect(stripVTControlCharacters(droppedText(0, ['a'], reach))).toContain('Nothing to do')
})
