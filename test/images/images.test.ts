import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {gunzipSync} from 'node:zlib'
import {extract} from 'tar-stream'
import {beforeEach, describe, expect, onTestFinished, test, vi} from 'vitest'
import {parse} from 'yaml'
import {root} from '../../scripts/sources.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {loadFleet, parseFleet} from '../../src/fleet/load.ts'
import {type Archive, readArchive, writeArchive} from '../../src/images/archive.ts'
import {type Credentials, storedCredentials} from '../../src/images/credentials.ts'
import {digestOf, type PlatformName, platformOf} from '../../src/images/oci.ts'
import {imageReferenceOf, repositoryOf} from '../../src/images/reference.ts'
import {challengeOf, openRepository, registryUrl, type RegistryOptions} from '../../src/images/registry.ts'
import {imagesPush} from '../../src/plans/images-push.ts'
import {Secret} from '../../src/secret.ts'
import {createRecorder, preview} from '../../src/steps/preview.ts'
import {run} from '../../src/steps/run.ts'
import {createFiles} from '../../src/tools/files.ts'
import {createRegistryHttp, dryRegistryHttp} from '../../src/tools/registry-http.ts'
import {createShell} from '../../src/tools/shell.ts'
import {createX509} from '../../src/tools/x509.ts'
import {fakeRegistry, type FakeRegistryOptions} from '../support/fake-registry.ts'

const files = createFiles()
const http = createRegistryHttp()
const fleetText = newLabFleet({edges: 1})
const roots = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
const program = `#!/bin/sh\necho ${'otelcol '.repeat(40_000)}\n`

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lkeobs-images-'))
  vi.stubEnv('DOCKER_CONFIG', path.join(folder, 'docker'))
  onTestFinished(() => {
    vi.unstubAllEnvs()
    rmSync(folder, {recursive: true})
  })
})

/** An archive of a small stand-in for the collector. */
const built = async (platforms: readonly PlatformName[] = ['linux/amd64'], name = 'image.tar'): Promise<Archive> => {
  const programs = platforms.map((platform) => {
    const file = path.join(folder, platform.replace('/', '-'))
    writeFileSync(file, `${program}# ${platform}\n`, {mode: 0o700})
    return {platform: platformOf(platform), file}
  })
  const labels = {'org.opencontainers.image.title': 'otelcol'}
  const wish = {programs, authorities: roots, labels, inputs: 'sha256:1', version: '0.160.0'}
  await writeArchive(path.join(folder, name), wish, {files, workspace: folder})
  return readArchive(path.join(folder, name))
}

const password = (word: string): Credentials => ({kind: 'password', username: 'ci', password: new Secret(word), from: 'a test'})

const fleetFile = (): string => {
  const file = path.join(folder, 'lkeobs.yaml')
  writeFileSync(file, fleetText)
  return file
}

/** Pushes as the command does, to `team/otelcol` unless given. */
const push = async (
  host: string,
  archive: Archive,
  {credentials, repository = 'team/otelcol', ...options}: Partial<RegistryOptions> & {repository?: string} = {},
) => {
  const opened = openRepository(
    repositoryOf(`${host}/${repository}`) ?? {host: '', path: ''},
    {credentials, plainHttp: false, pauseMs: 1, ...options},
    http,
  )
  return run(imagesPush({archive, repository: opened, fleet: await loadFleet(path.join(folder, 'lkeobs.yaml'), files)}, {files}), 'silent')
}

const changes = (requests: readonly string[]) => requests.filter((line) => /^(POST|PUT)/.test(line) && !line.endsWith('/token'))

