import {rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, beforeEach, describe, expect, test} from 'vitest'
import {programPath} from '../../src/programs/locate.ts'
import type {DestinationSeen} from '../../src/status/destinations.ts'
import {createHttp} from '../../src/tools/http.ts'
import {linesLoki} from '../../src/tools/stores.ts'
import {document, eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf, start} from '../lab/cli.ts'
import {type Load, loadQuery, startLoad} from '../support/load.ts'
import {numbered, openSink, type Sink} from '../support/sinks.ts'

const perSecond = 5000
/** Two minutes where there is time for it. */
const outageMs = Number(process.env['LKEOBS_TEST_OUTAGE_SECONDS'] ?? 40) * 1000
const settleMs = 10 * 60_000
const limit = 20 * 60_000

const http = createHttp()
const agent = `http://127.0.0.1:${firstPorts.edge + 1}`
const loki = `http://127.0.0.1:${firstPorts.hub + 5}`

let folder: string
const sinks = new Map<string, Sink>()
let load: Load | undefined
/** The last id of the load before: the next goes on after it. */
let after = 0

const sinkOf = (name: string): Sink => {
  const sink = sinks.get(name)
  if (!sink) throw new Error(`there is no sink ${name}`)
  return sink
}

const done = async (args: readonly string[], input?: string): Promise<void> => {
  const {code, stderr} = await start(folder, args, {}, input).ended
  expect(code, stderr).toBe(0)
}

const splunkAdded = (items: number) => {
  const settings = ['--endpoint', `http://127.0.0.1:${sinkOf('corp').port}`, '--queue-items', String(items)]
  return done(['dest', 'add', 'splunk', 'corp', ...settings, '--token-file', '-', '--yes'], '11111111-2222-3333-4444-555555555555')
}

const listed = async (name: string): Promise<DestinationSeen> => {
  const ended = await lkeobs(folder, ['dest', 'list', '--json'])
  const found = document<{destinations: readonly DestinationSeen[]}>(ended).destinations.find((each) => each.name === name)
  if (!found) throw new Error(`dest list has no ${name}: ${ended.stderr}`)
  return found
}

/** Of the ids of this load: which are at a sink, and how many of them more than once. */
const arrived = async (name: string, made: number) => {
  const {copies, delays} = await sinkOf(name).taken()
  const own = [...copies].filter(([id]) => id > after && id <= made)
  return {ids: own.length, twice: own.filter(([, times]) => times > 1).length, delays}
}

/** The same of the hub's own store of logs, second by second. */
const stored = async (fromMs: number, toMs: number, made: number) => {
  const most = 5000
  const copies = new Map<number, number>()
  const read = async (from: number, to: number): Promise<void> => {
    const lines = await linesLoki(http, loki, loadQuery, {fromMs: from, toMs: to - 1, limit: most})
    if (!lines) throw new Error('Loki does not answer')
    if (lines.length >= most && to - from > 1) {
      const middle = Math.floor((from + to) / 2)
      await read(from, middle)
      await read(middle, to)
      return
    }
    for (const line of lines) {
      const id = Number(numbered.exec(line)?.[1])
      if (id > after && id <= made) copies.set(id, (copies.get(id) ?? 0) + 1)
    }
  }
  for (let from = fromMs; from <= toMs; from += 500) await read(from, from + 500)
  return {ids: copies.size, twice: [...copies.values()].filter((times) => times > 1).length}
}

/** How old the newest line is that the store returns, again and again until it is ended. */
const watchStore = () => {
  const lags: {atMs: number; ms: number}[] = []
  let isOver = false
  const watching = (async () => {
    for (;;) {
      if (isOver) return
      const atMs = Date.now()
      const [newest] = (await linesLoki(http, loki, loadQuery, {fromMs: atMs - 60_000, toMs: atMs, limit: 1})) ?? []
      const made = Number(numbered.exec(newest ?? '')?.[2])
      if (made > 0) lags.push({atMs, ms: Date.now() - made})
      await sleep(200)
    }
  })()
  return {
    lags,
    async end() {
      isOver = true
      await watching
    },
  }
}

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((one, other) => one - other)[Math.max(0, Math.ceil(values.length * share) - 1)] ?? Number.NaN

