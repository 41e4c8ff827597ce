import {once} from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type {AddressInfo, Server} from 'node:net'
import {describe, expect, onTestFinished, test} from 'vitest'
import {datadog} from '../../src/destinations/datadog.ts'
import type {DestinationKind, Secrets} from '../../src/destinations/kind.ts'
import {otlp} from '../../src/destinations/otlp.ts'
import {splunk} from '../../src/destinations/splunk.ts'
import {LkeobsError} from '../../src/errors.ts'
import {Secret} from '../../src/secret.ts'
import {createWire, type Wire} from '../../src/tools/wire.ts'
import {createX509} from '../../src/tools/x509.ts'

const x509 = createX509()
const authority = (commonName: string) => x509.createCa({commonName, days: 1, pathLength: 0})

/** A server on a port of its own, for as long as the test takes. */
const listening = async (server: Server): Promise<number> => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

type Reply = {readonly status?: number; readonly type?: string; readonly body?: string}
const answering =
  ({status = 200, type = 'application/json', body = ''}: Reply, seen: string[] = []): http.RequestListener =>
  (request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? ''}`)
    request.resume()
    request.on('end', () => response.writeHead(status, {'content-type': type, date: new Date(0).toUTCString()}).end(body))
  }

const token = 'T0K3N-of-the-collector'

/** What the probe says: its words, or the error a person sees. */
const probing = async (
  kind: DestinationKind,
  settings: object,
  {
    secrets = {token: new Secret(token)},
    signals = ['logs'],
    wire = createWire(),
  }: {secrets?: Secrets; signals?: readonly ('logs' | 'metrics' | 'traces')[]; wire?: Wire} = {},
) => {
  try {
    return (await kind.probe({name: 'corp', settings: kind.schema.parse(settings), secrets, signals}, wire)).said
  } catch (error) {
    if (!(error instanceof LkeobsError)) throw error
    expect(`${error.message} ${error.next.join(' ')}`).not.toContain(token)
    expect(error.message).toMatch(/Nothing was changed\.$/)
    return error.code
  }
}

describe('Splunk', () => {
  const splunkThat = async (reply: Reply, seen?: string[]) => ({
    endpoint: `http://127.0.0.1:${await listening(http.createServer(answering(reply, seen)))}`,
    index: 'otel',
  })

  test('takes a real event, with its token, where events are posted', async () => {
    const seen: string[] = []
    expect(await probing(splunk, await splunkThat({body: '{"text":"Success","code":0}'}, seen))).toBe('Success (code 0), index otel')
    expect(seen).toEqual([`POST /services/collector Splunk ${token}`])
  })

  test.for([
    ['a token that is disabled', 403, '{"text":"Token disabled","code":1}', 'LKO-7108'],
    ['no token', 401, '{"text":"Token is required","code":2}', 'LKO-7108'],
    ['a token of another form', 401, '{"text":"Invalid authorization","code":3}', 'LKO-7108'],
    ['a wrong token', 403, '{"text":"Invalid token","code":4}', 'LKO-7108'],
    ['a wrong index', 400, '{"text":"Incorrect index","code":7,"invalid-event-number":0}', 'LKO-7109'],
    ['a server that is busy', 503, '{"text":"Server is busy","code":9}', 'LKO-7111'],
    ['a token that wants acknowledgements', 400, '{"text":"Data channel is missing","code":10}', 'LKO-7112'],
    ['anything else', 400, '{"text":"Invalid data format","code":6}', 'LKO-7113'],
    ['a proxy that agrees to everything', 200, '<html>ok</html>', 'LKO-7110'],
    ['a proxy that agrees in JSON', 200, '{"ok":true}', 'LKO-7110'],
    ['a proxy that asks who you are', 407, '', 'LKO-7110'],
    ['another program', 404, '404 page not found', 'LKO-7110'],
  ] as const)('%s', async ([, status, body, code]) => {
    expect(await probing(splunk, await splunkThat({status, body}))).toBe(code)
  })
})

