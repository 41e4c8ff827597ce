import path from 'node:path'
import {stripVTControlCharacters} from 'node:util'
import {describe, expect, onTestFinished, test, vi} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {LkeobsError} from '../../src/errors.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {readDuration} from '../../src/output.ts'
import {type CertificateKind, certificateOf, isDue, type Known} from '../../src/status/certificate.ts'
import {certificatesText} from '../../src/status/certificates-text.ts'
import {type FleetCertificates, fleetCertificates} from '../../src/status/certificates.ts'
import {createX509, readCertificate} from '../../src/tools/x509.ts'
import {trusted} from '../../src/trust/bundle.ts'
import {amend} from '../../src/trust/register.ts'
import {fakeWorld, fleetOf} from '../support/fake-world.ts'

const x509 = createX509()
const dayMs = 86_400_000
const warnMs = 30 * dayMs

const made = async (days: number) => {
  const {certificate} = await x509.createCa({commonName: 'lkeobs root hub', days, pathLength: 2})
  const read = readCertificate(certificate)
  if (!read) throw new Error('it cannot be read')
  return read
}
const known = (kind: CertificateKind): Known => ({
  cluster: 'hub',
  kind,
  of: 'it',
  seen: 'served',
  at: 'somewhere',
  renewedBy: 'somebody',
  stops: 'something',
})

describe('when a certificate is due', () => {
  const stateAfter = async (kind: CertificateKind, life: number, days: number, warn = warnMs) =>
    certificateOf(known(kind), await made(life), warn, Date.now() + days * dayMs).state

  test.for([
    ['vault', 365, 0, 'valid'],
    ['vault', 365, 334, 'valid'],
    ['vault', 365, 336, 'soon'],
    ['vault', 365, 366, 'expired'],
    ['root', 3650, 3000, 'valid'],
    // made to live a day: whatever is not a leaf should have long been another
    ['root', 1, 0, 'soon'],
    ['hub-ca', 1, 0, 'soon'],
    ['trusted', 1, 0, 'soon'],
    // a leaf of a day is late in its last quarter, not in its last month
    ['leaf', 1, 0, 'valid'],
    ['leaf', 1, 0.7, 'valid'],
    ['leaf', 1, 0.8, 'soon'],
    ['gateway', 1, 0.8, 'soon'],
    ['gateway', 10, 9, 'soon'],
    ['leaf', 1, 1.1, 'expired'],
  ] as const)('%s of %d days after %d days: %s', async ([kind, life, days, state]) => {
    expect(await stateAfter(kind, life, days)).toBe(state)
  })

  test('--warn moves it for those that live long, and not for leaves', async () => {
    expect(await stateAfter('vault', 365, 300, 90 * dayMs)).toBe('soon')
    expect(await stateAfter('vault', 365, 340, dayMs)).toBe('valid')
    expect(await stateAfter('leaf', 1, 0.5, 90 * dayMs)).toBe('valid')
    expect(await stateAfter('leaf', 1, 0.8, 0)).toBe('soon')
  })

  test('an issuer is due when it no longer outlives a leaf, whatever --warn says', async () => {
    expect(await stateAfter('issuer', 365, 364.5, 0)).toBe('soon')
    expect(await stateAfter('root', 365, 364.5, 0)).toBe('valid')
  })

  test('what is said of it', async () => {
    const certificate = await made(365)
    const row = certificateOf(known('root'), certificate, warnMs, Date.parse(certificate.validTo) - 10 * dayMs)
    expect(row).toMatchObject({
      subject: 'lkeobs root hub',
      issuer: 'lkeobs root hub',
      serial: certificate.serialNumber,
      leftSeconds: 10 * 86_400,
      daysLeft: 10,
      state: 'soon',
    })
    expect(row.expires).toBe(new Date(certificate.validTo).toISOString())
  })

  test('one that is not valid yet is not fine', async () => {
    const row = certificateOf(known('root'), await made(365), warnMs, Date.now() - 2 * 3_600_000)
    expect(row).toMatchObject({state: 'valid', why: expect.stringMatching(/^not valid before /)})
    expect(isDue(row)).toBe(true)
  })

  test.for([
    ['30d', 30 * dayMs],
    ['12h', dayMs / 2],
    ['90m', 5_400_000],
    ['0d', 0],
    ['30', undefined],
    ['1w', undefined],
    ['-1d', undefined],
  ] as const)('--warn %s', ([text, ms]) => {
    expect(readDuration(text)).toBe(ms === undefined ? undefined : ms / 1000)
  })
})

