import {createHash} from 'node:crypto'
import {once} from 'node:events'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import http, {type IncomingMessage, type ServerResponse} from 'node:http'
import {createServer} from 'node:https'
import type {AddressInfo, Socket} from 'node:net'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {inspect} from 'node:util'
import {expect, onTestFinished, test, vi} from 'vitest'
import {LkeobsError} from '../../src/errors.ts'
import {Secret} from '../../src/secret.ts'
import {createClusters} from '../../src/tools/kube/cluster.ts'
import {dryKube} from '../../src/tools/kube/dry.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import type {Command, Shell} from '../../src/tools/shell.ts'
import {createX509} from '../../src/tools/x509.ts'

const x509 = createX509()
const ca = await x509.createCa({commonName: 'root', days: 1, pathLength: 1})
const own = await x509.issueServer(ca, {commonName: 'localhost', names: ['127.0.0.1'], days: 1})

type Answer = readonly [status: number, body?: unknown] | 'cut'
type Talk = (channel: number, data: string) => void

const resources = (...kinds: readonly (readonly [name: string, kind: string, namespaced?: false])[]) => ({
  resources: kinds.map(([name, kind, namespaced = true]) => ({name, kind, namespaced})),
})
const core = resources(['pods/log', 'Pod'], ['pods', 'Pod'], ['configmaps', 'ConfigMap'], ['namespaces', 'Namespace', false])

/** One WebSocket message from the server. */
const frame = (channel: number, data: Buffer): Buffer => {
  const length = data.length + 1
  return Buffer.concat([length < 126 ? Buffer.of(0x82, length) : Buffer.of(0x82, 126, length >> 8, length & 255), Buffer.of(channel), data])
}
/** Small masked messages, as a client sends them. */
const messages = (bytes: Buffer): readonly Buffer[] => {
  const found: Buffer[] = []
  for (let at = 0; at + 6 <= bytes.length;) {
    const length = (bytes[at + 1] ?? 0) & 127
    const mask = bytes.subarray(at + 2, at + 6)
    if (bytes[at] === 0x82)
      found.push(bytes.subarray(at + 6, at + 6 + length).map((byte, index) => byte ^ (mask[index % 4] ?? 0)) as Buffer)
    at += 6 + length
  }
  return found
}

