import {setTimeout as sleep} from 'node:timers/promises'
import {stripVTControlCharacters} from 'node:util'
import {describe, expect, onTestFinished, test, vi} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {type Signal, signals} from '../../src/collector/config.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import type {Http} from '../../src/tools/http.ts'
import {proofPage} from '../../src/verify/proof/page.ts'
import {type Proof, prove, type ProofWish} from '../../src/verify/proof/prove.ts'
import {sourceOf} from '../../src/verify/proof/item.ts'
import {storedOf} from '../../src/verify/proof/stored.ts'
import {fateOf} from '../../src/verify/proof/tally.ts'
import {proofText} from '../../src/verify/proof/text.ts'
import {fakeWorld, fleetOf} from '../support/fake-world.ts'

type Stored = {readonly edge: string; readonly signal: Signal; readonly sequence: number; readonly ms: number; readonly traceId: string}

/** What a fleet of two edges does to its telemetry. */
type Behaviour = {
  /** How often the store gets it; once unless given. */
  readonly copies?: (item: Stored) => number
  /** Whether the agent accepts what is posted now. */
  readonly accepts?: (edge: string, signal: Signal) => boolean
  readonly answers?: (store: 'prometheus' | 'loki' | 'tempo') => boolean
  /** What a search of Tempo does not find yet. */
  readonly unsearched?: (item: Stored) => boolean
}

type Attribute = {key: string; value: {stringValue: string}}
type Span = {traceId: string; startTimeUnixNano: string}
type Body = {
  resourceMetrics?: {scopeMetrics: {metrics: {name: string; gauge: {dataPoints: {timeUnixNano: string; asDouble: number}[]}}[]}[]}[]
  resourceLogs?: {scopeLogs: {logRecords: {timeUnixNano: string; body: {stringValue: string}; attributes: Attribute[]}[]}[]}[]
  resourceSpans?: {scopeSpans: {spans: Span[]}[]}[]
}

const edgeOfPort: Readonly<Record<string, string>> = {'14401': 'edge-1', '14411': 'edge-2'}
const storeOfPort = {'14304': 'prometheus', '14305': 'loki', '14307': 'tempo'} as const

