import {randomBytes} from 'node:crypto'
import {readFileSync, readdirSync, readlinkSync, statSync} from 'node:fs'
import {copyFile, mkdtemp, readFile, readdir, rm, writeFile} from 'node:fs/promises'
import {createServer} from 'node:net'
import {tmpdir} from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {programPath} from '../../src/programs/locate.ts'
import {createShell} from '../../src/tools/shell.ts'
import {createX509} from '../../src/tools/x509.ts'
import {document, eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf, start} from './cli.ts'

type Canary = {edge: string; signal: string; store: string; ok: boolean; latencyMs?: number; lastHop?: string; reason?: string}
type Verification = {schema: string; ok: boolean; canaries: Canary[]}
type Lab = {ok: boolean; steps: {title: string; state: string}[]; verification: Verification}
type LabStatus = {ok: boolean; residentBytes: number; components: {cluster: string; component: string; state: string; pid: number}[]}
type Failure = {schema: string; error: {code: string; exit: number; message: string; next: string[]}}

const signals = ['metrics', 'logs', 'traces']

let folder: string

/** Every process of this machine that works in the lab's folder. */
const processesIn = (place: string): string[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).startsWith(place)
      } catch {
        return false
      }
    })

const filesIn = async (place: string): Promise<string[]> => {
  const entries = await readdir(place, {recursive: true, withFileTypes: true})
  return entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name))
}

beforeAll(async () => {
  const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
  if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  folder = await labFolder()
})

afterAll(async () => {
  await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])
  await rm(folder, {recursive: true, force: true})
})

describe('a lab from nothing', () => {
  test('comes up and reads its own telemetry back, within a minute', async () => {
    const up = await lkeobs(folder, ['lab', 'up', '--json'])
    expect(up.code, up.stderr).toBe(0)
    expect(up.ms).toBeLessThan(60_000)
    const {canaries} = document<Lab>(up).verification
    expect(canaries.map(({edge, signal, ok}) => ({edge, signal, ok}))).toEqual(
      signals.map((signal) => ({edge: 'edge-1', signal, ok: true})),
    )
  })

  test('a second run changes nothing', async () => {
    const before = await pidsOf(folder, 'hub')
    const again = await lkeobs(folder, ['lab', 'up', '--json'])
    expect(again.code, again.stderr).toBe(0)
    expect(document<Lab>(again).steps.filter(({state}) => state !== 'already so')).toEqual([])
    expect(await pidsOf(folder, 'hub')).toEqual(before)
    expect(again.ms).toBeLessThan(8000)
  })

  test('verify answers with one document', async () => {
    const verified = await lkeobs(folder, ['verify', '--all', '--json'])
    expect(verified.code).toBe(0)
    const {schema, ok, canaries} = document<Verification>(verified)
    expect({schema, ok}).toEqual({schema: 'lkeobs/verify/v1', ok: true})
    expect(canaries.map(({edge, signal, store}) => `${edge} ${signal} ${store}`)).toEqual([
      'edge-1 metrics prometheus',
      'edge-1 logs loki',
      'edge-1 traces tempo',
    ])
    for (const {latencyMs} of canaries) expect(latencyMs).toBeGreaterThan(0)
    expect(verified.ms).toBeLessThan(15_000)
  })

  test('verify writes JUnit for the signals and edges asked for', async () => {
    const file = path.join(folder, 'canaries.xml')
    const verified = await lkeobs(folder, ['verify', '--edge', 'edge-1', '--signal', 'logs', '--junit-file', file])
    expect(verified.code, verified.stderr).toBe(0)
    expect(await readFile(file, 'utf8')).toMatch(/tests="1" failures="0"[\s\S]*classname="edge-1" name="logs to loki"/)
    await rm(file)
  })

  test('status and lab status agree that all is well, in less than 1.5 GB', async () => {
    const status = await lkeobs(folder, ['status', '--json'])
    expect(status.code, status.stdout).toBe(0)
    const lab = document<LabStatus>(await lkeobs(folder, ['lab', 'status', '--json']))
    expect(lab.components.filter(({state}) => state !== 'ready')).toEqual([])
    expect(lab.components).toHaveLength(11)
    expect(lab.residentBytes).toBeLessThan(1.5e9)
  })

  test('the collector itself accepts both configurations', async () => {
    const otelcol = await programPath('otelcol')
    for (const file of ['hub/gateway/gateway.yaml', 'edge-1/agent/agent.yaml']) {
      const validated = createShell().run({file: otelcol, args: ['validate', `--config=${path.join(folder, '.lkeobs', file)}`]})
      await expect(validated).resolves.toBe('')
    }
  })
})

