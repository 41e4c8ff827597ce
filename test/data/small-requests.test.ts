import {randomBytes, randomFillSync} from 'node:crypto'
import {readFileSync} from 'node:fs'
import {readFile, writeFile} from 'node:fs/promises'
import http2 from 'node:http2'
import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, expect, test} from 'vitest'
import {type Signal, signals} from '../../src/collector/config.ts'
import {createHttp} from '../../src/tools/http.ts'
import {otlpMethod} from '../../src/tools/otlp-wire.ts'
import {countLinesLoki, countPrometheus} from '../../src/tools/stores.ts'
import {issued, jwks} from '../../src/trust/credential.ts'
import {figures} from '../support/bulk.ts'
import {type DataLab, openDataLab} from '../support/data-lab.ts'
import {attributes, encodeOtlp} from '../support/otlp-proto.ts'
import {atFullLength} from './wish.ts'

const edgeCount = 50
const sendersPerEdge = 3
const requestsPerSecond = 5
const itemsPerRequest = 2
const seconds = Number(process.env['LKEOBS_DATA_SECONDS'] ?? 30)

let lab: DataLab

beforeAll(async () => {
  lab = await openDataLab({edges: 1})
})
afterAll(async () => {
  await lab?.close()
})

/** Credentials as enrolled edges have them, whose keys the gateway reads beside those it has. */
const enrolled = async (): Promise<readonly string[]> => {
  const file = lab.state('hub', 'gateway', 'edges.jwks')
  const {keys} = JSON.parse(await readFile(file, 'utf8')) as {readonly keys: Parameters<typeof jwks>[0]}
  const credentials = await Promise.all(Array.from({length: edgeCount}, (_, index) => issued(`small-${index}`, 'hub')))
  await writeFile(file, jwks([...keys, ...credentials.map(({publicKey}) => publicKey)]))
  await sleep(5000)
  return credentials.map(({token}) => token.reveal())
}

/** A client of the gateway as an agent is one: gRPC by mutual TLS, dialled anew when the gateway asks for it. */
const openClient = (token: string) => {
  const leaf = readFileSync(lab.state('edge-1', 'agent', 'leaf.pem'), 'utf8')
  const ca = readFileSync(lab.state('hub', 'ca', 'ca.pem'), 'utf8')
  let session: http2.ClientHttp2Session | undefined
  const dial = () => {
    const dialled = http2.connect(`https://127.0.0.1:${lab.gateway.port}`, {
      ca,
      cert: leaf,
      key: leaf,
      servername: 'localhost',
      checkServerIdentity: () => undefined,
    })
    dialled.on('error', () => undefined)
    dialled.on('goaway', () => {
      if (session === dialled) session = undefined
      dialled.close()
    })
    dialled.on('close', () => {
      if (session === dialled) session = undefined
    })
    return dialled
  }
  return {
    /** The gRPC status; -1 when the connection ended first. */
    send: (signal: Signal, message: Buffer): Promise<number> =>
      new Promise((resolve) => {
        session ??= dial()
        const stream = session.request({
          ':method': 'POST',
          ':path': otlpMethod(signal),
          'content-type': 'application/grpc',
          te: 'trailers',
          authorization: `Bearer ${token}`,
        })
        let status = -1
        const note = (headers: http2.IncomingHttpHeaders) => {
          if (headers['grpc-status'] !== undefined) status = Number(headers['grpc-status'])
        }
        stream.on('response', note)
        stream.on('trailers', note)
        stream.on('error', () => undefined)
        stream.on('close', () => resolve(status))
        stream.resume()
        const prefix = Buffer.alloc(5)
        prefix.writeUInt32BE(message.length, 1)
        stream.end(Buffer.concat([prefix, message]))
      }),
    close: () => session?.close(),
  }
}

/** Bytes that stand for a time or an id in a message that is made once. */
const placeOf = (bytes: number, index: number): Buffer => Buffer.alloc(bytes, 0xe0 + index)
const indexes = Array.from({length: itemsPerRequest}, (_, index) => index)

