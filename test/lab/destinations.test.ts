import {randomUUID} from 'node:crypto'
import {readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {type Fleet, openFleet} from '../../src/clusters.ts'
import {loadFleet} from '../../src/fleet/load.ts'
import {programPath} from '../../src/programs/locate.ts'
import type {DestinationTried} from '../../src/status/destinations-tried.ts'
import type {DestinationSeen} from '../../src/status/destinations.ts'
import {createTools, type Tools} from '../../src/tools/index.ts'
import {type FakeSplunk, fakeSplunk, type HecToken} from '../support/fake-splunk.ts'
import {startLoad} from '../support/load.ts'
import {openSink, type Sink} from '../support/sinks.ts'
import {document, type Ended, eventually, firstPorts, labFolder, lkeobsAloud, lkeobs, pidsOf, start} from './cli.ts'

const ports = {sink: firstPorts.edge + 50, splunk: firstPorts.edge + 51, nobody: firstPorts.edge + 52}

const token: HecToken = {value: randomUUID(), indexes: ['otel', 'security']}
const disabled: HecToken = {value: randomUUID(), indexes: ['otel'], disabled: true}
const acked: HecToken = {value: randomUUID(), indexes: ['otel'], useAck: true}

let folder: string
let tools: Tools
let fleet: Fleet
let splunk: FakeSplunk
let stranger: FakeSplunk
let sink: Sink
/** All that any run has said. */
const said: string[] = []
const variables = {DEBUG: '*'}

const run = async (args: readonly string[], input?: string, env: NodeJS.ProcessEnv = {}): Promise<Ended> => {
  const ended = await start(folder, args, env, input).ended
  said.push(ended.stdout, ended.stderr)
  return ended
}

type Addition = {
  readonly shown?: string
  readonly endpoint?: string
  readonly index?: string
  readonly ca?: string
  readonly more?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

const added = ({
  shown = token.value,
  endpoint = splunk.endpoint,
  index = 'otel',
  ca = 'splunk-ca.pem',
  more = [],
  env = {},
}: Addition = {}) => {
  const settings = ['--endpoint', endpoint, '--index', index, '--ca-file', path.join(folder, ca), ...more]
  return run(['dest', 'add', 'splunk', 'corp', ...settings, '--token-file', '-', '--yes'], shown, env)
}

/** All that an addition may change. */
const standing = async () => ({
  fleet: await readFile(path.join(folder, 'lkeobs.yaml'), 'utf8'),
  gateway: (await pidsOf(folder, 'hub'))['gateway'],
  config: await readFile(path.join(folder, '.lkeobs/hub/gateway/gateway.yaml'), 'utf8'),
  vault: await fleet.hub.vault.list('lkeobs/destinations'),
})

const listed = async (): Promise<readonly DestinationSeen[]> =>
  document<{destinations: readonly DestinationSeen[]}>(await run(['dest', 'list', '--json'])).destinations

const corpListed = async () => (await listed()).find(({name}) => name === 'corp')

beforeAll(async () => {
  const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
  if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  folder = await labFolder(1)
  splunk = await fakeSplunk([token, disabled, acked], ports.splunk)
  stranger = await fakeSplunk([token])
  await writeFile(path.join(folder, 'splunk-ca.pem'), splunk.ca)
  await writeFile(path.join(folder, 'other-ca.pem'), stranger.ca)
  sink = await openSink(await programPath('otelcol'), path.join(folder, 'sinks'), 'else', 'otlp', ports.sink)
  await sink.start()
  const up = await run(['lab', 'up'])
  if (up.code !== 0) throw new Error(up.stderr)
  tools = createTools({yes: true})
  fleet = openFleet(await loadFleet(path.join(folder, 'lkeobs.yaml'), tools.files), tools)
})

afterAll(async () => {
  await tools?.end()
  await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])
  await Promise.all([sink?.stop(), splunk?.stop(), stranger?.stop()])
  await rm(folder, {recursive: true, force: true})
})

