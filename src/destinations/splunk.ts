import {z} from 'zod'
import {address, certificate, hasTls, hostPort} from './endpoint.ts'
import {kind, type Probed, type ProbeOf} from './kind.ts'
import {maxStoreBytes} from '../collector/sizes.ts'
import type {Code} from '../errors.ts'
import {Secret} from '../secret.ts'
import type {Wire} from '../tools/wire.ts'
import {refused, shown, unanswered} from './refusal.ts'

const usualPath = '/services/collector'

const schema = z
  .strictObject({
    endpoint: address.describe(
      `The HTTP Event Collector: https://splunk.example:8088, with ${usualPath} after it unless another path is given.`,
    ),
    index: z.string().min(1).optional().describe("The index that everything goes to; the token's own unless given."),
    source: z.string().min(1).optional().describe('What events say of where they come from.'),
    sourcetype: z.string().min(1).optional().describe('What events say of what they are.'),
    ca: certificate.optional().describe('Whom to trust when it answers (PEM); whom the gateway trusts anyway unless given.'),
  })
  .describe('Splunk, by its HTTP Event Collector.')

type Splunk = z.infer<typeof schema>

/** The address that events are posted to. */
const collectorOf = ({endpoint}: Pick<Splunk, 'endpoint'>): string => {
  const url = new URL(endpoint)
  return url.pathname === '/' ? `${url.origin}${usualPath}` : endpoint.replace(/\/$/, '')
}

/** What Splunk says by a number (Splunk, Troubleshoot HTTP Event Collector: error codes), and what is to be given anew. */
const replies: Readonly<Record<number, readonly [Code, string]>> = {
  1: ['LKO-7108', '--token-file FILE'],
  2: ['LKO-7108', '--token-file FILE'],
  3: ['LKO-7108', '--token-file FILE'],
  4: ['LKO-7108', '--token-file FILE'],
  7: ['LKO-7109', '--index NAME'],
  8: ['LKO-7111', '          (later)'],
  9: ['LKO-7111', '          (later)'],
  10: ['LKO-7112', '--token-file FILE'],
  23: ['LKO-7111', '          (later)'],
}

const codeIn = (body: Buffer): {readonly text?: unknown; readonly code?: unknown} => {
  try {
    const answer: unknown = JSON.parse(body.toString())
    return typeof answer === 'object' && answer !== null ? answer : {}
  } catch {
    return {}
  }
}

/** A real event to the index it is for: Splunk's health endpoint looks at neither token nor index. */
const probe = async ({name, settings, secrets: {token}}: ProbeOf<Splunk>, wire: Wire): Promise<Probed> => {
  const asked = {kind: 'splunk', name, at: collectorOf(settings)}
  const {index, source = 'lkeobs', sourcetype, ca} = settings
  const reply = await wire.ask({
    url: asked.at,
    body: JSON.stringify({event: 'lkeobs.probe', time: Date.now() / 1000, source, index, sourcetype}),
    headers: {'content-type': 'application/json', authorization: new Secret(`Splunk ${token?.reveal() ?? ''}`)},
    tls: {ca},
  })
  if ('fault' in reply) throw unanswered(asked, reply)
  const {text, code} = codeIn(reply.body)
  const said = `${reply.status}, ${shown(reply.body)}`
  if (typeof code !== 'number') throw refused('LKO-7110', asked, `it answers ${said}, which is not what Splunk answers`, '--endpoint URL')
  if (reply.status === 200 && code === 0) {
    const {latencyMs, clockMs} = reply
    return {
      said: `${String(text)} (code 0)${index === undefined ? '' : `, index ${index}`}`,
      latencyMs,
      ...(clockMs !== undefined && {clockMs}),
    }
  }
  const [error, flags] = replies[code] ?? (['LKO-7113', '--endpoint URL'] as const)
  throw refused(error, asked, `it answers ${said}${code === 7 ? `: the token may not write to index ${index ?? 'of its own'}` : ''}`, flags)
}

export const splunk = kind<Splunk>({
  name: 'splunk',
  about: 'Splunk, by its HTTP Event Collector',
  signals: ['metrics', 'logs', 'traces'],
  // metrics need an index that is made for them
  usual: ['logs'],
  schema,
  flags: {
    endpoint: {about: 'where it is: https://splunk.example:8088', value: 'URL', asked: 'Address of the HTTP Event Collector'},
    index: {about: 'the index that everything goes to', value: 'NAME'},
    source: {about: 'what events say of where they come from', value: 'TEXT'},
    sourcetype: {about: 'what events say of what they are', value: 'TEXT'},
    'ca-file': {about: 'whom to trust when it answers (PEM)', value: 'FILE', setting: 'ca', isFile: true},
  },
  secrets: [{name: 'token', about: 'token of the HTTP Event Collector'}],
  needs: () => ['token'],
  rendered: (settings, secret) => ({
    exporter: 'splunk_hec',
    settings: {
      endpoint: collectorOf(settings),
      token: secret('token'),
      ...(settings.index !== undefined && {index: settings.index}),
      ...(settings.source !== undefined && {source: settings.source}),
      ...(settings.sourcetype !== undefined && {sourcetype: settings.sourcetype}),
      ...(settings.ca !== undefined && {tls: {ca_pem: settings.ca}}),
    },
    // a batch in pieces would come twice where one of them fails
    sizes: Object.fromEntries(
      ['max_event_size', 'max_content_length_logs', 'max_content_length_metrics', 'max_content_length_traces'].map((key) => [
        key,
        maxStoreBytes,
      ]),
    ),
    // one of them anywhere in a batch, and the whole batch is refused or goes elsewhere
    obeys: ['com.splunk.hec.access_token', 'com.splunk.index'],
  }),
  at: collectorOf,
  tlsAt: ({endpoint}) => (hasTls(endpoint) ? hostPort(endpoint) : undefined),
  probe,
})
