import {createPrivateKey, createPublicKey, webcrypto} from 'node:crypto'
import {readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {afterAll, beforeAll, describe, expect, onTestFinished, test, vi} from 'vitest'
import {Secret} from '../../src/secret.ts'
import {type Certificate, isDue} from '../../src/status/certificate.ts'
import type {FleetCertificates} from '../../src/status/certificates.ts'
import {openVault, type Vault} from '../../src/tools/vault.ts'
import {certificatesIn, createX509, type KeyPair} from '../../src/tools/x509.ts'
import {adminLogin} from '../../src/trust/admin.ts'
import {document, eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf} from '../lab/cli.ts'

const x509 = createX509()

let folder: string
const state = (...names: string[]) => path.join(folder, '.lkeobs', ...names)
const certs = async (...args: string[]) => {
  const ended = await lkeobs(folder, ['certs', 'status', ...args, '--json'])
  return {...document<FleetCertificates>(ended), code: ended.code, ms: ended.ms}
}
const vaultOf = (cluster: string, port: number) =>
  openVault({
    address: `https://127.0.0.1:${port}`,
    ca: () => readFile(state(cluster, 'ca', 'ca.pem'), 'utf8'),
    login: adminLogin({read: (component, file) => readFile(state(cluster, component, file), 'utf8')}),
  })
const hubVault = () => vaultOf('hub', firstPorts.hub + 10)

/** A file of the lab with other content until the test is over; returns what puts it back. */
const swapped = async (content: string | ((before: string) => string), ...names: string[]) => {
  const before = await readFile(state(...names), 'utf8')
  await writeFile(state(...names), typeof content === 'string' ? content : content(before))
  const back = () => writeFile(state(...names), before)
  onTestFinished(back)
  return back
}
const rootOf = async (cluster: string): Promise<KeyPair> => ({
  certificate: await readFile(state(cluster, 'ca', 'ca.pem'), 'utf8'),
  key: new Secret(await readFile(state(cluster, 'ca', 'ca.key'), 'utf8')),
})
const pemOf = ({certificate, key}: KeyPair) => certificate + key.reveal()
/** A CA of nobody, with a day left. */
const dyingCa = async (commonName: string) => (await x509.createCa({commonName, days: 1, pathLength: 0})).certificate

/** A server's certificate of ten days that was made nine days ago. */
const dyingLeaf = async (ca: KeyPair, commonName: string): Promise<KeyPair> => {
  vi.useFakeTimers({toFake: ['Date'], now: Date.now() - 9 * 86_400_000})
  try {
    return await x509.issueServer(ca, {commonName, names: ['localhost', '127.0.0.1'], days: 10})
  } finally {
    vi.useRealTimers()
  }
}

/** The request of a CA for this key: signed with the key itself, it is the same CA for another time. */
const requestOf = async (commonName: string, key: Secret): Promise<string> => {
  await import('reflect-metadata')
  const {Pkcs10CertificateRequestGenerator} = await import('@peculiar/x509')
  const algorithm = {name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256'} as const
  const own = createPrivateKey(key.reveal())
  const [privateKey, publicKey] = await Promise.all([
    webcrypto.subtle.importKey('pkcs8', own.export({type: 'pkcs8', format: 'der'}), algorithm, true, ['sign']),
    webcrypto.subtle.importKey('spki', createPublicKey(own).export({type: 'spki', format: 'der'}), algorithm, true, ['verify']),
  ])
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: `CN=${commonName}`,
    keys: {privateKey, publicKey},
    signingAlgorithm: algorithm,
  })
  return request.toString('pem')
}

