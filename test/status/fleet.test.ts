import {stripVTControlCharacters} from 'node:util'
import {describe, expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {fleetStatus} from '../../src/status/fleet.ts'
import {fleetStatusText} from '../../src/status/fleet-text.ts'
import {fakeQueueAdmins, type FakeQueue, queueOf} from '../support/fake-queue-admin.ts'
import {fakeWorld, fleetOf} from '../support/fake-world.ts'

const prometheus = 'http://127.0.0.1:14304'
const gatewayPage = 'http://127.0.0.1:14302/metrics'
const agentPage = 'http://127.0.0.1:14402/metrics'

type Query = readonly [holds: string, samples: readonly {readonly metric: Record<string, string>; readonly value: number}[]]

/** A hub that hears its edge every few seconds, and what else its Prometheus says. */
const heard: readonly Query[] = [
  ['time() -', [{metric: {}, value: 4}]],
  ['increase(otelcol_exporter_sent', [{metric: {}, value: 100}]],
]

type Scene = {
  readonly gateway?: readonly FakeQueue[]
  readonly agent?: readonly FakeQueue[]
  readonly pages?: Readonly<Record<string, string>>
  readonly queries?: readonly Query[]
  readonly log?: readonly string[]
}

const statusOf = async ({gateway, agent, pages = {}, queries = [], log = []}: Scene) => {
  const {tools, files, folder} = fakeWorld()
  if (log.length > 0) files.set(`${folder}/hub/logs/gateway.log`, log.join('\n'))
  const admins = fakeQueueAdmins()
  if (gateway) admins.add('127.0.0.1:14321', {queues: gateway})
  if (agent) admins.add('127.0.0.1:14406', {queues: agent})
  const http = admins.http({
    async get(url) {
      if (pages[url] !== undefined) return {status: 200, body: pages[url]}
      if (!url.startsWith(prometheus)) return undefined
      const query = new URL(url).searchParams.get('query') ?? ''
      const samples = [...queries, ...heard].find(([part]) => query.includes(part))?.[1] ?? []
      const result = samples.map(({metric, value}) => ({metric, value: [1, String(value)]}))
      return {status: 200, body: JSON.stringify({data: {result}})}
    },
  })
  const fleet = openFleet(fleetOf(newLabFleet({edges: 1})), {...tools, http})
  // all that is no collector is so
  const ready = {...fleet.hub, inspect: async () => [{component: 'gateway', state: 'ready'}]}
  return fleetStatus(http, {...fleet, hub: ready})
}

const through = {edge: 'edge-1', accepted: 1000, stored: 1000, waitingItems: 0}
const lokiOf = (edge: Partial<typeof through> & object, more: Partial<FakeQueue> = {}) =>
  queueOf('logs', 'loki', 'otlp_http/loki', {...through, ...edge}, more)
const hubOf = (edge: object) => queueOf('logs', 'hub', 'otlp_grpc/hub', {...through, edge: 'partition', ...edge})

const lines = (status: Awaited<ReturnType<typeof statusOf>>, wide = false) => stripVTControlCharacters(fleetStatusText(status, {wide}))

describe('status', () => {
  test('shows what came through, with nothing to attend to', async () => {
    const status = await statusOf({gateway: [lokiOf({})], agent: [hubOf({})]})
    expect(status.attention).toEqual([])
    expect(status.edges[0]).toMatchObject({
      ok: true,
      queued: 0,
      data: {
        logs: {agent: {accepted: 1000, stored: 1000, waiting: 0}, gateway: {accepted: 1000, stored: 1000, waiting: 0, oldestSeconds: 0}},
      },
    })
    expect(status.hub).toMatchObject({collector: 'lkeobs', queues: [{signal: 'logs', percent: 0.1, fullInWhen: 'outage'}]})
    expect(lines(status)).toContain('✔ edge-1  – – –  4.0s   1,000     1,000   0          0        –       none'.replace('– – –', '✔ ✔ ✔'))
  })

  test('is not ✔ when the head of a queue does not move, and tells the whole answer', async () => {
    const answer = `503 Service Unavailable: ${'no schema for this time; '.repeat(30)}\nsecond line \u001B[31m`
    const stuck = {stored: 400, waitingItems: 5200, waitingBytes: 5_200_000, oldestSeconds: 130, headFailingSeconds: 125, lastError: answer}
    const status = await statusOf({
      gateway: [lokiOf(stuck, {diskBytes: 400_000_000})],
      agent: [hubOf({})],
      queries: [['deriv(lkeobs_queue_waiting_bytes{job="gateway"}', [{metric: {signal: 'logs', sink: 'loki'}, value: 100_000}]]],
    })
    expect(status.ok).toBe(false)
    expect(status.edges[0]).toMatchObject({ok: false})
    expect(status.attention).toMatchObject([
      {level: 'failed', kind: 'stuck', edge: 'edge-1', sink: 'loki', answer},
      {level: 'soon', kind: 'filling'},
    ])
    const text = lines(status)
    expect(text).toContain(
      '✖ logs of edge-1 in the gateway on hub do not move: loki has taken nothing from the head of the queue for 2m05s; 5,200 items wait, the oldest for 2m10s',
    )
    expect(text.replaceAll(/\s+/g, ' ')).toContain('no schema for this time; '.repeat(30).trim())
    expect(text).toContain(String.raw`second line \u001b[31m`)
    expect(text).toContain('logs 40%, full in 1h40m')
    expect(text).toContain('edges 1: 1 sending, 0 silent, 1 not delivered')
  })

  test('is not ✔ when items wait for more than a minute in an agent, or were lost in a damaged file', async () => {
    const waiting = await statusOf({gateway: [lokiOf({})], agent: [hubOf({waitingItems: 7, oldestSeconds: 61})]})
    expect(waiting.attention).toMatchObject([{level: 'failed', kind: 'waiting', collector: 'agent', edge: 'edge-1'}])
    expect(waiting.ok).toBe(false)
    const moving = await statusOf({gateway: [lokiOf({})], agent: [hubOf({waitingItems: 7, oldestSeconds: 9})]})
    expect([moving.edges[0]?.ok, moving.attention]).toEqual([true, []])
    const lost = await statusOf({gateway: [lokiOf({}, {lostItems: 12})], agent: [hubOf({})]})
    expect(lost.attention).toMatchObject([{level: 'failed', kind: 'lost'}])
    expect(lines(lost)).toContain('✖ 12 items of logs were lost in damaged queue files of the gateway on hub')
  })

  test('is not ✔ when a store hangs: it refuses nothing, and nothing leaves the queue', async () => {
    const status = await statusOf({gateway: [lokiOf({waitingItems: 3, oldestSeconds: 32} as object)], agent: [hubOf({})]})
    expect(status.attention).toMatchObject([{level: 'failed', kind: 'stuck', edge: 'edge-1', sink: 'loki'}])
  })

  test('names dead letters and their reasons, and is ✔ with them', async () => {
    const queue = lokiOf({accepted: 1000, stored: 970, takenOut: {refused: 20, 'too-old': 10}} as object)
    const [sink] = queue.sinks
    if (sink) sink.deadLetters = {count: 30, bytes: 24_000, maxBytes: 268_435_456, evicted: 0}
    const status = await statusOf({gateway: [queue], agent: [hubOf({})]})
    expect(status.attention).toMatchObject([{level: 'soon', kind: 'dead-letters'}])
    expect(status.edges[0]?.ok).toBe(true)
    const text = lines(status, true)
    expect(text).toContain(
      '! 30 dead letters of logs for loki in the gateway on hub (24 kB of 268 MB); taken out since it started: refused 20, too-old 10',
    )
    expect(text).toContain('› lkeobs dead-letters list')
    expect(text).toMatch(/edge-1 +logs +gateway +1,000 +970 +0 +refused 20, too-old 10 +0 +0 +0 +–/)
  })

  test('of the stock collector tells what its counters and its log do: what waits, what fails, what was dropped', async () => {
    const page = [
      'otelcol_exporter_queue_size{data_type="logs",exporter="otlp_http/loki"} 5200',
      'otelcol_exporter_queue_capacity{data_type="logs",exporter="otlp_http/loki"} 10000',
      'otelcol_exporter_sent_log_records{exporter="otlp_http/loki"} 900',
      'otelcol_exporter_send_failed_log_records{exporter="otlp_http/loki"} 166',
    ].join('\n')
    const said = (secondsAgo: number) =>
      [
        new Date(Date.now() - secondsAgo * 1000).toISOString(),
        'info',
        'internal/retry_sender.go:136',
        'Exporting failed. Will retry the request after interval.',
        JSON.stringify({'otelcol.component.id': 'otlp_http/loki', 'otelcol.signal': 'logs', error: 'HTTP Status Code 503'}),
      ].join('\t')
    const agent = 'otelcol_exporter_queue_size{data_type="logs",exporter="otlp_grpc/hub"} 3'
    const status = await statusOf({pages: {[gatewayPage]: page, [agentPage]: agent}, log: [said(80), said(50), said(20), said(5)]})
    expect(status.hub.collector).toBe('upstream')
    expect(status.hub.sinks).toMatchObject([
      {sink: 'loki', edge: null, waiting: 5200, dropped: {refused: 166}, lastError: 'HTTP Status Code 503'},
    ])
    expect(status.edges[0]).toMatchObject({queued: 3, data: {logs: {gateway: null}}})
    expect(status.attention.map(({level, kind}) => `${level} ${kind}`)).toEqual(['failed stuck', 'failed dropped'])
    expect(status.ok).toBe(false)
    const quiet = await statusOf({pages: {[gatewayPage]: page.replace(' 166', ' 0'), [agentPage]: agent}, log: [said(3600)]})
    expect(quiet.attention).toEqual([])
  })

  test('says of collectors that do not answer that nobody knows', async () => {
    const status = await statusOf({})
    expect(status.hub.collector).toBe('unknown')
    expect(status.attention.map(({kind, cluster}) => `${kind} ${cluster}`)).toEqual(['unreached hub', 'unreached edge-1'])
    expect(lines(status)).toMatch(/edge-1 .* \? +\? +\? +\?/)
  })
})
