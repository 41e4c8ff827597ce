import {expect, test} from 'vitest'
import {LkeobsError} from '../../src/errors.ts'
import {parseFleet} from '../../src/fleet/load.ts'

const lines = [
  'apiVersion: lkeobs/v1',
  'fleet: lab',
  'hub:',
  '  name: hub',
  '  platform: {local: {ports: 14300}}',
  '  endpoint: 127.0.0.1:14300',
  '  vault: {replicas: 3, seal: static}',
  'edges:',
  '  - name: edge-1',
  '    platform: {local: {ports: 14400}}',
  '    logs: [/var/log/app/*.log]',
  '  - name: edge-2',
  '    platform: {local: {ports: 14410}}',
]

const good = `${lines.join('\n')}\n`

/** The good file with some of its lines, counted from 1, put differently. */
const withLines = (changes: Readonly<Record<number, string>>): string => lines.map((line, at) => changes[at + 1] ?? line).join('\n')

const errorOf = (work: () => unknown): LkeobsError => {
  try {
    work()
  } catch (error) {
    if (error instanceof LkeobsError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

const wrongIn = (text: string): string => errorOf(() => parseFleet(text, 'lkeobs.yaml')).message.replaceAll('lkeobs.yaml:', '')

test('a good file, its defaults filled in', () => {
  expect(parseFleet(good, 'lkeobs.yaml')).toEqual({
    apiVersion: 'lkeobs/v1',
    fleet: 'lab',
    destinations: [],
    certificates: {leafTtl: '24h'},
    outage: '24h',
    rates: {metrics: 1000, logs: 200, traces: 100},
    share: {},
    collector: {},
    hub: {name: 'hub', platform: {local: {ports: 14_300}}, endpoint: '127.0.0.1:14300', vault: {replicas: 3, seal: 'static'}},
    edges: [
      {name: 'edge-1', platform: {local: {ports: 14_400}}, logs: ['/var/log/app/*.log'], vault: {seal: 'static'}},
      {name: 'edge-2', platform: {local: {ports: 14_410}}, logs: [], vault: {seal: 'static'}},
    ],
  })
})

test('vault and edges may be left out', () => {
  const {hub, edges} = parseFleet(lines.slice(0, 6).join('\n'), 'lkeobs.yaml')
  expect(hub.vault).toEqual({replicas: 3, seal: 'static'})
  expect(edges).toEqual([])
})

test.for(['localhost:1', 'otlp.hub.example:4317', '10.0.0.1:65535', "'[::1]:4317'", "'[2001:db8::7]:443'"])(
  '%s is an endpoint',
  (endpoint) => {
    expect(() => parseFleet(withLines({6: `  endpoint: ${endpoint}`}), 'lkeobs.yaml')).not.toThrow()
  },
)

const label = 'expected a DNS label (a-z, 0-9 and - inside, at most 40 characters), got'
const hostPort = 'expected host:port, where host is a name, an IPv4 address or an IPv6 address in brackets, got'

test.for<readonly [line: number, text: string, wrong: string]>([
  [1, 'apiVersion: lkeobs/v2', '1:13 apiVersion: expected "lkeobs/v1", got string "lkeobs/v2"'],
  [1, '', '2:1 apiVersion: missing; expected "lkeobs/v1"'],
  [2, 'fleet: lab\ncertificates: {leafTtl: 59s}', '3:25 certificates.leafTtl: expected a time of 60s to 30d, such as 24h, got "59s"'],
  [2, 'fleet: Lab_1', `2:8 fleet: ${label} "Lab_1"`],
  [2, `fleet: ${'a'.repeat(41)}`, `2:8 fleet: ${label} "${'a'.repeat(41)}"`],
  [2, 'fleet: 7', '2:8 fleet: expected string, got number 7'],
  [2, 'fleet:', '2:7 fleet: expected string, got nothing'],
  [2, 'fleets: lab', '1:1 fleet: missing; expected string\n2:1 fleets: Unrecognized key: "fleets"; did you mean "fleet"?'],
  [4, '  name: -hub', `4:9 hub.name: ${label} "-hub"`],
  [
    5,
    '  platform: {lke: {region: us-ord}}',
    '5:13 hub.platform: expected one of local, kubernetes, elsewhere, got none\n5:14 hub.platform.lke: Unrecognized key: "lke"; valid here: local, kubernetes, elsewhere',
  ],
  [5, '  platform: local', '5:13 hub.platform: expected map, got string "local"'],
  [5, '  platform: {local: {ports: 80}}', '5:29 hub.platform.local.ports: expected at least 1024, got number 80'],
  [5, '  platform: {local: {ports: 65001}}', '5:29 hub.platform.local.ports: expected at most 65000, got number 65001'],
  [5, '  platform: {local: {ports: 14300.5}}', '5:29 hub.platform.local.ports: expected whole number, got number 14300.5'],
  [5, '  platform: {local: {ports: x}}', '5:29 hub.platform.local.ports: expected number, got string "x"'],
  [5, '  platform: {local: {ports: .nan}}', '5:29 hub.platform.local.ports: expected number, got number NaN'],
  [6, '  endpoint: hub.example', '6:13 hub.endpoint: expected host:port, got "hub.example" without a port'],
  [6, '  endpoint: hub.example:0', '6:13 hub.endpoint: expected a port from 1 to 65535 after the host, got "hub.example:0"'],
  [6, '  endpoint: hub.example:65536', '6:13 hub.endpoint: expected a port from 1 to 65535 after the host, got "hub.example:65536"'],
  [6, '  endpoint: https://hub.example:4317', `6:13 hub.endpoint: ${hostPort} "https://hub.example:4317"`],
  [6, '  endpoint: 300.0.0.1:4317', `6:13 hub.endpoint: ${hostPort} "300.0.0.1:4317"`],
  [6, "  endpoint: '::1:4317'", `6:13 hub.endpoint: ${hostPort} "::1:4317"`],
  [6, "  endpoint: '[::g]:4317'", `6:13 hub.endpoint: ${hostPort} "[::g]:4317"`],
  [6, '  endpoint: hub_1:4317', `6:13 hub.endpoint: ${hostPort} "hub_1:4317"`],
  [7, '  vault: {replicas: 2}', '7:21 hub.vault.replicas: expected 1 or 3 or 5, got number 2'],
  [7, '  vault: {replica: 3}', '7:11 hub.vault.replica: Unrecognized key: "replica"; did you mean "replicas"?'],
  [7, '  vault: {seal: shamr}', '7:17 hub.vault.seal: expected "static" or "shamir", got string "shamr"'],
  [9, '  - name: hub', '9:11 edges.0.name: hub is the name of the hub (line 4)'],
  [
    10,
    '    platform: {local: {ports: 14319}}',
    '10:31 edges.0.platform.local.ports: the ports 14319 to 14328 overlap 14300 to 14321 of hub (line 5)',
  ],
  [11, '    logs: [var/*.log]', '11:12 edges.0.logs.0: expected an absolute path, which may hold wildcards, got "var/*.log"'],
  [11, '    logs: ["/a\\nb"]', '11:12 edges.0.logs.0: expected an absolute path, which may hold wildcards, got "/a\\nb"'],
  [11, '    logs: /var/log', '11:11 edges.0.logs: expected list, got string "/var/log"'],
  [11, '    vault: {replicas: 3}', '11:13 edges.0.vault.replicas: Unrecognized key: "replicas"; valid here: seal'],
  [11, '    7up: a', '11:5 edges.0.7up: Unrecognized key: "7up"; valid here: name, platform, logs, vault, outage, rates, share'],
  [11, '    "a\\nb": c', '11:5 edges.0."a\\nb": Unrecognized key: "a\\nb"; valid here: name, platform, logs, vault, outage, rates, share'],
  [
    11,
    '    __proto__: {a: 1}',
    '11:5 edges.0.__proto__: Unrecognized key: "__proto__"; valid here: name, platform, logs, vault, outage, rates, share',
  ],
  [12, '  - name: edge-1', '12:11 edges.1.name: edge-1 is the name of another edge (line 9)'],
  [
    12,
    '  - zone: a',
    '12:5 edges.1.name: missing; expected string\n12:5 edges.1.zone: Unrecognized key: "zone"; valid here: name, platform, logs, vault, outage, rates, share',
  ],
  [
    13,
    '    platform: {local: {ports: 14401}}',
    '13:31 edges.1.platform.local.ports: the ports 14401 to 14410 overlap 14400 to 14409 of edge-1 (line 10)',
  ],
  [13, '  - edge-3', '12:5 edges.1.platform: missing; expected map\n13:5 edges.2: expected map, got string "edge-3"'],
])('line %d: %s', ([line, text, wrong]) => {
  expect(wrongIn(withLines({[line]: text}))).toBe(wrong)
})

test.for<readonly [what: string, text: string, wrong: string]>([
  ['nothing', '', '1:1 The file is empty; expected map with apiVersion, fleet, hub and edges'],
  ['only a comment', '# later\n', '1:1 The file is empty; expected map with apiVersion, fleet, hub and edges'],
  ['a list', '# fleet\n- hub\n', '2:1 expected map, got list'],
  ['a word', 'hub\n', '1:1 expected map, got string "hub"'],
  ['a tab', `${good}\t- name: edge-3\n`, '14:1 Tabs are not allowed as indentation'],
  ['a second document', `${good}---\nfleet: b\n`, '14:1 A second document begins here; a fleet file is one document'],
  ['a duplicate key', withLines({11: '    name: edge-3'}), '11:5 Duplicate key: "name"'],
  [
    'a duplicate key and more',
    withLines({2: 'fleet: 1\n"fleet": 2'}),
    '3:1 Duplicate key: "fleet"\n3:10 fleet: expected string, got number 2',
  ],
  ['an alias to nothing', withLines({2: 'fleet: *lab'}), '2:8 Unresolved alias: no anchor &lab stands before it'],
  ['an unknown tag', withLines({2: 'fleet: !env LAB'}), '2:8 Unresolved tag: !env'],
  ['a key that is a map', withLines({2: '? {a: b}\n: lab'}), '2:3 With stringKeys, all keys must be strings'],
  ['bytes that are not UTF-8', withLines({2: 'fleet: l\uFFFDb'}), '2:9 The file is not UTF-8 here'],
  ['an open quote', `${good}    logs: ['/a`, "14:15 Missing closing 'quote"],
  ['an unquoted IPv6 address', withLines({6: '  endpoint: [::1]:4317'}), '6:18 Unexpected scalar at node end'],
])('%s', ([, text, wrong]) => {
  expect(wrongIn(text)).toBe(wrong)
})

test('all problems at once, in the order of the lines', () => {
  const text = withLines({
    1: 'apiVersion: v1',
    5: '  zone: a',
    9: '  - name: hub',
    12: '  - name: hub',
    13: '    platform: {local: {port: 14400}}',
  })
  expect(wrongIn(text).split('\n')).toEqual([
    '1:13 apiVersion: expected "lkeobs/v1", got string "v1"',
    '4:3 hub.platform: missing; expected map',
    '5:3 hub.zone: Unrecognized key: "zone"; valid here: name, platform, endpoint, vault',
    '9:11 edges.0.name: hub is the name of the hub (line 4)',
    '12:11 edges.1.name: hub is the name of the hub (line 4)',
    '13:23 edges.1.platform.local.ports: missing; expected number',
    '13:24 edges.1.platform.local.port: Unrecognized key: "port"; did you mean "ports"?',
  ])
})

test('a byte order mark, CRLF and anchors are fine', () => {
  const text = withLines({10: '    platform: &local {local: {ports: 14400}}', 13: '    platform: *local'})
  expect(wrongIn(`\uFEFF${text.replaceAll('\n', '\r\n')}`)).toMatch(/^10:38 edges\.1\.platform\.local\.ports: the ports/)
  expect(() => parseFleet(`\uFEFF${good.replaceAll('\n', '\r\n')}`, 'lkeobs.yaml')).not.toThrow()
})