/** Agents and stores behind the addresses of a lab, as far as a proof asks them. */
const fakeTelemetry = (behaviour: Behaviour) => {
  const {copies = () => 1, accepts = () => true, answers = () => true, unsearched = () => false} = behaviour
  const stored: Stored[] = []
  const offered: Stored[] = []
  const asked: string[] = []
  const itemsOf = (edge: string, signal: Signal, body: Body): Stored[] => {
    const ms = (time: string) => Number(time.slice(0, -6))
    const points = body.resourceMetrics?.[0]?.scopeMetrics[0]?.metrics.flatMap(({gauge}) => gauge.dataPoints) ?? []
    const records = body.resourceLogs?.[0]?.scopeLogs[0]?.logRecords ?? []
    const spans = body.resourceSpans?.[0]?.scopeSpans[0]?.spans ?? []
    const found = [
      ...points.map((point) => ({sequence: point.asDouble, ms: ms(point.timeUnixNano), traceId: ''})),
      ...records.map((line) => ({sequence: Number(line.body.stringValue.split(' ')[2]), ms: ms(line.timeUnixNano), traceId: ''})),
      ...spans.map(({traceId, startTimeUnixNano}) => ({
        sequence: Number.parseInt(traceId.slice(16), 16),
        ms: ms(startTimeUnixNano),
        traceId,
      })),
    ]
    return found.map((item) => ({edge, signal, ...item}))
  }
  const answer = (body: object) => ({status: 200, body: JSON.stringify(body)})
  const has = (signal: Signal, edge: string | undefined, fromMs: number, toMs: number) =>
    stored.filter((item) => item.signal === signal && item.edge === edge && item.ms >= fromMs && item.ms <= toMs)
  let run = ''
  const http: Http = {
    async post(url, body) {
      await sleep(1)
      const {port, pathname} = new URL(url)
      const edge = edgeOfPort[port] ?? ''
      const signal = pathname.slice('/v1/'.length) as Signal
      const items = itemsOf(edge, signal, body)
      offered.push(...items)
      run = /proof ([0-9a-f]{8}) /.exec(JSON.stringify(body))?.[1] ?? run
      if (!accepts(edge, signal)) return {status: 503, body: 'not now'}
      for (const item of items) stored.push(...Array.from({length: copies(item)}, () => item))
      return answer({partialSuccess: {}})
    },
    async get(url) {
      asked.push(url)
      const {port, pathname, searchParams} = new URL(url)
      const store = (storeOfPort as Readonly<Record<string, 'prometheus' | 'loki' | 'tempo'>>)[port]
      if (store === undefined)
        return {
          status: 200,
          body: 'otelcol_exporter_queue_size{data_type="logs",exporter="otlp_grpc/hub"} 7\notelcol_exporter_queue_size{exporter="x"} 9',
        }
      if (!answers(store)) return undefined
      const query = searchParams.get('query') ?? searchParams.get('q') ?? ''
      const edge = /"(edge-\d)"/.exec(query)?.[1]
      if (store === 'prometheus') {
        const toMs = Math.round(Number(searchParams.get('time')) * 1000)
        const rangeMs = Number(/\[(\d+)ms\]$/.exec(query)?.[1])
        const samples = has('metrics', edge, toMs - rangeMs + 1, toMs)
        return answer({data: {result: [{values: samples.map(({ms, sequence}) => [ms / 1000, String(sequence)])}]}})
      }
      if (store === 'loki') {
        const [from, to] = ['start', 'end'].map((name) => Number(searchParams.get(name)?.slice(0, -6)))
        const lines = has('logs', edge, from ?? 0, (to ?? 0) - 1).slice(0, Number(searchParams.get('limit')))
        return answer({data: {result: [{values: lines.map(({ms, sequence}) => [`${ms}000000`, `proof ${run} ${sequence}`])}]}})
      }
      if (pathname === '/api/search') {
        const [from, to] = ['start', 'end'].map((name) => Number(searchParams.get(name)) * 1000)
        const spans = has('traces', edge, from ?? 0, to ?? 0).filter((item) => !unsearched(item))
        const traces = [...Map.groupBy(spans, ({traceId}) => traceId)]
        return answer({traces: traces.map(([id, {length}]) => ({traceID: id.replace(/^0+/, ''), spanSets: [{matched: length}]}))})
      }
      const spans = stored.filter(({traceId}) => traceId === pathname.split('/').at(-1))
      if (spans.length === 0) return {status: 404, body: ''}
      const resource = {attributes: [{key: 'lkeobs.edge', value: {stringValue: spans[0]?.edge}}]}
      return answer({batches: [{resource, scopeSpans: [{spans}]}]})
    },
  }
  return {http, stored, offered, asked}
}

const world = fakeWorld()
const silent = () => undefined

const wishOf = (http: Http, wish: Partial<ProofWish> = {}): ProofWish => {
  const {hub, edges} = openFleet(fleetOf(newLabFleet({edges: 2})), {...world.tools, http})
  return {http, hub, edges, perSecond: 100, tell: silent, lingerMs: 20, patienceMs: 300, ...wish}
}
const proofOf = async (behaviour: Behaviour, work: () => Promise<unknown> = () => sleep(300), wish: Partial<ProofWish> = {}) => {
  const telemetry = fakeTelemetry(behaviour)
  const {proof} = await prove(wishOf(telemetry.http, wish), work)
  return {proof, ...telemetry}
}
const none = {metrics: 0, logs: 0, traces: 0}