const opened = async (text: string, work = fakeWorld()) => {
  const fleet = openFleet(fleetOf(text), work.tools)
  await work.play(hubInit(fleet.hub, work.tools))
  for (const edge of fleet.edges) await work.play(edgeJoin(fleet.hub, edge))
  return {world: work, fleet}
}
const lab = `${newLabFleet({edges: 2}).trimEnd()}\n    vault: {seal: transit}\n`
const onKubernetes = (platform = '') => `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, platform: {kubernetes: {context: hub${platform}}}}
edges:
  - {name: edge-1, platform: {kubernetes: {context: edge-1${platform}}}}
`
const told = ({certificates}: FleetCertificates) =>
  certificates
    .map(({cluster, of, which = '', seen, state}) => `${cluster}: ${of} ${which} ${seen} ${state}`.replaceAll('  ', ' '))
    .toSorted()
const screen = (found: FleetCertificates) => stripVTControlCharacters(certificatesText(found))

describe('a lab', () => {
  test('every certificate where it is used, and all is well', async () => {
    const {fleet} = await opened(lab)
    const found = await fleetCertificates(fleet, {warnMs})
    expect(told(found)).toEqual(
      [
        "edge-1: agent's leaf mounted valid",
        "edge-1: hub's CA, for the agent mounted valid",
        'edge-1: issuer of its leaves in Vault valid',
        'edge-1: root CA mounted valid',
        'edge-1: Vault vault-0 served valid',
        "edge-2: agent's leaf mounted valid",
        "edge-2: hub's CA, for the agent mounted valid",
        "edge-2: hub's CA, for the seal mounted valid",
        'edge-2: issuer of its leaves in Vault valid',
        'edge-2: root CA mounted valid',
        'edge-2: Vault vault-0 served valid',
        'hub: gateway, as dialled served valid',
        "hub: gateway's leaf mounted valid",
        'hub: issuer of edges in Vault valid',
        'hub: issuer of the gateway in Vault valid',
        'hub: root CA mounted valid',
        'hub: trusted issuer edge-1 mounted valid',
        'hub: trusted issuer edge-2 mounted valid',
        'hub: trusted nobody mounted valid',
        'hub: Vault vault-0 served valid',
        'hub: Vault vault-1 served valid',
        'hub: Vault vault-2 served valid',
      ].toSorted(),
    )
    expect(found).toMatchObject({fleet: 'lab', ok: true, leftOut: [], counts: {valid: 22, soon: 0, expired: 0, unknown: 0}})
    const ends = found.certificates.map(({expires = ''}) => expires)
    expect(ends).toEqual(ends.toSorted())
    for (const one of found.certificates) {
      expect(one.serial).toMatch(/^[0-9A-F]+$/)
      expect(one.stops).not.toBe('')
      expect(one.renewedBy).toMatch(/^(bao agent|nobody|lkeobs (hub init|edge join edge-\d))$/)
    }
    expect(screen(found)).toMatch(/^fleet lab {3}22 certificates of 3 clusters: 22 valid\n/)
    expect(screen(found)).toMatch(/✔ Vault \(3\) +served/)
    expect(screen(found)).toMatch(/✔ trusted issuer \(2\)/)
    expect(screen(found)).toMatch(/\n› lkeobs status$/)
  })

  test('some edges alone', async () => {
    const {fleet} = await opened(lab)
    const found = await fleetCertificates(fleet, {only: fleet.edges.slice(1), warnMs})
    expect(new Set(found.certificates.map(({cluster}) => cluster))).toEqual(new Set(['edge-2']))
  })

  test('the gateway trusts a CA of no edge, and does not trust one that the hub knows', async () => {
    const {world, fleet} = await opened(lab)
    const file = path.join(world.folder, 'hub/gateway/clients.pem')
    const stranger = await x509.createCa({commonName: 'lkeobs edge edge-1', days: 365, pathLength: 0})
    const [nobody = '', first = ''] = world.files.get(file)?.split(/(?<=-----END CERTIFICATE-----\n)/) ?? []
    world.files.set(file, nobody + first + stranger.certificate)
    const found = await fleetCertificates(fleet, {warnMs})
    expect(found.ok).toBe(false)
    expect(found.certificates.filter(isDue)).toMatchObject([
      {
        of: 'trusted issuer',
        which: 'edge-2',
        state: 'unknown',
        why: "it is not in the gateway's bundle",
        renewedBy: 'lkeobs edge join edge-2',
      },
      {of: 'trusted stranger', which: 'lkeobs edge edge-1', state: 'valid', why: 'of no edge in the register'},
    ])
    expect(screen(found)).toContain('✖ hub: trusted stranger lkeobs edge edge-1: of no edge in the register.')
    expect(screen(found)).toMatch(/\n› lkeobs edge join edge-2\n› lkeobs hub init$/)
  })

  test('an issuer of before is trusted until its rotation has come to its end, and is called what it is', async () => {
    const {world, fleet} = await opened(lab)
    const before = await x509.createCa({commonName: 'lkeobs edge edge-1', days: 365, pathLength: 0})
    await amend(fleet.hub.vault, 'edge-1', {retiring: before.certificate})
    await trusted(fleet.hub, fleet.hub.vault).apply(() => undefined)
    const found = await fleetCertificates(fleet, {warnMs})
    expect(found.ok).toBe(true)
    expect(told(found)).toContain('hub: trusted issuer of before edge-1 mounted valid')
    expect(told(found)).toContain('hub: trusted issuer edge-1 mounted valid')
    expect(world.files.get(path.join(world.folder, 'hub/gateway/clients.pem'))?.split('BEGIN')).toHaveLength(5)
  })

  test('while a root CA is exchanged there are two', async () => {
    const {world, fleet} = await opened(lab)
    const file = path.join(world.folder, 'hub/ca/ca.pem')
    const second = await x509.createCa({commonName: 'lkeobs root hub', days: 3650, pathLength: 2})
    world.files.set(file, (world.files.get(file) ?? '') + second.certificate)
    expect(told(await fleetCertificates(fleet, {warnMs})).filter((row) => row.startsWith('hub: root'))).toEqual([
      'hub: root CA mounted valid',
      'hub: root CA mounted valid',
    ])
  })

  test('a chain that ends in another CA than the issuer in Vault is told', async () => {
    const {world, fleet} = await opened(lab)
    const file = path.join(world.folder, 'edge-1/agent/leaf.pem')
    const other = await x509.createCa({commonName: 'lkeobs edge edge-1', days: 5, pathLength: 0})
    const {certificate, key} = await x509.issueServer(other, {commonName: 'edge-1.edge.lkeobs', names: ['edge-1'], days: 1})
    world.files.set(file, certificate + other.certificate + key.reveal())
    const {certificates} = await fleetCertificates(fleet, {warnMs})
    expect(certificates.filter(isDue)).toMatchObject([{kind: 'chain', of: "chain of agent's leaf", state: 'soon', daysLeft: 4}])
  })

  test('what does not run is a row with its reason, and so is what is no certificate', async () => {
    const {world, fleet} = await opened(lab)
    world.kill('edge-1/vault-0')
    world.files.set(path.join(world.folder, 'edge-2/agent/hub-ca.pem'), 'odd')
    world.files.delete(path.join(world.folder, 'edge-2/agent/leaf.pem'))
    const found = await fleetCertificates(fleet, {warnMs})
    expect(found.certificates.slice(0, 4).map(({cluster, of, state, why}) => `${cluster} ${of} ${state}: ${why}`)).toEqual([
      "edge-2 agent's leaf unknown: there is none",
      "edge-2 hub's CA, for the agent unknown: no certificate is in it",
      'edge-1 issuer of its leaves unknown: LKO-5001 https://127.0.0.1:14404',
      'edge-1 Vault unknown: connect ECONNREFUSED 127.0.0.1:14404',
    ])
    expect(found.counts).toMatchObject({unknown: 4, soon: 0})
    expect(screen(found)).toMatch(/✖ Vault vault-0 +served +not read/)
    expect(screen(found)).toMatch(/\n› lkeobs edge join edge-1\n› lkeobs edge join edge-2$/)
  })

  test('over, and soon over: named with what stops, and who is to be asked', async () => {
    const {fleet} = await opened(lab)
    vi.useFakeTimers({toFake: ['Date'], now: Date.now() + 340 * dayMs})
    onTestFinished(() => void vi.useRealTimers())
    const found = await fleetCertificates(fleet, {only: fleet.edges.slice(0, 1), warnMs})
    expect(found.counts).toEqual({valid: 2, soon: 2, expired: 1, unknown: 0})
    const text = screen(found)
    expect(text).toContain('5 certificates of 1 cluster: 2 valid, ! 2 soon over, ✖ 1 over')
    expect(text).toMatch(
      /✖ edge-1: agent's leaf: ended 20.*\. When it ends: it cannot send\. mounted \(\.lkeobs\/edge-1\/agent\/leaf\.pem\), serial/,
    )
    expect(text).toMatch(/! edge-1: Vault vault-0: ends 20.*\. When it ends: its leaf is not renewed\./)
  })
})

