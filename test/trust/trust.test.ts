import {execFileSync} from 'node:child_process'
import {createPrivateKey} from 'node:crypto'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {expect, onTestFinished, test, vi} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {Secret} from '../../src/secret.ts'
import {flatten} from '../../src/steps/step.ts'
import {createX509, isSignedBy, type KeyPair, readCertificate} from '../../src/tools/x509.ts'
import {splitPem} from '../support/pem.ts'
import {fakeWorld, type FakeWorld, fleetOf, leafOf} from '../support/fake-world.ts'
import {requestOf} from '../support/fake-vault.ts'

const x509 = createX509()
const read = (pem: string) => {
  const certificate = readCertificate(pem)
  if (!certificate) throw new Error('no certificate')
  return certificate
}

const openssl = (): boolean => {
  try {
    execFileSync('openssl', ['version'])
    return true
  } catch {
    return false
  }
}

test('root, issuer and server make a chain that openssl takes', {skip: !openssl()}, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lkeobs-trust-'))
  onTestFinished(() => rmSync(folder, {recursive: true}))
  const root = await x509.createCa({commonName: 'root', days: 10, pathLength: 2})
  const {csr, key} = await requestOf('edges', true)
  const issuer: KeyPair = {certificate: await x509.signCa(root, csr, {days: 5, pathLength: 0}), key}
  const leaf = await x509.issueServer(issuer, {commonName: 'leaf', names: ['localhost', '127.0.0.1'], days: 1})
  const file = (name: string, content: string) => {
    writeFileSync(path.join(folder, name), content)
    return path.join(folder, name)
  }
  const [above, between, own] = [file('root', root.certificate), file('issuer', issuer.certificate), file('leaf', leaf.certificate)]
  for (const purpose of ['sslserver', 'sslclient']) {
    const args = ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', above, '-untrusted', between, own]
    expect(execFileSync('openssl', args, {encoding: 'utf8'})).toBe(`${own}: OK\n`)
  }
  const shown = execFileSync('openssl', ['x509', '-in', own, '-noout', '-ext', 'subjectAltName,basicConstraints'], {encoding: 'utf8'})
  expect(shown).toContain('DNS:localhost, IP Address:127.0.0.1')
  expect(shown).toContain('CA:FALSE')
  // a path length of 0: nobody may be a CA below the issuer
  const below = await requestOf('below', true)
  const tooDeep = await x509.signCa(issuer, below.csr, {days: 1, pathLength: 0})
  const deepLeaf = await x509.issueServer({certificate: tooDeep, key: below.key}, {commonName: 'deep', names: ['a'], days: 1})
  const chain = file('chain', issuer.certificate + tooDeep)
  const deep = ['verify', '-CAfile', above, '-untrusted', chain, file('deep', deepLeaf.certificate)]
  expect(() => execFileSync('openssl', deep, {stdio: 'pipe'})).toThrow(/path length constraint exceeded/)
})

test('who signed what is told by the signature, not by the name', async () => {
  const [root, namesake] = await Promise.all([1, 2].map(() => x509.createCa({commonName: 'root', days: 10, pathLength: 1})))
  const pair = await x509.issueServer(root as KeyPair, {commonName: 'a', names: ['a'], days: 1})
  const own = read(pair.certificate)
  expect(own.checkPrivateKey(createPrivateKey(pair.key.reveal()))).toBe(true)
  expect(isSignedBy(own, read(root?.certificate ?? ''))).toBe(true)
  expect(isSignedBy(own, read(namesake?.certificate ?? ''))).toBe(false)
  expect(isSignedBy(read(root?.certificate ?? ''), own)).toBe(false)
  vi.useFakeTimers({toFake: ['Date'], now: Date.now() + 2 * 86_400_000})
  onTestFinished(() => void vi.useRealTimers())
  expect(isSignedBy(own, read(root?.certificate ?? ''))).toBe(false)
})

