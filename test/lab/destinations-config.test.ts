import {execFile} from 'node:child_process'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {promisify} from 'node:util'
import {expect, onTestFinished, test} from 'vitest'
import {literal} from '../../src/collector/config.ts'
import {gatewayConfig} from '../../src/collector/gateway.ts'
import {wishOf} from '../../src/destinations/index.ts'
import {inEnvironment, variableOf} from '../../src/destinations/secrets.ts'
import {parseFleet} from '../../src/fleet/load.ts'
import {programPath} from '../../src/programs/locate.ts'
import {createX509} from '../../src/tools/x509.ts'
import {toYaml} from '../../src/templates.ts'

const head = `apiVersion: lkeobs/v1
fleet: lab
hub: {name: hub, platform: {local: {ports: 14300}}, endpoint: '127.0.0.1:14300'}
edges: []
destinations:
`

/** The gateway of a fleet with these destinations. */
const gatewayOf = (destinations: string, closing: readonly string[] = []) => {
  const fleet = parseFleet(head + destinations, 'lkeobs.yaml')
  return gatewayConfig({
    hub: 'hub',
    listen: '127.0.0.1:1',
    leaf: '/at/leaf.pem',
    clients: '/at/clients.pem',
    own: '127.0.0.1:2',
    health: '127.0.0.1:3',
    host: '127.0.0.1',
    counters: 4,
    queue: '/at/queue',
    stores: {prometheus: 'http://prometheus', loki: 'http://loki', tempo: 'tempo:4317'},
    destinations: fleet.destinations.map((destination, at) =>
      wishOf(destination, `127.0.0.1:${1000 + at}`, {closing: closing.includes(destination.name), secret: inEnvironment}),
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

test('the collector takes what destinations become: filters, scrubs, secrets of one and of many lines', async () => {
  const {certificate} = await createX509().createCa({commonName: 'other', days: 1, pathLength: 0})
  const withCa = `  - {name: mtls, otlp: {endpoint: 'https://otlp.example:4317', clientCertificate: true, ca: ${JSON.stringify(certificate)}}}\n`
  const said = await validated(gatewayOf(everything + withCa), {
    [variableOf('corp', 'token')]: '0123-4567: #"',
    [variableOf('plain', 'header-value')]: 'Bearer $abc {x}',
    [variableOf('mtls', 'cert')]: certificate,
    [variableOf('mtls', 'key')]: 'a\nb: c\n',
  })
  expect(said).toBe('')
  expect(
    await validated(gatewayOf(everything, ['corp', 'eu']), {
      [variableOf('corp', 'token')]: 'x',
      [variableOf('plain', 'header-value')]: 'y',
    }),
  ).toBe('')
})