describe.concurrent('a proof', () => {
  test('counts every item of every way, and gives back what the work gave', async () => {
    const {http, offered} = fakeTelemetry({})
    const {result, proof} = await prove(wishOf(http), async (mark) => {
      await sleep(300)
      mark('edge-1: new leaf on the wire')
      return 'the result'
    })
    expect(result).toBe('the result')
    expect(proof).toMatchObject({lost: none, duplicated: none, refused: none, perSecond: 100})
    expect(proof.stored).toEqual(proof.sent)
    expect(proof.edges.map(({edge, queuePeak}) => [edge, queuePeak])).toEqual([
      ['edge-1', 7],
      ['edge-2', 7],
    ])
    for (const signal of signals) {
      expect(proof.sent[signal]).toBe(offered.filter((item) => item.signal === signal).length)
      expect(proof.sent[signal]).toBeGreaterThan(40)
    }
    expect(proof.timeline.reduce((sum, {sent}) => sum + sent, 0)).toBe(offered.length)
    const [first] = proof.marks
    const second = first?.second ?? Number.NaN
    expect(first?.what).toBe('edge-1: new leaf on the wire')
    expect(second).toBeGreaterThanOrEqual(proof.work.from + 0.29)
    expect(second).toBeLessThanOrEqual(proof.work.to)
  })

  test('names what never came', async () => {
    const isLost = ({edge, signal, sequence}: Stored) =>
      edge === 'edge-2' && ((signal === 'logs' && sequence >= 7 && sequence <= 9) || (signal === 'traces' && sequence === 5))
    const {proof} = await proofOf({copies: (item) => (isLost(item) ? 0 : 1)})
    expect(proof.lost).toEqual({metrics: 0, logs: 3, traces: 1})
    expect(proof.edges[0]?.lost).toEqual(none)
    expect(proof.edges[1]?.missing).toEqual({
      metrics: [],
      logs: [{first: 7, last: 9, second: expect.any(Number) as number}],
      traces: [{first: 5, last: 5, second: expect.any(Number) as number}],
    })
    for (const signal of signals) expect(proof.stored[signal] + proof.lost[signal]).toBe(proof.sent[signal])
  })

  test('counts what is there more than once', async () => {
    const {proof} = await proofOf({copies: ({sequence}) => (sequence === 4 ? 2 : 1)})
    expect(proof).toMatchObject({lost: none, duplicated: {metrics: 2, logs: 2, traces: 2}})
    expect(proof.stored).toEqual(proof.sent)
  })

  test('what an agent does not accept is offered again, the same; what comes late is not lost', async () => {
    let refusals = 0
    const accepts = (edge: string) => edge !== 'edge-1' || ++refusals < 10 || refusals > 14
    const {proof, offered} = await proofOf({accepts}, () => sleep(1200))
    expect(proof).toMatchObject({lost: none, refused: none})
    const ids = offered.map(({edge, signal, sequence}) => `${edge} ${signal} ${sequence}`)
    expect(ids.length).toBeGreaterThan(new Set(ids).size)
    expect(Object.values(proof.sent).reduce((sum, one) => sum + one)).toBe(new Set(ids).size)
    const times = new Map(offered.map(({edge, sequence, ms}) => [`${edge} ${sequence}`, ms]))
    for (const {edge, sequence, ms} of offered) expect(times.get(`${edge} ${sequence}`)).toBe(ms)
  })

  test('a trace that a search does not find yet is asked for by its id', async () => {
    const {proof, asked} = await proofOf({unsearched: ({sequence}) => sequence > 40}, () => sleep(700))
    expect(proof.lost).toEqual(none)
    expect(asked.filter((url) => url.includes('/api/traces/')).length).toBeGreaterThan(2)
    expect(asked.some((url) => url.includes('/api/search'))).toBe(true)
  })

  test('a store that was silent for a while has lost nothing', async () => {
    let isOver = false
    let asked = 0
    const answers = (store: string) => store !== 'loki' || !isOver || ++asked > 1
    const {proof} = await proofOf({answers}, async () => void (isOver = true), {patienceMs: 1500})
    expect(proof).toMatchObject({lost: none})
    expect(asked).toBeGreaterThan(1)
  })

  test.for([
    ['prometheus', 'Prometheus at http://127.0.0.1:14304'],
    ['loki', 'Loki at http://127.0.0.1:14305'],
    ['tempo', 'Tempo at http://127.0.0.1:14307'],
  ] as const)('%s that answers no more is an error, not a loss', async ([name, named]) => {
    let isOver = false
    const work = async () => {
      isOver = true
    }
    const proved = proofOf({answers: (store) => store !== name || !isOver}, work)
    await expect(proved).rejects.toMatchObject({code: 'LKO-2003', message: expect.stringContaining(named) as string})
  })

  test('what the work throws comes out, and nothing is sent any more', async () => {
    const {http, offered} = fakeTelemetry({})
    const failed = prove(wishOf(http), async () => {
      throw new Error('no')
    })
    await expect(failed).rejects.toThrow('no')
    const before = offered.length
    await sleep(100)
    expect(offered.length).toBe(before)
  })
})