describe('the archive', () => {
  test('is the same, byte for byte, whenever it is made', async () => {
    await built(['linux/amd64', 'linux/arm64'], 'one.tar')
    await built(['linux/amd64', 'linux/arm64'], 'other.tar')
    expect(readFileSync(path.join(folder, 'one.tar')).equals(readFileSync(path.join(folder, 'other.tar')))).toBe(true)
  })

  test('one platform is a manifest, several are an index', async () => {
    expect((await built()).top.descriptor).toMatchObject({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      platform: {os: 'linux', architecture: 'amd64'},
    })
    const several = await built(['linux/amd64', 'linux/arm64'])
    expect(several.top.descriptor.mediaType).toBe('application/vnd.oci.image.index.v1+json')
    expect(several.manifests.map(({descriptor}) => descriptor.platform?.architecture)).toEqual(['amd64', 'arm64'])
    expect(several.tag).toBe(`0.160.0-${several.top.descriptor.digest.slice(7, 19)}`)
  })

  test('a damaged blob, a file that ends early and a file that is none are refused', async () => {
    const {file} = await built()
    const whole = readFileSync(file)
    const refusal = (text: RegExp) => ({code: 'LKO-4107', message: expect.stringMatching(text)})
    const at = whole.indexOf('"architecture":"amd64"')
    writeFileSync(file, Buffer.concat([whole.subarray(0, at), Buffer.from('"architecture":"amd65"'), whole.subarray(at + 22)]))
    await expect(readArchive(file)).rejects.toMatchObject(refusal(/is damaged: its content has the digest sha256:/))
    writeFileSync(file, whole.subarray(0, 2000))
    await expect(readArchive(file)).rejects.toMatchObject(refusal(/cannot be read as a tar|is not in it|lacks/))
    writeFileSync(file, 'no tar')
    await expect(readArchive(file)).rejects.toMatchObject(refusal(/./))
    await expect(readArchive(path.join(folder, 'none.tar'))).rejects.toMatchObject(refusal(/there is no such file/))
  })
})

type Unpacked = Readonly<Record<string, {readonly mode: string; readonly owner: string; readonly time: number; readonly text: string}>>

const unpacked = async (layer: Buffer): Promise<Unpacked> => {
  const entries: Record<string, Unpacked[string]> = {}
  const tar = extract()
  tar.end(gunzipSync(layer))
  for await (const entry of tar) {
    const {name, mode, uid, gid, mtime} = entry.header
    const chunks: Buffer[] = []
    for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk)
    entries[name] = {mode: mode.toString(8), owner: `${uid}:${gid}`, time: mtime.getTime(), text: Buffer.concat(chunks).toString()}
  }
  return entries
}

test('what is pulled is what was built: program, certificates, accounts, configuration', async () => {
  const registry = await fakeRegistry()
  fleetFile()
  const archive = await built()
  await push(registry.host, archive)
  const pulled = JSON.parse(registry.manifests.get(archive.top.descriptor.digest)?.content.toString() ?? '') as {
    config: {digest: string}
    layers: [{digest: string; size: number}]
  }
  const blob = (digest: string): Buffer => registry.blobs.get(digest) ?? Buffer.alloc(0)
  const [layer] = pulled.layers
  expect(digestOf(blob(layer.digest))).toBe(layer.digest)
  expect(blob(layer.digest)).toHaveLength(layer.size)
  const entries = await unpacked(blob(layer.digest))
  expect(Object.entries(entries).map(([name, {mode}]) => `${mode} ${name}`)).toEqual([
    '755 etc/',
    '644 etc/group',
    '644 etc/passwd',
    '755 etc/ssl/',
    '755 etc/ssl/certs/',
    '644 etc/ssl/certs/ca-certificates.crt',
    '755 otelcol',
    '1777 tmp/',
  ])
  expect(entries['otelcol']?.text).toBe(`${program}# linux/amd64\n`)
  expect(entries['etc/ssl/certs/ca-certificates.crt']?.text).toBe(roots)
  expect(entries['etc/passwd']?.text).toContain('nonroot:x:10001:10001::/:/sbin/nologin')
  expect(new Set(Object.values(entries).map(({owner, time}) => `${owner} ${time}`))).toEqual(new Set(['0:0 0']))
  expect(JSON.parse(blob(pulled.config.digest).toString())).toMatchObject({
    architecture: 'amd64',
    os: 'linux',
    config: {User: '10001:10001', Entrypoint: ['/otelcol'], Labels: {'org.opencontainers.image.title': 'otelcol'}},
    rootfs: {diff_ids: [digestOf(gunzipSync(blob(layer.digest)))]},
  })
})