describe('the way there', () => {
  const ok: Reply = {body: '{"text":"Success","code":0}'}
  const secure = async (name: string, ca: Awaited<ReturnType<typeof authority>>) => {
    const {certificate, key} = await x509.issueServer(ca, {commonName: name, names: [name], days: 1})
    const server = https.createServer({cert: certificate, key: key.reveal()}, answering(ok))
    server.on('tlsClientError', () => undefined)
    return listening(server)
  }

  test('a port at which nobody listens, and a name that nobody has', async () => {
    const server = http.createServer()
    const port = await listening(server)
    server.close()
    expect(await probing(splunk, {endpoint: `http://127.0.0.1:${port}`})).toBe('LKO-7101')
    expect(await probing(splunk, {endpoint: 'http://nobody.invalid:8088'})).toBe('LKO-7102')
  })

  test('a certificate of the CA that was given, of another one, and of another name', async () => {
    const [own, other] = [await authority('own'), await authority('other')]
    const port = await secure('localhost', own)
    const endpoint = `https://localhost:${port}`
    expect(await probing(splunk, {endpoint, ca: own.certificate})).toBe('Success (code 0)')
    expect(await probing(splunk, {endpoint, ca: other.certificate})).toBe('LKO-7104')
    expect(await probing(splunk, {endpoint})).toBe('LKO-7104')
    expect(await probing(splunk, {endpoint: `https://127.0.0.1:${port}`, ca: own.certificate})).toBe('LKO-7105')
  })

  test('TLS where there is none, and none where there is', async () => {
    const plain = await listening(http.createServer(answering(ok)))
    expect(await probing(splunk, {endpoint: `https://127.0.0.1:${plain}`})).toBe('LKO-7106')
    const port = await secure('localhost', await authority('own'))
    expect(await probing(splunk, {endpoint: `http://localhost:${port}`})).toBe('LKO-7106')
  })
})

describe('OTLP by HTTP', () => {
  const type = 'application/x-protobuf'
  const otlpThat = async (reply: Reply, seen?: string[]) => ({
    endpoint: `http://127.0.0.1:${await listening(http.createServer(answering(reply, seen)))}/otlp/`,
    protocol: 'http',
    header: 'authorization',
  })
  const secrets = {'header-value': new Secret(`Bearer ${token}`)}

  test('an item of each signal, with the header', async () => {
    const seen: string[] = []
    const settings = await otlpThat({type}, seen)
    expect(await probing(otlp, settings, {secrets, signals: ['logs', 'traces']})).toBe('HTTP takes logs (200), HTTP takes traces (200)')
    expect(seen).toEqual([`POST /otlp/v1/logs Bearer ${token}`, `POST /otlp/v1/traces Bearer ${token}`])
  })

  test.for([
    ['a proxy that agrees to everything', {type: 'text/html', body: 'ok'}, 'LKO-7110'],
    ['a proxy that agrees in JSON', {type: 'application/json', body: '{}'}, 'LKO-7110'],
    ['another path', {status: 404, body: 'not found'}, 'LKO-7110'],
    ['a login page', {status: 302}, 'LKO-7110'],
    ['a header that it does not know', {status: 401}, 'LKO-7108'],
    ['one that is busy', {status: 429, type}, 'LKO-7111'],
    ['one that cannot read it', {status: 400, type, body: 'x'}, 'LKO-7113'],
  ] as const)('%s', async ([, reply, code]) => {
    expect(await probing(otlp, await otlpThat(reply), {secrets})).toBe(code)
  })
})

