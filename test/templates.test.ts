import {readdirSync, readFileSync} from 'node:fs'
import path from 'node:path'
import {expect, test} from 'vitest'
import {parse} from 'yaml'
import {renderAll, type Templates, toYaml} from '../src/templates.ts'

const folder = path.resolve(import.meta.dirname, '../templates')
const sourceOf = (name: string) => readFileSync(path.join(folder, name), 'utf8')

/** Values that would break any template that only pasted them in. */
const odd = `a "quoted": 'odd' {{value}} #\n- [x`

const fixtures: {readonly [Name in keyof Templates]: Templates[Name]} = {
  'loki.yaml': {
    data: odd,
    host: '127.0.0.1',
    http: 1,
    grpc: 2,
    grpcAddress: '127.0.0.1:2',
    sizes: {message: 3, line: 4, metadata: 5, entries: 6},
    late: {age: '169h', chunkAge: '50h'},
  },
  'prometheus.yaml': {promoted: ['lkeobs.edge', odd], outOfOrder: '26h'},
  'tempo.yaml': {
    data: odd,
    wal: odd,
    host: '127.0.0.1',
    http: 1,
    grpc: 2,
    otlp: '127.0.0.1:3',
    gossip: 0,
    sizes: {message: 3, messageMib: 4, item: 5, trace: 6},
    slack: '26h',
    sweep: '5s',
  },
  'vault.yaml': {
    node: odd,
    data: '/data',
    api: {listen: '127.0.0.1:1', url: 'https://127.0.0.1:1'},
    cluster: {listen: '127.0.0.1:2', url: 'https://127.0.0.1:2'},
    tls: {certificate: '/tls.pem', key: '/key.pem', ca: '/ca.pem'},
    seal: {static: {current_key_id: 'lab-1', current_key: 'file:///seal.key'}},
    peers: [{address: 'https://a:1'}, {address: odd}],
  },
  'vault-agent.yaml': {
    vault: {address: 'https://127.0.0.1:1', ca: '/ca.pem'},
    method: {type: 'approle', config: {role_id_file_path: '/role-id', secret_id_file_path: odd}},
    template: {contents: '{{ with pkiCert "pki/issue/agent" "ttl=24h" }}{{ .Cert }}{{ end }}', destination: '/leaf.pem', mode: '0600'},
  },
  'kubernetes/objects/namespace.yaml': {name: odd, level: 'restricted'},
  'kubernetes/objects/root-ca.yaml': {namespace: 'lkeobs', commonName: odd},
  'kubernetes/objects/vault-certificate.yaml': {namespace: 'lkeobs', names: ['vault', odd], addresses: ['127.0.0.1']},
  'kubernetes/objects/ca-request.yaml': {namespace: 'lkeobs', name: odd, request: 'cGVt', duration: '8760h0m0s'},
  'kubernetes/objects/otlp-service.yaml': {namespace: 'lkeobs', annotations: {key: odd}},
  'kubernetes/objects/leaf.yaml': {
    namespace: 'lkeobs',
    component: 'gateway',
    role: 'gateway',
    vault: {address: 'https://vault:8200', host: 'vault', ca: 'gateway-vault-ca'},
    leaf: {name: 'gateway-leaf', mount: 'pki', path: 'issue/gateway', params: {ttl: '24h'}, refreshAfter: '57600s', text: odd},
  },
  'kubernetes/objects/sweep.yaml': {namespace: 'lkeobs-node', image: odd, above: '/var/lib', folder: odd},
  'kubernetes/objects/canary.yaml': {namespace: 'lkeobs', image: odd},
  'kubernetes/objects/generators.yaml': {
    namespace: 'lkeobs',
    name: 'telemetrygen-1',
    program: 'telemetrygen',
    processes: 2,
    deadlineSeconds: 130,
    agents: {namespace: 'lkeobs-node', release: 'agent'},
    image: odd,
    args: ['logs', odd],
  },
  'kubernetes/objects/instrumentation.yaml': {namespace: 'lkeobs', endpoint: odd, resources: {limits: {cpu: '1'}}},
}
const names = Object.keys(fixtures) as (keyof Templates)[]

test('every template has a fixture, and every fixture a template', () => {
  const files = readdirSync(folder, {recursive: true, encoding: 'utf8'}).filter(
    (name) => name.endsWith('.yaml') && !name.startsWith('kubernetes/values/'),
  )
  expect(names.toSorted()).toEqual(files.toSorted())
})

test.for(names)('%s: a value is a whole scalar, never a piece of one', (name) => {
  for (const line of sourceOf(name).split('\n')) {
    for (const {0: whole, index} of line.matchAll(/\{\{[^#/][^}]*\}\}/g)) {
      expect(line.slice(0, index), line).toMatch(/(^|[\s[{,:-])$/)
      expect(line.slice(index + whole.length), line).toMatch(/^([\s\]},]|$)/)
    }
  }
  expect(sourceOf(name)).not.toMatch(/\{\{\{|\{\{&/)
})

test.for(names)('%s: a value comes out as it went in', (name) => {
  const rendered = renderAll(name, fixtures[name])
  const isOdd = JSON.stringify(fixtures[name]).includes(JSON.stringify(odd))
  expect(JSON.stringify(rendered).includes(JSON.stringify(odd))).toBe(isOdd)
  expect(rendered.map((document) => parse(toYaml(document)))).toEqual(rendered)
})

test.for(names)('%s: a value that is missing is a mistake, not an empty place', (name) => {
  // a list that is gone is an empty one to {{#each}}; the compiler sees that one
  for (const key of Object.keys(fixtures[name]).filter((one) => one !== 'peers')) {
    const {[key]: _, ...rest} = fixtures[name] as Record<string, unknown>
    expect(() => renderAll(name, rest as never), key).toThrow(/missing|not defined/)
    expect(() => renderAll(name, {...rest, [key]: null} as never), key).toThrow(/missing|null/)
  }
})

test('what is rendered', () => {
  const documents = names.map((name) => renderAll(name, fixtures[name]))
  expect(Object.fromEntries(documents.map((all, at) => [names[at], all.length === 1 ? all[0] : all]))).toMatchSnapshot()
})

test('YAML for readers written in Go: what they would take for something else is quoted', () => {
  const value = {a: 'no', b: 'on', c: '12:30', d: '0600', e: '1e3', f: true, g: 'null', h: '', long: 'word '.repeat(100)}
  const text = toYaml(value)
  expect(parse(text, {version: '1.1'})).toEqual(value)
  expect(text).toContain('a: "no"\nb: "on"\nc: "12:30"\n')
  const shared = {x: 1}
  expect(toYaml({one: shared, two: shared})).not.toMatch(/[&*]/)
})