/** The requests of one sender: encoded once, with other times and ids each time. Encoding all anew would cost more than the gateway. */
const messagesOf = (signal: Signal, run: string, sender: number) => {
  const resource = {attributes: attributes({'service.name': `small-${run}`, 'service.instance.id': `${sender}`})}
  const time = (index: number) => placeOf(8, index).readBigUInt64LE()
  const name = (index: number) => `${run} ${sender} ${signal} ${index}`
  const request = {
    logs: () => ({
      resourceLogs: [
        {resource, scopeLogs: [{logRecords: indexes.map((index) => ({timeUnixNano: time(index), body: {stringValue: name(index)}}))}]},
      ],
    }),
    metrics: () => ({
      resourceMetrics: [
        {
          resource,
          scopeMetrics: [
            {metrics: [{name: 'small', gauge: {dataPoints: indexes.map((index) => ({timeUnixNano: time(index), asInt: sender}))}}]},
          ],
        },
      ],
    }),
    traces: () => ({
      resourceSpans: [
        {
          resource,
          scopeSpans: [
            {
              spans: indexes.map((index) => ({
                traceId: placeOf(16, index + 8),
                spanId: placeOf(8, index + 8),
                name: name(index),
                startTimeUnixNano: time(index),
                endTimeUnixNano: time(index),
              })),
            },
          ],
        },
      ],
    }),
  }
  const template = encodeOtlp(signal, request[signal]())
  const placesOf = (bytes: number, index: number): readonly number[] => {
    const places: number[] = []
    for (let at = template.indexOf(placeOf(bytes, index)); at !== -1; at = template.indexOf(placeOf(bytes, index), at + bytes))
      places.push(at)
    return places
  }
  const times = indexes.map((index) => placesOf(8, index))
  const ids = indexes.flatMap((index) => [
    ...placesOf(16, index + 8).map((at) => [at, 16] as const),
    ...placesOf(8, index + 8).map((at) => [at, 8] as const),
  ])
  return (): Buffer => {
    const message = Buffer.from(template)
    const ms = Date.now()
    for (const index of indexes) for (const at of times[index] ?? []) message.writeBigUInt64LE(BigInt(ms + index) * 1_000_000n, at)
    for (const [at, bytes] of ids) randomFillSync(message, at, bytes)
    return message
  }
}

/** Seconds of a processor that a process has used (proc(5): the clock ticks are 100 a second). */
const cpuOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

test(`${edgeCount * sendersPerEdge} senders of ${requestsPerSecond} requests a second and signal: nothing waits, on one processor`, async () => {
  const tokens = await enrolled()
  const run = randomBytes(3).toString('hex')
  const clients = tokens.flatMap((token) => Array.from({length: sendersPerEdge}, () => openClient(token)))
  const accepted = {metrics: 0, logs: 0, traces: 0}
  const statuses = new Map<number, number>()
  let isOver = false
  const flow = async (client: (typeof clients)[number], sender: number, signal: Signal) => {
    const everyMs = 1000 / requestsPerSecond
    const next = messagesOf(signal, run, sender)
    const began = Date.now() + Math.random() * everyMs
    for (let sequence = 0; ; sequence++) {
      await sleep(Math.max(0, began + sequence * everyMs - Date.now()))
      if (isOver) return
      // a connection that the gateway ends for its age may end under a request: as agents do, the same again
      const message = next()
      const first = await client.send(signal, message)
      const status = first === -1 ? await client.send(signal, message) : first
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (status === 0) accepted[signal] += itemsPerRequest
    }
  }
  const flowing = clients.flatMap((client, sender) => signals.map((signal) => flow(client, sender, signal)))
  // handshakes first
  await sleep(5000)
  const gateway = await lab.pidOf('hub', 'gateway')
  const [from, cpuFrom, acceptedFrom] = [Date.now(), cpuOf(gateway), {...accepted}]
  let oldest = 0
  let waiting = 0
  for (const end = from + seconds * 1000; Date.now() < end; await sleep(500)) {
    const queues = (await lab.queues('hub', 'gateway')) ?? []
    const edges = queues.flatMap(({sinks}) => sinks.flatMap((sink) => sink.edges))
    oldest = Math.max(oldest, ...edges.map(({oldestSeconds}) => oldestSeconds ?? 0))
    waiting = Math.max(
      waiting,
      edges.reduce((sum, {waitingItems}) => sum + waitingItems, 0),
    )
  }
  const took = (Date.now() - from) / 1000
  const processors = (cpuOf(gateway) - cpuFrom) / took
  const perSecond = signals.reduce((sum, signal) => sum + accepted[signal] - acceptedFrom[signal], 0) / itemsPerRequest / took
  isOver = true
  await Promise.all(flowing)
  for (const client of clients) client.close()

  const left = await lab.waiting(15_000)
  const http = createHttp()
  const period = {fromMs: Date.now() - 15 * 60_000, toMs: Date.now() + 1000}
  const stored = {
    metrics: await countPrometheus(http, lab.stores.prometheus, `small{job="small-${run}"}`, period),
    logs: await countLinesLoki(http, lab.stores.loki, `{service_name="small-${run}"}`, period),
  }
  figures('small requests', {
    seconds: took,
    requestsPerSecond: Math.round(perSecond),
    processors,
    oldestSeconds: oldest,
    mostWaiting: waiting,
    accepted,
    stored,
    statuses: Object.fromEntries(statuses),
    left,
  })
  expect(left).toEqual([])
  expect(stored).toEqual({metrics: accepted.metrics, logs: accepted.logs})
  expect(oldest).toBeLessThanOrEqual(atFullLength ? 2 : 10)
  // the senders share the processors with what they try
  expect(perSecond).toBeGreaterThan((atFullLength ? 0.9 : 0.5) * clients.length * signals.length * requestsPerSecond)
  expect(processors).toBeLessThanOrEqual(1)
  await lab.done('hub', 'init')
}, 900_000)