describe('OTLP by gRPC', () => {
  /** A gRPC server that ends each call with this status. */
  const grpcThat = async (trailers: Record<string, string>, type = 'application/grpc', status = 200) => {
    const server = http2.createServer()
    server.on('stream', (stream) => {
      stream.resume()
      stream.on('end', () => {
        stream.respond({':status': status, 'content-type': type}, {waitForTrailers: true})
        stream.on('wantTrailers', () => stream.sendTrailers(trailers))
        stream.end()
      })
    })
    return {endpoint: `http://127.0.0.1:${await listening(server)}`}
  }

  test.for([
    ['one that takes it', {'grpc-status': '0'}, 'gRPC takes logs (status 0)'],
    ['one that does not know who asks', {'grpc-status': '16', 'grpc-message': 'who%20are%20you'}, 'LKO-7108'],
    ['one that has no logs', {'grpc-status': '12'}, 'LKO-7110'],
    ['one that is busy', {'grpc-status': '14'}, 'LKO-7111'],
    ['one that cannot read it', {'grpc-status': '3'}, 'LKO-7113'],
  ] as const)('%s', async ([, trailers, said]) => {
    expect(await probing(otlp, await grpcThat(trailers))).toBe(said)
  })

  test('a proxy that agrees to everything, and one that speaks HTTP', async () => {
    expect(await probing(otlp, await grpcThat({}, 'text/html'))).toBe('LKO-7110')
    const port = await listening(http.createServer(answering({})))
    expect(await probing(otlp, {endpoint: `http://127.0.0.1:${port}`})).toBe('LKO-7106')
  })

  test('one that wants a certificate of who asks', async () => {
    const ca = await authority('own')
    const {certificate, key} = await x509.issueServer(ca, {commonName: 'localhost', names: ['localhost'], days: 1})
    const server = http2.createSecureServer({
      cert: certificate,
      key: key.reveal(),
      ca: ca.certificate,
      requestCert: true,
      rejectUnauthorized: true,
    })
    server.on('tlsClientError', () => undefined)
    server.on('stream', (stream) => stream.respond({':status': 200}, {endStream: true}))
    const endpoint = `https://localhost:${await listening(server)}`
    expect(await probing(otlp, {endpoint, ca: ca.certificate})).toBe('LKO-7107')
  })
})

describe('Datadog', () => {
  const site = {site: 'datadoghq.eu'}
  const wireThat = (replies: Readonly<Record<string, Reply>>, seen: string[] = []): Wire => ({
    ...createWire(),
    async ask({url, headers}) {
      const {status = 200, type = 'application/json', body = '{}'} = replies[new URL(url).hostname] ?? {}
      seen.push(`${url} ${headers?.['dd-api-key'] instanceof Secret ? 'with the key' : ''}`)
      return {status, contentType: type, body: Buffer.from(body), latencyMs: 1}
    },
  })
  const secrets = {'api-key': new Secret(token)}
  const valid = {'api.datadoghq.eu': {body: '{"valid":true}'}}

  test('the key, then the intake', async () => {
    const seen: string[] = []
    expect(await probing(datadog, site, {secrets, wire: wireThat({...valid, 'http-intake.logs.datadoghq.eu': {status: 202}}, seen)})).toBe(
      'the key is valid, the intake of logs takes an item',
    )
    expect(seen).toEqual([
      'https://api.datadoghq.eu/api/v1/validate with the key',
      'https://http-intake.logs.datadoghq.eu/api/v2/logs with the key',
    ])
  })

  test.for([
    ['a wrong key', {'api.datadoghq.eu': {status: 403, body: '{"errors":["Forbidden"]}'}}, 'LKO-7108'],
    ['a key that the intake refuses', {...valid, 'http-intake.logs.datadoghq.eu': {status: 403}}, 'LKO-7108'],
    ['a proxy that agrees to everything', {'api.datadoghq.eu': {type: 'text/html', body: 'ok'}}, 'LKO-7110'],
    ['a proxy that agrees in JSON', {'api.datadoghq.eu': {body: '{}'}}, 'LKO-7110'],
    ['one that is busy', {...valid, 'http-intake.logs.datadoghq.eu': {status: 503}}, 'LKO-7111'],
  ] as const)('%s', async ([, replies, code]) => {
    expect(await probing(datadog, site, {secrets, wire: wireThat(replies)})).toBe(code)
  })
})
