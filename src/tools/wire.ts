import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import {messageOf} from '../errors.ts'
import {plain, type Secret} from '../secret.ts'

/** Whom to trust, and what to show; who a machine trusts anyway, and nothing, unless given. */
export type WireTls = {readonly ca?: string | undefined; readonly cert?: Secret | undefined; readonly key?: Secret | undefined}

export type WireRequest = {
  readonly url: string
  /** A POST where there is a body. */
  readonly body?: string | Uint8Array
  readonly headers?: Readonly<Record<string, string | Secret>>
  readonly tls?: WireTls
}

export type GrpcRequest = {
  /** `https://host:port`, or http:// without TLS. */
  readonly url: string
  /** `/package.Service/Method` */
  readonly path: string
  readonly message: Uint8Array
  readonly headers?: Readonly<Record<string, string | Secret>>
  readonly tls?: WireTls
}

/** Why there was no answer: nobody is there, nobody of that name, silence, a certificate, or another protocol. */
export type Fault = {
  readonly fault:
    | 'refused'
    | 'unknown'
    | 'silent'
    | 'untrusted'
    | 'misnamed'
    | 'expired'
    | 'unencrypted'
    | 'encrypted'
    | 'client'
    | 'broken'
  /** The system's own words. */
  readonly why: string
}

export type WireReply = {
  readonly status: number
  readonly contentType: string
  readonly body: Buffer
  readonly latencyMs: number
  /** The time by its clock, in ms since 1970, where it said so. */
  readonly clockMs?: number
}

/** `status` is that of gRPC; undefined where who answers speaks something else. */
export type GrpcReply = {
  readonly httpStatus: number
  readonly contentType: string
  readonly status: number | undefined
  readonly message: string
  readonly latencyMs: number
}

/** Requests to somebody else's server, whose every failure is told from the others. Sends what it is given, and follows no redirect. */
export type Wire = {
  ask(request: WireRequest): Promise<WireReply | Fault>
  grpc(request: GrpcRequest): Promise<GrpcReply | Fault>
}

const withinMs = 10_000
/** An answer to a little is little. */
const mostBytes = 65_536

const faults: readonly (readonly [RegExp, Fault['fault']])[] = [
  [/ECONNREFUSED/, 'refused'],
  [/ENOTFOUND|EAI_AGAIN/, 'unknown'],
  [/ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|no answer within/, 'silent'],
  [/CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/, 'expired'],
  [/ALTNAME/, 'misnamed'],
  [/UNABLE_TO_|SELF_SIGNED|CERT_/, 'untrusted'],
  [
    /ALERT_CERTIFICATE_REQUIRED|ALERT_BAD_CERTIFICATE|ALERT_UNKNOWN_CA|ALERT_HANDSHAKE_FAILURE|certificate required|bad certificate|unknown ca/i,
    'client',
  ],
  [/WRONG_VERSION_NUMBER|wrong version number|PACKET_LENGTH_TOO_LONG|packet length too long/i, 'unencrypted'],
]

/** The fault in the system's own words, told from the others. */
export const faultOf = (error: unknown, isTls: boolean): Fault => {
  const {code = '', reason = messageOf(error).split('\n')[0] || code} = error as {code?: string; reason?: string}
  const why = `${code} ${messageOf(error)}`.trim()
  const known = faults.find(([pattern]) => pattern.test(why))?.[1]
  // a server that wants TLS hangs up on what is none, or answers with an alert that is no HTTP
  return {
    fault: known ?? (isTls ? 'broken' : /ECONNRESET|HPE_|hang up|Protocol error|EPIPE/i.test(why) ? 'encrypted' : 'broken'),
    why: reason,
  }
}

const revealed = (headers: Readonly<Record<string, string | Secret>> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), plain(value)]))

const options = ({ca, cert, key}: WireTls = {}) => ({
  ...(ca !== undefined && {ca}),
  ...(cert && {cert: cert.reveal()}),
  ...(key && {key: key.reveal()}),
})

