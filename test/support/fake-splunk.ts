import {once} from 'node:events'
import https from 'node:https'
import type {AddressInfo} from 'node:net'
import {gunzipSync} from 'node:zlib'
import {createX509, type KeyPair} from '../../src/tools/x509.ts'

/**
 * A token of the HTTP Event Collector, as Splunk's administrator sets it up. The indexes are those it may write to, the first of
 * them where an event goes that names none.
 */
export type HecToken = {readonly value: string; readonly indexes: readonly string[]; disabled?: boolean; readonly useAck?: boolean}

/** How it behaves: as Splunk does, as Splunk whose queues are full, or as a proxy that agrees to everything. */
export type Mood = 'splunk' | 'busy' | 'proxy'

/** Status and words by code: Splunk, Get data in, Troubleshoot HTTP Event Collector, possible error codes. */
const replies = {
  0: [200, 'Success'],
  1: [403, 'Token disabled'],
  2: [401, 'Token is required'],
  3: [401, 'Invalid authorization'],
  4: [403, 'Invalid token'],
  5: [400, 'No data'],
  6: [400, 'Invalid data format'],
  7: [400, 'Incorrect index'],
  9: [503, 'Server is busy'],
  10: [400, 'Data channel is missing'],
  12: [400, 'Event field is required'],
  13: [400, 'Event field cannot be blank'],
  17: [200, 'HEC is healthy'],
  18: [503, 'HEC is unhealthy, queues are full'],
} as const satisfies Record<number, readonly [number, string]>

export type HecCode = keyof typeof replies

/** An event as it was taken, with the index it went to. */
export type HecEvent = {readonly event: unknown; readonly index: string; readonly source?: string; readonly sourcetype?: string}

type Sent = Partial<HecEvent>

/** Events stand one after the other, with or without something between them. Undefined where the text is none of that. */
const eventsIn = (text: string): readonly Sent[] | undefined => {
  const found: Sent[] = []
  let depth = 0
  let from = 0
  let isQuoted = false
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (isQuoted) {
      if (character === '\\') at++
      else if (character === '"') isQuoted = false
    } else if (character === '"') isQuoted = true
    else if (character === '{' && depth++ === 0) from = at
    else if (character === '}' && --depth === 0) {
      try {
        found.push(JSON.parse(text.slice(from, at + 1)) as Sent)
      } catch {
        return undefined
      }
    }
  }
  return depth === 0 && found.length > 0 ? found : undefined
}

export type FakeSplunk = Awaited<ReturnType<typeof fakeSplunk>>

/**
 * An HTTP Event Collector over TLS that answers with Splunk's own words: who may write what is asked of events alone, and health
 * is told to anybody. Port 0 is any that is free.
 */
export const fakeSplunk = async (tokens: readonly HecToken[], port = 0) => {
  const x509 = createX509()
  const ca = await x509.createCa({commonName: 'Splunk stand-in CA', days: 30, pathLength: 0})
  const leaf: KeyPair = await x509.issueServer(ca, {commonName: 'splunk', names: ['localhost', '127.0.0.1'], days: 20})
  const taken: HecEvent[] = []
  const answered = new Map<number, number>()
  let mood: Mood = 'splunk'

  const judged = (authorization: string | undefined, channel: string | undefined, text: string): readonly [HecCode, number?] => {
    if (mood === 'busy') return [9]
    if (authorization === undefined || authorization === '') return [2]
    const [, value] = /^Splunk (\S+)$/.exec(authorization) ?? []
    if (value === undefined) return [3]
    const token = tokens.find((known) => known.value === value)
    if (!token) return [4]
    if (token.disabled === true) return [1]
    if (token.useAck === true && channel === undefined) return [10]
    if (text.trim() === '') return [5]
    const events = eventsIn(text)
    if (!events) return [6, 0]
    for (const [at, {event, index}] of events.entries()) {
      if (event === undefined) return [12, at]
      if (event === '') return [13, at]
      if (index !== undefined && !token.indexes.includes(index)) return [7, at]
    }
    taken.push(...events.map((sent) => ({...sent, event: sent.event, index: sent.index ?? token.indexes[0] ?? 'main'})))
    return [0]
  }

  const server = https.createServer({key: leaf.key.reveal(), cert: leaf.certificate}, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (mood === 'proxy') {
        response.writeHead(200, {'content-type': 'text/html'}).end('<html><body>Welcome. Please log in.</body></html>')
        return
      }
      const answer = (code: HecCode, event?: number) => {
        answered.set(code, (answered.get(code) ?? 0) + 1)
        const [status, words] = replies[code]
        const body = {text: words, code, ...(event !== undefined && {'invalid-event-number': event})}
        response.writeHead(status, {'content-type': 'application/json; charset=UTF-8'}).end(JSON.stringify(body))
      }
      const {pathname} = new URL(request.url ?? '/', 'https://splunk')
      if (pathname === '/services/collector/health') {
        answer(mood === 'busy' ? 18 : 17)
        return
      }
      if (!/^\/services\/collector(\/event(\/1\.0)?)?$/.test(pathname)) {
        const body = {text: 'The requested URL was not found on this server.', code: 404}
        response.writeHead(404, {'content-type': 'application/json; charset=UTF-8'}).end(JSON.stringify(body))
        return
      }
      const whole = Buffer.concat(chunks)
      const text = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(whole) : whole).toString()
      const channel = request.headers['x-splunk-request-channel']
      answer(...judged(request.headers.authorization, typeof channel === 'string' ? channel : undefined, text))
    })
  })
  const listen = async (at: number): Promise<number> => {
    server.listen(at, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const own = await listen(port)
  return {
    port: own,
    endpoint: `https://127.0.0.1:${own}`,
    /** Who signed its certificate (PEM). */
    ca: ca.certificate,
    taken: taken as readonly HecEvent[],
    /** How often each code was answered. */
    answered: answered as ReadonlyMap<number, number>,
    set mood(wanted: Mood) {
      mood = wanted
    },
    /** Nothing listens any more; what was taken stays. */
    async stop(): Promise<void> {
      if (!server.listening) return
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
    async start(): Promise<void> {
      await listen(own)
    },
  }
}