/** A mount signs with a CA that has a day left, until the test is over. */
const dyingIssuer = async (vault: Vault, mount: string, sign: (request: string) => Promise<string>): Promise<string> => {
  const before = await vault.read<{default: string}>(`${mount}/config/issuers`)
  onTestFinished(async () => void (await vault.write(`${mount}/root/replace`, {default: before?.default})))
  const {csr} = await vault.write<{csr: string}>(`${mount}/intermediate/generate/internal`, {
    common_name: 'dying',
    key_type: 'ec',
    key_bits: 256,
  })
  const certificate = await sign(csr)
  const {imported_issuers: made} = await vault.write<{imported_issuers: string[]}>(`${mount}/intermediate/set-signed`, {certificate})
  await vault.write(`${mount}/root/replace`, {default: made[0]})
  return certificate
}

beforeAll(async () => {
  const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
  if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  folder = await labFolder(2)
  const file = path.join(folder, 'lkeobs.yaml')
  await writeFile(file, `${(await readFile(file, 'utf8')).trimEnd()}\n    vault: {seal: transit}\n`)
  const up = await lkeobs(folder, ['lab', 'up'])
  if (up.code !== 0) throw new Error(up.stderr)
})

afterAll(async () => {
  await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])
  await rm(folder, {recursive: true, force: true})
})

test('all of them are read, and none is due', async () => {
  const found = await certs()
  expect(found.certificates.filter(isDue)).toEqual([])
  expect(found).toMatchObject({code: 0, ok: true, leftOut: [], counts: {valid: 22}})
  expect(found.ms).toBeLessThan(10_000)
  // what is shown on the wire, and not what the file of it says
  const served = found.certificates.filter(({seen}) => seen === 'served')
  expect(served.map(({at}) => at).toSorted()).toEqual(
    [firstPorts.hub, ...[10, 12, 14].map((more) => firstPorts.hub + more), firstPorts.edge + 4, firstPorts.edge + 14]
      .map((port) => `127.0.0.1:${port}`)
      .toSorted(),
  )
  const vault = served.find(({cluster, kind}) => cluster === 'edge-1' && kind === 'vault')
  expect(vault?.serial).toBe(certificatesIn(await readFile(state('edge-1/vault-0/tls.pem'), 'utf8'))[0]?.serialNumber)
})

