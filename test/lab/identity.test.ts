import {type ChildProcess, spawn} from 'node:child_process'
import {randomBytes} from 'node:crypto'
import {once} from 'node:events'
import {readFileSync} from 'node:fs'
import {readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {programPath} from '../../src/programs/locate.ts'
import {createFiles} from '../../src/tools/files.ts'
import {openVault} from '../../src/tools/vault.ts'
import {adminLogin} from '../../src/trust/admin.ts'
import {issued, known, takenAway} from '../../src/trust/credential.ts'
import {document, eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf} from './cli.ts'

type Attributes = readonly {readonly key: string; readonly value: object}[]
type Place = 'resource' | 'second' | 'scope' | 'item'
type Item = {readonly id: string; readonly place: Place; readonly claims: Attributes}

let folder: string
const state = (...names: string[]) => path.join(folder, '.lkeobs', ...names)
const store = {prometheus: firstPorts.hub + 4, loki: firstPorts.hub + 5, tempo: firstPorts.hub + 7}
const ask = async <T>(port: number, where: string, query: Readonly<Record<string, string>>): Promise<T> => {
  const answer = await fetch(`http://127.0.0.1:${port}${where}?${new URLSearchParams(query).toString()}`)
  return (await answer.json()) as T
}

/** A collector of a stranger's making that shows what it was given, and sends what it gets as it is. */
const sender = async (edge: string, port: number, token: string | undefined) => {
  const own = (name: string) => state(edge, 'agent', name)
  const name = `sender-${port}`
  const file = path.join(folder, `${name}.yaml`)
  const tls = {ca_file: own('hub-ca.pem'), cert_file: own('leaf.pem'), key_file: own('leaf.pem')}
  const pipeline = {receivers: ['otlp'], exporters: ['otlp_grpc']}
  const config = {
    extensions: {bearertokenauth: {token: token ?? 'none'}},
    receivers: {otlp: {protocols: {http: {endpoint: `127.0.0.1:${port}`}}}},
    exporters: {
      otlp_grpc: {
        endpoint: `127.0.0.1:${firstPorts.hub}`,
        tls,
        sending_queue: {enabled: false},
        retry_on_failure: {enabled: false},
        ...(token !== undefined && {auth: {authenticator: 'bearertokenauth'}}),
      },
    },
    service: {
      extensions: ['bearertokenauth'],
      telemetry: {metrics: {level: 'none'}},
      pipelines: {metrics: pipeline, logs: pipeline, traces: pipeline},
    },
  }
  await writeFile(file, JSON.stringify(config))
  const child = spawn(await programPath('otelcol'), [`--config=${file}`], {stdio: 'ignore'})
  senders.push(child)
  const url = `http://127.0.0.1:${port}`
  await eventually('it listens', async () => (await fetch(url).catch(() => undefined)) !== undefined, 20_000)
  return url
}
const senders: ChildProcess[] = []

const text = (key: string, value: string) => ({key, value: {stringValue: value}})
const post = async (url: string, signal: string, body: object): Promise<number> =>
  (await fetch(`${url}/v1/${signal}`, {method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify(body)})).status

const service = `identity-${randomBytes(3).toString('hex')}`
const nowNs = () => `${Date.now()}000000`

/** One of each signal, each with an id of its own. */
const send = async (url: string, {id, place, claims}: Item): Promise<readonly number[]> => {
  const at = (wish: Place) => (place === wish ? claims : [])
  // as an agent writes it, and before or after it what is claimed
  const ours = ['lkeobs.edge', 'k8s.cluster.name'].map((key) => text(key, 'edge-1'))
  const resource = {attributes: [...at('resource'), ...ours, ...at('second'), text('service.name', service)]}
  const scope = {name: 'test', attributes: at('scope')}
  const attributes = [text('item', id), ...at('item')]
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')]
  const time = nowNs()
  const point = {asDouble: 1, timeUnixNano: time, attributes}
  const span = {traceId, spanId, name: id, kind: 1, startTimeUnixNano: time, endTimeUnixNano: time, attributes}
  return Promise.all([
    post(url, 'metrics', {
      resourceMetrics: [{resource, scopeMetrics: [{scope, metrics: [{name: 'identity', gauge: {dataPoints: [point]}}]}]}],
    }),
    post(url, 'logs', {
      resourceLogs: [{resource, scopeLogs: [{scope, logRecords: [{timeUnixNano: time, body: {stringValue: id}, attributes}]}]}],
    }),
    post(url, 'traces', {resourceSpans: [{resource, scopeSpans: [{scope, spans: [span]}]}]}),
  ])
}

type Labels = Readonly<Record<string, string>>
const samples = async (): Promise<readonly Labels[]> => {
  const found = await ask<{data: {result: {metric: Labels}[]}}>(store.prometheus, '/api/v1/query', {
    query: `last_over_time(identity{service_name="${service}"}[30m])`,
  })
  return found.data.result.map(({metric}) => metric)
}
const records = async (query: string): Promise<readonly Labels[]> => {
  const found = await ask<{data: {result: {stream: Labels; values: string[][]}[]}}>(store.loki, '/loki/api/v1/query_range', {
    query,
    limit: '5000',
    since: '30m',
  })
  return found.data.result.flatMap(({stream, values}) => values.map(() => stream))
}
const traces = async (query: string): Promise<number> => {
  const end = Math.ceil(Date.now() / 1000)
  const range = {limit: '5000', start: String(end - 1800), end: String(end + 60)}
  return (await ask<{traces?: object[]}>(store.tempo, '/api/search', {q: query, ...range})).traces?.length ?? 0
}

/** How many of the items each store has, counted by their ids. */
const stored = async () => ({
  prometheus: new Set((await samples()).map(({item}) => item)).size,
  loki: new Set((await records(`{service_name="${service}"}`)).map(({item}) => item)).size,
  tempo: await traces(`{resource.service.name="${service}"}`),
})

beforeAll(async () => {
  const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
  if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  folder = await labFolder(2)
  const up = await lkeobs(folder, ['lab', 'up'])
  if (up.code !== 0) throw new Error(up.stderr)
})

afterAll(async () => {
  for (const child of senders) {
    child.kill()
    if (child.exitCode === null) await once(child, 'close')
  }
  await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])
  await rm(folder, {recursive: true, force: true})
})