describe('who may send', () => {
  /** What the gateway answers to a client: `open` when the connection still stands after half a second. */
  const knock = (options: tls.ConnectionOptions): Promise<string> =>
    new Promise((resolve) => {
      const socket = tls.connect({host: '127.0.0.1', port: firstPorts.hub, ALPNProtocols: ['h2'], ...options})
      socket.on('secureConnect', () => setTimeout(() => (resolve('open'), socket.destroy()), 500))
      socket.on('error', (error) => resolve(error.message))
      // a server that wants no more of it may just hang up
      socket.on('close', () => resolve('closed'))
      socket.resume()
    })
  /** The alerts of TLS 1.3 (RFC 8446 section 6.2) for a certificate that is missing or not trusted. */
  const refused = /unknown ca|bad certificate|certificate required|closed/
  const file = (name: string) => readFileSync(path.join(folder, '.lkeobs', name), 'utf8')

  test('the leaf of the edge opens the gateway, nothing else does', async () => {
    const ca = file('hub/ca/ca.pem')
    const leaf = file('edge-1/agent/leaf.pem')
    expect(await knock({ca, cert: leaf, key: leaf})).toBe('open')

    const x509 = createX509()
    const strangers = await x509.createCa({commonName: 'strangers', days: 1, pathLength: 0})
    const stranger = await x509.issueServer(strangers, {commonName: 'edge-1.edge.lkeobs', names: ['localhost'], days: 1})
    expect(await knock({ca, cert: stranger.certificate, key: stranger.key.reveal()})).toMatch(refused)
    // signed by the root, which the gateway does not trust: only issuers of edges
    const ofRoot = file('hub/vault-0/tls.pem')
    expect(await knock({ca, cert: ofRoot, key: ofRoot})).toMatch(refused)
    expect(await knock({ca})).toMatch(refused)
  })

  test('a client without TLS is refused', async () => {
    const answer = await fetch(`http://127.0.0.1:${firstPorts.hub}/`).then(
      ({status}) => status,
      () => 'refused',
    )
    expect(answer).not.toBe(200)
  })

  test('with nobody trusted the canary ends at the agent, and exit code 7 says so; lab up mends it', async () => {
    const gateway = path.join(folder, '.lkeobs/hub/gateway')
    await copyFile(path.join(gateway, 'nobody.pem'), path.join(gateway, 'clients.pem'))
    let answer: Verification | undefined
    // the connection that is open lives for up to 40 s
    await eventually(
      'the gateway refuses the edge',
      async () => {
        const verified = await lkeobs(folder, ['verify', '--signal', 'logs', '--timeout', '4', '--json'])
        answer = document<Verification>(verified)
        return verified.code === 7
      },
      60_000,
    )
    expect(answer?.canaries).toMatchObject([{edge: 'edge-1', signal: 'logs', ok: false, lastHop: 'agent'}])
    // with TLS 1.3 the client may see the connection end before it sees the alert
    expect(answer?.canaries[0]?.reason).toMatch(/issuer the gateway does not trust|when it refuses a certificate/)

    const up = await lkeobs(folder, ['lab', 'up', '--json'])
    expect(up.code, up.stdout).toBe(0)
    expect(
      document<Lab>(up)
        .steps.filter(({state}) => state === 'done')
        .map(({title}) => title),
    ).toEqual(['the gateway trusts the issuers of these edges and no one else'])
  }, 300_000)

  test('what an agent accepted while the gateway was dead arrives when it is back', async () => {
    const {gateway} = await pidsOf(folder, 'hub')
    process.kill(gateway ?? 0, 'SIGKILL')
    const {canaries} = document<Verification>(await lkeobs(folder, ['verify', '--signal', 'traces', '--timeout', '2', '--json']))
    expect(canaries).toMatchObject([{ok: false, lastHop: 'agent'}])
    expect((await lkeobs(folder, ['lab', 'up'])).code).toBe(0)
  }, 300_000)
})