describe('dest add refuses, each with words of its own, and changes nothing', () => {
  const messages = new Set<string>()
  const cases: readonly {what: string; code: string; add: () => Promise<Ended>}[] = [
    {what: 'a wrong token', code: 'LKO-7108', add: () => added({shown: randomUUID()})},
    {what: 'a disabled token', code: 'LKO-7108', add: () => added({shown: disabled.value})},
    {what: 'a token that wants acknowledgements', code: 'LKO-7112', add: () => added({shown: acked.value})},
    {what: 'an index that is not allowed', code: 'LKO-7109', add: () => added({index: 'main'})},
    {what: 'a CA that did not sign', code: 'LKO-7104', add: () => added({ca: 'other-ca.pem'})},
    {what: 'a port where nobody listens', code: 'LKO-7101', add: () => added({endpoint: `https://127.0.0.1:${ports.nobody}`})},
    {what: 'a path that is another', code: 'LKO-7113', add: () => added({endpoint: `${splunk.endpoint}/services/data`})},
    {what: 'plain HTTP where TLS is spoken', code: 'LKO-7106', add: () => added({endpoint: splunk.endpoint.replace('https', 'http')})},
    {
      what: 'a proxy that answers 200 to everything',
      code: 'LKO-7110',
      async add() {
        splunk.mood = 'proxy'
        return added().finally(() => (splunk.mood = 'splunk'))
      },
    },
    {
      what: 'a Splunk that is busy',
      code: 'LKO-7111',
      async add() {
        splunk.mood = 'busy'
        return added().finally(() => (splunk.mood = 'splunk'))
      },
    },
  ]
  test.each(cases)('$what', async ({code: wanted, add}) => {
    const before = await standing()
    const {code, stderr} = await add()
    expect(stderr).toContain(wanted)
    expect(code).toBe(5)
    expect(await standing()).toEqual(before)
    // what was said, and not only the number
    const message = stderr.slice(stderr.indexOf(wanted))
    expect(messages).not.toContain(message)
    messages.add(message)
  })
})

