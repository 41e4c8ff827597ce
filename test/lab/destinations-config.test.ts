import {execFile, spawn} from 'node:child_process'
import {once} from 'node:events'
import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {promisify} from 'node:util'
import {expect, onTestFinished, test} from 'vitest'
import {gatewayBudget} from '../../src/collector/budget.ts'
import {type CollectorBuild, collectorBuilds} from '../../src/collector/build.ts'
import {literal} from '../../src/collector/config.ts'
import {scrub} from '../../src/collector/scrub.ts'
import {gatewayConfig} from '../../src/collector/gateway.ts'
import {wishOf} from '../../src/destinations/index.ts'
import {inEnvironment, variableOf} from '../../src/destinations/secrets.ts'
import {parseFleet} from '../../src/fleet/load.ts'
import {programPath} from '../../src/programs/locate.ts'
import {eventually} from './cli.ts'
import {createX509} from '../../src/tools/x509.ts'
import {createProcesses} from '../../src/tools/processes.ts'
import {toYaml} from '../../src/templates.ts'

const head = `apiVersion: lkeobs/v1
fleet: lab
hub: {name: hub, platform: {local: {ports: 14300}}, endpoint: '127.0.0.1:14300'}
edges: []
destinations:
`

/** The gateway of a fleet with these destinations. */
const gatewayOf = (destinations: string, closing: readonly string[] = [], build: CollectorBuild = 'lkeobs') => {
  const fleet = parseFleet(head + destinations, 'lkeobs.yaml')
  const budget = gatewayBudget(fleet)
  return gatewayConfig({
    build,
    budget,
    admin: {endpoint: '127.0.0.1:5'},
    hub: 'hub',
    listen: '127.0.0.1:1',
    leaf: '/at/leaf.pem',
    clients: '/at/clients.pem',
    own: '127.0.0.1:2',
    health: '127.0.0.1:3',
    host: '127.0.0.1',
    counters: 4,
    queue: '/at/queue',
    stores: {prometheus: 'http://prometheus', loki: 'http://loki', tempo: 'tempo:4317', tempoHttp: 'http://tempo:3200'},
    destinations: fleet.destinations.map((destination, at) =>
      wishOf(destination, `127.0.0.1:${1000 + at}`, {
        closing: closing.includes(destination.name),
        secret: inEnvironment,
        queueBytes: budget.destinations[destination.name] ?? budget.bytes,
      }),
    ),
  })
}

/** What the collector itself says of a configuration; empty where it takes it. */
const validated = async (config: object, env: Readonly<Record<string, string>>): Promise<string> => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lkeobs-config-'))
  onTestFinished(() => rmSync(folder, {recursive: true}))
  const file = path.join(folder, 'gateway.yaml')
  writeFileSync(file, toYaml(literal(config)))
  return promisify(execFile)(await programPath('otelcol'), ['validate', `--config=${file}`], {env: {PATH: '/usr/bin', ...env}}).then(
    () => '',
    (error: {stderr: string}) => error.stderr,
  )
}

const everything = `  - {name: corp, splunk: {endpoint: 'https://splunk.example:8088', index: otel}, scrub: [email, card, ipv4, bearer, 'key:user.id', '/tok_[a-z$]+/']}
  - {name: eu, otlp: {endpoint: 'https://otlp.example'}, where: {edge: [edge-1, edge-2], k8s.namespace.name: [shop]}, maxAge: 24h}
  - {name: plain, otlp: {endpoint: 'http://127.0.0.1:4318/otlp', protocol: http, header: authorization, compression: zstd}, queue: {items: 2000}}
`

test.for(collectorBuilds)(
  'the collector takes what destinations become in the build %s: filters, scrubs, secrets of one and of many lines',
  async (build) => {
    const {certificate} = await createX509().createCa({commonName: 'other', days: 1, pathLength: 0})
    const withCa = `  - {name: mtls, otlp: {endpoint: 'https://otlp.example:4317', clientCertificate: true, ca: ${JSON.stringify(certificate)}}}\n`
    const said = await validated(gatewayOf(everything + withCa, [], build), {
      [variableOf('corp', 'token')]: '0123-4567: #"',
      [variableOf('plain', 'header-value')]: 'Bearer $abc {x}',
      [variableOf('mtls', 'cert')]: certificate,
      [variableOf('mtls', 'key')]: 'a\nb: c\n',
    })
    expect(said).toBe('')
    expect(
      await validated(gatewayOf(everything, ['corp', 'eu'], build), {
        [variableOf('corp', 'token')]: 'x',
        [variableOf('plain', 'header-value')]: 'y',
      }),
    ).toBe('')
  },
)