describe('one that ends tomorrow is found', () => {
  const due = async (): Promise<readonly Certificate[]> => {
    const {code, ok, certificates} = await certs()
    expect({code, ok}).toEqual({code: 7, ok: false})
    return certificates.filter(isDue)
  }
  const tomorrow = (wanted: Partial<Certificate>): unknown => expect.objectContaining({state: 'soon', daysLeft: 0, ...wanted})
  const said = async (line: RegExp) => {
    const {code, stdout} = await lkeobs(folder, ['certs', 'status'])
    expect(code).toBe(7)
    expect(stdout).toMatch(line)
  }

  test('the leaf of an agent', async () => {
    await swapped(pemOf(await dyingLeaf(await rootOf('edge-1'), 'edge-1.edge.lkeobs')), 'edge-1/agent/leaf.pem')
    expect(await due()).toContainEqual(
      tomorrow({
        cluster: 'edge-1',
        kind: 'leaf',
        seen: 'mounted',
        at: '.lkeobs/edge-1/agent/leaf.pem',
        stops: 'it cannot send',
        renewedBy: 'bao agent',
      }),
    )
    await said(/! edge-1: agent's leaf: ends .*it cannot send/)
  })

  test('the leaf of the gateway: in its hands at once, and served as soon as it has taken it up', async () => {
    await swapped(pemOf(await dyingLeaf(await rootOf('hub'), 'gateway.hub.lkeobs')), 'hub/gateway/leaf.pem')
    expect(await due()).toContainEqual(tomorrow({cluster: 'hub', kind: 'leaf', stops: 'no edge can send'}))
    await eventually('it is served', async () => (await certs()).certificates.some((one) => one.kind === 'gateway' && isDue(one)), 30_000)
    expect(await due()).toContainEqual(
      tomorrow({cluster: 'hub', kind: 'gateway', seen: 'served', at: `127.0.0.1:${firstPorts.hub}`, stops: 'no edge can send'}),
    )
  })

  test('the certificate of one node of Vault, as it is served', async () => {
    const names = ['localhost', '127.0.0.1']
    const dying = await x509.issueServer(await rootOf('hub'), {commonName: 'localhost', names, days: 1})
    const back = await swapped(pemOf(dying), 'hub/vault-2/tls.pem')
    const reloaded = async () => process.kill((await pidsOf(folder, 'hub'))['vault-2'] ?? 0, 'SIGHUP')
    onTestFinished(async () => {
      await back()
      await reloaded()
      await eventually('it serves its own again', async () => (await certs()).code === 0, 10_000)
    })
    // what lies in the file is not yet what is served
    await eventually('the gateway serves its own leaf again', async () => (await certs()).code === 0, 30_000)
    await reloaded()
    await eventually('it is served', async () => (await certs()).code === 7, 10_000)
    expect(await due()).toContainEqual(
      tomorrow({
        cluster: 'hub',
        kind: 'vault',
        which: 'vault-2',
        seen: 'served',
        renewedBy: 'lkeobs hub init',
        stops: 'no leaf is renewed; edges that it unseals do not open',
      }),
    )
  })

  test('the issuer of an edge: in its Vault, and in the bundle of the gateway', async () => {
    const [hub, edge] = [hubVault(), vaultOf('edge-1', firstPorts.edge + 4)]
    const certificate = await dyingIssuer(edge, 'pki', async (csr) => {
      const signed = await hub.write<{certificate: string}>('pki_edge/root/sign-intermediate', {
        csr,
        common_name: 'lkeobs edge edge-1',
        ttl: '24h',
      })
      return signed.certificate
    })
    expect(await due()).toContainEqual(
      tomorrow({cluster: 'edge-1', kind: 'issuer', seen: 'in Vault', at: 'pki', renewedBy: 'lkeobs edge join edge-1'}),
    )
    await said(/! edge-1: issuer of its leaves: ends .*it cannot send; no new leaf from a day before/)
    // as it says: it signs nothing that would outlive it
    await expect(edge.write('pki/issue/agent', {common_name: 'edge-1.edge.lkeobs', ttl: '24h'})).rejects.toThrow(
      /beyond the expiration of the CA/,
    )

    const before = await hub.read<{issuer: string}>('lkeobs/edges/edge-1')
    onTestFinished(async () => void (await hub.write('lkeobs/edges/edge-1', {...before})))
    await hub.write('lkeobs/edges/edge-1', {...before, issuer: certificate})
    await swapped((bundle) => bundle.replace(before?.issuer.trim() ?? '', certificate.trim()), 'hub/gateway/clients.pem')
    expect(await due()).toContainEqual(
      tomorrow({
        cluster: 'hub',
        kind: 'trusted',
        of: 'trusted issuer',
        which: 'edge-1',
        stops: 'edge-1 cannot send',
        renewedBy: 'lkeobs edge join edge-1',
      }),
    )
  })

  test.each([
    ['pki_hub', 'issuer of the gateway', 'no edge can send; no new leaf from a day before'],
    ['pki_edge', 'issuer of edges', 'no edge can join, or get another issuer'],
  ])('an issuer of the hub: %s', async (mount, of, stops) => {
    const root = await rootOf('hub')
    await dyingIssuer(hubVault(), mount, (csr) => x509.signCa(root, csr, {days: 1, pathLength: 1}))
    expect(await due()).toContainEqual(tomorrow({cluster: 'hub', kind: 'issuer', at: mount, of, stops, renewedBy: 'lkeobs hub init'}))
  })

  test.each([
    ['hub', 'no edge can send; no leaf is renewed'],
    ['edge-2', 'its leaf is not renewed'],
  ])('the root CA of %s', async (cluster, stops) => {
    const root = await rootOf(cluster)
    const request = await requestOf(`lkeobs root ${cluster}`, root.key)
    await swapped(await x509.signCa(root, request, {days: 1, pathLength: 2}), cluster, 'ca/ca.pem')
    expect(await due()).toContainEqual(tomorrow({cluster, kind: 'root', stops, renewedBy: 'nobody'}))
    // by it everything else is read as before
    expect((await certs()).counts).toMatchObject({unknown: 0, soon: 1})
  })

  test('a CA in the bundle of the gateway that belongs to no edge', async () => {
    const stranger = await dyingCa('strangers')
    await swapped((bundle) => bundle + stranger, 'hub/gateway/clients.pem')
    expect(await due()).toContainEqual(
      tomorrow({
        cluster: 'hub',
        kind: 'trusted',
        of: 'trusted stranger',
        which: 'strangers',
        why: 'of no edge in the register',
        stops: 'whoever it signed cannot send',
      }),
    )
  })

  test("the hub's CA in the hands of an agent, and of what opens an edge's Vault", async () => {
    await swapped(await dyingCa('lkeobs root hub'), 'edge-1/agent/hub-ca.pem')
    expect(await due()).toContainEqual(
      tomorrow({cluster: 'edge-1', kind: 'hub-ca', at: '.lkeobs/edge-1/agent/hub-ca.pem', stops: 'it cannot send'}),
    )
    await swapped(await dyingCa('lkeobs root hub'), 'edge-2/vault/seal-ca.pem')
    expect(await due()).toContainEqual(tomorrow({cluster: 'edge-2', kind: 'seal-ca', stops: 'its Vault does not open when it starts'}))
    expect((await certs('--edge', 'edge-2')).certificates.filter(isDue)).toHaveLength(1)
  })

  test('and --warn says from when on', async () => {
    expect((await certs('--warn', '300d')).code).toBe(0)
    const early = await certs('--warn', '366d')
    expect(early.code).toBe(7)
    expect(new Set(early.certificates.filter(isDue).map(({kind}) => kind))).toEqual(new Set(['vault', 'issuer', 'trusted']))
    expect((await certs('--warn', '0d')).code).toBe(0)
    const wrong = await lkeobs(folder, ['certs', 'status', '--warn', 'soon'])
    expect(wrong.code).toBe(2)
    expect(wrong.stderr).toContain('--warn soon is no time')
  })
})

describe('what cannot be read', () => {
  test('an edge whose Vault is gone: rows with the reason, and exit code 7', async () => {
    process.kill((await pidsOf(folder, 'edge-1'))['vault-0'] ?? 0, 'SIGKILL')
    const {code, certificates, counts} = await certs()
    expect(code).toBe(7)
    expect(counts).toMatchObject({unknown: 2, soon: 0, expired: 0})
    expect(certificates.slice(0, 2)).toMatchObject([
      {cluster: 'edge-1', kind: 'issuer', state: 'unknown', why: expect.stringContaining('ECONNREFUSED')},
      {cluster: 'edge-1', kind: 'vault', state: 'unknown', why: expect.stringContaining('ECONNREFUSED')},
    ])
    expect((await lkeobs(folder, ['edge', 'join', 'edge-1'])).code).toBe(0)
    expect((await certs()).code).toBe(0)
  })

  test('an edge whose Vault takes connections and says nothing is not waited for', async () => {
    const pid = (await pidsOf(folder, 'edge-1'))['vault-0'] ?? 0
    process.kill(pid, 'SIGSTOP')
    onTestFinished(() => void process.kill(pid, 'SIGCONT'))
    const {code, certificates, ms} = await certs()
    expect(code).toBe(7)
    expect(ms).toBeLessThan(16_000)
    expect(certificates.filter(isDue).map(({kind, why}) => [kind, why])).toEqual([
      ['issuer', expect.stringMatching(/no answer within 10 s$/)],
      ['vault', 'no answer within 5 s'],
    ])
  })

  test('a gateway that is stopped is not fine because its file is', async () => {
    process.kill((await pidsOf(folder, 'hub'))['gateway'] ?? 0, 'SIGKILL')
    const {code, certificates} = await certs()
    expect(code).toBe(7)
    expect(certificates.filter(isDue)).toMatchObject([{kind: 'gateway', state: 'unknown', why: expect.stringContaining('ECONNREFUSED')}])
  })
})