test('without telemetry that flows there is no work', async () => {
  vi.useFakeTimers({toFake: ['Date']})
  onTestFinished(() => void vi.useRealTimers())
  let worked = false
  const accepts = (edge: string, signal: Signal) => !(edge === 'edge-2' && signal === 'logs')
  let told = 0
  const tell = () => void (++told === 3 && vi.setSystemTime(Date.now() + 160_000))
  const copies = ({edge, signal}: Stored) => (edge === 'edge-1' && signal === 'traces' ? 0 : 1)
  const proved = proofOf({accepts, copies}, async () => (worked = true), {tell, perSecond: 10})
  await expect(proved).rejects.toMatchObject({
    code: 'LKO-2004',
    message:
      'Not in the stores after 150s: traces of edge-1; logs of edge-2: the agent does not accept it: http://127.0.0.1:14411 refused it: 503 not now.',
  })
  expect(worked).toBe(false)
})

test('nor while a store is silent', async () => {
  vi.useFakeTimers({toFake: ['Date']})
  onTestFinished(() => void vi.useRealTimers())
  let told = 0
  const tell = () => void (++told === 3 && vi.setSystemTime(Date.now() + 160_000))
  const proved = proofOf({answers: (store) => store !== 'tempo'}, async () => undefined, {tell, perSecond: 1})
  await expect(proved).rejects.toMatchObject({
    code: 'LKO-2004',
    message: expect.stringContaining('Tempo at http://127.0.0.1:14307') as string,
  })
})

test('on Kubernetes traffic goes to a ready agent through the API server', async () => {
  const text = `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, platform: {kubernetes: {context: hub}}}
edges: [{name: edge-1, platform: {kubernetes: {context: edge-1}}}]
`
  const kubernetes = fakeWorld()
  const {hub, edges} = openFleet(fleetOf(text), kubernetes.tools)
  const [edge] = edges
  if (!edge) throw new Error('no edge')
  await kubernetes.play(hubInit(hub, kubernetes.tools))
  await kubernetes.play(edgeJoin(hub, edge))
  expect(await edge.otlpFromHere()).toMatch(/^http:\/\/agent[^.]*\.edge-1:4318$/)
})

test('what was never accepted is neither sent nor lost', () => {
  const items = [1, 2, 3, 5, 6].map((sequence) => ({sequence, ms: 1000 + sequence}))
  const way = {signal: 'logs', accepted: items, waiting: [{sequence: 4, ms: 1004}]} as const
  expect(fateOf(way, new Map([[1, 3]]), 1000)).toEqual({
    signal: 'logs',
    sent: 5,
    stored: 1,
    lost: 4,
    duplicated: 1,
    refused: 1,
    missing: [
      {first: 2, last: 3, second: 0.002},
      {first: 5, last: 6, second: 0.005},
    ],
  })
})