describe('repair', () => {
  test('two more edges join, nine canaries come back', async () => {
    const up = await lkeobs(folder, ['lab', 'up', '--edges', '3', '--json'])
    expect(up.code, up.stderr).toBe(0)
    const {canaries} = document<Lab>(up).verification
    expect(canaries.filter(({ok}) => ok)).toHaveLength(9)
    expect([...new Set(canaries.map(({edge}) => edge))]).toEqual(['edge-1', 'edge-2', 'edge-3'])
  })

  test.each(['agent', 'leaf', 'vault-0'])('an edge whose %s was killed is repaired by a re-run', async (component) => {
    const before = await pidsOf(folder, 'edge-2')
    process.kill(before[component] ?? 0, 'SIGKILL')
    const up = await lkeobs(folder, ['lab', 'up', '--json'])
    expect(up.code, up.stderr).toBe(0)
    const after = await pidsOf(folder, 'edge-2')
    expect(after[component]).not.toBe(before[component])
    expect({...after, [component]: 0}).toEqual({...before, [component]: 0})
  })

  test('a hub whose processes were all killed at once is repaired by a re-run', async () => {
    for (const pid of Object.values(await pidsOf(folder, 'hub'))) process.kill(pid, 'SIGKILL')
    const up = await lkeobs(folder, ['lab', 'up', '--json'])
    expect(up.code, up.stderr).toBe(0)
  }, 300_000)
})

describe('secrets', () => {
  test('no secret is in a log, an answer, a process or a file that others may read', async () => {
    const answers = await Promise.all([
      lkeobs(folder, ['lab', 'up'], {DEBUG: '*'}),
      lkeobs(folder, ['lab', 'up', '--dry-run', '--json'], {DEBUG: '*'}),
      lkeobs(folder, ['lab', 'status', '--json'], {DEBUG: '*'}),
    ])
    const state = path.join(folder, '.lkeobs')
    const files = await filesIn(state)
    const holders = files.filter((file) =>
      /admin\.password$|seal\.key$|secret-id$|ca\.key$|tls\.pem$|leaf\.pem$|credential\.jwt$/.test(file),
    )
    expect(holders.length).toBeGreaterThan(12)
    const secrets = holders.flatMap((file) => {
      const text = readFileSync(file, 'utf8')
      return text.includes('PRIVATE KEY') ? [(text.split('PRIVATE KEY-----\n')[1] ?? '').slice(0, 60)] : [text.trim()]
    })
    for (const secret of secrets) expect(secret.length).toBeGreaterThan(30)
    const logs = files.filter((file) => file.includes('/logs/')).map((file) => readFileSync(file, 'utf8'))
    const processes = processesIn(folder).flatMap((pid) => [
      readFileSync(`/proc/${pid}/cmdline`, 'latin1'),
      readFileSync(`/proc/${pid}/environ`, 'latin1'),
    ])
    expect(processes.length).toBeGreaterThan(20)
    const places = [...answers.flatMap(({stdout, stderr}) => [stdout, stderr]), ...logs, ...processes]
    expect(secrets.filter((secret) => places.some((place) => place.includes(secret)))).toEqual([])
    expect(holders.filter((file) => (statSync(file).mode & 0o077) !== 0)).toEqual([])
  })
})