test('the first certificate of a text is read, and no text is taken for one', async () => {
  const ca = await x509.createCa({commonName: 'one', days: 1, pathLength: 0})
  const both = `${ca.certificate}${(await x509.createCa({commonName: 'two', days: 1, pathLength: 0})).certificate}`
  expect(readCertificate(both)?.subject).toBe('CN=one')
  expect(splitPem(both).map((pem) => readCertificate(pem)?.subject)).toEqual(['CN=one', 'CN=two'])
  for (const text of ['', 'x', ca.certificate.slice(0, 200), ca.key.reveal()]) expect(readCertificate(text)).toBeUndefined()
  expect(splitPem('')).toEqual([])
  expect([String(ca.key), JSON.stringify(ca)].join()).not.toContain('PRIVATE KEY')
})

const text = newLabFleet({edges: 1})
const plans = (world: ReturnType<typeof fakeWorld>, fleet = text) => {
  const {hub, edges} = openFleet(fleetOf(fleet), world.tools)
  const [edge] = edges
  if (!edge) throw new Error('no edge')
  return {
    hub: hubInit(hub, world.tools),
    edge: edgeJoin(hub, edge),
    leaf: [hub, edge].map(({processes = []}) => processes.find(({name}) => name === 'leaf')),
  }
}

test('what the leaf agent is told to ask for', () => {
  const world = fakeWorld()
  const contents = (fleet?: string) =>
    plans(world, fleet).leaf.map(
      (agent) => (JSON.parse(agent?.files['agent.json'] ?? '') as {template: [{contents: string}]}).template[0].contents,
    )
  expect(contents()).toEqual([
    '{{ with pkiCert "pki_hub/issue/gateway" "common_name=gateway.hub.lkeobs" "alt_names=localhost" "ip_sans=127.0.0.1" "ttl=86400s" }}{{ .Cert }}{{ .CA }}{{ .Key }}{{ end }}',
    '{{ with pkiCert "pki/issue/agent" "common_name=edge-1.edge.lkeobs" "ttl=86400s" }}{{ .Cert }}{{ .CA }}{{ .Key }}{{ end }}',
  ])
  const names = (endpoint: string) =>
    contents(text.replace('endpoint: 127.0.0.1', `endpoint: '${endpoint}`).replace(':14300\n  # The seal', ":14300'\n  # The seal"))[0]
  expect(names('hub.example.org')).toContain('"alt_names=localhost,hub.example.org" "ip_sans=127.0.0.1"')
  expect(names('10.0.0.7')).toContain('"alt_names=localhost" "ip_sans=127.0.0.1,10.0.0.7"')
  expect(names('[fd00::1]')).toContain('"alt_names=localhost" "ip_sans=127.0.0.1,fd00::1"')
})

const made = async (own: FakeWorld) => {
  await own.play(plans(own).hub)
  await own.play(plans(own).edge)
  return own.snapshot()
}
let fleet: ReturnType<typeof made> | undefined
const worldWithFleet = async () => {
  const world = fakeWorld()
  world.restore(await (fleet ??= made(fakeWorld())))
  return world
}

test('the agent is restarted when it is given other credentials', async () => {
  const world = await worldWithFleet()
  world.files.set(`${world.folder}/hub/leaf/secret-id`, 'an old one')
  expect(await world.play(plans(world).hub)).toMatchInlineSnapshot(`
    "credentials of the leaf agent on hub
      vault of hub: auth/approle/role/leaf/custom-secret-id secret_id=‹secret›
      write hub/leaf/role-id
      write hub/leaf/secret-id (secret)
    leaf agent on hub
      stop hub/leaf
      write hub/leaf/agent.json
      start hub/leaf: bao agent -config=hub/leaf/agent.json"
  `)
})