/** An API server as far as these tests go. A path has one answer, or several in turn of which the last stays. */
const cluster = async (
  answers: Readonly<Record<string, readonly Answer[]>> = {},
  upgraded: (url: string, talk: Talk, end: () => void, said: (told: (data: Buffer) => void) => void) => void = () => undefined,
) => {
  const asked: string[] = []
  const headers: http.IncomingHttpHeaders[] = []
  const all: Readonly<Record<string, readonly Answer[]>> = {'GET /api/v1': [[200, core]], ...answers}
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const line = `${request.method} ${decodeURIComponent(request.url ?? '')}`
    const turns = all[line] ?? [[404, {}]]
    const turn = turns[Math.min(asked.filter((each) => each === line).length, turns.length - 1)]
    asked.push(line)
    headers.push(request.headers)
    if (turn === undefined || turn === 'cut') request.socket.destroy()
    else
      response.writeHead(turn[0], {'content-type': 'application/json'}).end(typeof turn[1] === 'string' ? turn[1] : JSON.stringify(turn[1]))
  }
  const server = createServer({cert: own.certificate, key: own.key.reveal()}, (request, response) => {
    request.resume().on('end', () => answer(request, response))
  }).listen(0, '127.0.0.1')
  server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
    socket.on('error', () => undefined)
    const url = decodeURIComponent(request.url ?? '')
    asked.push(`${request.method} ${url}`)
    const refused = all[`GET ${url}`]?.[0]
    if (refused) socket.end(`HTTP/1.1 ${refused[0]} no\r\ncontent-length: 0\r\n\r\n`)
    else {
      const key = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
      const head = ['HTTP/1.1 101 x', 'upgrade: websocket', 'connection: upgrade', `sec-websocket-accept: ${key}`]
      socket.write(`${[...head, 'sec-websocket-protocol: v4.channel.k8s.io'].join('\r\n')}\r\n\r\n`)
      const talk: Talk = (channel, data) => void socket.write(frame(channel, Buffer.from(data, 'latin1')))
      const end = () => void socket.end(Buffer.of(0x88, 0))
      upgraded(url, talk, end, (told) => socket.on('data', (bytes: Buffer) => messages(bytes).forEach(told)))
    }
  })
  await once(server, 'listening')
  const {port} = server.address() as AddressInfo
  const folder = mkdtempSync(path.join(tmpdir(), 'lkeobs-kube-'))
  const kubeconfig = path.join(folder, 'config')
  writeFileSync(path.join(folder, 'ca.pem'), ca.certificate)
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      clusters: [{name: 'c', cluster: {server: `https://127.0.0.1:${port}/`, 'certificate-authority': 'ca.pem'}}],
      users: [{name: 'u', user: {token: 'token-sentinel'}}],
      contexts: [
        {name: 'hub', context: {cluster: 'c', user: 'u'}},
        {name: 'edge-1', context: {cluster: 'c', user: 'u'}},
      ],
    }),
  )
  const commands: Command[] = []
  let says: string | undefined
  const shell: Shell = {
    async run(command) {
      commands.push(command)
      if (says === undefined) return ''
      says.split('\n').forEach((line) => command.onLine?.(line))
      throw new LkeobsError('LKO-4003', `kubectl …\nended with exit code 1:\n${says}`)
    },
  }
  const clusters = createClusters({shell, program: async (name) => `/programs/${name}`})
  const target = {context: 'hub', kubeconfig}
  onTestFinished(async () => {
    await clusters.end()
    server.closeAllConnections()
    server.close()
    rmSync(folder, {recursive: true})
  })
  return {
    asked,
    headers,
    commands,
    clusters,
    kubeconfig,
    target,
    kube: clusters.open(target),
    stop: () => server.closeAllConnections() ?? server.close(),
    /** What kubectl writes from now on, as it fails. */
    fails(text: string) {
      says = text
    },
  }
}

const failed = (work: Promise<unknown>): Promise<LkeobsError> =>
  work.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: unknown) => error as LkeobsError,
  )

const configMap = {apiVersion: 'v1', kind: 'ConfigMap'}
const named = (name: string) => ({...configMap, name, namespace: 'lkeobs'})
const object = (name: string): KubeObject => ({...configMap, metadata: {name, namespace: 'lkeobs'}})

test('an object is read where discovery says, which is asked once', async () => {
  const {kube, asked, headers} = await cluster({'GET /api/v1/namespaces/lkeobs/configmaps/a': [[200, object('a')]]})
  expect(await kube.read(named('a'))).toEqual(object('a'))
  expect(await kube.read(named('b'))).toBeUndefined()
  expect(asked).toEqual(['GET /api/v1', 'GET /api/v1/namespaces/lkeobs/configmaps/a', 'GET /api/v1/namespaces/lkeobs/configmaps/b'])
  expect(headers.every(({authorization}) => authorization === 'Bearer token-sentinel')).toBe(true)
})

test('a kind that is not there is nothing, until an operator brings it', async () => {
  const issuers = resources(['issuers', 'Issuer'])
  const {kube} = await cluster({
    'GET /apis/cert-manager.io/v1': [
      [404, {}],
      [200, {resources: []}],
      [200, issuers],
    ],
    'GET /apis/cert-manager.io/v1/namespaces/lkeobs/issuers/i': [[200, {kind: 'Issuer'}]],
  })
  const ref = {apiVersion: 'cert-manager.io/v1', kind: 'Issuer', name: 'i', namespace: 'lkeobs'}
  expect(await kube.read(ref)).toBeUndefined()
  expect(await kube.list(ref)).toEqual([])
  expect(await kube.read(ref)).toEqual({kind: 'Issuer'})
})

