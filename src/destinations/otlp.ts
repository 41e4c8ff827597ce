import {randomBytes} from 'node:crypto'
import {z} from 'zod'
import type {Signal} from '../collector/config.ts'
import {otlpMessage, otlpMethod} from '../tools/otlp-wire.ts'
import type {Wire} from '../tools/wire.ts'
import {address, certificate, hasTls, hostPort} from './endpoint.ts'
import {kind, type Probed, type ProbeOf} from './kind.ts'
import {type Asked, refused, shown, unanswered} from './refusal.ts'

const usualPort = {grpc: 4317, http: undefined} as const

const schema = z
  .strictObject({
    endpoint: address.describe(
      'Where it is: https://otlp.example:4317; http:// is without TLS. With HTTP the path before /v1/logs, if any.',
    ),
    protocol: z.enum(['grpc', 'http']).default('grpc').describe('How OTLP is spoken.'),
    compression: z.enum(['gzip', 'zstd', 'none']).default('gzip').describe('How what is sent is packed.'),
    header: z
      .string()
      .regex(/^[A-Za-z0-9-]+$/, {error: ({input}) => `expected the name of a header, got ${JSON.stringify(input)}`})
      .optional()
      .describe('The name of a header whose value is a secret in Vault: authorization.'),
    clientCertificate: z.boolean().default(false).describe('Whether the gateway shows a certificate, which is in Vault with its key.'),
    ca: certificate.optional().describe('Whom to trust when it answers (PEM); whom the gateway trusts anyway unless given.'),
  })
  .describe('Anything that takes OTLP.')

type Otlp = z.infer<typeof schema>

/** One item of a signal, and what is shown beside it. */
const requestOf = ({name, settings: {header, clientCertificate, ca}, secrets}: ProbeOf<Otlp>, signal: Signal) => {
  const value = secrets['header-value']
  return {
    message: otlpMessage(signal, {
      traceId: randomBytes(16).toString('hex'),
      spanId: randomBytes(8).toString('hex'),
      name: 'lkeobs.probe',
      service: 'lkeobs-probe',
      attributes: {'lkeobs.destination': name},
      time: `${Date.now()}000000`,
    }),
    headers: header !== undefined && value ? {[header]: value} : {},
    tls: {ca, ...(clientCertificate && {cert: secrets['cert'], key: secrets['key']})},
  }
}

const credentials = ({header, clientCertificate}: Otlp): string =>
  clientCertificate && header === undefined
    ? '--client-certificate --cert-file FILE --key-file FILE'
    : '--header authorization --header-value-file FILE'

const byGrpc = async (given: ProbeOf<Otlp>, asked: Asked, signal: Signal, wire: Wire): Promise<Probed> => {
  const {settings} = given
  const url = `${hasTls(settings.endpoint) ? 'https' : 'http'}://${hostPort(settings.endpoint, usualPort.grpc)}`
  const reply = await wire.grpc({url, path: otlpMethod(signal), ...requestOf(given, signal)})
  if ('fault' in reply) throw unanswered({...asked, at: url}, reply)
  const {status, message, httpStatus, contentType, latencyMs} = reply
  if (status === 0) return {said: `gRPC takes ${signal} (status 0)`, latencyMs}
  if (httpStatus === 401 || httpStatus === 403 || status === 7 || status === 16)
    throw refused(
      'LKO-7108',
      asked,
      `it answers ${status === undefined ? httpStatus : `gRPC status ${status}, ${JSON.stringify(message)}`}`,
      credentials(settings),
    )
  if (status === undefined || !contentType.startsWith('application/grpc'))
    throw refused('LKO-7110', asked, `it answers ${httpStatus} of ${contentType || 'no type'}, which is not gRPC`, '--protocol http')
  const said = `it answers gRPC status ${status}, ${JSON.stringify(message)}`
  if (status === 12) throw refused('LKO-7110', asked, `${said}: it does not take ${signal}`, '--signals SIGNAL')
  throw refused(status === 14 || status === 8 || status === 4 ? 'LKO-7111' : 'LKO-7113', asked, said, '          (later)')
}

