import {execFile} from 'node:child_process'
import {once} from 'node:events'
import {createServer} from 'node:https'
import type {IncomingHttpHeaders, ServerResponse} from 'node:http'
import type {AddressInfo} from 'node:net'
import path from 'node:path'
import {inspect, promisify} from 'node:util'
import {expect, onTestFinished, test, vi} from 'vitest'
import {Secret} from '../../src/secret.ts'
import {dryVault, openVault} from '../../src/tools/vault.ts'
import {createX509} from '../../src/tools/x509.ts'

const x509 = createX509()
const ca = await x509.createCa({commonName: 'root', days: 1, pathLength: 1})
const other = await x509.createCa({commonName: 'root', days: 1, pathLength: 1})
const own = await x509.issueServer(ca, {commonName: 'localhost', names: ['127.0.0.1'], days: 1})

const password = 'password-sentinel'
const token = 'token-sentinel'
const value = 'value-sentinel'
const sentinels = [password, token, value]

type Asked = {readonly method: string; readonly path: string; readonly headers: IncomingHttpHeaders; readonly body: string}

/** A server that is Vault as far as these tests go. */
const server = async () => {
  const asked: Asked[] = []
  const answers: Record<string, readonly [number, object?]> = {
    'PUT /v1/auth/userpass/login/lkeobs': [200, {auth: {client_token: token}}],
    'GET /v1/sys/seal-status': [200, {type: 'static', initialized: true, sealed: false, version: '2.7.2'}],
    'GET /v1/kv/there': [200, {data: {issuer: 'me'}}],
    'GET /v1/kv/electing': [200, {data: {issuer: 'me'}}],
    'LIST /v1/kv': [200, {data: {keys: ['a', 'b']}}],
    'PUT /v1/kv/there': [204],
    'PUT /v1/pki/made': [200, {data: {csr: 'request'}}],
    'PUT /v1/kv/refused': [400, {errors: ['missing field', 'and another']}],
    'GET /v1/kv/refused': [403, {errors: ['1 error occurred: permission denied']}],
    'PUT /v1/secret-id/lookup': [204],
  }
  const answer = (method: string, url: string, response: ServerResponse) => {
    const [status, body] = answers[`${method === 'POST' ? 'PUT' : method} ${url}`] ?? [404, {errors: []}]
    response.writeHead(status, {'content-type': 'application/json'}).end(body && JSON.stringify(body))
  }
  const vault = createServer({cert: own.certificate, key: own.key.reveal()}, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const {method = '', url = '', headers} = request
      asked.push({method, path: url, headers, body: Buffer.concat(chunks).toString()})
      if (url === '/v1/kv/cut') request.socket.destroy()
      else if (url === '/v1/kv/html') response.writeHead(502).end('<html>Bad gateway</html>')
      else if (url === '/v1/kv/electing' && asked.filter(({path: at}) => at === url).length < 3)
        response.writeHead(500).end('{"errors":["local node not active but active cluster node not found"]}')
      else answer(method, url, response)
    })
  }).listen(0, '127.0.0.1')
  // Node's parser does not know Vault's method LIST
  vault.on('clientError', (error: Error & {rawPacket?: Buffer}, socket) => {
    const [, url = ''] = /^LIST (\S+) /.exec(error.rawPacket?.toString() ?? '') ?? []
    const [status, body] = answers[`LIST ${url}`] ?? [404, {errors: []}]
    socket.end(`HTTP/1.1 ${status} x\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n${JSON.stringify(body)}`)
  })
  await once(vault, 'listening')
  onTestFinished(() => void vault.close())
  return {asked, answers, address: `https://127.0.0.1:${(vault.address() as AddressInfo).port}`}
}

const login = {username: 'lkeobs', password: async () => new Secret(password)}
const trusting = (certificate: string) => async () => certificate

const thrownBy = (work: () => Promise<unknown>): Promise<unknown> =>
  work().then(
    () => undefined,
    (error: unknown) => error,
  )

const everythingIn = (error: unknown): string =>
  [
    String(error),
    (error as Error).stack,
    inspect(error, {depth: 20, showHidden: true}),
    JSON.stringify(error),
    inspect((error as Error).cause),
  ].join('\n')

