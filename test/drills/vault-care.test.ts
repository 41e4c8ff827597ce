import {randomBytes} from 'node:crypto'
import {readdirSync, readFileSync, statSync} from 'node:fs'
import {copyFile, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import type {Openness} from '../../src/status/seals.ts'
import type {VaultStatus} from '../../src/status/vault.ts'
import {openVault} from '../../src/tools/vault.ts'
import {adminLogin} from '../../src/trust/admin.ts'
import {document, eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf, start} from '../lab/cli.ts'

type Vaults = {ok: boolean; vaults: VaultStatus[]}
type Failure = {error: {code: string; exit: number; message: string; next: string[]}}
type Steps = {steps: {title: string; state: string}[]}
type Fleet = {ok: boolean; hub: {vault: Openness}; edges: {name: string; vault: Openness}[]}

let folder: string
const state = (...names: string[]) => path.join(folder, '.lkeobs', ...names)
const run = (...args: string[]) => lkeobs(folder, args)
const vaults = async (...args: string[]) => {
  const ended = await run('vault', 'status', ...args, '--json')
  return {...document<Vaults>(ended), code: ended.code}
}
const failure = async (...args: string[]) => {
  const ended = await run(...args, '--json')
  const {error} = document<Failure>(ended)
  expect(error.exit).toBe(ended.code)
  return error
}
const kill = async (cluster: string, component: string) => {
  const pid = (await pidsOf(folder, cluster))[component]
  if (pid === undefined) throw new Error(`${component} of ${cluster} does not run`)
  process.kill(pid, 'SIGKILL')
}
/** A cluster's Vault as its administrator. */
const vaultOf = (cluster: string, port: number) =>
  openVault({
    address: `https://127.0.0.1:${port}`,
    ca: () => readFile(state(cluster, 'ca', 'ca.pem'), 'utf8'),
    login: adminLogin({read: (component, file) => readFile(state(cluster, component, file), 'utf8')}),
  })
const hubVault = () => vaultOf('hub', firstPorts.hub + 10)
const hubNodes = [0, 1, 2].map((node) => ({name: `vault-${node}`, port: firstPorts.hub + 10 + 2 * node}))

beforeAll(async () => {
  const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
  if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  folder = await labFolder(2)
  const file = path.join(folder, 'lkeobs.yaml')
  // edge-1 unseals itself, edge-2 is unsealed by the hub
  await writeFile(file, `${(await readFile(file, 'utf8')).trimEnd()}\n    vault: {seal: transit}\n`)
  const up = await run('lab', 'up')
  if (up.code !== 0) throw new Error(up.stderr)
})

afterAll(async () => {
  await run('lab', 'down', '--purge', '--yes')
  await rm(folder, {recursive: true, force: true})
})

describe('status', () => {
  test('three nodes and two edges, all well', async () => {
    await eventually('every node has its vote', async () => (await vaults()).ok, 30_000)
    const {code, vaults: all} = await vaults()
    expect(code).toBe(0)
    expect(all.map(({cluster, seal, nodes}) => [cluster, seal, nodes.length])).toEqual([
      ['hub', 'static', 3],
      ['edge-1', 'static', 1],
      ['edge-2', 'transit', 1],
    ])
    const [hub, , edge] = all
    expect(hub?.raft).toEqual({peers: 3, voters: 3, healthy: true, failureTolerance: 1})
    expect(hub?.nodes.filter(({state: now}) => now === 'leader')).toHaveLength(1)
    for (const node of hub?.nodes ?? []) expect(node).toMatchObject({version: '2.7.2', certificateDaysLeft: 364})
    expect(edge?.sealedBy).toMatchObject({hub: 'hub', answers: true, tokenDaysLeft: 29.9})
    // its holder renewed it when it started
    expect(edge?.sealedBy?.tokenRenewed).toBeDefined()
  })

  test('one node killed: named, two still open, none may fail; a run mends it', async () => {
    await kill('hub', 'vault-2')
    const {code, vaults: all} = await vaults('hub')
    expect(code).toBe(7)
    expect(all[0]?.nodes.map(({state: now}) => now === 'no answer')).toEqual([false, false, true])
    expect(all[0]?.raft?.failureTolerance).toBe(0)
    expect(all[0]?.problems.join()).toContain('1 of 3 nodes: no answer')
    expect((await run('hub', 'init')).code).toBe(0)
    await eventually('all well', async () => (await vaults('hub')).ok, 30_000)
  })

  test('without a login the Raft is left out, with the reason', async () => {
    const password = state('hub', 'vault', 'admin.password')
    await copyFile(password, `${password}.kept`)
    await rm(password)
    const {vaults: all} = await vaults('hub')
    await copyFile(`${password}.kept`, password)
    await rm(`${password}.kept`)
    expect(all[0]).toMatchObject({ok: true, leftOut: ['peers and voters: there is no administrator yet']})
    expect(all[0]?.nodes.every(({certificateDaysLeft}) => certificateDaysLeft === 364)).toBe(true)
  })
})

describe('seals of edges', () => {
  test('the key in the hub may neither be exported nor deleted, and its token may do nothing else', async () => {
    const hub = hubVault()
    expect(await hub.read('seals/keys/edge-2')).toMatchObject({exportable: false, deletion_allowed: false, allow_plaintext_backup: false})
    const token = readFileSync(state('edge-2', 'vault', 'seal-token'), 'utf8')
    const ask = async (where: string, body: object) => {
      const capabilities = await hub.write<Record<string, string[]>>('sys/capabilities', {token, paths: [where], ...body})
      return capabilities[where]
    }
    expect(await ask('seals/decrypt/edge-2', {})).toEqual(['update'])
    expect(await ask('seals/decrypt/edge-1', {})).toEqual(['deny'])
    expect(await ask('seals/keys/edge-2', {})).toEqual(['deny'])
    expect(await ask('lkeobs/edges/edge-2', {})).toEqual(['deny'])
  })

  test.each(['edge-1', 'edge-2'])('%s: its Vault killed and started comes back unsealed by itself', async (edge) => {
    await kill(edge, 'vault-0')
    expect((await vaults(edge)).vaults[0]).toMatchObject({ok: false, problems: ['no answer']})
    const join = await run('edge', 'join', edge, '--json')
    expect(join.code, join.stdout).toBe(0)
    expect(
      document<Steps>(join)
        .steps.filter(({state: now}) => now === 'done')
        .map(({title}) => title),
    ).toEqual([`Vault node vault-0 on ${edge}`])
    expect((await vaults(edge)).ok).toBe(true)
  })

  test('the seal of an edge cannot be switched', async () => {
    const file = path.join(folder, 'lkeobs.yaml')
    const text = await readFile(file, 'utf8')
    await writeFile(file, text.replace('    vault: {seal: transit}\n', ''))
    const running = await failure('edge', 'join', 'edge-2')
    await kill('edge-2', 'vault-0')
    const stopped = await failure('lab', 'up')
    await writeFile(file, text)
    for (const error of [running, stopped])
      expect(error).toMatchObject({code: 'LKO-5206', message: 'Vault of edge-2 is sealed by transit; the fleet file says static.'})
    expect((await run('edge', 'join', 'edge-2')).code).toBe(0)
  })

  test('with the hub sealed, the status of the edge names it; open or killed', async () => {
    const hub = hubVault()
    // a standby that is sealed goes; the leader goes last
    await hub.write('sys/seal').catch(() => undefined)
    for (const {port} of hubNodes)
      await vaultOf('hub', port)
        .write('sys/seal')
        .catch(() => undefined)
    await eventually('the first node is sealed', async () => (await hubVault().sealStatus())?.sealed === true, 20_000)
    const open = await vaults('edge-2')
    expect(open.code).toBe(7)
    expect(open.vaults[0]?.problems).toEqual(["it would not open again: the hub's Vault, which unseals it, is sealed"])

    await kill('edge-2', 'vault-0')
    const closed = await vaults('edge-2')
    expect(closed.vaults[0]).toMatchObject({
      sealedBy: {answers: false},
      problems: ["no answer: the hub's Vault, which unseals it, is sealed"],
    })
    const fleet = await run('status', '--json')
    expect(fleet.code).toBe(7)
    expect(document<Fleet>(fleet).edges[1]).toMatchObject({
      name: 'edge-2',
      vault: {open: false, reason: "no answer: the hub's Vault, which unseals it, is sealed"},
    })
    expect(document<Fleet>(fleet).edges[0]?.vault).toEqual({open: true})
  })

  test('with the hub stopped, it names that; when the hub is back the edge opens again', async () => {
    for (const {name} of hubNodes) await kill('hub', name)
    const text = await run('status')
    expect(text.code).toBe(7)
    expect(text.stdout).toContain("Vault of edge-2: no answer: the hub's Vault, which unseals it, does not answer")
    const own = await run('vault', 'status', 'edge-2')
    expect(own.stdout).toContain("no answer: the hub's Vault, which unseals it, does not answer")
    expect(own.stdout).toContain('lkeobs hub init')
    const drill = await run('lab', 'up')
    expect(drill.code, drill.stderr).toBe(0)
    await eventually('all well', async () => (await vaults()).ok, 40_000)
  })
})

describe('snapshot and restore', () => {
  const secret = randomBytes(12).toString('hex')
  const snapshot = () => path.join(folder, 'hub.snap')

  test('a snapshot is for nobody else to read, names its cluster, and is drilled', async () => {
    await hubVault().write('lkeobs/before', {secret})
    const taken = await run('vault', 'snapshot', '--out', 'hub.snap', '--json')
    expect(taken.code, taken.stdout).toBe(0)
    expect(statSync(snapshot()).mode & 0o777).toBe(0o600)
    const {note} = document<{note: {id: string; cluster: string; bytes: number}}>(taken)
    expect(note).toMatchObject({cluster: 'hub', bytes: statSync(snapshot()).size})
    expect(readFileSync(snapshot()).includes(secret)).toBe(false)

    const drill = await run('vault', 'restore', 'hub.snap', '--drill', '--json')
    expect(drill.code, drill.stdout).toBe(0)
    expect(document<{marker: {id: string}}>(drill).marker.id).toBe(note.id)
    expect(readdirSync(state())).not.toContain('drill')
  })

  test('whichever node leads, a snapshot is taken', async () => {
    const leads = async () => (await vaults('hub')).vaults[0]?.nodes.find(({state: now}) => now === 'leader')?.name
    await eventually('all well', async () => (await vaults('hub')).ok, 40_000)
    if ((await leads()) === 'vault-0') {
      await kill('hub', 'vault-0')
      await eventually('another leads', async () => /vault-[12]/.test((await leads()) ?? ''), 20_000)
      await run('hub', 'init')
    }
    expect(await leads()).toMatch(/vault-[12]/)
    const taken = await run('vault', 'snapshot', '--out', 'other.snap', '--json')
    expect(taken.code, taken.stdout).toBe(0)
  })

  test("an edge's snapshot is drilled with the hub's seal; for another cluster it is refused", async () => {
    expect((await run('vault', 'snapshot', 'edge-2', '--out', 'edge.snap')).code).toBe(0)
    const drill = await run('vault', 'restore', 'edge.snap', 'edge-2', '--drill')
    expect(drill.code, drill.stderr).toBe(0)
    expect(await failure('vault', 'restore', 'edge.snap', '--drill')).toMatchObject({code: 'LKO-5203', exit: 2})
  })

  test('a second one asks before it replaces a file; without a terminal only --yes agrees', async () => {
    expect(await failure('vault', 'snapshot', '--out', 'hub.snap')).toMatchObject({code: 'LKO-1005'})
  })

  test('a damaged file, and one of another seal, are refused', async () => {
    const whole = readFileSync(snapshot())
    await writeFile(path.join(folder, 'cut.snap'), whole.subarray(0, whole.length - 100))
    expect(await failure('vault', 'restore', 'cut.snap', '--drill')).toMatchObject({code: 'LKO-5201'})
    const key = state('hub', 'vault', 'seal.key')
    const own = readFileSync(key, 'utf8')
    await writeFile(key, randomBytes(32).toString('hex'))
    const error = await failure('vault', 'restore', 'hub.snap', '--drill')
    await writeFile(key, own)
    expect(error).toMatchObject({code: 'LKO-5202', exit: 5})
    expect(readdirSync(state())).not.toContain('drill')
  })

  test('a Vault that holds data is left alone', async () => {
    await hubVault().write('lkeobs/before', {secret: 'something newer'})
    await run('vault', 'snapshot', '--out', 'newer.snap')
    expect(await failure('vault', 'restore', 'hub.snap', '--yes')).toMatchObject({code: 'LKO-5204', exit: 5})
    expect(await hubVault().read('lkeobs/before')).toEqual({secret: 'something newer'})
  })

  test('killed at work it leaves a drill that the next run sweeps; restored into fresh nodes, what was written before is read', async () => {
    for (const {name} of hubNodes) {
      await kill('hub', name)
      await rm(state('hub', name, 'data'), {recursive: true})
    }
    const first = start(folder, ['vault', 'restore', 'hub.snap', '--yes'])
    await eventually('the throw-away node runs', async () => (await pidsOf(folder, 'drill'))['node'] !== undefined, 30_000)
    const [left = 0] = Object.values(await pidsOf(folder, 'drill'))
    first.child.kill('SIGKILL')
    await first.ended
    const again = await run('vault', 'restore', 'hub.snap', '--yes', '--json')
    expect(again.code, again.stdout).toBe(0)
    expect(() => process.kill(left, 0)).toThrow('ESRCH')
    expect(readdirSync(state())).not.toContain('drill')
    expect(await hubVault().read('lkeobs/before')).toEqual({secret})
    expect((await vaults('hub')).vaults[0]?.raft).toMatchObject({peers: 3, voters: 3, healthy: true})

    const third = await run('vault', 'restore', 'hub.snap', '--yes', '--json')
    const changed = document<Steps>(third).steps.filter(({state: now}) => now === 'done')
    expect(changed.map(({title}) => title)).toEqual([expect.stringMatching(/^drill: /)])
    expect((await run('lab', 'up')).code).toBe(0)
  })

  test('by force the snapshot replaces what came after it; a node killed meanwhile is started anew and has it, too', async () => {
    await hubVault().write('lkeobs/before', {secret: 'later'})
    const standby = (await vaults('hub')).vaults[0]?.nodes.findLast(({state: now}) => now === 'standby')?.name ?? ''
    const {child, ended} = start(folder, ['vault', 'restore', 'hub.snap', '--yes', '--force'])
    const drilled = new Promise<void>((resolve) => {
      child.stderr.on('data', (chunk: Buffer) => chunk.toString().includes('or is replaced on purpose') && resolve())
    })
    await Promise.race([drilled, ended])
    await kill('hub', standby)
    const forced = await ended
    expect(forced.code, forced.stderr).toBe(0)
    expect(forced.stderr).toContain(`${standby} started anew`)
    expect(await hubVault().read('lkeobs/before')).toEqual({secret})
    expect((await vaults('hub')).ok).toBe(true)
  }, 300_000)
})

describe('secrets', () => {
  /** Command line and environment of every process of this machine, but our own. */
  const processes = (): readonly string[] =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
      .flatMap((pid) =>
        ['cmdline', 'environ'].map((file) => {
          try {
            return readFileSync(`/proc/${pid}/${file}`, 'latin1')
          } catch {
            return ''
          }
        }),
      )

  test('no token, key or password is in an answer, a log, a command line or an environment', async () => {
    const files = [
      ['hub', 'seal.key'],
      ['hub', 'admin.password'],
      ['edge-1', 'seal.key'],
      ['edge-2', 'seal-token'],
      ['edge-2', 'admin.password'],
    ].map(([cluster = '', file = '']) => state(cluster, 'vault', file))
    for (const file of files) expect(statSync(file).mode & 0o077).toBe(0)
    const secrets = files.map((file) => readFileSync(file, 'utf8').trim())
    for (const secret of secrets) expect(secret.length).toBeGreaterThan(20)

    const seen = new Set<string>()
    const look = () => {
      for (const text of processes()) for (const secret of secrets) if (text.includes(secret)) seen.add(secret)
    }
    const watching = setInterval(look, 100)
    await kill('edge-2', 'vault-0')
    const answers = [
      await lkeobs(folder, ['edge', 'join', 'edge-2'], {DEBUG: '*'}),
      await lkeobs(folder, ['vault', 'status', '--json'], {DEBUG: '*'}),
      await lkeobs(folder, ['vault', 'snapshot', '--out', 'hub.snap', '--yes'], {DEBUG: '*'}),
      await lkeobs(folder, ['vault', 'restore', 'hub.snap', '--drill'], {DEBUG: '*'}),
      await lkeobs(folder, ['vault', 'restore', 'hub.snap', '--dry-run'], {DEBUG: '*'}),
    ]
    clearInterval(watching)
    for (const {code, stdout} of answers) expect(code, stdout).toBe(0)
    const logs = ['hub', 'edge-1', 'edge-2'].flatMap((cluster) =>
      readdirSync(state(cluster, 'logs')).map((name) => readFileSync(state(cluster, 'logs', name), 'latin1')),
    )
    const places = [...answers.flatMap(({stdout, stderr}) => [stdout, stderr]), ...logs]
    expect(secrets.filter((secret) => places.some((place) => place.includes(secret)))).toEqual([])
    expect([...seen]).toEqual([])
  })
})