test('a long list is read in pages, and its items say what they are', async () => {
  const {kube} = await cluster({
    'GET /api/v1/namespaces/lkeobs/configmaps?limit=500&labelSelector=a=b': [
      [200, {metadata: {continue: 'more'}, items: [{metadata: {name: 'a'}}]}],
    ],
    'GET /api/v1/namespaces/lkeobs/configmaps?limit=500&labelSelector=a=b&continue=more': [
      [200, {metadata: {}, items: [{metadata: {name: 'b'}}]}],
    ],
  })
  expect(await kube.list(configMap, {namespace: 'lkeobs', labels: 'a=b'})).toEqual([
    {...configMap, metadata: {name: 'a'}},
    {...configMap, metadata: {name: 'b'}},
  ])
})

test('what passes by itself is asked again', async () => {
  const {kube, asked} = await cluster({'GET /version': [[503, {message: 'later'}], 'cut', [429, {}], [200, {gitVersion: 'v1.37.2'}]]})
  expect(await kube.version()).toBe('v1.37.2')
  expect(asked).toHaveLength(4)
})

test('what stays is the answer', async () => {
  const {kube} = await cluster({'GET /version': [[500, {message: 'etcdserver: no leader'}]]})
  expect(await failed(kube.version())).toMatchObject({code: 'LKO-3102', message: 'hub: /version: HTTP 500 etcdserver: no leader'})
})

test('a missing permission is named with the question that checks it', async () => {
  const message = 'pods is forbidden: User "me" cannot list resource "pods" in API group "" in the namespace "lkeobs"'
  const {kube, target} = await cluster({'GET /api/v1/namespaces/lkeobs/pods?limit=500': [[403, {message}]], 'GET /version': [[401, {}]]})
  const refused = await failed(kube.list({apiVersion: 'v1', kind: 'Pod'}, {namespace: 'lkeobs'}))
  expect(refused).toMatchObject({code: 'LKO-3103', message: `hub: ${message}`})
  expect(refused.next[0]).toBe(`kubectl --context hub --kubeconfig ${target.kubeconfig} auth can-i list pods --namespace lkeobs`)
  expect((await failed(kube.version())).next[0]).toContain('auth whoami')
})

test('a cluster that is stopped, or that nobody vouches for, does not answer', async () => {
  const {kube, stop} = await cluster()
  stop()
  const error = await failed(kube.version())
  expect(error).toMatchObject({code: 'LKO-3102', message: expect.stringContaining('ECONNREFUSED')})
  expect(error.next[0]).toMatch(/^kubectl --context hub .* get --raw \/readyz$/)
  const {clusters, kubeconfig} = await cluster()
  writeFileSync(
    path.join(path.dirname(kubeconfig), 'ca.pem'),
    (await x509.createCa({commonName: 'root', days: 1, pathLength: 1})).certificate,
  )
  expect((await failed(clusters.open({context: 'edge-1', kubeconfig}).version())).code).toBe('LKO-3102')
})

test('a context that is not there is told with those that are', async () => {
  const {clusters, kubeconfig} = await cluster()
  const error = await failed(clusters.open({context: 'edg-1', kubeconfig}).version())
  expect(error).toMatchObject({code: 'LKO-3101'})
  expect(error.message).toBe(`edg-1 is not a context of ${kubeconfig} (its contexts: hub, edge-1). Did you mean edge-1?`)
  expect((await failed(clusters.open({context: 'hub', kubeconfig: '/nowhere'}).version())).message).toContain('there is no such file')
})

test('several kubeconfigs are one, as for kubectl: the first that has a name counts, one that is missing is passed over', async () => {
  const {kubeconfig, clusters} = await cluster({'GET /version': [[200, {gitVersion: 'v1'}]]})
  const other = path.join(path.dirname(kubeconfig), 'other')
  writeFileSync(other, JSON.stringify({contexts: [{name: 'hub', context: {cluster: 'nowhere'}}]}))
  vi.stubEnv('KUBECONFIG', ['/nowhere', kubeconfig, other].join(path.delimiter))
  onTestFinished(() => void vi.unstubAllEnvs())
  expect(await clusters.open({context: 'hub'}).version()).toBe('v1')
})