const allThere = async (names: readonly string[], made: number): Promise<void> => {
  for (const name of names) {
    let size = -1
    // a sink that still grows has not all of it
    await eventually(
      `${name} has all`,
      async () => {
        const now = await sinkOf(name).size()
        const isQuiet = now === size
        size = now
        return isQuiet && (await arrived(name, made)).ids === made - after
      },
      settleMs,
    )
  }
}

/** What was measured goes into the log of the run. */
const tell = (line: string) => process.stderr.write(`${line}\n`)

beforeAll(async () => {
  const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
  if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  folder = await labFolder(1)
  const otelcol = await programPath('otelcol')
  for (const [at, [name, kind]] of (
    [
      ['corp', 'splunk'],
      ['one', 'otlp'],
      ['two', 'otlp'],
    ] as const
  ).entries()) {
    const sink = await openSink(otelcol, path.join(folder, 'sinks'), name, kind, firstPorts.edge + 60 + at)
    sinks.set(name, sink)
    await sink.start()
  }
  await done(['lab', 'up'])
  await splunkAdded(5_000_000)
  for (const name of ['one', 'two'])
    await done(['dest', 'add', 'otlp', name, '--endpoint', `http://127.0.0.1:${sinkOf(name).port}`, '--signals', 'logs', '--yes'])
})

afterAll(async () => {
  await load?.stop()
  await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])
  await Promise.all([...sinks.values()].map((sink) => sink.stop()))
  await rm(folder, {recursive: true, force: true})
})

beforeEach(() => {
  load = undefined
  return async () => {
    await load?.stop()
    after = load?.made ?? after
    await sinkOf('corp').start()
  }
})