const worldWithNewRoot = async () => {
  const world = fakeWorld({alwaysNewKeys: true})
  await world.play(plans(world).hub)
  await world.play(plans(world).edge)
  const root = await x509.createCa({commonName: 'lkeobs root hub', days: 3650, pathLength: 2})
  world.files.set(`${world.folder}/hub/ca/ca.pem`, root.certificate)
  world.files.set(`${world.folder}/hub/ca/ca.key`, root.key.reveal())
  const steps = (told: string) => told.split('\n').filter((line) => !line.startsWith(' '))
  const told = {hub: steps(await world.play(plans(world).hub)), edge: steps(await world.play(plans(world).edge))}
  const bundle = splitPem(world.files.get(`${world.folder}/hub/gateway/clients.pem`) ?? '').map(read)
  return {world, told, bundle}
}
let renewed: ReturnType<typeof worldWithNewRoot> | undefined

test('a new root CA signs everything below it anew', async () => {
  const {world, told, bundle} = await (renewed ??= worldWithNewRoot())
  expect(told).toMatchInlineSnapshot(`
    {
      "edge": [
        "issuer of edge-1, signed by the hub (valid 1 year)",
        "the hub knows the issuer of edge-1",
        "the gateway trusts the issuers of these edges and no one else",
        "no leaf on edge-1 for other names or of another issuer",
        "leaf agent on edge-1",
        "root CA of hub in the hands of the agent on edge-1",
        "agent on edge-1",
        "the hub trusts the present issuer of edge-1 alone",
        "the gateway trusts the issuers of these edges and no one else",
      ],
      "hub": [
        "certificate of vault-0 on hub, signed by its root CA",
        "certificate of vault-1 on hub, signed by its root CA",
        "certificate of vault-2 on hub, signed by its root CA",
        "no certificate shown by vault-0 on hub but the one in its hands",
        "no certificate shown by vault-1 on hub but the one in its hands",
        "no certificate shown by vault-2 on hub but the one in its hands",
        "issuer of edges, signed by the root CA",
        "issuer of the gateway, signed by the root CA",
        "no leaf on hub for other names or of another issuer",
        "leaf agent on hub",
      ],
    }
  `)
  expect(bundle.map(({subject}) => subject)).toEqual(['CN=lkeobs trusts nobody', 'CN=lkeobs edge edge-1'])
  expect([await world.play(plans(world).hub), await world.play(plans(world).edge)]).toEqual(['', ''])
})

// the agent keeps the leaf of the old issuer, which the gateway no longer trusts, until most of its day is over
test('where an issuer was signed anew, the leaf is of that issuer', async () => {
  const {world, bundle} = await (renewed ??= worldWithNewRoot())
  const issuer = bundle[1]
  expect(issuer && isSignedBy(read(leafOf(world, 'edge-1', 'agent')), issuer)).toBe(true)
})

test('an issuer is renewed in its last month', async () => {
  const world = await worldWithFleet()
  vi.useFakeTimers({toFake: ['Date'], now: Date.now() + 340 * 86_400_000})
  onTestFinished(() => void vi.useRealTimers())
  // the fake agent renews nothing while it runs
  world.kill('edge-1/leaf')
  expect((await world.play(plans(world).edge)).split('\n').filter((line) => !line.startsWith(' '))).toContain(
    'issuer of edge-1, signed by the hub (valid 1 year)',
  )
})

test("a root CA whose key is another's is made anew", async () => {
  const world = await worldWithFleet()
  for (const key of [(await x509.createCa({commonName: 'x', days: 1, pathLength: 0})).key, new Secret('no key at all')]) {
    world.files.set(`${world.folder}/edge-1/ca/ca.pem`, (await x509.createCa({commonName: 'y', days: 1, pathLength: 0})).certificate)
    world.files.set(`${world.folder}/edge-1/ca/ca.key`, key.reveal())
    const step = flatten(plans(world).edge.steps).find(({title}) => title.startsWith('root CA'))
    expect(await step?.done()).toBe('certificate and key do not belong together')
  }
})
