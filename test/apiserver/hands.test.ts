import {randomBytes} from 'node:crypto'
import {expect, test} from 'vitest'
import {messageOf} from '../../src/errors.ts'
import {Secret} from '../../src/secret.ts'
import {flatten, type Step} from '../../src/steps/step.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import {createX509} from '../../src/tools/x509.ts'
import {hubCaHanded, nobody} from '../../src/trust/bundle.ts'
import {eventually, lkeobs, start} from '../lab/cli.ts'
import {standIns} from './charts.ts'
import {fleetFolder, opened} from './fleet.ts'
import {type Server, useServer} from './server.ts'
import {settling} from './settle.ts'
import {carriedOut} from './site.ts'

const bare = {certManager: false, secretsOperator: false} as const

const server = useServer(async (at) => {
  const {hub, edge} = await clusters(at)
  const [hubSpaces, edgeSpaces] = [flatten(hub.prepared())[0], flatten(edge.prepared())[0]]
  if (!hubSpaces || !edgeSpaces) throw new Error('nothing is prepared')
  // the edge's own ones, for both are on one server here
  await carriedOut(edgeSpaces, hubSpaces)
})

const clusters = async (at: Server) => {
  const {hub, edges} = await opened({server: at, hub: {...bare, grafana: true}, edge: bare})
  const [edge] = edges
  if (!edge) throw new Error('no edge')
  return {hub, edge}
}

type Kept = KubeObject & {readonly data?: Readonly<Record<string, string>>; readonly type?: string}

/** What is in the Secrets of the cluster and must not be anywhere else; as it is, and as Kubernetes writes it. */
const secretsOn = async (at: Server): Promise<readonly string[]> => {
  const {items} = JSON.parse(await at.kubectl('get', 'secrets', '-A', '-o', 'json')) as {readonly items: readonly Kept[]}
  return items
    .filter(({type}) => type !== 'helm.sh/release.v1')
    .flatMap(({data = {}}) => Object.values(data))
    .flatMap((encoded) => {
      const text = Buffer.from(encoded, 'base64').toString()
      const [, key] = /PRIVATE KEY-----\n(.{60})/.exec(text) ?? []
      if (key !== undefined) return [key, Buffer.from(`KEY-----\n${key}`).toString('base64').slice(16, 60)]
      return text.includes('CERTIFICATE') || text === 'admin' ? [] : [text.trim(), encoded.slice(0, 40)]
    })
}

test('what is handed is there, once; a second run writes nothing', async () => {
  const {hub, edge} = await clusters(server())
  const content = new Secret(randomBytes(32).toString('hex'))
  const steps: readonly Step[] = [
    ...flatten(hub.hasRootCa()),
    nobody(hub, createX509()),
    hubCaHanded(hub, edge),
    {
      title: 'a key in the hands of Vault',
      done: async () => ((await hub.read('vault', 'seal.key')) === content.reveal() ? true : 'not there'),
      apply: () => hub.hand('vault', 'seal.key', content),
    },
  ]
  const first = await server().writes('admin', () => carriedOut(...steps))
  expect(first).toEqual([
    'patch secrets lkeobs/lkeobs-root',
    'patch secrets lkeobs/gateway-nobody',
    'patch secrets lkeobs-node/agent-hub-ca',
    'patch secrets lkeobs/vault-seal',
  ])
  expect(await edge.read('agent', 'hub-ca.pem')).toBe(await hub.rootCa())
  expect(await server().writes('admin', () => carriedOut(...steps))).toEqual([])

  const version = () => server().kubectl('-n', 'lkeobs', 'get', 'secret', 'vault-seal', '-o', 'jsonpath={.metadata.resourceVersion}')
  const before = await version()
  await hub.hand('vault', 'seal.key', content)
  expect(await version()).toBe(before)
  expect(server().audit()).not.toContain(content.reveal())
  // nothing keeps a copy beside it
  expect(await server().kubectl('-n', 'lkeobs', 'get', 'secret', 'vault-seal', '-o', 'jsonpath={.metadata.annotations}')).toBe('')
})

// what is handed is applied without force, and so a person's change is taken for another tool's (LKO-3109)
test('a file that a person changed is handed again', async () => {
  const {hub, edge} = await clusters(server())
  const step = hubCaHanded(hub, edge)
  await server().kubectl(
    '-n',
    'lkeobs-node',
    'patch',
    'secret',
    'agent-hub-ca',
    '--type=merge',
    '-p',
    '{"stringData": {"hub-ca.pem": "CERTIFICATE of another"}}',
  )
  expect(await step.done()).toBe('not there, or another')
  await carriedOut(step)
  expect(await edge.read('agent', 'hub-ca.pem')).toBe(await hub.rootCa())
})

test('a file that is refused is named without its content', async () => {
  const {hub} = await clusters(server())
  const content = randomBytes(32).toString('hex')
  const said = await hub.hand('vault', 'no such key!', new Secret(content)).then(() => '', messageOf)
  expect(said).toMatch(/vault-no such key!/)
  expect(said).not.toContain(content.slice(0, 20))
  expect(said).not.toContain(Buffer.from(content).toString('base64').slice(0, 20))
})

test('hub init and its dry run show no secret, and neither does what is logged of their requests', async () => {
  settling(server())
  const folder = await fleetFolder({server: server(), hub: bare, edge: bare})
  const env = {LKEOBS_CHARTS: await standIns(server()), DEBUG: '*'}
  const {child, ended} = start(folder, ['hub', 'init', '--yes'], env)
  // no node runs a Vault that could be unsealed: as far as that
  await eventually(
    'Vault is installed, and what it is handed is there',
    async () => {
      const names = await server().kubectl('-n', 'lkeobs', 'get', 'secrets', '-o', 'name', '-l', 'status!=pending-install')
      return ['vault-seal', 'vault-admin', 'vault-tls', 'grafana-admin', 'helm.release.v1.vault.v1'].every((name) => names.includes(name))
    },
    45_000,
  )
  child.kill('SIGKILL')
  const init = await ended
  const dry = await lkeobs(folder, ['hub', 'init', '--dry-run', '--json'], env)
  expect(dry.code, dry.stderr).toBe(0)
  const secrets = await secretsOn(server())
  expect(secrets.length).toBeGreaterThan(8)
  for (const secret of secrets) expect(secret.length).toBeGreaterThan(20)
  const places = [init, dry].flatMap(({stdout, stderr}) => [stdout, stderr])
  expect(places.join('\n').length).toBeGreaterThan(2000)
  expect(secrets.filter((secret) => [...places, server().audit()].some((place) => place.includes(secret)))).toEqual([])
})