describe('on Kubernetes', () => {
  test('each gateway pod, and what the balancer leads to; leaves of Vault Secrets Operator in their Secrets', async () => {
    const {fleet} = await opened(onKubernetes())
    const found = await fleetCertificates(fleet, {warnMs})
    expect(told(found).filter((line) => /leaf|gateway|root/.test(line))).toEqual(
      [
        "edge-1: agent's leaf mounted valid",
        'edge-1: root CA mounted valid',
        'hub: gateway, as dialled gateway-0 served valid',
        'hub: gateway, as dialled served valid',
        "hub: gateway's leaf mounted valid",
        'hub: issuer of the gateway in Vault valid',
        'hub: root CA mounted valid',
      ].toSorted(),
    )
    expect(found.ok).toBe(true)
    const by = (of: string) => found.certificates.find((one) => one.of === of)
    expect(by("agent's leaf")).toMatchObject({renewedBy: 'Vault Secrets Operator', at: 'Secret lkeobs-node/agent-leaf'})
    expect(by('Vault')).toMatchObject({renewedBy: 'cert-manager', at: expect.stringMatching(/^pod lkeobs\/vault-\d$/)})
    expect(by('root CA')).toMatchObject({renewedBy: 'cert-manager'})
    expect(by("hub's CA, for the agent")).toMatchObject({at: 'Secret lkeobs-node/agent-hub-ca'})
    expect(by('trusted issuer')).toMatchObject({at: 'Secret lkeobs/gateway-clients', which: 'edge-1'})
  })

  test('another certificate that a node of Vault has had for minutes and does not show is a finding', async () => {
    const {world} = await opened(onKubernetes(', certManager: false'))
    const {certificate: old} = await x509.createCa({commonName: 'vault', days: 365, pathLength: 0})
    const served = (address: string) => (address.startsWith('vault-0.hub:') ? Promise.resolve(old) : world.tools.tls.served(address))
    const fleet = openFleet(fleetOf(onKubernetes(', certManager: false')), {...world.tools, tls: {served}})
    // as long as its kubelet may take
    expect((await fleetCertificates(fleet, {warnMs})).ok).toBe(true)
    vi.useFakeTimers({toFake: ['Date'], now: Date.now() + 300_000})
    onTestFinished(() => void vi.useRealTimers())
    const found = await fleetCertificates(fleet, {warnMs})
    expect(found.certificates.filter(isDue)).toMatchObject([
      {kind: 'vault', which: 'vault-0', state: 'valid', renewedBy: 'lkeobs hub init'},
    ])
    expect(screen(found)).toMatch(/✖ hub: Vault vault-0: it has another since 20\S+ \S+, and was not told\. When it ends: no leaf/)
    expect(screen(found)).toMatch(/› lkeobs hub init$/)
  })

  test('a leaf beside each pod is read in each', async () => {
    const world = fakeWorld()
    const kube: typeof world.tools.kube = (target) => {
      const real = world.tools.kube(target)
      return {
        ...real,
        exec: async ({pod}) => {
          if (target.context === 'hub') throw new LkeobsError('LKO-4003', `${pod} does not run`)
          return (await x509.createCa({commonName: pod, days: 1, pathLength: 0})).certificate
        },
      }
    }
    const text = onKubernetes(', certManager: false, secretsOperator: false')
    await opened(text, world)
    const found = await fleetCertificates(openFleet(fleetOf(text), {...world.tools, kube}), {warnMs})
    expect(found.certificates.filter(({kind}) => kind === 'leaf')).toMatchObject([
      {cluster: 'hub', which: 'gateway-0', state: 'unknown', why: 'LKO-4003 gateway-0 does not run'},
      {cluster: 'edge-1', which: 'agent-0', at: 'pod lkeobs-node/agent-0', state: 'valid', renewedBy: 'bao agent'},
    ])
    expect(found.certificates.find(({of}) => of === 'root CA')?.renewedBy).toBe('nobody')
  })

  test('an edge that cannot be reached: a row for each, and one line', async () => {
    const world = fakeWorld({contexts: ['hub', 'edge-1']})
    await opened(onKubernetes(), world)
    const text = `${onKubernetes()}  - {name: edge-2, platform: {kubernetes: {context: edge-2}}}\n`
    const found = await fleetCertificates(openFleet(fleetOf(text), world.tools), {warnMs})
    const unread = found.certificates.filter(({state}) => state === 'unknown')
    expect(found.ok).toBe(false)
    expect(new Set(unread.map(({cluster, kind}) => `${cluster} ${kind}`))).toEqual(
      new Set(['leaf', 'vault', 'issuer', 'root', 'hub-ca'].map((kind) => `edge-2 ${kind}`)),
    )
    for (const {why} of unread) expect(why).toMatch(/^LKO-3101 edge-2 is not a context/)
    expect(screen(found).match(/✖ edge-2: not read: .*LKO-3101/g)).toHaveLength(1)
    expect(screen(found)).toMatch(/› lkeobs doctor --edge edge-2$/)
  })
})

