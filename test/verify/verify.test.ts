import {stripVTControlCharacters} from 'node:util'
import {describe, expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {type Signal, signals} from '../../src/collector/config.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import type {Http} from '../../src/tools/http.ts'
import {lastHop, snapshot} from '../../src/verify/hops.ts'
import {verificationJunit, verificationText} from '../../src/verify/report.ts'
import {type Verification, verify} from '../../src/verify/verify.ts'
import {type FakeLetter, fakeQueueAdmins, queueOf} from '../support/fake-queue-admin.ts'
import {fakeWorld, fleetOf} from '../support/fake-world.ts'

const agentCounters = 'http://127.0.0.1:14402/metrics'
const gatewayCounters = 'http://127.0.0.1:14302/metrics'
const stores = {prometheus: 'http://127.0.0.1:14304', loki: 'http://127.0.0.1:14305', tempo: 'http://127.0.0.1:14307'}

/** A collector's page as it writes it, for one exporter and signal. */
const page = (exporter: string, sent: number, queued: number) =>
  [
    '# HELP otelcol_exporter_sent_spans Number of spans successfully sent to destination. [Stable]',
    '# TYPE otelcol_exporter_sent_spans counter',
    `otelcol_exporter_sent_spans{exporter="${exporter}",otel_scope_name="x",server_address="a\\"b"} ${sent}`,
    `otelcol_exporter_sent_spans{exporter="otlp_grpc/other"} 1e+06`,
    `otelcol_exporter_sent_log_records{exporter="${exporter}"} 500`,
    `otelcol_exporter_queue_size{data_type="traces",exporter="${exporter}"} ${queued}`,
    `otelcol_exporter_queue_size{data_type="logs",exporter="${exporter}"} 9`,
  ].join('\n')
const agentPage = (sent: number, queued = 0) => page('otlp_grpc/hub', sent, queued)
const gatewayPage = (sent: number, queued = 0) => page('otlp_grpc/tempo', sent, queued)

const httpOf = (pages: Readonly<Record<string, string | undefined>>): Http => ({
  async get(url) {
    const body = pages[url]
    return body === undefined ? undefined : {status: 200, body}
  },
  post: async () => undefined,
})

const world = fakeWorld()
const opened = (http: Http) => {
  const {
    hub,
    edges: [edge],
  } = openFleet(fleetOf(newLabFleet({edges: 1})), {...world.tools, http})
  if (!edge) throw new Error('no edge')
  return {hub, edge}
}

const since = Date.parse('2026-11-05T10:00:00Z')
const complaint = (time: string, exporter: string, error: string) =>
  [
    time,
    'info',
    'internal/retry_sender.go:133',
    'Exporting failed. Will retry the request after interval.',
    JSON.stringify({'otelcol.component.id': exporter}).replace('}', `, "error": ${JSON.stringify(error)}}`),
  ].join('\t')

type Case = {
  readonly before?: Readonly<Record<string, string>>
  readonly now: Readonly<Record<string, string | undefined>>
  readonly logs?: Readonly<Record<string, readonly string[]>>
}

const hopOf = async ({before, now, logs}: Case) => {
  world.files.clear()
  for (const [component, lines] of Object.entries(logs ?? {}))
    world.files.set(`${world.folder}/${component.replace('/', '/logs/')}.log`, lines.join('\n'))
  const earlier = opened(httpOf(before ?? {[agentCounters]: agentPage(10, 2), [gatewayCounters]: gatewayPage(100, 3)}))
  const {hub, edge} = opened(httpOf(now))
  return lastHop(hub, edge, 'traces', await snapshot(earlier.hub, earlier.edge), {
    service: 'lkeobs-canary',
    run: 'abcd1234',
    sinceMs: since,
  })
}

test.for([
  ['the agent died', {now: {[gatewayCounters]: gatewayPage(103)}}, 'agent', 'it stopped answering after it had accepted the canary'],
  [
    'it waits in the agent',
    {now: {[agentCounters]: agentPage(12, 1), [gatewayCounters]: gatewayPage(200)}},
    'agent',
    'it has not sent it on; 1 item in its queue',
  ],
  ['the gateway died', {now: {[agentCounters]: agentPage(13)}}, 'agent', 'the gateway does not answer'],
  [
    'it waits in the gateway',
    {now: {[agentCounters]: agentPage(13), [gatewayCounters]: gatewayPage(103, 7)}},
    'gateway',
    'it has not sent it on; 7 items in its queue',
  ],
  [
    'the store is silent',
    {now: {[agentCounters]: agentPage(13), [gatewayCounters]: gatewayPage(104)}},
    'gateway',
    'it sent the canary on, and the store does not return it',
  ],
  [
    'the collectors did not answer before',
    {before: {}, now: {[agentCounters]: agentPage(1), [gatewayCounters]: gatewayPage(0, 1)}},
    'gateway',
    'it has not sent it on; 1 item in its queue',
  ],
] as const satisfies readonly (readonly [string, Case, string, string])[])('%s', async ([, pages, hop, reason]) => {
  expect(await hopOf(pages)).toEqual({hop, reason})
})

const stuck = {now: {[agentCounters]: agentPage(12, 5), [gatewayCounters]: gatewayPage(103)}}

test.for([
  [
    'remote error: tls: unknown certificate authority',
    'the gateway refuses its certificate: signed by an issuer the gateway does not trust',
  ],
  ['remote error: tls: expired certificate', 'a certificate on the way has expired'],
  ['tls: failed to verify certificate: x509: certificate signed by unknown authority', 'it does not trust the certificate it is shown'],
  ['dial tcp 127.0.0.1:14300: connect: connection refused', 'nothing listens where it sends'],
  ['something "quoted" nobody foresaw', 'something "quoted" nobody foresaw'],
])('the log says %s', async ([error = '', reason]) => {
  const logs = {
    'edge-1/agent': [
      complaint('2026-11-05T09:00:00.000Z', 'otlp_grpc/hub', 'long ago'),
      complaint('2026-11-05T10:00:01.000Z', 'otlp_grpc/hub', error),
      complaint('2026-11-05T10:00:02.000Z', 'otlp_grpc/other', 'another exporter'),
      'not a line of the collector',
    ],
  }
  expect(await hopOf({...stuck, logs})).toEqual({hop: 'agent', reason: `${reason}; 5 items in its queue`})
})

test('what was complained about long ago is not the reason', async () => {
  const logs = {'edge-1/agent': [complaint('2026-11-05T09:00:00.000Z', 'otlp_grpc/hub', 'long ago')]}
  expect(await hopOf({...stuck, logs})).toEqual({hop: 'agent', reason: 'it has not sent it on; 5 items in its queue'})
})

const canaryRun = 'abcd1234'

/** Collectors with queues of ours, as a canary sent five seconds ago finds them. */
const ownHop = async (
  agent: {
    readonly waitingItems: number
    readonly oldestSeconds?: number
    readonly headFailingSeconds?: number
    readonly lastError?: string
  },
  gateway: typeof agent,
  letters: readonly FakeLetter[] = [],
) => {
  world.files.clear()
  const admins = fakeQueueAdmins()
  admins.add('127.0.0.1:14406', {queues: [queueOf('traces', 'hub', 'otlp_grpc/hub', {edge: 'partition', ...agent})]})
  admins.add('127.0.0.1:14321', {queues: [queueOf('traces', 'tempo', 'otlp_grpc/tempo', {edge: 'edge-1', ...gateway})], letters})
  const {hub, edge} = opened(admins.http())
  return lastHop(
    hub,
    edge,
    'traces',
    {agent: undefined, gateway: undefined},
    {service: 'lkeobs-canary', run: canaryRun, sinceMs: Date.now() - 5000},
  )
}
const through = {waitingItems: 0}
const storeAnswer = `503 Service Unavailable: ${'the ingester is not ready. '.repeat(20)}`

describe('behind queues of ours', () => {
  test('a canary that waits behind a stuck head is said to be just that, with the whole answer', async () => {
    const found = await ownHop(through, {waitingItems: 5201, oldestSeconds: 130, headFailingSeconds: 125, lastError: storeAnswer})
    expect(found).toEqual({
      hop: 'gateway',
      reason: `it waits in the queue of traces for tempo in the gateway on hub, behind 5,200 other items, the oldest for 2m10s; tempo has not taken the head of the queue for 2m05s: ${storeAnswer}`,
      waiting: {sink: 'tempo', items: 5201, oldestSeconds: 130, headFailingSeconds: 125, answer: storeAnswer},
    })
    expect(await ownHop({waitingItems: 1, oldestSeconds: 5}, through)).toMatchObject({
      hop: 'agent',
      reason: 'it waits in the queue of traces for hub in the agent on edge-1, as the only item, the oldest for 5.0s',
    })
  })

  test('what waits since later than the canary is not before it', async () => {
    const busy = {waitingItems: 900, oldestSeconds: 1}
    expect(await ownHop(busy, busy)).toEqual({hop: 'gateway', reason: 'tempo has acknowledged it, and does not return it'})
  })

  test('a canary that became a dead letter is named with its id', async () => {
    const letter: FakeLetter = {
      id: '5f1c',
      signal: 'traces',
      sink: 'tempo',
      edge: 'edge-1',
      reason: 'too-large',
      detail: 'TRACE_TOO_LARGE',
      time: new Date().toISOString(),
      workload: 'lkeobs-canary',
      item: {resourceSpans: [{run: canaryRun}]},
    }
    const others = [
      {...letter, id: 'a', item: {resourceSpans: [{run: 'another'}]}},
      {...letter, id: 'b', workload: 'checkout'},
    ]
    expect(await ownHop(through, through, [...others, letter])).toEqual({
      hop: 'gateway',
      reason: 'it is dead letter 5f1c of the gateway on hub: taken out for tempo, too-large: TRACE_TOO_LARGE',
      deadLetter: '5f1c',
    })
    expect((await ownHop(through, through, others)).deadLetter).toBeUndefined()
  })
})

describe('behind the stock queue', () => {
  const passed = {[agentCounters]: agentPage(13)}
  const failed = 'otelcol_exporter_send_failed_spans{exporter="otlp_grpc/tempo"} 40'

  test('it is not said to be sent on where items were dropped or wait', async () => {
    const dropped = {...passed, [gatewayCounters]: `${gatewayPage(104)}\n${failed}`}
    expect(await hopOf({now: dropped})).toMatchObject({reason: expect.stringMatching(/^it dropped 40 items that tempo refused for good/)})
    expect(await hopOf({now: {...passed, [gatewayCounters]: gatewayPage(104, 6)}})).toMatchObject({
      reason: expect.stringMatching(/^it has sent other items on, and 6 items wait in its queue, the canary perhaps among them/),
    })
  })

  test('the answer of the store is told in full', async () => {
    const logs = {'hub/gateway': [complaint('2026-11-05T10:00:01.000Z', 'otlp_grpc/tempo', storeAnswer)]}
    const found = await hopOf({now: {...passed, [gatewayCounters]: gatewayPage(103, 7)}, logs})
    expect(found.reason).toBe(`${storeAnswer}; 7 items in its queue`)
  })
})

/** An agent that takes canaries, and stores that return those of the signals named. */
const hubThat = (returns: readonly string[], {refuses = false} = {}) => {
  const sent: {readonly url: string; readonly body: object}[] = []
  const asked: URL[] = []
  const http: Http = {
    async post(url, body) {
      sent.push({url, body})
      return refuses ? {status: 503, body: 'memory limit'} : {status: 200, body: '{}'}
    },
    async get(url) {
      asked.push(new URL(url))
      const answer = (body: object) => ({status: 200, body: JSON.stringify(body)})
      if (url.startsWith(stores.prometheus))
        return answer({data: {result: returns.includes('metrics') ? [{metric: {}, value: [1, '1']}] : []}})
      if (url.startsWith(stores.loki)) return answer({data: {result: returns.includes('logs') ? [{values: [['1', 'x']]}] : []}})
      if (!url.startsWith(stores.tempo)) return undefined
      return returns.includes('traces') ? answer({resource: [{value: {stringValue: 'edge-1'}}]}) : {status: 404, body: ''}
    },
  }
  return {http, sent, asked}
}
const silent = () => undefined
const wishOf = (http: Http, wanted: readonly Signal[], timeoutMs = 300) => {
  const {hub, edge} = opened(http)
  return {hub, edges: [edge], signals: wanted, timeoutMs}
}

test('a canary a signal is sent into the agent, and asked for by run and edge', async () => {
  const {http, sent, asked} = hubThat(signals)
  const {ok, run, canaries} = await verify(http, wishOf(http, signals, 2000), silent)
  expect(ok).toBe(true)
  expect(canaries.map(({signal, store, lastHop: hop}) => [signal, store, hop])).toEqual([
    ['metrics', 'prometheus', undefined],
    ['logs', 'loki', undefined],
    ['traces', 'tempo', undefined],
  ])
  for (const {latencyMs, acceptedMs} of canaries) expect(latencyMs).toBeGreaterThanOrEqual(acceptedMs ?? Infinity)
  expect(sent.map(({url}) => url)).toEqual(signals.map((signal) => `http://127.0.0.1:14401/v1/${signal}`))
  for (const {body} of sent) expect(JSON.stringify(body)).toContain(`{"key":"lkeobs.run","value":{"stringValue":"${run}"}}`)
  const queries = asked.flatMap(({searchParams}) => searchParams.get('query') ?? [])
  expect(queries.toSorted()).toEqual(
    [
      `lkeobs_canary{lkeobs_run="${run}",lkeobs_edge="edge-1"}`,
      `{service_name="lkeobs-canary", lkeobs_edge="edge-1"} | lkeobs_run="${run}"`,
    ].toSorted(),
  )
  const [traceId] = /[0-9a-f]{32}/.exec(JSON.stringify(sent.at(-1)?.body)) ?? []
  expect(asked.map(String)).toContain(`${stores.tempo}/api/traces/${traceId}`)
})

test('what the stores do not return is missing, however much else they have', async () => {
  const {http} = hubThat(['logs'])
  const {ok, canaries} = await verify(http, wishOf(http, signals), silent)
  expect(ok).toBe(false)
  expect(canaries.map((canary) => [canary.ok, canary.lastHop])).toEqual([
    [false, 'agent'],
    [true, undefined],
    [false, 'agent'],
  ])
  const other = hubThat(['traces'])
  const wish = wishOf(other.http, ['traces'])
  const elsewhere = {...wish, edges: wish.edges.map((edge) => ({...edge, name: 'edge-9'}))}
  expect((await verify(other.http, elsewhere, silent)).ok).toBe(false)
})

test('what the agent does not take was counted by nobody', async () => {
  const refusing = hubThat([], {refuses: true}).http
  const refused = await verify(refusing, wishOf(refusing, ['logs']), silent)
  expect(refused.canaries).toMatchObject([
    {ok: false, lastHop: 'none', reason: 'the agent did not accept it: http://127.0.0.1:14401 refused it: 503 memory limit'},
  ])
  const dead = await verify(httpOf({}), wishOf(httpOf({}), ['logs']), silent)
  expect(dead.canaries).toMatchObject([{lastHop: 'none', reason: 'the agent did not accept it: nothing answers at http://127.0.0.1:14401'}])
})

const verification: Verification = {
  run: 'abcd1234',
  ok: false,
  canaries: [
    {edge: 'edge-1', signal: 'metrics', store: 'prometheus', ok: true, acceptedMs: 3, latencyMs: 1234},
    {edge: 'edge-1', signal: 'logs', store: 'loki', ok: false, acceptedMs: 4, lastHop: 'gateway', reason: 'nothing listens where it sends'},
    {edge: 'edge-2', signal: 'traces', store: 'tempo', ok: false, acceptedMs: 5, lastHop: 'agent', reason: 'it has not sent it on'},
    {
      edge: 'edge-2',
      signal: 'logs',
      store: 'loki',
      ok: false,
      lastHop: 'none',
      reason: 'the agent did not accept it: <"a" & \'b\'> ]]> \u0007\u001B[31m',
    },
  ],
}

test('the report for people', () => {
  expect(stripVTControlCharacters(verificationText({...verification, canaries: verification.canaries.slice(0, 3)}))).toMatchInlineSnapshot(`
    "edge    signal   path                              queryable
    edge-1  metrics  agent 3ms → gateway → prometheus  1.2s  ✔
    edge-1  logs     agent 4ms → gateway → loki ✖
            last counted by the gateway: nothing listens where it sends
    edge-2  traces   agent 5ms → gateway ✖
            last counted by the agent: it has not sent it on
    2 edges, 3 canaries, 1 read back.   run abcd1234
    › lkeobs status
    › lkeobs explain LKO-2001"
  `)
  const [good] = verification.canaries
  expect(stripVTControlCharacters(verificationText({...verification, ok: true, canaries: good ? [good] : []}))).toMatchInlineSnapshot(`
    "edge    signal   path                              queryable
    edge-1  metrics  agent 3ms → gateway → prometheus  1.2s  ✔
    1 edge, 1 canary, 1 read back.   run abcd1234"
  `)
})

/** The names of the elements in their order; anything that is not well-formed XML throws. */
const elementsOf = (xml: string): readonly string[] => {
  const open: string[] = []
  const all: string[] = []
  const text = /(?:[^<&\p{Cc}]|\s|&(?:amp|lt|gt|quot);)*/uy
  const tag = /<(\/?)([a-z]+)((?:\s+[a-z]+="(?:[^<&"\p{Cc}]|&(?:amp|lt|gt|quot);)*")*)\s*(\/?)>/uy
  let at = xml.indexOf('?>') + 2
  while (at < xml.length) {
    text.lastIndex = at
    at += text.exec(xml)?.[0].length ?? 0
    if (at === xml.length) break
    tag.lastIndex = at
    const [whole, closing, name = '', , empty] = tag.exec(xml) ?? []
    if (whole === undefined) throw new Error(`not XML: ${xml.slice(at, at + 80)}`)
    at += whole.length
    if (closing && open.pop() !== name) throw new Error(`</${name}> closes nothing`)
    if (!closing) all.push(name)
    if (!closing && !empty) open.push(name)
  }
  if (open.length > 0) throw new Error(`<${open.at(-1)}> is not closed`)
  return all
}

test('the report for machines is XML whatever it has to say', () => {
  const xml = verificationJunit(verification)
  expect(elementsOf(xml)).toEqual([
    'testsuites',
    'testsuite',
    'testcase',
    'testcase',
    'failure',
    'testcase',
    'failure',
    'testcase',
    'failure',
  ])
  expect(xml).toContain('<testsuite name="lkeobs verify abcd1234" tests="4" failures="3">')
  expect(xml).toContain('<testcase classname="edge-1" name="metrics to prometheus" time="1.234"/>')
  expect(xml).toContain('&lt;&quot;a&quot; &amp; ')
  expect(() => elementsOf('<a>&</a>')).toThrow('not XML')
})