test('the fleet file pins the digest, and every other byte of it stays', async () => {
  const registry = await fakeRegistry()
  const file = fleetFile()
  const archive = await built(['linux/amd64', 'linux/arm64'])
  await push(registry.host, archive)
  const text = readFileSync(file, 'utf8')
  const image = `${registry.host}/team/otelcol@${archive.top.descriptor.digest}`
  expect(text).toBe(`${fleetText}collector:\n  image: ${image}\n`)
  expect(parseFleet(text, file).collector.image).toBe(image)
  expect(registry.tags).toEqual(new Map([[archive.tag, archive.top.descriptor.digest]]))
})

test('a second push changes nothing', async () => {
  const registry = await fakeRegistry({auth: 'bearer'})
  fleetFile()
  const archive = await built()
  await push(registry.host, archive, {credentials: password('right')})
  const before = registry.requests.length
  expect((await push(registry.host, archive, {credentials: password('right')})).map(({state}) => state)).not.toContain('done')
  expect(changes(registry.requests.slice(before))).toEqual([])
})

test('of another image only what is new is sent', async () => {
  const registry = await fakeRegistry()
  fleetFile()
  await push(registry.host, await built())
  const before = registry.requests.length
  await push(registry.host, await built(['linux/amd64', 'linux/arm64']))
  // layer and configuration of arm64: those of amd64 are there
  expect(changes(registry.requests.slice(before)).filter((line) => line.startsWith('POST'))).toHaveLength(2)
})

test('a dry run asks what is there, and changes neither the registry nor the file', async () => {
  const registry = await fakeRegistry()
  const file = fleetFile()
  const archive = await built()
  const recorder = createRecorder()
  const repository = openRepository(
    repositoryOf(`${registry.host}/team/otelcol`) ?? {host: '', path: ''},
    {credentials: undefined, plainHttp: false},
    dryRegistryHttp(http, recorder.record),
  )
  const recorded: string[] = []
  const dry = {files: {...files, write: async (target: string) => void recorded.push(target)}}
  const steps = await preview(imagesPush({archive, repository, fleet: await loadFleet(file, files)}, dry), recorder)
  expect(steps.length).toBeGreaterThan(3)
  expect(changes(registry.requests)).toEqual([])
  expect(readFileSync(file, 'utf8')).toBe(fleetText)
})

describe('who pushes', () => {
  const pushed = async (options: FakeRegistryOptions, credentials: Credentials | undefined) => {
    const registry = await fakeRegistry(options)
    fleetFile()
    const outcome = await push(registry.host, await built(), {credentials}).catch((error: unknown) => error)
    return {registry, outcome}
  }

  test.for(['bearer', 'basic'] as const)('%s: the right password is taken', async (auth) => {
    const {registry} = await pushed({auth}, password('right'))
    expect(registry.tags.size).toBe(1)
  })

  test('a refresh token of an earlier login is taken', async () => {
    const credentials: Credentials = {kind: 'refresh-token', token: new Secret('refresh-1'), from: 'a test'}
    expect((await pushed({auth: 'bearer', refreshToken: 'refresh-1'}, credentials)).registry.tags.size).toBe(1)
  })

  test.for(['bearer', 'basic'] as const)('%s: a wrong password, and none, are refused, and nothing is sent', async (auth) => {
    for (const credentials of [password('wrong-w0rd'), undefined]) {
      const {registry, outcome} = await pushed({auth}, credentials)
      expect(outcome).toMatchObject({code: 'LKO-4103'})
      expect((outcome as Error).message).not.toContain('wrong-w0rd')
      expect(changes(registry.requests)).toEqual([])
    }
  })

  test('a token that the registry has forgotten is asked for again', async () => {
    let forgets = true
    const registry = await fakeRegistry({
      auth: 'bearer',
      instead: (line) => {
        if (!forgets || !line.startsWith('PUT') || !line.includes('/manifests/')) return undefined
        registry.tokens.clear()
        forgets = false
        return undefined
      },
    })
    fleetFile()
    await push(registry.host, await built(), {credentials: password('right')})
    expect(registry.requests.filter((line) => line.endsWith('/token')).length).toBeGreaterThan(1)
    expect(registry.tags.size).toBe(1)
  })

  test('credentials of the registry go nowhere else, wherever uploads go', async () => {
    const other = await fakeRegistry()
    const {registry, outcome} = await pushed({auth: 'bearer', uploadsTo: `http://${other.host}`}, password('right'))
    expect(outcome).toMatchObject({code: 'LKO-4105'})
    expect(registry.authorizations.filter(Boolean)).not.toEqual([])
    expect(other.requests).not.toEqual([])
    expect(other.authorizations.filter(Boolean)).toEqual([])
  })
})