/** What a collector with this processor makes of log records and spans. */
const made = async (processor: object, bodies: {readonly logs: object; readonly traces: object}): Promise<string> => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lkeobs-scrub-'))
  onTestFinished(() => rmSync(folder, {recursive: true}))
  const [port = 0] = await createProcesses().freePorts(1)
  const out = path.join(folder, 'out.json')
  const pipeline = {receivers: ['otlp'], processors: ['transform/corp'], exporters: ['file']}
  const config = {
    receivers: {otlp: {protocols: {http: {endpoint: `127.0.0.1:${port}`}}}},
    processors: {'transform/corp': processor},
    exporters: {file: {path: out}},
    service: {pipelines: {logs: pipeline, traces: pipeline}, telemetry: {metrics: {level: 'none'}}},
  }
  writeFileSync(path.join(folder, 'c.yaml'), toYaml(literal(config)))
  const child = spawn(await programPath('otelcol'), [`--config=${path.join(folder, 'c.yaml')}`], {stdio: 'ignore'})
  const ended = once(child, 'exit')
  onTestFinished(async () => void (child.kill(), await ended))
  for (const [signal, body] of Object.entries(bodies)) {
    const post = () =>
      fetch(`http://127.0.0.1:${port}/v1/${signal}`, {
        method: 'POST',
        headers: {'content-type': 'application/json'},
        body: JSON.stringify(body),
      }).then(
        ({status}) => status === 200,
        () => false,
      )
    await eventually(`${signal} are taken`, post, 20_000)
  }
  const text = () => (existsSync(out) ? readFileSync(out, 'utf8') : '')
  await eventually('both are written', () => text().includes('resourceLogs') && text().includes('resourceSpans'), 20_000)
  return text()
}

test('what is to be scrubbed is gone from attributes, bodies and names, and the rest is as it was', async () => {
  const secrets = ['ann@example.org', '10.20.30.40', '4111 1111 1111 1111', '378282246310005', 'Bearer eyJhbGciOi.J9', 'tok_abc', 'u-4711']
  const [mail = '', address = '', card = '', amex = '', bearer = '', own = '', user = ''] = secrets
  const text = (value: string) => ({stringValue: value})
  const attributes = [
    {key: 'mail', value: text(`to ${mail} now`)},
    {key: 'user.id', value: text(user)},
    {key: 'kept', value: text('version 1.2.3, order 12345')},
  ]
  const resource = {attributes: [{key: 'host', value: text(address)}, ...attributes]}
  const body = text(`paid by ${card} or ${amex} with ${bearer} and ${own} from ${address}`)
  const map = {
    kvlistValue: {
      values: [
        {key: 'to', value: text(mail)},
        {key: 'user.id', value: text(user)},
      ],
    },
  }
  const said = await made(scrub(['email', 'ipv4', 'card', 'bearer', 'key:user.id', '/tok_[a-z]+/']), {
    logs: {resourceLogs: [{resource, scopeLogs: [{logRecords: [{body, attributes}, {body: map}, {body: {intValue: 7}}]}]}]},
    traces: {
      resourceSpans: [
        {
          resource,
          scopeSpans: [
            {
              scope: {name: 'library', attributes},
              spans: [
                {
                  traceId: '0af7651916cd43dd8448eb211c80319c',
                  spanId: 'b7ad6b7169203331',
                  name: `mail ${mail}`,
                  status: {code: 2, message: `no such ${mail}`},
                  attributes,
                  events: [{name: `from ${address}`, attributes}],
                },
              ],
            },
          ],
        },
      ],
    },
  })
  for (const secret of secrets) expect(said).not.toContain(secret)
  expect(said).toContain('version 1.2.3, order 12345')
  expect(said).toContain('paid by [scrubbed] or [scrubbed] with [scrubbed] and [scrubbed] from [scrubbed]')
  expect(said).toContain('"intValue":"7"')
})