test('of many edges only those of which something is due are shown in full', async () => {
  const certificate = await made(365)
  const rowsOf = (cluster: string, warn = warnMs) =>
    (['leaf', 'root'] as const).map((kind) => certificateOf({...known(kind), cluster, of: `the ${kind}`}, certificate, warn))
  const names = Array.from({length: 11}, (_, index) => `edge-${index + 1}`)
  const found: FleetCertificates = {
    fleet: 'acme',
    ok: false,
    warnSeconds: 0,
    clusters: [
      {name: 'hub', role: 'hub', platform: 'kubernetes'},
      ...names.map((name) => ({name, role: 'edge', platform: 'kubernetes'}) as const),
    ],
    counts: {valid: 23, soon: 1, expired: 0, unknown: 0},
    certificates: ['hub', ...names].flatMap((name) => rowsOf(name, name === 'edge-7' ? 400 * dayMs : warnMs)),
    leftOut: [],
  }
  const text = screen(found)
  expect(text).toMatch(/\nhub\n✔ the leaf .*\n✔ the root .*\n\nedge-7\n✔ the leaf .*\n! the root .*\n\nedges of which nothing is due/)
  expect(text).toMatch(/\n✔ edge-1: the leaf /)
  expect(text).not.toMatch(/✔ edge-7: /)
  expect(text.match(/the root/g)).toHaveLength(3)
  const few = {...found, clusters: found.clusters.slice(0, 11)}
  expect(screen(few)).not.toContain('edges of which nothing is due')
})

test('of a hub that holders open, nobody is asked for a password: issuers are told by name', async () => {
  const {world, fleet} = await opened(lab)
  const found = await fleetCertificates({...fleet, hub: {...fleet.hub, seal: 'shamir'}}, {warnMs})
  expect(found).toMatchObject({ok: true, leftOut: [expect.stringContaining('needs the password of the administrator on hub')]})
  expect(found.certificates.filter(({kind}) => kind === 'trusted').map(({which}) => which)).toEqual(['edge-1', 'edge-2', undefined])
  const file = path.join(world.folder, 'hub/gateway/clients.pem')
  const stranger = await x509.createCa({commonName: 'lkeobs edge edge-9', days: 365, pathLength: 0})
  world.files.set(file, (world.files.get(file) ?? '') + stranger.certificate)
  const then = await fleetCertificates({...fleet, hub: {...fleet.hub, seal: 'shamir'}}, {warnMs})
  expect(then.certificates.filter(isDue)).toMatchObject([{which: 'lkeobs edge edge-9', why: 'of no edge in the fleet file'}])
})
