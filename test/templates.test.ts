import {readdirSync, readFileSync} from 'node:fs'
import path from 'node:path'
import {expect, test} from 'vitest'
import {parse} from 'yaml'
import {render, type Templates, toYaml} from '../src/templates.ts'

const folder = path.resolve(import.meta.dirname, '../templates')
const sourceOf = (name: string) => readFileSync(path.join(folder, name), 'utf8')

/** Values that would break any template that only pasted them in. */
const odd = `a "quoted": 'odd' {{value}} #\n- [x`

const fixtures: {readonly [Name in keyof Templates]: Templates[Name]} = {
  'loki.yaml': {data: odd, host: '127.0.0.1', http: 1, grpc: 2, grpcAddress: '127.0.0.1:2'},
  'prometheus.yaml': {promoted: ['lkeobs.edge', odd]},
  'tempo.yaml': {data: odd, host: '127.0.0.1', http: 1, grpc: 2, otlp: '127.0.0.1:3', gossip: 0},
  'vault.yaml': {
    node: odd,
    data: '/data',
    api: {listen: '127.0.0.1:1', url: 'https://127.0.0.1:1'},
    cluster: {listen: '127.0.0.1:2', url: 'https://127.0.0.1:2'},
    tls: {certificate: '/tls.pem', key: '/key.pem', ca: '/ca.pem'},
    seal: {keyId: 'lab-1', key: 'file:///seal.key'},
    peers: [{address: 'https://a:1'}, {address: odd}],
  },
  'vault-agent.yaml': {
    vault: {address: 'https://127.0.0.1:1', ca: '/ca.pem'},
    method: {type: 'approle', config: {role_id_file_path: '/role-id', secret_id_file_path: odd}},
    template: {contents: '{{ with pkiCert "pki/issue/agent" "ttl=24h" }}{{ .Cert }}{{ end }}', destination: '/leaf.pem', mode: '0600'},
  },
}
const names = Object.keys(fixtures) as (keyof Templates)[]

test('every template has a fixture, and every fixture a template', () => {
  expect(names.toSorted()).toEqual(readdirSync(folder).toSorted())
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
  const rendered = render(name, fixtures[name])
  const isOdd = JSON.stringify(fixtures[name]).includes(JSON.stringify(odd))
  expect(JSON.stringify(rendered).includes(JSON.stringify(odd))).toBe(isOdd)
  expect(parse(toYaml(rendered))).toEqual(rendered)
})

test.for(names)('%s: a value that is missing is a mistake, not an empty place', (name) => {
  // a list that is gone is an empty one to {{#each}}; the compiler sees that one
  for (const key of Object.keys(fixtures[name]).filter((one) => one !== 'peers')) {
    const {[key]: _, ...rest} = fixtures[name] as Record<string, unknown>
    expect(() => render(name, rest as never), key).toThrow(/missing|not defined/)
    expect(() => render(name, {...rest, [key]: null} as never), key).toThrow(/missing|null/)
  }
})

test('what is rendered', () => {
  expect(Object.fromEntries(names.map((name) => [name, render(name, fixtures[name])]))).toMatchSnapshot()
})

test('YAML for readers written in Go: what they would take for something else is quoted', () => {
  const value = {a: 'no', b: 'on', c: '12:30', d: '0600', e: '1e3', f: true, g: 'null', h: '', long: 'word '.repeat(100)}
  const text = toYaml(value)
  expect(parse(text, {version: '1.1'})).toEqual(value)
  expect(text).toContain('a: "no"\nb: "on"\nc: "12:30"\n')
  const shared = {x: 1}
  expect(toYaml({one: shared, two: shared})).not.toMatch(/[&*]/)
})