const ask = ({url, body, headers, tls}: WireRequest): Promise<WireReply | Fault> =>
  new Promise((resolve) => {
    const started = Date.now()
    const isTls = url.startsWith('https:')
    const length = body === undefined ? {} : {'content-length': Buffer.byteLength(body)}
    const settings = {method: body === undefined ? 'GET' : 'POST', agent: false as const, headers: {...revealed(headers), ...length}}
    const answered = (response: http.IncomingMessage) => {
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes <= mostBytes) chunks.push(chunk)
      })
      response.on('error', (error) => settle(faultOf(error, isTls)))
      response.on('end', () => {
        const clockMs = Date.parse(response.headers.date ?? '')
        settle({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          body: Buffer.concat(chunks),
          latencyMs: Date.now() - started,
          ...(Number.isFinite(clockMs) && {clockMs}),
        })
      })
    }
    let request: http.ClientRequest
    const settle = (reply: WireReply | Fault) => {
      clearTimeout(timer)
      resolve(reply)
    }
    const timer = setTimeout(() => request?.destroy(new Error(`no answer within ${withinMs / 1000} s`)), withinMs)
    try {
      request = isTls ? https.request(url, {...settings, ...options(tls)}, answered) : http.request(url, settings, answered)
      request.on('error', (error) => settle(faultOf(error, isTls)))
      request.end(body)
    } catch (error) {
      // a certificate or a header that Node cannot read
      settle(faultOf(error, isTls))
    }
  })

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/** One message in the frame of gRPC: not compressed, its length, itself. */
const framed = (message: Uint8Array): Buffer => {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

const grpc = ({url, path, message, headers, tls}: GrpcRequest): Promise<GrpcReply | Fault> =>
  new Promise((resolve) => {
    const started = Date.now()
    const isTls = url.startsWith('https:')
    let session: http2.ClientHttp2Session | undefined
    const settle = (reply: GrpcReply | Fault) => {
      clearTimeout(timer)
      resolve(reply)
      session?.destroy()
    }
    const failed = (error: unknown) => settle(faultOf(error, isTls))
    const timer = setTimeout(() => failed(new Error(`no answer within ${withinMs / 1000} s`)), withinMs)
    try {
      session = http2.connect(url, isTls ? {...options(tls), ALPNProtocols: ['h2']} : {})
      session.on('error', failed)
      session.on('close', () => failed(new Error('socket hang up: the connection was closed')))
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...revealed(headers),
      })
      let seen: Record<string, unknown> = {}
      stream.on('response', (answer) => (seen = {...seen, ...answer}))
      stream.on('trailers', (trailers) => (seen = {...seen, ...trailers}))
      stream.on('error', failed)
      stream.on('data', () => undefined)
      stream.on('end', () => {
        const status = seen['grpc-status']
        settle({
          httpStatus: Number(seen[':status'] ?? 0),
          contentType: textOf(seen['content-type']),
          status: status === undefined ? undefined : Number(status),
          message: decodeURIComponent(textOf(seen['grpc-message'])),
          latencyMs: Date.now() - started,
        })
      })
      stream.end(framed(message))
    } catch (error) {
      failed(error)
    }
  })

export const createWire = (): Wire => ({ask, grpc})

/** Sends nothing; whoever would be asked is said to have agreed. */
export const dryWire = (record: (line: string) => void): Wire => ({
  async ask({url, body}) {
    record(`curl ${body === undefined ? '' : '--data @- '}${url}`)
    return {status: 200, contentType: '', body: Buffer.alloc(0), latencyMs: 0}
  },
  async grpc({url, path}) {
    record(`grpcurl ${url.replace(/^https?:\/\//, '')} ${path.slice(1)}`)
    return {httpStatus: 200, contentType: 'application/grpc', status: 0, message: '', latencyMs: 0}
  },
})