describe('stored credentials', () => {
  const tools = {files, shell: createShell()}
  const config = (value: object) => {
    mkdirSync(path.join(folder, 'docker'), {recursive: true})
    writeFileSync(path.join(folder, 'docker/config.json'), JSON.stringify(value))
  }
  const helper = (name: string, script: string) => {
    writeFileSync(path.join(folder, `docker-credential-${name}`), `#!/bin/sh\n${script}\n`, {mode: 0o755})
    vi.stubEnv('PATH', `${folder}:${process.env['PATH']}`)
  }
  const stored = (host: string) => storedCredentials({host, path: 'team/otelcol'}, tools)

  test('there are none', async () => expect(await stored('registry.example')).toBeUndefined())

  test.for(['registry.example', 'https://registry.example/v2/'])('in the file, under %s', async (key) => {
    config({auths: {[key]: {auth: Buffer.from('ci:a:b').toString('base64')}}})
    const found = await stored('registry.example')
    expect(found).toMatchObject({kind: 'password', username: 'ci'})
    expect(found?.kind === 'password' && found.password.reveal()).toBe('a:b')
    expect(JSON.stringify(found)).not.toContain('a:b')
    expect(await stored('other.example')).toBeUndefined()
  })

  test('from a helper, which is told the host on stdin', async () => {
    helper('vaulted', `read host; [ "$host" = registry.example ] && echo '{"Username":"<token>","Secret":"refresh-1"}'`)
    config({credHelpers: {'registry.example': 'vaulted'}})
    const found = await stored('registry.example')
    expect(found?.kind === 'refresh-token' && found.token.reveal()).toBe('refresh-1')
  })

  test('a helper that has none is nobody, one that is missing an error', async () => {
    helper('empty', 'echo credentials not found in native keychain; exit 1')
    config({credsStore: 'empty'})
    expect(await stored('registry.example')).toBeUndefined()
    config({credsStore: 'absent'})
    await expect(stored('registry.example')).rejects.toMatchObject({
      code: 'LKO-4103',
      message: expect.stringContaining('docker-credential-absent'),
    })
  })
})

describe('what a registry may do wrong', () => {
  const failing = async (instead: FakeRegistryOptions['instead'], repository?: string) => {
    const registry = await fakeRegistry(instead ? {instead} : {})
    const file = fleetFile()
    const error: unknown = await push(registry.host, await built(), repository === undefined ? {} : {repository}).catch(
      (caught: unknown) => caught,
    )
    expect(readFileSync(file, 'utf8')).toBe(fleetText)
    return error
  }
  const words = JSON.stringify({errors: [{code: 'DENIED', message: 'quota of 1 GB exceeded'}]})

  test('an unknown repository', async () => expect(await failing(undefined, 'other/name')).toMatchObject({code: 'LKO-4105'}))
  test('an upload over the quota, in its own words', async () =>
    expect(await failing((line) => (line.startsWith('POST') ? {status: 413, body: words} : undefined))).toMatchObject({
      code: 'LKO-4106',
      message: expect.stringContaining('HTTP 413: DENIED: quota of 1 GB exceeded'),
    }))
  test('an upload that is not permitted', async () =>
    expect(await failing((line) => (line.startsWith('POST') ? {status: 403, body: words} : undefined))).toMatchObject({code: 'LKO-4103'}))
  test('a page instead of an answer', async () =>
    expect(await failing((line) => (line.startsWith('PUT') ? {status: 502, body: '<html>bad\ngateway</html>'} : undefined))).toMatchObject({
      code: 'LKO-4106',
      message: expect.stringContaining('HTTP 502: <html>bad gateway</html>'),
    }))
  test('nobody is there', async () => {
    fleetFile()
    await expect(push('127.0.0.1:1', await built())).rejects.toMatchObject({
      code: 'LKO-4102',
      message: expect.stringContaining('ECONNREFUSED'),
    })
  })
  test('a connection that breaks off is tried again', async () => {
    let broken = 0
    const registry = await fakeRegistry({
      instead: (line) =>
        line.startsWith('PUT') && line.includes('/uploads/') && (broken += 1) < 3 ? {status: 0, hangUp: true} : undefined,
    })
    fleetFile()
    await push(registry.host, await built())
    expect(registry.tags.size).toBe(1)
  })
})