const tokenOf = (edge: string) => readFileSync(state(edge, 'agent', 'credential.jwt'), 'utf8')
const hubVault = () =>
  openVault({
    address: `https://127.0.0.1:${firstPorts.hub + 10}`,
    ca: () => readFile(state('hub', 'ca', 'ca.pem'), 'utf8'),
    login: adminLogin({read: (component, file) => readFile(state('hub', component, file), 'utf8')}),
  })
const files = createFiles()
const gateway = {
  read: (component: string, file: string) => files.read(state('hub', component, file)),
  hand: (component: string, file: string, content: Parameters<typeof files.write>[1]) =>
    files.write(state('hub', component, file), content),
}

const signs = ['.', '_', '-', '/', ' ', '..', '__', '·', '√', '\n', '\u0000']
const spellings: readonly (readonly [string, Attributes])[] = [
  ...signs.map(
    (sign) => [JSON.stringify(sign), [text(`lkeobs${sign}edge`, 'edge-2'), text(`k8s${sign}cluster${sign}name`, 'edge-2')]] as const,
  ),
  ['upper', [text('Lkeobs.Edge', 'edge-2'), text('K8s.Cluster.Name', 'edge-2'), text('K8S_CLUSTER_NAME', 'edge-2')]],
  ['trailing', [text('lkeobs.edge_', 'edge-2'), text('k8s.cluster.name.', 'edge-2')]],
  ['leading', [text('_lkeobs_edge', 'edge-2'), text('.k8s.cluster.name', 'edge-2')]],
  ['twice', [text('lkeobs.edge', 'edge-2'), text('lkeobs.edge', 'edge-2'), text('k8s.cluster.name', 'edge-2')]],
  // Loki makes one name of the keys of a map
  ['map', [{key: 'lkeobs', value: {kvlistValue: {values: [text('edge', 'edge-2')]}}}]],
  // for which stores refuse everything that came with it
  ['nameless', [text('', 'edge-2')]],
]
const places: readonly Place[] = ['resource', 'second', 'scope', 'item']
let sent = 0

describe('edge-1 says that it is edge-2', () => {
  test('in every spelling, at every place: all of it is stored, and as of edge-1', async () => {
    const url = await sender('edge-1', firstPorts.edge + 60, tokenOf('edge-1'))
    for (const place of places)
      for (const [spelling, claims] of spellings) {
        expect(await send(url, {id: `${place} ${spelling}`, place, claims})).toEqual([200, 200, 200])
        sent += 1
      }
    await eventually('all of it is stored', async () => Object.values(await stored()).every((count) => count === sent), 40_000)
    const own = (labels: Labels) => `${labels['item']}: ${labels['lkeobs_edge']} ${labels['k8s_cluster_name']}`
    const notOwn = (all: readonly Labels[]) => all.map(own).filter((line) => !line.endsWith(': edge-1 edge-1'))
    expect(notOwn(await samples())).toEqual([])
    expect(notOwn(await records(`{service_name="${service}"}`))).toEqual([])
    const ofService = `resource.service.name="${service}"`
    expect(await traces(`{${ofService} && resource.lkeobs.edge="edge-1" && resource.k8s.cluster.name="edge-1"}`)).toBe(sent)
    for (const claim of ['resource.lkeobs.edge', 'resource.k8s.cluster.name', '.lkeobs.edge', '.k8s.cluster.name'])
      expect(await traces(`{${ofService} && ${claim}="edge-2"}`), claim).toBe(0)
    for (const claim of ['{lkeobs_edge="edge-2"', '{k8s_cluster_name="edge-2"'])
      expect(await records(`${claim}, service_name="${service}"}`)).toEqual([])
  })

  test('what names the series of a resource names edge-1 alone', async () => {
    const found = await ask<{data: {result: {metric: Labels}[]}}>(store.prometheus, '/api/v1/query', {
      query: `target_info{job="${service}"}`,
    })
    const names = found.data.result.map(({metric}) => `${metric['lkeobs_edge']} ${metric['k8s_cluster_name']}`)
    expect(new Set(names)).toEqual(new Set(['edge-1 edge-1']))
  })
})

