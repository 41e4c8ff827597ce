import {X509Certificate} from 'node:crypto'
import {readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import tls from 'node:tls'
import {afterAll, beforeAll, expect, test} from 'vitest'
import type {Rotated} from '../../src/trust/rotation.ts'
import type {Proof} from '../../src/verify/proof/prove.ts'
import {document, eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf, start} from '../lab/cli.ts'

type Rotation = Proof & {ok: boolean; rotated: Rotated[]; propagationMs: {p50: number; p95: number; max: number}}
type Failure = {error: {code: string; exit: number; message: string; next: string[]}}

const none = {metrics: 0, logs: 0, traces: 0}
const edges = ['edge-1', 'edge-2', 'edge-3']
let folder: string
const state = (...names: string[]) => path.join(folder, '.lkeobs', ...names)
const run = (...args: string[]) => lkeobs(folder, args)
const phase = async () => document<{phase: string}>(await run('certs', 'rotate', '--root', '--status', '--json')).phase
const leafOf = (edge: string) => readFileSync(state(edge, 'agent', 'leaf.pem'), 'utf8')

/** Whether the gateway takes this client, asked at its door: with TLS 1.3 it says no after the handshake. */
const isLetIn = (pem: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = tls.connect({
      host: '127.0.0.1',
      port: firstPorts.hub,
      cert: pem,
      key: pem,
      ca: readFileSync(state('hub', 'ca', 'ca.pem')),
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.3',
    })
    const end = (answer: boolean) => {
      resolve(answer)
      socket.destroy()
    }
    socket.on('error', () => end(false))
    socket.on('close', () => end(false))
    // an HTTP/2 server that let us in sends its settings
    socket.on('data', () => end(true))
    setTimeout(() => end(false), 3000)
  })

beforeAll(async () => {
  const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
  if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  folder = await labFolder(edges.length)
  const up = await run('lab', 'up')
  if (up.code !== 0) throw new Error(up.stderr)
})

afterAll(async () => {
  await run('lab', 'down', '--purge', '--yes')
  rmSync(folder, {recursive: true, force: true})
})

test('every leaf is renewed without a restart, in use within half a minute, and nothing is lost', async () => {
  // but for who asks for leaves
  const running = () => Promise.all(['hub', ...edges].map(async (cluster) => ({...(await pidsOf(folder, cluster)), leaf: 0})))
  const pids = await running()
  const before = edges.map((edge) => new X509Certificate(leafOf(edge)).serialNumber)
  const ended = await run('certs', 'rotate', '--all', '--prove', '--report', 'rotation.html', '--json')
  expect(ended.code, ended.stderr).toBe(0)
  const rotation = document<Rotation>(ended)
  expect(rotation).toMatchObject({ok: true, lost: none, refused: none})
  expect(rotation.sent.logs).toBe(rotation.stored.logs)
  expect(rotation.sent.logs).toBeGreaterThan(100)
  expect(rotation.rotated.map(({cluster}) => cluster).toSorted()).toEqual([...edges, 'hub'])
  for (const {cluster, before: old, after} of rotation.rotated) expect(after, cluster).not.toBe(old)
  expect(edges.map((edge) => new X509Certificate(leafOf(edge)).serialNumber)).not.toEqual(before)
  expect(rotation.propagationMs.max).toBeLessThan(30_000)
  expect(await running()).toEqual(pids)
  expect(readFileSync(path.join(folder, 'rotation.html'), 'utf8')).toContain('<svg')
})

test('an edge whose Vault is gone is named with what to type; the others are rotated, and its telemetry flows on', async () => {
  const pid = (await pidsOf(folder, 'edge-2'))['vault-0'] ?? 0
  process.kill(pid, 'SIGKILL')
  const [old, other] = [leafOf('edge-2'), leafOf('edge-1')]
  const ended = await run('certs', 'rotate', '--all', '--json')
  expect(ended.code, ended.stdout).toBe(8)
  const {error} = document<Failure>(ended)
  expect(error).toMatchObject({code: 'LKO-8001', exit: 8})
  expect(error.message).toMatch(/agent on edge-2: LKO-5001 /)
  expect(error.message).not.toMatch(/edge-[13]: LKO/)
  expect(leafOf('edge-2')).toBe(old)
  expect(leafOf('edge-1')).not.toBe(other)
  expect((await run('verify', '--edge', 'edge-2')).code).toBe(0)
  expect((await run('edge', 'join', 'edge-2')).code).toBe(0)
})

test('another issuer for an edge: the one of before is trusted no longer, and nothing is lost', {timeout: 200_000}, async () => {
  const stolen = leafOf('edge-1')
  expect(await isLetIn(stolen)).toBe(true)
  const killed = start(folder, ['certs', 'rotate', '--issuer', 'edge-1'])
  await eventually('another leaf', () => leafOf('edge-1') !== stolen, 30_000)
  killed.child.kill('SIGKILL')
  await killed.ended
  expect(await isLetIn(stolen)).toBe(true)
  const ended = await run('certs', 'rotate', '--issuer', 'edge-1', '--prove', '--json')
  expect(ended.code, ended.stderr).toBe(0)
  expect(document<Rotation>(ended)).toMatchObject({ok: true, lost: none, refused: none})
  await eventually('the old one is let in no longer', async () => !(await isLetIn(stolen)), 20_000)
  expect((await run('verify', '--all')).code).toBe(0)
})