test('the last lines of a container; none where it has none', async () => {
  const {kube} = await cluster({
    'GET /api/v1/namespaces/lkeobs/pods/p/log?container=c&previous=true&tailLines=2': [[200, 'one\n\ntwo\n']],
    'GET /api/v1/namespaces/lkeobs/pods/p/log?tailLines=2': [[400, {message: 'waiting to start'}]],
  })
  expect(await kube.log({namespace: 'lkeobs', pod: 'p', container: 'c', previous: true, lines: 2})).toEqual(['one', '', 'two'])
  expect(await kube.log({namespace: 'lkeobs', pod: 'p', lines: 2})).toEqual([])
})

test('whether something is permitted is asked of the cluster', async () => {
  const {kube} = await cluster({'POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews': [[201, {status: {allowed: false}}]]})
  expect(await kube.may({verb: 'create', resource: 'pods', subresource: 'exec', namespace: 'lkeobs'})).toBe(false)
})

const pod = (name: string, ready: 'True' | 'False', deletionTimestamp?: string) => ({
  metadata: {name, deletionTimestamp},
  status: {conditions: [{type: 'Ready', status: ready}]},
})
const header = '\u0082\u0020'

const get = (address: string): Promise<string> =>
  new Promise((resolve, reject) => {
    http
      .get(`http://${address}/`, {agent: false}, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => resolve(Buffer.concat(chunks).toString()))
      })
      .on('error', reject)
  })

test('a forward finds a ready pod anew for every connection, and ends with the rest', async () => {
  const list = {metadata: {}, items: [pod('a', 'True'), pod('b', 'False'), pod('c', 'True'), pod('d', 'True', 'now')]}
  const {kube, clusters, asked} = await cluster(
    {'GET /api/v1/namespaces/lkeobs/pods?limit=500&labelSelector=app=web': [[200, list]]},
    (url, talk, end, said) => {
      talk(0, header)
      talk(1, header)
      const name = /pods\/(\w)\//.exec(url)?.[1] ?? ''
      said((data) => {
        if (data[0] !== 0 || !data.includes('GET / HTTP')) return
        talk(0, `HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n${name}`)
        end()
      })
    },
  )
  const to = {namespace: 'lkeobs', labels: 'app=web', port: 8200}
  const address = await kube.forward(to)
  expect(address).toMatch(/^127\.0\.0\.1:\d+$/)
  expect(await kube.forward({...to})).toBe(address)
  expect([await get(address), await get(address), await get(address)]).toEqual(['a', 'c', 'a'])
  expect(asked).toContain('GET /api/v1/namespaces/lkeobs/pods/c/portforward?ports=8200')
  await clusters.end()
  await expect(get(address)).rejects.toThrow('ECONNREFUSED')
})

test.for([
  ['no pod is ready', {namespace: 'lkeobs', labels: 'app=none', port: 1}],
  ['the API server refuses', {namespace: 'lkeobs', pod: 'refused', port: 1}],
  ['the pod does not listen', {namespace: 'lkeobs', pod: 'deaf', port: 1}],
] as const)('where %s, the connection ends', async ([, to]) => {
  const {kube} = await cluster(
    {
      'GET /api/v1/namespaces/lkeobs/pods?limit=500&labelSelector=app=none': [[200, {metadata: {}, items: [pod('a', 'False')]}]],
      'GET /api/v1/namespaces/lkeobs/pods/refused/portforward?ports=1': [[403]],
    },
    (_, talk) => {
      talk(0, header)
      talk(1, header)
      talk(1, 'connection refused')
    },
  )
  await expect(get(await kube.forward(to))).rejects.toThrow(/ECONNRESET|socket hang up/)
})