describe('dest add', () => {
  test('prints what it would do, and does none of it', async () => {
    const before = await standing()
    const {code, stdout, stderr} = await added({more: ['--dry-run']})
    expect(code, stderr).toBe(0)
    expect(stdout).toContain('corp')
    expect(await standing()).toEqual(before)
    expect(splunk.taken.filter(({event}) => JSON.stringify(event).includes('canary'))).toEqual([])
  })

  test('tries it with an event, and ends when a canary has passed', async () => {
    const probes = splunk.taken.length
    const {code, stderr} = await added()
    expect(code, stderr).toBe(0)
    expect(splunk.taken[probes]).toMatchObject({event: 'lkeobs.probe', index: 'otel'})
    expect(splunk.taken.length).toBeGreaterThan(probes + 1)
    expect(splunk.taken.slice(probes).every(({index}) => index === 'otel')).toBe(true)
  })

  test('again, is already so', async () => {
    const before = await standing()
    const {code, stderr} = await added()
    expect(code, stderr).toBe(0)
    expect(await standing()).toEqual(before)
  })

  test('beside another, and what edges send arrives at both', async () => {
    const {code, stderr} = await run(['dest', 'add', 'otlp', 'else', '--endpoint', `http://127.0.0.1:${ports.sink}`, '--yes'])
    expect(code, stderr).toBe(0)
    const load = startLoad(`http://127.0.0.1:${firstPorts.edge + 1}`, 500, {perRequest: 50})
    await eventually('a thousand records', () => load.made >= 1000, 10_000)
    await load.stop()
    const ids = () => new Set(splunk.taken.flatMap(({event}) => /^n (\d+) /.exec(JSON.stringify(event).slice(1))?.[1] ?? []))
    await eventually('all of them at Splunk', () => ids().size === load.made, 30_000)
    await eventually('all of them at the other', async () => (await sink.taken()).copies.size === load.made, 30_000)
    expect(load.again).toBe(0)
  })

  test('and nobody who sends chooses token or index', async () => {
    const named = (key: string, value: string) => ({key, value: {stringValue: value}})
    const own = [named('com.splunk.index', 'security'), named('com.splunk.hec.access_token', randomUUID())]
    const record = {timeUnixNano: `${Date.now()}000000`, body: {stringValue: 'an edge that chooses'}, attributes: own}
    const resource = {attributes: [named('service.name', 'choosing'), ...own]}
    const refused = splunk.answered.get(4)
    const answer = await tools.http.post(`http://127.0.0.1:${firstPorts.edge + 1}/v1/logs`, {
      resourceLogs: [{resource, scopeLogs: [{logRecords: [record]}]}],
    })
    expect(answer?.status).toBe(200)
    const it = () => splunk.taken.filter(({event}) => event === 'an edge that chooses')
    await eventually('it is there', () => it().length > 0, 30_000)
    expect(it()).toMatchObject([{index: 'otel'}])
    expect(splunk.answered.get(4)).toBe(refused)
  })

  test('with --force says what it does not try', async () => {
    const probes = splunk.answered.get(0)
    const before = await standing()
    const {code, stderr} = await added({index: 'security', more: ['--force']})
    expect(code, stderr).toBe(0)
    expect(stderr).toContain('--force')
    expect(stderr).toContain('not tried')
    expect((await standing()).fleet).not.toBe(before.fleet)
    expect(splunk.answered.get(0)).toBeGreaterThan(probes ?? 0)
    expect(splunk.taken.filter(({event, index}) => event === 'lkeobs.probe' && index === 'security')).toEqual([])
  })

  test('with --force and what is wrong, says what the exporter says', async () => {
    const {code, stderr} = await added({index: 'main', more: ['--force']})
    expect(stderr).toContain('LKO-7117')
    expect(code).toBe(6)
    // what the wrong index cost is told with its reason, by the gateway's next report
    await eventually('what was refused is counted', async () => ((await corpListed())?.takenOut['refused'] ?? 0) > 0, 30_000)
    const letters = await run(['dead-letters', 'list', '--sink', 'corp', '--json'])
    expect(document<{deadLetters: readonly {reason: string; detail: string}[]}>(letters).deadLetters[0]).toMatchObject({
      reason: 'refused',
      detail: expect.stringContaining('400') as unknown,
    })
    const mended = await added()
    expect(mended.code, mended.stderr).toBe(0)
  })
})

describe('dest list', () => {
  test('says of each what it takes, and what was dropped', async () => {
    await eventually('both are heard of', async () => (await listed()).every(({state}) => state !== 'unknown'), 30_000)
    const all = await listed()
    expect(
      all.map(({name, kind, signals}) => ({name, kind, signals})).toSorted((one, other) => one.name.localeCompare(other.name)),
    ).toEqual([
      {name: 'corp', kind: 'splunk', signals: ['logs']},
      {name: 'else', kind: 'otlp', signals: ['metrics', 'logs', 'traces']},
    ])
    for (const {queue, oldestSeconds} of all) {
      expect(queue.capacity).toBeGreaterThanOrEqual(1_000_000)
      expect(oldestSeconds).not.toBeNull()
    }
    // a gateway that was started anew has not forgotten it
    expect((await corpListed())?.deadLetters).toBeGreaterThan(0)
    const {stdout} = await run(['dest', 'list'])
    expect(stdout).toContain('dead letter')
  })
})

