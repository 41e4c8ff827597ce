import {readFile, writeFile} from 'node:fs/promises'
import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, expect, test} from 'vitest'
import {parse, stringify} from 'yaml'
import {createHttp} from '../../src/tools/http.ts'
import {countLinesLoki} from '../../src/tools/stores.ts'
import {attributes, encodeOtlp} from '../support/otlp-proto.ts'
import {figures} from '../support/bulk.ts'
import {type DataLab, grown, openDataLab} from '../support/data-lab.ts'
import {countGood, startGood} from '../support/good-traffic.ts'
import {postOtlp} from '../support/post-otlp.ts'
import {killingAround} from './kills.ts'
import {atFullLength} from './wish.ts'

let lab: DataLab

beforeAll(async () => {
  lab = await openDataLab()
})
afterAll(async () => {
  await lab?.close()
})

const http = createHttp()
const letters = Number(process.env['LKEOBS_DATA_LETTERS'] ?? (atFullLength ? 10_000 : 2000))
const perRequest = 200

/** Starts Loki anew with a limit far below the usual one: `lab up` raises it again. */
const lowerLimit = async () => {
  const file = lab.state('hub', 'loki', 'loki.yaml')
  const config = parse(await readFile(file, 'utf8')) as {limits_config: Record<string, unknown>}
  config.limits_config['max_structured_metadata_entries_count'] = 12
  await lab.restart('hub', 'loki', () => writeFile(file, stringify(config)))
  for (const end = Date.now() + 120_000; Date.now() < end; await sleep(300))
    if ((await http.get(`${lab.stores.loki}/ready`))?.status === 200) return
  throw new Error('Loki does not start with the lower limit')
}

const raiseLimit = async () => {
  await lab.kill('hub', 'loki')
  await lab.up()
}

const wide = attributes(Object.fromEntries(Array.from({length: 20}, (_, index) => [`attribute.${index}`, 'value'])))

/** As many records that this Loki refuses, each of another time. */
const sendRefused = async (run: string): Promise<number> => {
  let accepted = 0
  const base = BigInt(Date.now()) * 1_000_000n
  for (let from = 0; from < letters; from += perRequest) {
    const logRecords = Array.from({length: perRequest}, (_, index) => ({
      timeUnixNano: base + BigInt(from + index),
      body: {stringValue: `letter ${run} ${from + index}`},
      attributes: wide,
    }))
    const resource = {attributes: attributes({'service.name': `letters-${run}`})}
    const body = encodeOtlp('logs', {resourceLogs: [{resource, scopeLogs: [{logRecords}]}]})
    while ((await postOtlp(lab.otlp('edge-1'), 'logs', body)).status !== 200) await sleep(300)
    accepted += perRequest
  }
  return accepted
}

const storedOf = (run: string) =>
  countLinesLoki(http, lab.stores.loki, `{service_name="letters-${run}"}`, {fromMs: Date.now() - 3_600_000, toMs: Date.now() + 1000})

const lettersOf = async (run: string) => (await lab.deadLetters('logs')).filter(({workload}) => workload === `letters-${run}`).length

const replay = async (around: (work: () => Promise<void>) => Promise<unknown>) => {
  const run = Math.random().toString(16).slice(2, 8)
  const good = startGood(lab, {edges: lab.edges, signals: ['logs'], perSecond: 20})
  await lowerLimit()
  const began = Date.now()
  const accepted = await sendRefused(run)
  let taken = 0
  await around(async () => {
    for (const end = Date.now() + 240_000; taken < accepted && Date.now() < end; await sleep(2000)) taken = await lettersOf(run)
  })
  const takenMs = Date.now() - began
  const storedBefore = await storedOf(run)
  await raiseLimit()

  const from = Date.now()
  const {stdout} = await lab.done('dead-letters', 'replay', '--signal', 'logs', '--reason', 'refused', '--yes', '--json')
  let stored: number | undefined
  for (const end = Date.now() + 120_000; stored !== accepted && Date.now() < end; await sleep(1000)) stored = await storedOf(run)
  await good.stop()
  const {lost, accepted: sent} = await countGood(lab, good.ways, 15_000)
  const left = await lettersOf(run)
  figures('replay', {
    letters: accepted,
    takenMs,
    replayed: JSON.parse(stdout) as object,
    replayMs: Date.now() - from,
    stored,
    left,
    good: sent,
    goodLost: lost,
  })
  return {accepted, taken, storedBefore, stored, left, lost, waiting: await lab.waiting(15_000, ['logs'])}
}

const eachStoredOnce = {accepted: letters, taken: letters, storedBefore: 0, stored: letters, left: 0, lost: 0, waiting: []}

test('dead letters are replayed after a limit was raised, each stored once', async () => {
  const before = await lab.edgeQueue('edge-1', 'logs')
  expect(await replay((work) => work())).toEqual(eachStoredOnce)
  const after = await lab.edgeQueue('edge-1', 'logs')
  const grew = (key: 'accepted' | 'stored') => (after?.[key] ?? 0) - (before?.[key] ?? 0)
  // a letter was taken out once, and stored when it was replayed: the balance closes
  const balance = {notStored: grew('accepted') - grew('stored'), takenOut: grown(before?.takenOut ?? {}, after?.takenOut ?? {})}
  figures('replay, balance', {accepted: grew('accepted'), ...balance})
  expect(balance).toEqual({notStored: 0, takenOut: {refused: letters}})
}, 900_000)

test.runIf(atFullLength)(
  'and the same with kills at ten moments',
  async () => {
    expect(await replay(async (work) => killingAround(lab, work, {only: ['gateway', 'agent'], asItWas: true}))).toEqual(eachStoredOnce)
  },
  1_500_000,
)