describe('TLS', () => {
  test('a CA that is named is trusted, and no other', async () => {
    const x509 = createX509()
    const ca = await x509.createCa({commonName: 'registry CA', days: 1, pathLength: 0})
    const own = await x509.issueServer(ca, {commonName: 'registry', names: ['localhost'], days: 1})
    const registry = await fakeRegistry({tls: {key: own.key.reveal(), cert: own.certificate}})
    const host = registry.host.replace('127.0.0.1', 'localhost')
    fleetFile()
    const archive = await built()
    const stranger = await x509.createCa({commonName: 'another CA', days: 1, pathLength: 0})
    await expect(push(host, archive, {ca: stranger.certificate})).rejects.toMatchObject({code: 'LKO-4104'})
    // plain HTTP, since it is on this machine
    await expect(push(host, archive)).rejects.toMatchObject({code: 'LKO-4104'})
    expect(registry.requests).toEqual([])
    await push(host, archive, {ca: ca.certificate})
    expect(registry.tags.size).toBe(1)
  })

  test.for([
    ['registry.example/a', {}, 'https://registry.example'],
    ['docker.io/a/b', {}, 'https://registry-1.docker.io'],
    ['127.0.0.1:5000/a', {}, 'http://127.0.0.1:5000'],
    ['[::1]:5000/a', {}, 'http://[::1]:5000'],
    ['127.0.0.1:5000/a', {ca: 'PEM'}, 'https://127.0.0.1:5000'],
    ['127.0.0.1.example:5000/a', {}, 'https://127.0.0.1.example:5000'],
    ['registry.example/a', {plainHttp: true}, 'http://registry.example'],
  ] as const)('%s %j is asked at %s', ([text, options, url]) => {
    expect(registryUrl(repositoryOf(text) ?? {host: '', path: ''}, {plainHttp: false, ...options})).toBe(url)
  })
})

test.for([
  [
    'Bearer realm="https://a/token",service="a, b",scope="x"',
    {scheme: 'bearer', parameters: {realm: 'https://a/token', service: 'a, b', scope: 'x'}},
  ],
  ['BASIC realm=a', {scheme: 'basic', parameters: {realm: 'a'}}],
  ['', {scheme: '', parameters: {}}],
] as const)('%s', ([header, challenge]) => expect(challengeOf(header)).toEqual(challenge))

test.for([
  'otelcol',
  'team/otelcol',
  'registry.example',
  'registry.example/',
  'registry.example/A',
  'https://registry.example/a',
  'registry.example/a:1',
  '',
])('%j is no repository', (text) => expect(repositoryOf(text)).toBeUndefined())

test('an image by digest', () => {
  const digest = `sha256:${'0a'.repeat(32)}`
  expect(imageReferenceOf(`localhost:5000/a/b@${digest}`)).toEqual({host: 'localhost:5000', path: 'a/b', tag: undefined, digest})
  expect(imageReferenceOf(`r.example/a:1@${digest}`)).toMatchObject({tag: '1', digest})
  expect(imageReferenceOf('r.example/a')).toBeUndefined()
})

/** The command line, as a person starts it. */
const lkeobs = (...args: string[]) => {
  const child = spawn(process.execPath, [path.join(root, 'bin/dev.js'), ...args], {cwd: folder, env: {...process.env, NO_COLOR: '1'}})
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const ended = once(child, 'close').then(([code]) => ({code: code as number | null, said}))
  return {child, ended}
}