const byHttp = async (given: ProbeOf<Otlp>, asked: Asked, signal: Signal, wire: Wire): Promise<Probed> => {
  const {message, headers, tls} = requestOf(given, signal)
  const url = `${given.settings.endpoint.replace(/\/$/, '')}/v1/${signal}`
  const reply = await wire.ask({url, body: message, headers: {...headers, 'content-type': 'application/x-protobuf'}, tls})
  if ('fault' in reply) throw unanswered({...asked, at: url}, reply)
  const {status, contentType, body, latencyMs, clockMs} = reply
  const said = `it answers ${status} of ${contentType || 'no type'}, ${shown(body)}`
  const at = {...asked, at: url}
  if (status === 401 || status === 403) throw refused('LKO-7108', at, said, credentials(given.settings))
  if (status === 429 || status === 502 || status === 503 || status === 504) throw refused('LKO-7111', at, said, '          (later)')
  // the answer is of the type of the question; a proxy that agrees to everything does not know that
  if (status !== 200 || !contentType.startsWith('application/x-protobuf'))
    throw refused(
      status === 200 || status === 404 || status === 405 || status < 200 || (status >= 300 && status < 400) ? 'LKO-7110' : 'LKO-7113',
      at,
      `${said}, which is not what OTLP answers`,
      '--endpoint URL',
    )
  return {said: `HTTP takes ${signal} (200)`, latencyMs, ...(clockMs !== undefined && {clockMs})}
}

/** An item of each signal it is to take. */
const probe = async (given: ProbeOf<Otlp>, wire: Wire): Promise<Probed> => {
  const asked = {kind: 'otlp', name: given.name, at: given.settings.endpoint}
  const all: Probed[] = []
  for (const signal of given.signals) all.push(await (given.settings.protocol === 'grpc' ? byGrpc : byHttp)(given, asked, signal, wire))
  const [first] = all
  if (!first) throw new Error('no signal to probe with')
  return {...first, said: all.map(({said}) => said).join(', ')}
}

export const otlp = kind<Otlp>({
  name: 'otlp',
  about: 'anything that takes OTLP, by gRPC or HTTP',
  signals: ['metrics', 'logs', 'traces'],
  usual: ['metrics', 'logs', 'traces'],
  schema,
  flags: {
    endpoint: {about: 'where it is: https://otlp.example:4317', value: 'URL', asked: 'Address that takes OTLP'},
    protocol: {about: 'how OTLP is spoken: grpc or http', value: 'NAME'},
    compression: {about: 'how what is sent is packed: gzip, zstd or none', value: 'NAME'},
    header: {about: 'the name of a header whose value is a secret', value: 'NAME'},
    'client-certificate': {about: 'the gateway shows a certificate', setting: 'clientCertificate'},
    'ca-file': {about: 'whom to trust when it answers (PEM)', value: 'FILE', setting: 'ca', isFile: true},
  },
  secrets: [
    {name: 'header-value', about: 'value of its header'},
    {name: 'cert', about: 'certificate that the gateway shows (PEM)', isFile: true},
    {name: 'key', about: 'key of that certificate (PEM)', isFile: true},
  ],
  needs: ({header, clientCertificate}) => [
    ...(header === undefined ? [] : ['header-value']),
    ...(clientCertificate ? ['cert', 'key'] : []),
  ],
  rendered: ({endpoint, protocol, compression, header, clientCertificate, ca}, secret) => ({
    exporter: protocol === 'grpc' ? 'otlp_grpc' : 'otlp_http',
    settings: {
      endpoint: protocol === 'grpc' ? hostPort(endpoint, usualPort.grpc) : endpoint.replace(/\/$/, ''),
      compression,
      timeout: '15s',
      tls: {
        ...(!hasTls(endpoint) && {insecure: true}),
        ...(ca !== undefined && {ca_pem: ca}),
        ...(clientCertificate && {cert_pem: secret('cert'), key_pem: secret('key')}),
      },
      ...(header !== undefined && {headers: {[header]: secret('header-value')}}),
    },
    // a receiver takes 4 MiB unless it is told otherwise, and refuses what is larger for good
    batch: {sizer: 'bytes', min_size: 500_000, max_size: 3_000_000},
  }),
  at: ({endpoint}) => endpoint,
  tlsAt: ({endpoint, protocol}) => (hasTls(endpoint) ? hostPort(endpoint, usualPort[protocol]) : undefined),
  probe,
})