describe('a certificate alone', () => {
  const plain: Item = {id: 'refused', place: 'item', claims: []}

  test.each([
    ['no credential', 61, async () => undefined],
    ['no token', 62, async () => 'x.y.z'],
    ['a credential that somebody else signed', 63, async () => (await issued('edge-2', 'hub')).token.reveal()],
  ])('with %s sends nothing', async (_, port, token) => {
    const answers = await send(await sender('edge-1', firstPorts.edge + port, await token()), plain)
    expect(answers.filter((status) => status === 200)).toEqual([])
    expect((await samples()).filter(({item}) => item === 'refused')).toEqual([])
  })
})

describe('keys that come and go', () => {
  test('a third edge joins a gateway that goes on running', async () => {
    const before = await pidsOf(folder, 'hub')
    const up = await lkeobs(folder, ['lab', 'up', '--edges', '3', '--json'])
    expect(up.code, up.stderr).toBe(0)
    const {verification} = document<{verification: {canaries: {ok: boolean}[]}}>(up)
    expect(verification.canaries.filter(({ok}) => ok)).toHaveLength(9)
    expect((await pidsOf(folder, 'hub'))['gateway']).toBe(before['gateway'])
  })

  test('taken away, a key counts no more at once, on connections that are open; another edge loses nothing', async () => {
    const url = `http://127.0.0.1:${firstPorts.edge + 60}`
    const other = `http://127.0.0.1:${firstPorts.edge + 11}`
    const before = await stored()
    const {gateway: pid} = await pidsOf(folder, 'hub')
    let ofOther = 0
    const over = new AbortController()
    const stream = (async () => {
      while (!over.signal.aborted) {
        const answers = await send(other, {id: `other ${ofOther}`, place: 'item', claims: []})
        expect(answers).toEqual([200, 200, 200])
        ofOther += 1
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })()
    expect(await send(url, {id: 'before', place: 'item', claims: []})).toEqual([200, 200, 200])
    const vault = hubVault()
    await takenAway(vault, 'edge-1').apply(() => undefined)
    const taken = Date.now()
    await known(gateway, vault).apply(() => undefined)
    await eventually(
      'the gateway refuses it',
      async () => (await send(url, {id: 'before', place: 'item', claims: []})).every((status) => status !== 200),
      10_000,
    )
    expect(Date.now() - taken).toBeLessThan(3000)
    await new Promise((resolve) => setTimeout(resolve, 2000))
    over.abort()
    await stream
    const wished = ofOther + 1
    await eventually(
      'all of the other is stored',
      async () => {
        const after = await stored()
        return after.prometheus - before.prometheus === wished && after.loki - before.loki === wished
      },
      30_000,
    )
    const ofEdge2 = (all: readonly Labels[]) => new Set(all.filter(({lkeobs_edge: edge}) => edge === 'edge-2').map(({item}) => item)).size
    expect(ofEdge2(await samples())).toBe(ofOther)
    expect(ofEdge2(await records(`{service_name="${service}"}`))).toBe(ofOther)
    await eventually(
      'its spans',
      async () => (await traces(`{resource.service.name="${service}" && resource.lkeobs.edge="edge-2"}`)) === ofOther,
      30_000,
    )
    expect((await pidsOf(folder, 'hub'))['gateway']).toBe(pid)
  })

  test('joined again, the edge has another credential; the old one stays refused', async () => {
    const old = tokenOf('edge-1')
    const joined = await lkeobs(folder, ['edge', 'join', 'edge-1', '--json'])
    expect(joined.code, joined.stderr).toBe(0)
    expect(tokenOf('edge-1')).not.toBe(old)
    const answers = await send(`http://127.0.0.1:${firstPorts.edge + 60}`, {id: 'old', place: 'item', claims: []})
    expect(answers.filter((status) => status === 200)).toEqual([])
  })

  test('a gateway whose file of keys is broken goes on with those it has', async () => {
    const file = state('hub', 'gateway', 'edges.jwks')
    const whole = readFileSync(file, 'utf8')
    for (const broken of ['', '{"keys":[]}', whole.slice(0, 100)]) {
      await writeFile(file, broken)
      const {ok} = document<{ok: boolean}>(await lkeobs(folder, ['verify', '--edge', 'edge-2', '--json']))
      expect(ok).toBe(true)
    }
    const up = await lkeobs(folder, ['lab', 'up'])
    expect(up.code, up.stderr).toBe(0)
    expect(readFileSync(file, 'utf8')).toBe(whole)
  })
})