test('killed between blobs and manifest, the same command goes on from there', async () => {
  let kill: (() => void) | undefined
  const registry = await fakeRegistry({
    auth: 'bearer',
    instead(line) {
      if (!kill || !line.startsWith('PUT') || !line.includes('/manifests/')) return undefined
      kill()
      kill = undefined
      return {status: 0, hangUp: true}
    },
  })
  const file = fleetFile()
  await built()
  const args = [
    'images',
    'push',
    '--image',
    'image.tar',
    '--registry',
    `${registry.host}/team/otelcol`,
    '--username',
    'ci',
    '--password-stdin',
  ]
  const first = lkeobs(...args)
  kill = () => first.child.kill('SIGKILL')
  first.child.stdin.end('right\n')
  await first.ended
  expect([registry.blobs.size, registry.manifests.size]).toEqual([2, 0])
  expect(readFileSync(file, 'utf8')).toBe(fleetText)

  const before = registry.requests.length
  const second = lkeobs(...args)
  second.child.stdin.end('right\n')
  const {code, said} = await second.ended
  expect(said).toContain(`lkeobs.yaml pins ${registry.host}/team/otelcol@sha256:`)
  expect(said).not.toContain('right')
  expect(code).toBe(0)
  expect(changes(registry.requests.slice(before)).filter((line) => line.startsWith('POST'))).toEqual([])
  expect(registry.tags.size).toBe(1)
  expect(statSync(file).mode & 0o777).toBe(0o644)
})

test('a fleet file that lacks nothing but the image is taken, and any other mistake in it is named', async () => {
  const registry = await fakeRegistry()
  const kubernetes = (collector: string) =>
    `apiVersion: lkeobs/v1\nfleet: acme\nhub:\n  name: hub\n  platform: {kubernetes: {context: hub}}\n${collector}`
  const file = path.join(folder, 'lkeobs.yaml')
  const {file: image} = await built()
  writeFileSync(file, kubernetes(`collector: {build: lkeobs, registry: ${registry.host}/team/otelcol}\n`))
  const {code, said} = await lkeobs('images', 'push', '--image', image).ended
  expect(said).toContain('› lkeobs hub upgrade')
  expect(code).toBe(0)
  expect(readFileSync(file, 'utf8')).toMatch(/^collector: \{build: lkeobs, registry: \S+, image: \S+@sha256:\w{64}\}$/m)

  writeFileSync(file, kubernetes('collector: {build: mine}\n'))
  const wrong = await lkeobs('images', 'push', '--image', image).ended
  expect(wrong.code).toBe(3)
  expect(wrong.said).toContain('lkeobs.yaml:6:20 collector.build')
})

test('what is rendered runs the pinned image, configured for it, and pulls it with the Secret', async () => {
  const image = `registry.example/team/otelcol@sha256:${'0a'.repeat(32)}`
  writeFileSync(
    path.join(folder, 'lkeobs.yaml'),
    `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, platform: {kubernetes: {context: hub}}, endpoint: 'hub.example:4317'}
edges:
  - {name: edge-1, platform: {kubernetes: {context: edge}}}
collector: {image: '${image}', pullSecret: registry}
`,
  )
  await Promise.all([lkeobs('hub', 'render', '--out', 'r').ended, lkeobs('edge', 'render', 'edge-1', '--out', 'r').ended])
  for (const file of ['hub/gateway', 'edges/edge-1/agent', 'edges/edge-1/scraper']) {
    const values = parse(readFileSync(path.join(folder, `r/${file}.values.yaml`), 'utf8')) as {readonly alternateConfig: object}
    expect(values).toMatchObject({
      image: {repository: 'registry.example/team/otelcol', digest: image.split('@')[1]},
      command: {name: 'otelcol'},
      imagePullSecrets: [{name: 'registry'}],
    })
    expect('connectors' in values.alternateConfig).toBe(!file.endsWith('scraper'))
  }
})

test('without a registry it is said where to name one', async () => {
  fleetFile()
  await built()
  const {code, said} = await lkeobs('images', 'push', '--image', 'image.tar').ended
  expect(code).toBe(2)
  expect(said).toContain('LKO-4101')
})