test('a command in a pod gives what it wrote, or fails with it', async () => {
  const {kube, asked} = await cluster(
    {'GET /api/v1/namespaces/lkeobs/pods/gone/exec?stdout=true&stderr=true&command=x': [[404]]},
    (url, talk, end) => {
      talk(1, 'out')
      talk(2, 'err')
      talk(
        3,
        JSON.stringify(
          url.includes('command=good') ? {status: 'Success'} : {status: 'Failure', message: 'command terminated with exit code 3'},
        ),
      )
      end()
    },
  )
  const at = {namespace: 'lkeobs', pod: 'p', container: 'c'}
  expect(await kube.exec(at, ['good', 'a b'])).toBe('out')
  expect(asked).toContain('GET /api/v1/namespaces/lkeobs/pods/p/exec?stdout=true&stderr=true&container=c&command=good&command=a+b')
  const error = await failed(kube.exec(at, ['bad']))
  expect(error.code).toBe('LKO-4003')
  expect(error.message).toMatch(/exec --namespace lkeobs p -c c -- bad\ncommand terminated with exit code 3:\nouterr$/)
  expect((await failed(kube.exec({namespace: 'lkeobs', pod: 'gone'}, ['x']))).message).toContain('there is no such pod')
})

test('objects are applied with kubectl: secrets go by stdin alone', async () => {
  const {kube, commands, kubeconfig} = await cluster()
  const secret: KubeObject = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {name: 's'},
    data: {a: new Secret('QQ==')},
    stringData: {key: new Secret('sentinel')},
  }
  await kube.apply([object('a'), secret], {file: 'hub/a.yaml', force: true})
  const [{file, args, input} = {file: '', args: []}] = commands
  expect([file, ...args].join(' ')).toBe(
    `/programs/kubectl --context hub --kubeconfig ${kubeconfig} apply --server-side --field-manager=lkeobs --force-conflicts -f -`,
  )
  expect(inspect(commands, {depth: 9})).not.toContain('sentinel')
  const [first, second] = (input as Secret)
    .reveal()
    .split('\n---\n')
    .map((text) => JSON.parse(text) as KubeObject)
  expect(first).toEqual(object('a'))
  // server-side apply owns what is in `data`, and only that can be taken away again
  expect(second).toEqual({apiVersion: 'v1', kind: 'Secret', metadata: {name: 's'}, data: {a: 'QQ==', key: btoa('sentinel')}})
})

const advice =
  'Please review the fields above--they currently have other managers. Here\nare the ways you can resolve this warning:\n* If you …'

test.for([
  [
    'LKO-3109',
    'ConfigMap lkeobs/a: .data.k is applied by helm\nConfigMap lkeobs/c: .data.j, .data.k is applied by other',
    `configmap/b serverside-applied\nApply failed with 1 conflict: conflict with "helm": .data.k\n${advice}\nApply failed with 2 conflicts: conflicts with "other" using v1:\n- .data.j\n- .data.k\n${advice}`,
  ],
  [
    'LKO-3109',
    'ConfigMap lkeobs/b: .spec.replicas is applied by kubectl',
    `configmap/a serverside-applied\nconfigmap/c serverside-applied\nerror: Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas\n${advice}`,
  ],
  [
    'LKO-3108',
    'pods "p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
    'configmap/a serverside-applied\nError from server (Forbidden): pods "p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
  ],
  [
    'LKO-3108',
    'configmaps "a" is forbidden: exceeded quota: q, requested: count/configmaps=1',
    'Error from server (Forbidden): configmaps "a" is forbidden: exceeded quota: q, requested: count/configmaps=1',
  ],
  [
    'LKO-3108',
    'admission webhook "validate.kyverno.svc-fail" denied the request: no',
    'Error from server: error when creating "STDIN": admission webhook "validate.kyverno.svc-fail" denied the request: no',
  ],
  [
    'LKO-3108',
    'failed calling webhook "w.example.com"',
    'Error from server (InternalError): Internal error occurred: failed calling webhook "w.example.com": failed to call webhook: Post "https://x": dial tcp: connect: connection refused',
  ],
  [
    'LKO-3103',
    'User "limited" cannot patch resource "configmaps"',
    'Error from server (Forbidden): configmaps "a" is forbidden: User "limited" cannot patch resource "configmaps" in API group "" in the namespace "lkeobs"',
  ],
  [
    'LKO-3103',
    'hub: the server has asked for the client to provide credentials',
    'error: error validating "STDIN": error validating data: failed to download openapi: the server has asked for the client to provide credentials; if you choose to ignore these errors, turn validation off with --validate=false',
  ],
  [
    'LKO-3102',
    'hub: Get "https://x/openapi/v2": dial tcp 127.0.0.1:1: connect: connection refused',
    'error: error validating "STDIN": error validating data: failed to download openapi: Get "https://x/openapi/v2": dial tcp 127.0.0.1:1: connect: connection refused; if you choose to ignore these errors, turn validation off with --validate=false',
  ],
  [
    'LKO-3111',
    'in namespace lkeobs because it is being terminated',
    'Error from server (Forbidden): configmaps "e" is forbidden: unable to create new content in namespace lkeobs because it is being terminated',
  ],
  [
    'LKO-4003',
    'no matches for kind "Foo"',
    'error: resource mapping not found for name: "a": no matches for kind "Foo" in version "x.y/v1"',
  ],
] as const)('what kubectl is refused is %s: %s', async ([code, message, says]) => {
  const {kube, fails} = await cluster()
  fails(says)
  const error = await failed(kube.apply([object('a'), object('b'), object('c')], {file: 'hub/a.yaml'}))
  expect(error).toMatchObject({code, message: expect.stringContaining(message)})
})