describe(`a destination is down for ${outageMs / 1000} s at ${perSecond} records a second`, () => {
  test(
    'the others and the hub lose and delay nothing, and it receives all when it is back',
    async () => {
      const fromMs = Date.now()
      load = startLoad(agent, perSecond, {after})
      await sleep(20_000)
      const watch = watchStore()
      const beforeMs = Date.now()
      await sleep(Math.min(outageMs, 60_000))
      const downMs = Date.now()
      await sinkOf('corp').stop()
      await sleep(outageMs)
      const waiting = await listed('corp')
      const upMs = Date.now()
      await watch.end()
      await sinkOf('corp').start()
      await sleep(5000)
      await load.stop()
      const toMs = Date.now()
      const {made} = load
      await allThere(['one', 'two', 'corp'], made)
      tell(
        `sent ${made - after} in ${(toMs - fromMs) / 1000} s, ${load.again} requests again; everything there after ${(Date.now() - upMs) / 1000} s`,
      )

      // it was said while it lasted
      expect(waiting).toMatchObject({state: 'waiting', failedPerSecond: 0})
      expect(waiting.queue.items).toBeGreaterThan((perSecond * outageMs) / 2000)
      expect(waiting.lastError?.message).toContain('connection refused')
      expect(Math.abs((waiting.oldestSeconds ?? 0) - outageMs / 1000)).toBeLessThan(15)

      const hub = await stored(fromMs, toMs, made)
      tell(`hub ${JSON.stringify(hub)}`)
      expect(hub).toEqual({ids: made - after, twice: 0})
      for (const name of ['corp', 'one', 'two']) {
        const {ids, twice, delays} = await arrived(name, made)
        const within = (from: number, to: number) => delays.filter(({madeMs}) => madeMs >= from && madeMs < to).map(({ms}) => ms)
        const [before, during] = [within(beforeMs, downMs), within(downMs, upMs)]
        const [p99, p99During] = [percentile(before, 0.99), percentile(during, 0.99)]
        tell(`${name} ${JSON.stringify({ids, twice, p50: percentile(before, 0.5), p99, p50During: percentile(during, 0.5), p99During})}`)
        expect({ids, twice}).toEqual({ids: made - after, twice: 0})
        // within 20 %, and the quarter of a second for which a batch is waited for; what waits for its destination is delayed
        expect(name === 'corp' ? 0 : p99During).toBeLessThan(1.2 * p99 + 200)
      }
      const [before, during] = [watch.lags.filter(({atMs}) => atMs < downMs), watch.lags.filter(({atMs}) => atMs >= downMs)].map((lags) =>
        percentile(
          lags.map(({ms}) => ms),
          0.99,
        ),
      ) as [number, number]
      tell(`hub p99 ${before} ms before, ${during} ms while it was down`)
      expect(during).toBeLessThan(1.2 * before + 200)
      expect((await listed('corp')).dropped.logs).toEqual({queueFull: 0, gaveUp: 0, refused: 0})
    },
    limit,
  )

  test(
    'and its queue is small: what is dropped is counted to the item, and nobody else loses anything',
    async () => {
      await splunkAdded(20_000)
      const {dropped: before} = await listed('corp')
      const fromMs = Date.now()
      load = startLoad(agent, perSecond, {after})
      await sleep(5000)
      await sinkOf('corp').stop()
      await sleep(outageMs)
      const full = await listed('corp')
      await sinkOf('corp').start()
      await sleep(5000)
      await load.stop()
      const toMs = Date.now()
      const {made} = load
      const sent = made - after
      await allThere(['one', 'two'], made)
      const missing = async () => sent - (await arrived('corp', made)).ids
      await eventually(
        'what is missing is what was dropped',
        async () => (await listed('corp')).dropped.logs.queueFull - before.logs.queueFull === (await missing()),
        settleMs,
      )
      const {dropped} = await listed('corp')
      tell(`sent ${sent}, corp has ${sent - (await missing())}, dropped ${JSON.stringify(dropped.logs)}, requests again ${load.again}`)
      expect(full.state).toBe('dropping')
      expect(full.queue.percent).toBeGreaterThan(50)
      expect(await missing()).toBeGreaterThan(perSecond)
      expect(dropped.logs).toEqual({...before.logs, queueFull: before.logs.queueFull + (await missing())})
      expect((await lkeobs(folder, ['dest', 'list'])).stdout).toContain('logs: queue full')
      expect(load.again).toBe(0)
      expect(await stored(fromMs, toMs, made)).toEqual({ids: sent, twice: 0})
      for (const name of ['one', 'two']) expect(await arrived(name, made)).toMatchObject({ids: sent, twice: 0})
      for (const name of ['one', 'two']) expect((await listed(name)).dropped.logs).toEqual({queueFull: 0, gaveUp: 0, refused: 0})
    },
    limit,
  )

  test(
    'and the gateway is killed meanwhile: all of them have everything',
    async () => {
      await splunkAdded(5_000_000)
      const {dropped: before} = await listed('corp')
      const fromMs = Date.now()
      load = startLoad(agent, perSecond, {after})
      await sleep(5000)
      await sinkOf('corp').stop()
      await sleep(outageMs / 2)
      const {gateway} = await pidsOf(folder, 'hub')
      if (gateway === undefined) throw new Error('no gateway runs')
      process.kill(gateway, 'SIGKILL')
      await sleep(2000)
      await done(['hub', 'init'])
      await sleep(outageMs / 2)
      await sinkOf('corp').start()
      await load.stop()
      const toMs = Date.now()
      const {made} = load
      await allThere(['one', 'two', 'corp'], made)
      for (const name of ['one', 'two', 'corp']) {
        const {ids, twice} = await arrived(name, made)
        tell(`${name}: sent ${made - after}, has ${ids}, ${twice} of them twice`)
        expect(ids).toBe(made - after)
      }
      // Loki keeps the same line of the same time once
      expect(await stored(fromMs, toMs, made)).toEqual({ids: made - after, twice: 0})
      expect((await listed('corp')).dropped).toEqual(before)
    },
    limit,
  )
})
