import {X509Certificate} from 'node:crypto'
import {readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import tls from 'node:tls'
import {afterAll, beforeAll, expect, test} from 'vitest'
import {edgesOf, type Fleet, openFleet} from '../../src/clusters.ts'
import {loadFleet} from '../../src/fleet/load.ts'
import type {Failed} from '../../src/steps/step.ts'
import type {FleetCertificates} from '../../src/status/certificates.ts'
import {createTools, type Tools} from '../../src/tools/index.ts'
import {createTls} from '../../src/tools/tls.ts'
import type {Propagation, Rotated} from '../../src/trust/rotation.ts'
import {type Proof, prove} from '../../src/verify/proof/prove.ts'
import {document, eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf, start} from '../lab/cli.ts'
import {openRelay} from './relay.ts'

type Failure = Omit<Failed, 'member'> & {cluster?: string}
type Rotation = Proof & {
  schema: string
  ok: boolean
  rotated: Rotated[]
  propagationMs: Propagation
  failed: Failure[]
  error?: {code: string; exit: number; message: string; next: string[]}
}

/** How long leaves of a minute are watched; the whole is 10. */
const minutes = Number(process.env['LKEOBS_TEST_RENEWAL_MINUTES'] ?? 2)

const none = {metrics: 0, logs: 0, traces: 0}
const edges = Array.from({length: 10}, (_, index) => `edge-${index + 1}`)
const relayPort = firstPorts.hub + 60
const vaultPort = (cluster: string, node = 0) =>
  cluster === 'hub' ? firstPorts.hub + 10 + 2 * node : firstPorts.edge + 10 * edges.indexOf(cluster) + 4

let folder: string
let tools: Tools
let fleet: Fleet
let relay: Awaited<ReturnType<typeof openRelay>>
const state = (...names: string[]) => path.join(folder, '.lkeobs', ...names)
const run = (...args: string[]) => lkeobs(folder, args)
const phase = async () => document<{phase: string}>(await run('certs', 'rotate', '--root', '--status', '--json')).phase
const leafOf = (edge: string) => readFileSync(state(edge, 'agent', 'leaf.pem'), 'utf8')
const rootNow = () => readFileSync(state('hub', 'ca', 'ca.pem'), 'utf8')
const trustedNow = async () => {
  const {certificates} = document<FleetCertificates>(await run('certs', 'status', '--json'))
  return certificates.filter(({kind}) => kind === 'trusted').map(({of, which = ''}) => `${of} ${which}`.trim())
}
/** Every process but those that ask for leaves. */
const running = () => Promise.all(['hub', ...edges].map(async (cluster) => ({...(await pidsOf(folder, cluster)), leaf: 0})))

const killVault = async (edge: string) => process.kill((await pidsOf(folder, edge))['vault-0'] ?? 0, 'SIGKILL')
const done = async (...args: string[]) => {
  const {code, stderr} = await run(...args)
  expect(code, stderr).toBe(0)
}
/** Does the work while traffic flows through these edges, whatever runs and dies meanwhile. */
const proven = async (names: readonly string[], work: () => Promise<void>): Promise<Proof> => {
  const wish = {http: tools.http, hub: fleet.hub, edges: edgesOf(fleet, names), perSecond: 5, tell: () => undefined}
  const {proof} = await prove(wish, work)
  expect(proof).toMatchObject({lost: none, refused: none})
  expect(proof.stored).toEqual(proof.sent)
  return proof
}

/** Whether the gateway takes this client, asked at its door: with TLS 1.3 it says no after the handshake. */
const isLetIn = (pem: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = tls.connect({
      host: '127.0.0.1',
      port: firstPorts.hub,
      cert: pem,
      key: pem,
      ca: rootNow(),
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
  const file = path.join(folder, 'lkeobs.yaml')
  writeFileSync(file, readFileSync(file, 'utf8').replace(`endpoint: 127.0.0.1:${firstPorts.hub}`, `endpoint: 127.0.0.1:${relayPort}`))
  relay = await openRelay({folder, edges, port: relayPort, gateway: firstPorts.hub})
  const up = await run('lab', 'up')
  if (up.code !== 0) throw new Error(up.stderr)
  tools = createTools({yes: true})
  fleet = openFleet(await loadFleet(file, tools.files), tools)
})

afterAll(async () => {
  await tools?.end()
  await run('lab', 'down', '--purge', '--yes')
  await relay?.close()
  rmSync(folder, {recursive: true, force: true})
})

test(
  'every leaf is renewed without a restart: whom agents dial sees another within half a minute, and nothing is lost',
  {timeout: 200_000},
  async () => {
    const pids = await running()
    const before = relay.lastBefore(Date.now())
    expect([...before.keys()].toSorted()).toEqual(edges.toSorted())
    const ended = await run('certs', 'rotate', '--all', '--prove', '--report', 'rotation.html', '--json')
    expect(ended.code, ended.stderr).toBe(0)
    const rotation = document<Rotation>(ended)
    expect(rotation).toMatchObject({schema: 'lkeobs/rotation/v1', ok: true, lost: none, refused: none, failed: []})
    expect(rotation.stored).toEqual(rotation.sent)
    expect(rotation.sent.logs).toBeGreaterThan(1000)
    expect(rotation.rotated.map(({cluster}) => cluster).toSorted()).toEqual([...edges, 'hub'].toSorted())
    expect(rotation.propagationMs.max).toBeLessThan(30_000)

    const after = relay.lastBefore(Infinity)
    const ofHub = rotation.rotated.find(({cluster}) => cluster === 'hub')
    expect(relay.shown.slice(-2)).toEqual([ofHub?.before, ofHub?.after])
    for (const {cluster, before: old, after: now} of rotation.rotated.filter((one) => one !== ofHub)) {
      expect(before.get(cluster), cluster).toBe(old)
      expect(after.get(cluster), cluster).toBe(now)
      expect(now, cluster).not.toBe(old)
      // what was called in use was in use: nothing else was presented from then on, and what was presented before is over
      const {second = 0} = rotation.marks.find(({what}) => what === `${cluster} in use`) ?? {}
      const calledMs = Date.parse(rotation.startedAt) + second * 1000
      const shownBefore = relay.presented.filter(({edge, serial}) => edge === cluster && serial === old)
      expect(
        shownBefore.filter(({atMs, closedMs = Infinity}) => atMs > calledMs || closedMs > calledMs + 1000),
        cluster,
      ).toEqual([])
    }
    expect(relay.strangers).toEqual([])
    expect(await running()).toEqual(pids)
    expect(readFileSync(path.join(folder, 'rotation.html'), 'utf8')).toContain('<svg')
  },
)

test(
  'an edge whose Vault is gone is named with what to type; nine are rotated, and its telemetry flows on',
  {timeout: 200_000},
  async () => {
    await killVault('edge-7')
    const old = new X509Certificate(leafOf('edge-7'))
    const ended = await run('certs', 'rotate', '--all', '--prove', '--report', 'partly.html', '--json')
    expect(ended.code, ended.stderr).toBe(8)
    const rotation = document<Rotation>(ended)
    expect(rotation).toMatchObject({schema: 'lkeobs/rotation/v1', ok: false, lost: none, refused: none})
    expect(rotation.stored).toEqual(rotation.sent)
    expect(rotation.rotated.map(({cluster}) => cluster).toSorted()).toEqual(
      ['hub', ...edges.filter((edge) => edge !== 'edge-7')].toSorted(),
    )
    const {error, failed} = rotation
    expect(failed).toMatchObject([{cluster: 'edge-7', code: 'LKO-5001', next: ['lkeobs edge join edge-7']}])
    expect(failed[0]?.message).toContain(`which ends ${new Date(old.validTo).toISOString().slice(0, 16).replace('T', ' ')} UTC`)
    expect(error).toMatchObject({code: 'LKO-8001', exit: 8})
    expect(error?.next).toEqual(['lkeobs edge join edge-7', 'lkeobs certs rotate --edge edge-7', 'lkeobs explain LKO-8001'])
    expect(error?.message).not.toMatch(/edge-\d+: LKO[^]*edge-\d+: LKO/)
    // on the wire it is the one from before, and what it sent is there
    expect(relay.lastBefore(Infinity).get('edge-7')).toBe(old.serialNumber)
    expect(rotation.edges.find(({edge}) => edge === 'edge-7')?.stored.logs).toBeGreaterThan(100)
    const page = readFileSync(path.join(folder, 'partly.html'), 'utf8')
    expect(page).toContain('LKO-5001')

    const said = await run('certs', 'rotate', '--edge', 'edge-7', '--edge', 'edge-8')
    expect(said.code).toBe(8)
    expect(said.stdout).toMatch(/✔ edge-8 .*\n1 leaf in use on the wire\.[^]*✖ edge-7 {3}LKO-5001 /)
    expect(said.stderr).toMatch(/\nLKO-8001 [^]*› lkeobs edge join edge-7\n› lkeobs certs rotate --edge edge-7\n/)

    await done('edge', 'join', 'edge-7')
    await done('certs', 'rotate', '--edge', 'edge-7')
    expect(relay.lastBefore(Infinity).get('edge-7')).not.toBe(old.serialNumber)
  },
)

test("other certificates for Vault's nodes: each shows its own without a restart, and nothing is lost", {timeout: 200_000}, async () => {
  const nodes = [...[0, 1, 2].map((node) => ['hub', node] as const), ...edges.map((edge) => [edge, 0] as const)]
  const shown = () =>
    Promise.all(
      nodes.map(async ([cluster, node]) => {
        const pem = await createTls().served(`127.0.0.1:${vaultPort(cluster, node)}`)
        return [`${cluster} vault-${node}`, new X509Certificate(pem).serialNumber] as const
      }),
    )
  const [pids, before] = [await running(), new Map(await shown())]
  const ended = await run('certs', 'rotate', '--vault', '--prove', '--json')
  expect(ended.code, ended.stderr).toBe(0)
  const rotation = document<Rotation>(ended)
  expect(rotation).toMatchObject({ok: true, lost: none, refused: none})
  const told = new Map(rotation.rotated.map(({cluster, node, before: old, after}) => [`${cluster} ${node}`, [old, after]]))
  for (const [node, serial] of await shown()) {
    expect(serial, node).not.toBe(before.get(node))
    expect(told.get(node), node).toEqual([before.get(node), serial])
  }
  expect(told.size).toBe(13)

  const again = new Map(await shown())
  await done('certs', 'rotate', '--vault', '--edge', 'edge-2')
  expect((await shown()).filter(([node, serial]) => again.get(node) !== serial).map(([node]) => node)).toEqual(['edge-2 vault-0'])
  // and leaves are issued as before
  await done('certs', 'rotate', '--edge', 'edge-2')
  expect(await running()).toEqual(pids)
})

test('another issuer for an edge: the one of before is trusted no longer, and nothing is lost', {timeout: 200_000}, async () => {
  const stolen = leafOf('edge-1')
  expect(await isLetIn(stolen)).toBe(true)
  const killed = start(folder, ['certs', 'rotate', '--issuer', 'edge-1'])
  await eventually('another leaf', () => leafOf('edge-1') !== stolen, 30_000)
  killed.child.kill('SIGKILL')
  await killed.ended
  expect(await isLetIn(stolen)).toBe(true)
  expect(await trustedNow()).toContain('trusted issuer of before edge-1')
  expect((await run('certs', 'status')).code).toBe(0)
  const ended = await run('certs', 'rotate', '--issuer', 'edge-1', '--prove', '--json')
  expect(ended.code, ended.stderr).toBe(0)
  expect(document<Rotation>(ended)).toMatchObject({ok: true, lost: none, refused: none})
  expect(await trustedNow()).not.toContain('trusted issuer of before edge-1')
  await eventually('the old one is let in no longer', async () => !(await isLetIn(stolen)), 20_000)
  await done('verify', '--all')
})

test('another root CA: nothing is lost, and no Vault is restarted', {timeout: 200_000}, async () => {
  const root = rootNow()
  const vaults = async () => (await running()).map((pids) => Object.entries(pids).filter(([name]) => name.startsWith('vault')))
  const before = await vaults()
  const ended = await run('certs', 'rotate', '--root', '--yes', '--prove', '--report', 'root.html', '--json')
  expect(ended.code, ended.stdout).toBe(0)
  const rotation = document<Rotation & {phase: string}>(ended)
  expect(rotation).toMatchObject({ok: true, lost: none, refused: none, phase: 'none'})
  expect(rotation.stored).toEqual(rotation.sent)
  expect(rootNow()).not.toContain(root.trim())
  expect(await vaults()).toEqual(before)
  await done('certs', 'status')
})

test(
  'another root CA, killed in each phase: it completes, nothing is lost, and who is of the old one is let in no longer',
  {timeout: 600_000},
  async () => {
    const [root, stolen] = [rootNow(), leafOf('edge-3')]
    const seen = new Set<string>()
    expect(await isLetIn(stolen)).toBe(true)
    await proven(edges, async () => {
      for (const [wanted, ms] of [
        ['trust-both', 300],
        ['trust-both', 3000],
        ['reissue', 500],
        ['reissue', 4000],
        ['retire', 300],
        ['retire', 3000],
      ] as const) {
        const killed = start(folder, ['certs', 'rotate', '--root', '--yes'])
        await eventually(
          `phase ${wanted}`,
          () => {
            const now = rootNow()
            const isFirst = now.startsWith(root.trim())
            if (now.split('BEGIN').length === 2) return wanted === (isFirst ? 'none' : 'retire')
            return wanted === (isFirst ? 'trust-both' : 'reissue')
          },
          90_000,
        )
        await sleep(ms)
        killed.child.kill('SIGKILL')
        await killed.ended
        seen.add(await phase())
        expect((await trustedNow()).filter((one) => one.includes('stranger'))).toEqual([])
        expect(wanted === 'retire' || (await isLetIn(stolen)), wanted).toBe(true)
      }
      expect([...seen]).toEqual(['trust-both', 'reissue', 'retire'])
      await done('certs', 'rotate', '--root', '--yes')
    })
    expect(await phase()).toBe('none')
    expect(rootNow()).not.toContain(root.trim())
    expect(rootNow().split('BEGIN')).toHaveLength(2)
    await eventually('the old one is let in no longer', async () => !(await isLetIn(stolen)), 20_000)
    expect(await isLetIn(leafOf('edge-3'))).toBe(true)
    expect(readdirSync(state('hub', 'ca')).toSorted()).toEqual(['ca.key', 'ca.pem'])
    await done('verify', '--all')
  },
)

test('back to the root CA of before, while both are trusted', {timeout: 200_000}, async () => {
  const root = rootNow()
  const begun = start(folder, ['certs', 'rotate', '--root', '--yes'])
  await eventually('the second one signs', () => !rootNow().startsWith(root.trim()), 60_000)
  begun.child.kill('SIGKILL')
  await begun.ended
  expect(await phase()).toBe('reissue')
  await done('certs', 'rotate', '--root', '--rollback', '--yes')
  expect(rootNow().trim()).toBe(root.trim())
  await done('verify', '--all')
})

test('leaves of a minute renew by themselves, and nothing is lost', {timeout: (minutes + 5) * 60_000}, async () => {
  const file = path.join(folder, 'lkeobs.yaml')
  writeFileSync(file, readFileSync(file, 'utf8').replace('fleet: lab\n', 'fleet: lab\ncertificates: {leafTtl: 60s}\n'))
  await done('lab', 'up')
  await done('certs', 'rotate', '--all')
  const [from, gateways] = [relay.presented.length, relay.shown.length]
  await proven(edges, () => sleep(minutes * 60_000))
  const seen = relay.presented.slice(from)
  // one of a minute, and another before it ends
  for (const edge of edges)
    expect(new Set(seen.filter((one) => one.edge === edge).map(({serial}) => serial)).size, edge).toBeGreaterThanOrEqual(minutes)
  expect(relay.shown.length - gateways).toBeGreaterThanOrEqual(minutes - 1)
  expect(seen.filter(({atMs, validToMs}) => validToMs <= atMs)).toEqual([])
  expect(seen.filter(({atMs, validToMs}) => validToMs > atMs + 61_000)).toEqual([])
  expect(seen.filter(({refusal}) => refusal !== undefined)).toEqual([])
  expect(relay.strangers).toEqual([])
})

test('an edge whose Vault is gone sends until its leaf ends, and what waits then arrives once it is back', {timeout: 300_000}, async () => {
  const [from, shownOf] = [relay.presented.length, () => relay.presented.slice(from).filter(({edge}) => edge === 'edge-5')]
  await proven(['edge-5'], async () => {
    await killVault('edge-5')
    await eventually('its leaf is refused', () => shownOf().some(({refusal}) => refusal !== undefined), 120_000)
    const [first] = shownOf().filter(({refusal}) => refusal !== undefined)
    expect(first?.refusal).toContain('expired')
    expect(first?.atMs).toBeGreaterThanOrEqual((first?.validToMs ?? 0) - 1000)
    await done('edge', 'join', 'edge-5')
  })
  expect(shownOf().at(-1)?.refusal).toBeUndefined()
})