test('reads, lists, writes and looks up, with one login', async () => {
  const {asked, address} = await server()
  const vault = openVault({address, ca: trusting(ca.certificate), login})
  expect(await vault.read('kv/there')).toEqual({issuer: 'me'})
  expect(await vault.read('kv/none')).toBeUndefined()
  expect([await vault.list('kv'), await vault.list('none')]).toEqual([['a', 'b'], []])
  expect(await vault.write('kv/there', {value: new Secret(value), days: 3})).toEqual({})
  expect(await vault.write('pki/made')).toEqual({csr: 'request'})
  expect(await vault.lookup('secret-id/lookup', {secret_id: new Secret(value)})).toBeUndefined()
  expect(await vault.accepts()).toBe(true)
  expect(asked.filter(({path: at}) => at.includes('login')).map(({body}) => JSON.parse(body) as object)).toEqual([{password}])
  expect(asked.slice(1).every(({headers}) => headers['x-vault-token'] === token)).toBe(true)
  const written = asked.find(({method, path: at}) => at === '/v1/kv/there' && method !== 'GET')
  expect(JSON.parse(written?.body ?? '')).toEqual({value, days: 3})
})

test('the seal is asked for without a login', async () => {
  const {asked, address} = await server()
  expect(await openVault({address, ca: trusting(ca.certificate)}).sealStatus()).toMatchObject({sealed: false, version: '2.7.2'})
  expect(asked.map(({headers}) => headers['x-vault-token'])).toEqual([undefined])
})

test('a refusal is LKO-5002 in the words of Vault, and holds nothing of what was sent', async () => {
  const {address, answers} = await server()
  const vault = openVault({address, ca: trusting(ca.certificate), login})
  const refusals = [
    await thrownBy(() => vault.write('kv/refused', {value: new Secret(value), plain: value})),
    await thrownBy(() => vault.lookup('kv/refused', {value: new Secret(value)})),
    await thrownBy(() => vault.read('kv/refused')),
    await thrownBy(() => vault.read('kv/html')),
  ]
  for (const error of refusals) {
    expect(error).toMatchObject({code: 'LKO-5002', oclif: {exit: 5}})
    for (const sentinel of sentinels) expect(everythingIn(error)).not.toContain(sentinel)
  }
  const [written, , read, html] = refusals as Error[]
  expect(written?.message).toBe(`write kv/refused at ${address}: 400 missing field`)
  expect(read?.message).toBe(`read kv/refused at ${address}: 403 1 error occurred: permission denied`)
  expect(html?.message).toMatch(/^read kv\/html at .*: 502 /)
  answers['PUT /v1/auth/userpass/login/lkeobs'] = [400, {errors: ['invalid username or password']}]
  const nobody = openVault({address, ca: trusting(ca.certificate), login})
  expect(await nobody.accepts()).toBe(false)
  const error = await thrownBy(() => nobody.read('kv/there'))
  expect(error).toMatchObject({code: 'LKO-5002', message: `log in as lkeobs at ${address}: 400 invalid username or password`})
  for (const sentinel of sentinels) expect(everythingIn(error)).not.toContain(sentinel)
})

test('silence is LKO-5001, and holds nothing of what was sent', async () => {
  const {address} = await server()
  const cut = openVault({address, ca: trusting(ca.certificate), login})
  const closed = openVault({address: 'https://127.0.0.1:1', ca: trusting(ca.certificate), login})
  const plain = openVault({address: address.replace('https', 'http'), ca: trusting(ca.certificate)})
  for (const work of [
    () => cut.write('kv/cut', {value: new Secret(value)}),
    () => closed.accepts(),
    () => closed.read('kv/there'),
    () => plain.read('kv/there'),
  ]) {
    const error = await thrownBy(work)
    expect(error).toMatchObject({code: 'LKO-5001', oclif: {exit: 4}})
    for (const sentinel of sentinels) expect(everythingIn(error)).not.toContain(sentinel)
  }
  expect(await closed.sealStatus()).toBeUndefined()
})

test('a certificate that the CA did not sign is LKO-5001, and is told nothing', async () => {
  const {address, asked} = await server()
  for (const wrong of [other.certificate, '', 'not a certificate']) {
    const vault = openVault({address, ca: trusting(wrong), login})
    await expect(vault.read('kv/there')).rejects.toMatchObject({code: 'LKO-5001'})
    expect(await vault.sealStatus()).toBeUndefined()
  }
  expect(asked).toEqual([])
})

