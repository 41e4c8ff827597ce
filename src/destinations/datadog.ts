import {z} from 'zod'
import type {Secret} from '../secret.ts'
import type {Wire, WireReply} from '../tools/wire.ts'
import {kind, type Probed, type ProbeOf} from './kind.ts'
import {refused, shown, unanswered} from './refusal.ts'

const schema = z
  .strictObject({
    site: z
      .string()
      .regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/, {error: ({input}) => `expected a site such as datadoghq.eu, got ${JSON.stringify(input)}`})
      .default('datadoghq.com')
      .describe('The site of the account: datadoghq.com, datadoghq.eu, us3.datadoghq.com, us5.datadoghq.com, ap1.datadoghq.com.'),
  })
  .describe('Datadog.')

type Datadog = z.infer<typeof schema>

/** The key first, then an item to the intake of logs, which is where the exporter sends them. */
const probe = async ({name, settings: {site}, secrets, signals}: ProbeOf<Datadog>, wire: Wire): Promise<Probed> => {
  const answer = async (at: string, body?: string): Promise<WireReply> => {
    const asked = {kind: 'datadog', name, at}
    const headers: Record<string, string | Secret> = {'content-type': 'application/json', 'dd-api-key': secrets['api-key'] ?? ''}
    const reply = await wire.ask({url: at, headers, ...(body !== undefined && {body})})
    if ('fault' in reply) throw unanswered(asked, reply)
    const said = `it answers ${reply.status}, ${shown(reply.body)}`
    if (reply.status === 401 || reply.status === 403) throw refused('LKO-7108', asked, said, '--api-key-file FILE')
    if (reply.status === 429 || reply.status >= 500) throw refused('LKO-7111', asked, said, '          (later)')
    if (reply.status >= 300 || !reply.contentType.includes('json'))
      throw refused('LKO-7110', asked, `${said}, which is not what Datadog answers`, '--site HOST')
    return reply
  }
  const validated = await answer(`https://api.${site}/api/v1/validate`)
  if (!/"valid"\s*:\s*true/.test(validated.body.toString()))
    throw refused(
      'LKO-7110',
      {kind: 'datadog', name, at: `https://api.${site}/api/v1/validate`},
      `it answers ${shown(validated.body)}`,
      '--site HOST',
    )
  const takesLogs = signals.includes('logs')
  if (takesLogs)
    await answer(
      `https://http-intake.logs.${site}/api/v2/logs`,
      JSON.stringify([{message: 'lkeobs.probe', ddsource: 'lkeobs', service: 'lkeobs-probe'}]),
    )
  const {latencyMs, clockMs} = validated
  return {
    said: `the key is valid${takesLogs ? ', the intake of logs takes an item' : ''}`,
    latencyMs,
    ...(clockMs !== undefined && {clockMs}),
  }
}

export const datadog = kind<Datadog>({
  name: 'datadog',
  about: 'Datadog, by its intake',
  signals: ['metrics', 'logs', 'traces'],
  usual: ['metrics', 'logs', 'traces'],
  schema,
  flags: {site: {about: 'the site of the account: datadoghq.eu', value: 'HOST'}},
  secrets: [{name: 'api-key', about: 'API key'}],
  needs: () => ['api-key'],
  rendered: ({site}, secret) => ({
    exporter: 'datadog',
    // a key that is withdrawn later must not keep the gateway from starting
    settings: {api: {site, key: secret('api-key'), fail_on_invalid_key: false}},
    // its intake takes 3.2 MB of traces or less of others, and refuses what is larger for good
    batch: {sizer: 'bytes', min_size: 100_000, max_size: 1_000_000},
    // what Datadog shows of services is counted here, before anything is sampled
    connector: 'datadog',
  }),
  at: ({site}) => `https://api.${site}`,
  tlsAt: ({site}) => `api.${site}:443`,
  probe,
})