describe('dest test', () => {
  const tried = (ended: Ended) => document<{ok: boolean; destinations: readonly DestinationTried[]}>(ended)

  test('tries them again, and says how long the certificate holds', async () => {
    const ended = await run(['dest', 'test', '--all', '--json'])
    expect(ended.code, ended.stderr).toBe(0)
    const {ok, destinations} = tried(ended)
    expect(ok).toBe(true)
    const [corp, other] = ['corp', 'else'].map((wanted) => destinations.find(({name}) => name === wanted))
    expect(corp).toMatchObject({name: 'corp', ok: true, certificate: {daysLeft: 19}})
    expect(Math.abs(corp?.skewSeconds ?? Number.NaN)).toBeLessThanOrEqual(1)
    expect(other).toMatchObject({name: 'else', ok: true})
    expect(other?.certificate).toBeUndefined()
  })

  test('is 7 when one fails, with its reason', async () => {
    splunk.mood = 'busy'
    const busy = await run(['dest', 'test', 'corp', '--json']).finally(() => (splunk.mood = 'splunk'))
    expect(busy.code, busy.stderr).toBe(7)
    expect(tried(busy).destinations).toMatchObject([{name: 'corp', ok: false, problem: {code: 'LKO-7111'}}])
    await splunk.stop()
    const gone = await run(['dest', 'test'])
    await splunk.start()
    expect(gone.code).toBe(7)
    expect(gone.stdout).toContain('LKO-7101')
  })

  test('knows only those of the fleet file', async () => {
    const {code, stderr} = await run(['dest', 'test', 'crop'])
    expect(code).toBe(2)
    expect(stderr).toContain('LKO-7114')
    expect(stderr).toMatch(/the fleet has (corp, else|else, corp)\./)
  })
})

describe('the token', () => {
  const secrets = [token, disabled, acked].map(({value}) => Buffer.from(value))
  const has = (content: Buffer) => secrets.some((secret) => content.includes(secret))

  const inFiles = async (): Promise<readonly string[]> => {
    const entries = await readdir(folder, {recursive: true, withFileTypes: true})
    const found: string[] = []
    for (const entry of entries.filter((each) => each.isFile())) {
      const file = path.join(entry.parentPath, entry.name)
      if (has(await readFile(file).catch(() => Buffer.alloc(0)))) found.push(file)
    }
    return found
  }

  /** Processes whose arguments, or whose environment, name a token. */
  const inProcesses = async (part: 'cmdline' | 'environ'): Promise<readonly number[]> => {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
    const found = await Promise.all(
      pids.map(async (pid) => (has(await readFile(`/proc/${pid}/${part}`).catch(() => Buffer.alloc(0))) ? [Number(pid)] : [])),
    )
    return found.flat()
  }

  test('is in no file, no argument, no output and no environment but the gateway’s', async () => {
    let isOver = false
    const seen = new Set<number>()
    const looking = (async () => {
      for (;;) {
        if (isOver) return
        for (const pid of await inProcesses('cmdline')) seen.add(pid)
      }
    })()
    const another = await added({index: 'security', env: variables})
    await added({index: 'no', env: variables})
    for (const args of [
      ['dest', 'list'],
      ['dest', 'test'],
      ['dest', 'add', 'splunk', 'corp', '--endpoint', splunk.endpoint, '--dry-run'],
    ])
      await run(args, '', variables)
    isOver = true
    await looking
    expect(another.code, another.stderr.slice(-2000)).toBe(0)
    expect([...seen]).toEqual([])
    expect(said.filter((text) => has(Buffer.from(text)))).toEqual([])
    expect(await inFiles()).toEqual([])
    const {gateway} = await pidsOf(folder, 'hub')
    expect(await inProcesses('environ')).toEqual([gateway])
  })
})

describe('dest remove', () => {
  test('leaves nothing of it', async () => {
    const {code, stderr, stdout} = await run(['dest', 'remove', 'corp', '--yes'])
    expect(code, stderr).toBe(0)
    expect(stdout).toContain('its queue was empty')
    const {fleet: file, config, vault} = await standing()
    expect(file).not.toContain('corp')
    expect(config).not.toContain('corp')
    expect(vault).not.toContain('corp')
    expect((await listed()).map(({name}) => name)).toEqual(['else'])
    const {gateway} = await pidsOf(folder, 'hub')
    expect((await readFile(`/proc/${gateway}/environ`)).includes(token.value)).toBe(false)
  })
})