test('the environment has no say', async () => {
  const {address, asked} = await server()
  vi.stubEnv('VAULT_ADDR', 'https://127.0.0.1:1')
  vi.stubEnv('VAULT_TOKEN', 'stray-sentinel')
  vi.stubEnv('VAULT_NAMESPACE', 'stray-sentinel')
  vi.stubEnv('VAULT_PREFIX', 'stray-sentinel')
  vi.stubEnv('VAULT_SKIP_VERIFY', 'true')
  vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0')
  vi.stubEnv('HTTPS_PROXY', 'http://127.0.0.1:1')
  vi.stubEnv('https_proxy', 'http://127.0.0.1:1')
  onTestFinished(() => void vi.unstubAllEnvs())
  await expect(openVault({address, ca: trusting(other.certificate), login}).read('kv/there')).rejects.toMatchObject({code: 'LKO-5001'})
  expect(await openVault({address, ca: trusting(ca.certificate), login}).read('kv/there')).toEqual({issuer: 'me'})
  expect(inspect(asked, {depth: 5})).not.toContain('stray-sentinel')
  expect(asked[0]?.headers['x-vault-token']).toBeUndefined()
})

test('with DEBUG on, nothing secret is printed', async () => {
  const {address} = await server()
  const script = `
    import {openVault} from ${JSON.stringify(path.resolve('src/tools/vault.ts'))}
    import {Secret} from ${JSON.stringify(path.resolve('src/secret.ts'))}
    const login = {username: 'lkeobs', password: async () => new Secret(${JSON.stringify(password)})}
    const vault = openVault({address: ${JSON.stringify(address)}, ca: async () => ${JSON.stringify(ca.certificate)}, login})
    await vault.write('kv/there', {value: new Secret(${JSON.stringify(value)})})
    await vault.write('kv/refused', {value: new Secret(${JSON.stringify(value)})}).catch((error) => console.error(error))
    console.log('written')`
  const env = {...process.env, DEBUG: '*', NODE_DEBUG: '', VAULT_TOKEN: 'stray-sentinel'}
  const {stdout, stderr} = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {env})
  expect(stdout).toContain('written')
  for (const sentinel of [...sentinels, 'stray-sentinel']) expect(stdout + stderr).not.toContain(sentinel)
})

test('a dry Vault reads what is there, takes one that is not there for empty, and writes nothing', async () => {
  const {address, asked} = await server()
  const lines: string[] = []
  const open = dryVault(openVault, (line) => void lines.push(line.replace(address, 'ADDRESS')))
  const vault = open({address, ca: trusting(ca.certificate), login})
  expect(await vault.read('kv/there')).toEqual({issuer: 'me'})
  const made: {csr: string} = await vault.write('pki/made', {
    common_name: 'a name',
    secret_id: new Secret(value),
    pem: '-----BEGIN\n-----END',
    days: 3,
    names: ['a', 'b'],
  })
  expect(made.csr).toBe('‹csr of pki/made›')
  await expect(vault.read('kv/refused')).rejects.toMatchObject({code: 'LKO-5002'})
  const nowhere = open({address: 'https://127.0.0.1:1', ca: async () => Promise.reject(new Error('no CA yet')), login})
  expect([
    await nowhere.read('x'),
    await nowhere.list('x'),
    await nowhere.lookup('x', {}),
    await nowhere.accepts(),
    await nowhere.sealStatus(),
  ]).toEqual([undefined, [], undefined, false, undefined])
  expect(lines).toEqual([`bao write -address=ADDRESS pki/made common_name='a name' secret_id=‹secret› pem=‹pem› days=3 names=["a","b"]`])
  expect(asked.filter(({method}) => method !== 'GET').map(({path: at}) => at)).toEqual(['/v1/auth/userpass/login/lkeobs'])
})

test('a request as it is: without a login unless asked, bytes and certificate as they are, whatever the status', async () => {
  const {address, asked, answers} = await server()
  const vault = openVault({address, ca: trusting(ca.certificate), login})
  answers['PUT /v1/raft/snapshot'] = [400, {errors: ['another seal']}]
  const anonymous = await vault.raw('sys/seal-status')
  expect(anonymous).toMatchObject({status: 200, certificate: own.certificate})
  expect(JSON.parse(anonymous?.body.toString() ?? '')).toMatchObject({sealed: false})
  expect((await vault.raw('raft/snapshot', {method: 'POST', body: Buffer.from([0, 255, 1]), loggedIn: true}))?.status).toBe(400)
  expect((await vault.raw('nothing/there'))?.status).toBe(404)
  const tokens = asked.map(({path: at, headers}) => [at, headers['x-vault-token']])
  expect(tokens).toEqual([
    ['/v1/sys/seal-status', undefined],
    ['/v1/auth/userpass/login/lkeobs', undefined],
    ['/v1/raft/snapshot', token],
    ['/v1/nothing/there', undefined],
  ])
  expect(await vault.raw('kv/cut')).toBeUndefined()
  expect(await openVault({address, ca: trusting(other.certificate)}).raw('sys/seal-status')).toBeUndefined()
})