test(
  'another root CA, killed in each phase: it completes, nothing is lost, and who is of the old one is let in no longer',
  {timeout: 400_000},
  async () => {
    const [root, stolen] = [readFileSync(state('hub', 'ca', 'ca.pem'), 'utf8'), leafOf('edge-3')]
    const seen = new Set<string>()
    expect(await isLetIn(stolen)).toBe(true)
    for (const [wanted, ms] of [
      ['trust-both', 300],
      ['reissue', 500],
      ['reissue', 4000],
      ['retire', 300],
    ] as const) {
      const killed = start(folder, ['certs', 'rotate', '--root', '--yes'])
      await eventually(
        `phase ${wanted}`,
        () => {
          const count = readFileSync(state('hub', 'ca', 'ca.pem'), 'utf8').split('BEGIN').length - 1
          const isFirst = readFileSync(state('hub', 'ca', 'ca.pem'), 'utf8').startsWith(root.trim())
          const now = count === 1 ? (isFirst ? 'none' : 'retire') : isFirst ? 'trust-both' : 'reissue'
          return now === wanted
        },
        90_000,
      )
      await sleep(ms)
      killed.child.kill('SIGKILL')
      await killed.ended
      seen.add(await phase())
      expect(wanted === 'retire' || (await isLetIn(stolen)), wanted).toBe(true)
    }
    expect([...seen]).toEqual(['trust-both', 'reissue', 'retire'])
    const last = await run('certs', 'rotate', '--root', '--yes', '--prove', '--json')
    expect(last.code, last.stdout).toBe(0)
    expect(document<Rotation>(last)).toMatchObject({ok: true, lost: none, refused: none})
    expect(await phase()).toBe('none')
    const now = readFileSync(state('hub', 'ca', 'ca.pem'), 'utf8')
    expect(now).not.toContain(root.trim())
    expect(now.split('BEGIN')).toHaveLength(2)
    await eventually('the old one is let in no longer', async () => !(await isLetIn(stolen)), 20_000)
    expect(await isLetIn(leafOf('edge-3'))).toBe(true)
    expect(readdirSync(state('hub', 'ca')).toSorted()).toEqual(['ca.key', 'ca.pem'])
    expect((await run('verify', '--all')).code).toBe(0)
  },
)

test('back to the root CA of before, while both are trusted', {timeout: 200_000}, async () => {
  const root = readFileSync(state('hub', 'ca', 'ca.pem'), 'utf8')
  const begun = start(folder, ['certs', 'rotate', '--root', '--yes'])
  await eventually('the second one signs', () => !readFileSync(state('hub', 'ca', 'ca.pem'), 'utf8').startsWith(root.trim()), 60_000)
  begun.child.kill('SIGKILL')
  await begun.ended
  expect(await phase()).toBe('reissue')
  const back = await run('certs', 'rotate', '--root', '--rollback', '--yes')
  expect(back.code, back.stderr).toBe(0)
  expect(readFileSync(state('hub', 'ca', 'ca.pem'), 'utf8').trim()).toBe(root.trim())
  expect((await run('verify', '--all')).code).toBe(0)
})

test('leaves of a minute renew by themselves, and nothing is lost', {timeout: 300_000}, async () => {
  const file = path.join(folder, 'lkeobs.yaml')
  writeFileSync(file, readFileSync(file, 'utf8').replace('fleet: lab\n', 'fleet: lab\ncertificates: {leafTtl: 60s}\n'))
  const up = await run('lab', 'up')
  expect(up.code, up.stderr).toBe(0)
  const rotated = await run('certs', 'rotate', '--all')
  expect(rotated.code, rotated.stderr).toBe(0)
  const serials = new Map(edges.map((edge) => [edge, new Set<string>()]))
  const lives: number[] = []
  const watching = setInterval(() => {
    for (const [edge, seen] of serials) {
      const leaf = new X509Certificate(leafOf(edge))
      if (!seen.has(leaf.serialNumber)) lives.push(Date.parse(leaf.validTo) - Date.parse(leaf.validFrom))
      seen.add(leaf.serialNumber)
    }
  }, 500)
  await sleep(100_000)
  // the gateway dials nobody; that canaries pass is that both sides take the other's
  const proof = await run('certs', 'rotate', '--gateway', '--prove', '--json')
  clearInterval(watching)
  expect(proof.code, proof.stdout).toBe(0)
  expect(document<Rotation>(proof)).toMatchObject({ok: true, lost: none})
  for (const [edge, seen] of serials) expect(seen.size, edge).toBeGreaterThanOrEqual(3)
  for (const life of lives) expect(life).toBeLessThanOrEqual(121_000)
  for (const edge of edges) expect(readFileSync(state(edge, 'logs', 'agent.log'), 'latin1')).not.toContain('certificate has expired')
})