describe('the end', () => {
  test('lab down leaves no process and no port; --purge no file', async () => {
    const pids = (await Promise.all(['hub', 'edge-1', 'edge-2', 'edge-3'].map((cluster) => pidsOf(folder, cluster)))).flatMap((found) =>
      Object.values(found),
    )
    expect(pids).toHaveLength(17)
    const down = await lkeobs(folder, ['lab', 'down'])
    expect(down.code, down.stderr).toBe(0)
    expect(processesIn(folder)).toEqual([])
    const listening = await createShell().run({file: 'cat', args: ['/proc/net/tcp', '/proc/net/tcp6']})
    const ours = [...listening.matchAll(/:([\dA-F]{4}) \S+ 0A /g)]
      .map(([, port = '']) => Number.parseInt(port, 16))
      .filter((port) => port >= 21_300 && port < 21_500)
    expect(ours).toEqual([])
    expect((await lkeobs(folder, ['lab', 'down'])).code).toBe(0)
    const status = await lkeobs(folder, ['lab', 'status'])
    expect(status.code).toBe(7)
    expect((await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])).code).toBe(0)
    expect(await readdir(folder)).toEqual([])
  })
})

describe('step by step, and what goes wrong', () => {
  let place: string
  beforeAll(async () => {
    place = await labFolder()
  })
  afterAll(async () => {
    await lkeobs(place, ['lab', 'down', '--purge', '--yes'])
    await rm(place, {recursive: true, force: true})
  })
  const failure = async (args: readonly string[], env?: NodeJS.ProcessEnv) => {
    const ended = await lkeobs(place, [...args, '--json'], env)
    expect(ended.stderr).not.toMatch(/^\s+at /m)
    const {error} = document<Failure>(ended)
    expect(error.exit).toBe(ended.code)
    return error
  }

  test('a dry run in an empty folder writes nothing, starts nothing, and says what it would do', async () => {
    const empty = await mkdtemp(path.join(tmpdir(), 'lkeobs-empty-'))
    const text = await lkeobs(empty, ['lab', 'up', '--dry-run'])
    const data = document<{schema: string; steps: {title: string; state: string; writes: string[]}[]}>(
      await lkeobs(empty, ['lab', 'up', '--dry-run', '--json']),
    )
    expect(text.code, text.stderr).toBe(0)
    expect(data.schema).toBe('lkeobs/plan/v1')
    for (const {title, writes} of data.steps) for (const line of [title, ...writes]) expect(text.stdout).toContain(line)
    expect(data.steps.flatMap(({writes}) => writes).filter((line) => line.startsWith('start '))).toHaveLength(11)
    expect(await readdir(empty)).toEqual([])
    expect(processesIn(empty)).toEqual([])
    await rm(empty, {recursive: true})
  })

  test('an edge cannot join a hub that is not there', async () => {
    expect(await failure(['edge', 'join', 'edge-1'])).toMatchObject({code: 'LKO-3007', exit: 4})
    expect(await failure(['edge', 'join', 'edge-9'])).toMatchObject({code: 'LKO-1003', exit: 2})
  })

  test('a program that is missing is named', async () => {
    const cache = await mkdtemp(path.join(tmpdir(), 'lkeobs-cache-'))
    const error = await failure(['hub', 'init'], {XDG_CACHE_HOME: cache, PATH: '/usr/bin:/bin'})
    expect(error).toMatchObject({code: 'LKO-4001', exit: 4})
    expect(error.next.join()).toContain('lkeobs tools install')
    await rm(cache, {recursive: true})
  })

  test('a port that is taken is named with its holder, and nothing is started', async () => {
    const server = createServer().listen(firstPorts.hub + 5, '127.0.0.1')
    const error = await failure(['hub', 'init'])
    expect(error).toMatchObject({code: 'LKO-3001', exit: 4})
    expect(error.message).toContain(`Port ${firstPorts.hub + 5} (loki of hub)`)
    expect(error.message).toContain(`pid ${process.pid}`)
    expect(processesIn(place)).toEqual([])
    server.close()
  })

  test('a folder that cannot be written', async () => {
    const file = path.join(place, 'a-file')
    await writeFile(file, '')
    expect(await failure(['lab', 'up', '--dir', file])).toMatchObject({code: 'LKO-3004', exit: 4})
    await rm(file)
  })

  test('killed at any moment, lab up finishes when it is run again', async () => {
    for (const afterMs of [700, 1500, 2500, 4000]) {
      const {child, ended} = start(place, ['lab', 'up'])
      await new Promise((resolve) => setTimeout(resolve, afterMs + Math.random() * 300))
      child.kill('SIGKILL')
      await ended
    }
    const up = await lkeobs(place, ['lab', 'up', '--json'])
    expect(up.code, up.stdout).toBe(0)
    await lkeobs(place, ['lab', 'down'])
  }, 300_000)

  test('two at once: the second says so', async () => {
    const first = start(place, ['lab', 'up'])
    await eventually('the first holds the lock', async () => (await readdir(path.join(place, '.lkeobs'))).includes('lock'), 10_000)
    expect(await failure(['lab', 'up'])).toMatchObject({code: 'LKO-3002', exit: 4})
    expect((await first.ended).code).toBe(0)
  })

  test('hub init and edge join do what lab up does, and end with canaries', async () => {
    await lkeobs(place, ['lab', 'down'])
    const hub = await lkeobs(place, ['hub', 'init'])
    expect(hub.code, hub.stderr).toBe(0)
    const join = await lkeobs(place, ['edge', 'join', 'edge-1', '--json'])
    expect(join.code, join.stderr).toBe(0)
    expect(document<{verification: Verification}>(join).verification.canaries.filter(({ok}) => ok)).toHaveLength(3)
    const again = await lkeobs(place, ['hub', 'init', '--json'])
    expect(document<Lab>(again).steps.filter(({state}) => state !== 'already so')).toEqual([])
  })

  test('a mistake in the fleet file is found with line and column, and changes nothing', async () => {
    const file = path.join(place, 'lkeobs.yaml')
    const text = await readFile(file, 'utf8')
    await writeFile(file, text.replace('  - name: edge-1', '  - name: edge-1\n    zone: north'))
    const line = text.split('\n').findIndex((each) => each.includes('- name: edge-1')) + 2
    for (const command of [['lab', 'up'], ['verify'], ['status'], ['hub', 'init']]) {
      const error = await failure(command)
      expect(error).toMatchObject({code: 'LKO-1002', exit: 3})
      expect(error.message).toContain(`lkeobs.yaml:${line}:5 edges.0.zone: Unrecognized key`)
    }
    await writeFile(file, text)
    expect((await lkeobs(place, ['verify'])).code).toBe(0)
  })

  test('logs of the host arrive under the name of the edge', async () => {
    const log = path.join(place, 'app.log')
    const line = `order ${randomBytes(6).toString('hex')} paid`
    await writeFile(log, '')
    const file = path.join(place, 'lkeobs.yaml')
    await writeFile(file, `${(await readFile(file, 'utf8')).trimEnd()}\n    logs: [${log}]\n`)
    expect((await lkeobs(place, ['lab', 'up'])).code).toBe(0)
    await writeFile(log, `${line}\n`)
    await eventually(
      'Loki has the line',
      async () => {
        const query = encodeURIComponent(`{lkeobs_edge="edge-1"} |= "${line}"`)
        const answer = await fetch(`http://127.0.0.1:${firstPorts.hub + 5}/loki/api/v1/query_range?query=${query}`)
        return (await answer.text()).includes(line)
      },
      20_000,
    )
  })
})