test('a dry run reads as it is, and only tells what it would post', async () => {
  const {address, asked} = await server()
  const lines: string[] = []
  const vault = dryVault(openVault, (line) => void lines.push(line))({address, ca: trusting(ca.certificate), login})
  expect((await vault.raw('sys/seal-status'))?.status).toBe(200)
  expect((await vault.raw('raft/snapshot', {method: 'POST', body: Buffer.from('x'), loggedIn: true}))?.status).toBe(204)
  expect(lines).toEqual([`curl -X POST ${address}/v1/raft/snapshot --data-binary @-`])
  expect(asked.map(({path: at}) => at)).toEqual(['/v1/sys/seal-status'])
})

test('what a token is made with comes back, and nothing where Vault answers with nothing', async () => {
  const {address, answers} = await server()
  const vault = openVault({address, ca: trusting(ca.certificate), login})
  answers['PUT /v1/auth/token/create-orphan'] = [200, {data: null, auth: {client_token: value}}]
  expect(await vault.write('auth/token/create-orphan')).toEqual({client_token: value})
  expect(await vault.write('kv/there')).toEqual({})
})

test('one request as it is: whose token, which status, and nothing of what was sent in the words of Vault', async () => {
  const {asked, answers, address} = await server()
  answers['PUT /v1/sys/unseal'] = [400, {errors: [`'${value}' must be a valid hex or base64 string; asked with ${token}`]}]
  answers['GET /v1/sys/leader'] = [200, {is_self: true}]
  answers['DELETE /v1/sys/rekey/init'] = [204]
  const vault = openVault({address, ca: trusting(ca.certificate), login})
  const refused = await vault.request({method: 'POST', path: 'sys/unseal', data: {key: new Secret(value)}, as: new Secret(token)})
  expect(refused).toEqual({status: 400, data: {}, errors: ["'[redacted]' must be a valid hex or base64 string; asked with [redacted]"]})
  expect(await vault.request({method: 'GET', path: 'sys/leader'})).toMatchObject({status: 200, data: {is_self: true}})
  await vault.request({method: 'DELETE', path: 'sys/rekey/init', data: {nonce: 'n'}, as: 'administrator'})
  // a token that is given is used once; nobody's requests carry none; the administrator logs in first
  expect(asked.map(({path: at, headers, body}) => [at, headers['x-vault-token'], body])).toEqual([
    ['/v1/sys/unseal', token, JSON.stringify({key: value})],
    ['/v1/sys/leader', undefined, ''],
    ['/v1/auth/userpass/login/lkeobs', undefined, JSON.stringify({password})],
    ['/v1/sys/rekey/init', token, JSON.stringify({nonce: 'n'})],
  ])
  const silent = await thrownBy(() =>
    openVault({address: 'https://127.0.0.1:1', ca: trusting(ca.certificate)}).request({
      method: 'POST',
      path: 'sys/unseal',
      data: {key: new Secret(value)},
    }),
  )
  expect(silent).toMatchObject({code: 'LKO-5001'})
  for (const sentinel of sentinels) expect(everythingIn(silent)).not.toContain(sentinel)
})

test('requests side by side log in once, and each of them with what came of it', async () => {
  const {address, asked} = await server()
  const vault = openVault({address, ca: trusting(ca.certificate), login})
  await Promise.all(Array.from({length: 8}, () => vault.read('kv/there')))
  expect(asked.filter(({path: at}) => at.includes('login'))).toHaveLength(1)
  const reads = asked.filter(({path: at}) => at === '/v1/kv/there')
  expect(reads).toHaveLength(8)
  for (const {headers} of reads) expect(headers['x-vault-token']).toBe(token)
})

test('while Vault elects a leader, a request is asked again', async () => {
  const {address, asked} = await server()
  const vault = openVault({address, ca: async () => ca.certificate})
  await expect(vault.read('kv/electing')).resolves.toEqual({issuer: 'me'})
  expect(asked.filter(({path: at}) => at === '/v1/kv/electing')).toHaveLength(3)
})