test('a secret that kubectl repeats is not repeated', async () => {
  const {kube, fails} = await cluster()
  fails(`error: got "sentinel" and ${btoa('sentinel')}`)
  const secret: KubeObject = {apiVersion: 'v1', kind: 'Secret', metadata: {name: 's'}, stringData: {key: new Secret('sentinel')}}
  const error = await failed(kube.apply([secret], {file: 'x'}))
  expect(inspect(error, {depth: 9})).toContain('got "[redacted]" and [redacted]')
  expect(inspect(error, {depth: 9})).not.toContain('sentinel')
})

test('what is removed may be gone, and its kind with it', async () => {
  const {kube, commands, fails} = await cluster()
  await kube.remove({apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', namespace: 'lkeobs'})
  expect(commands[0]?.args.slice(4).join(' ')).toBe('delete deployment web --namespace lkeobs --wait=false --ignore-not-found')
  fails('error: the server doesn\'t have a resource type "foo" in group "v1.x.y"')
  await kube.remove({apiVersion: 'x.y/v1', kind: 'Foo', name: 'a'})
  expect(commands).toHaveLength(2)
})

test('a dry run reads what is there, asks a silent cluster once, and only notes writes', async () => {
  const {clusters, target, commands, stop} = await cluster({'GET /api/v1/namespaces/lkeobs/configmaps/a': [[200, object('a')]]})
  const noted: string[] = []
  const open = dryKube(
    (to) => clusters.open(to),
    (line) => void noted.push(line),
  )
  const kube = open(target)
  expect(await kube.read(named('a'))).toEqual(object('a'))
  stop()
  expect(await kube.read(named('a'))).toBeUndefined()
  expect(await kube.list(configMap)).toEqual([])
  await kube.apply([object('a')], {file: 'hub/a.yaml'})
  await kube.remove(named('a'))
  await kube.exec({namespace: 'lkeobs', pod: 'p'}, ['ls'])
  const typed = `kubectl --context hub --kubeconfig ${target.kubeconfig}`
  expect(noted).toEqual([
    `${typed} apply --server-side --field-manager=lkeobs -f hub/a.yaml`,
    `${typed} delete configmap a --namespace lkeobs --wait=false --ignore-not-found`,
    `${typed} exec --namespace lkeobs p -- ls`,
  ])
  expect(commands).toEqual([])
  expect((await failed(open({...target, context: 'other'}).read(named('a')))).code).toBe('LKO-3101')
})