test('an answer of Loki that is full is asked for again in halves', async () => {
  const source = sourceOf('abcd1234', 'edge-1')
  const items = Array.from({length: 4000}, (_, index) => ({sequence: index + 1, ms: 1_000_000 + index}))
  let asked = 0
  const get: Http['get'] = async (url) => {
    asked++
    const {searchParams} = new URL(url)
    const [from = 0, to = 0] = ['start', 'end'].map((name) => Number(searchParams.get(name)?.slice(0, -6)))
    const twice = items.filter(({ms}) => ms >= from && ms < to).flatMap((item) => [item, item])
    const values = twice.slice(0, Number(searchParams.get('limit'))).map(({sequence}) => ['', `proof abcd1234 ${sequence}`])
    return {status: 200, body: JSON.stringify({data: {result: [{values}, {values: [['', 'something else']]}]}})}
  }
  const {http} = fakeTelemetry({})
  const copies = await storedOf.logs({...http, get}, {prometheus: '', loki: 'http://loki', tempo: ''}, source, items)
  expect(copies).toEqual(new Map(items.map(({sequence}) => [sequence, 2])))
  expect(asked).toBe(3)
})

const proof: Proof = {
  run: 'abcd1234',
  startedAt: '2026-11-05T10:00:00.000Z',
  endedAt: '2026-11-05T10:00:04.000Z',
  perSecond: 1,
  work: {from: 1, to: 3},
  sent: {metrics: 4, logs: 4, traces: 3},
  stored: {metrics: 4, logs: 1, traces: 3},
  lost: {metrics: 0, logs: 3, traces: 0},
  duplicated: none,
  refused: {metrics: 0, logs: 0, traces: 1},
  edges: [
    {
      edge: 'edge-1',
      sent: {metrics: 4, logs: 4, traces: 3},
      stored: {metrics: 4, logs: 1, traces: 3},
      lost: {metrics: 0, logs: 3, traces: 0},
      duplicated: none,
      refused: {metrics: 0, logs: 0, traces: 1},
      missing: {
        metrics: [],
        logs: [
          {first: 1, last: 1, second: 0},
          {first: 3, last: 4, second: 2},
        ],
        traces: [],
      },
      queuePeak: null,
    },
  ],
  timeline: [
    {second: 0, sent: 3, queue: 2},
    {second: 1, sent: 3, queue: null},
    {second: 2, sent: 3, queue: 40},
    {second: 3, sent: 2, queue: 0},
  ],
  marks: [{second: 1.5, what: 'edge-1: <new> leaf & chain'}],
}

test('the table for people', () => {
  expect(stripVTControlCharacters(proofText(proof))).toMatchInlineSnapshot(`
    "edge    signal   sent  stored  lost  duplicated  refused
    edge-1  metrics  4     4       0     0           0        ✔
    edge-1  logs     4     1       3     0           0        ✖
            lost: 1, 3–4
    edge-1  traces   3     3       0     0           1        ✔
    3 items lost of 11; 1 more was never accepted by an agent.   4.0s of traffic, run abcd1234"
  `)
})

test('the page needs nothing but itself, and escapes what it is told', () => {
  const page = proofPage(proof, {title: 'certs rotate "--all"', figures: {'propagation p95': '3.2s'}})
  expect(page).toContain('<h1 class="bad">3 items lost of 11; 1 more was never accepted by an agent.</h1>')
  expect(page).toContain('<dt>propagation p95</dt><dd>3.2s</dd>')
  expect(page).toContain('edge-1: &lt;new&gt; leaf &amp; chain')
  expect(page).toContain('<td class="gaps">1, 3–4</td>')
  expect(page).toContain('certs rotate &quot;--all&quot;: 3 items lost of 11;')
  expect(page).not.toMatch(/<script|<link|src=|url\(|https?:|undefined|NaN/)
  // an agent that did not answer leaves a gap
  expect(page).toMatch(/d="M[\d. ]+M[\d. ]+L[\d. ]+"[^>]*stroke="var\(--queue\)"/)
  // a long proof is drawn with as many points as can be seen
  const long = Array.from({length: 10_000}, (_, second) => ({second, sent: 3, queue: 0}))
  expect(proofPage({...proof, timeline: long}, {title: 'long'}).length).toBeLessThan(40_000)
  const good = proofPage({...proof, lost: none}, {title: 'good'})
  expect(good).toContain('<h1 class="good">Nothing lost of 11 items; 1 more was never accepted by an agent.</h1>')
  expect(proofPage({...proof, lost: none, refused: none}, {title: 'good'})).toContain('Nothing lost of 11 items.</h1>')
})
