import {existsSync, readdirSync, readFileSync} from 'node:fs'
import path from 'node:path'
import {expect, test} from 'vitest'
import {parseAllDocuments} from 'yaml'
import {networkPolicies} from '../../src/platforms/kubernetes/network-policies.ts'
import {
  canary,
  caRequest,
  configMap,
  generators,
  instrumentation,
  leafObjects,
  namespaces,
  otlpService,
  rootCa,
  vaultAddresses,
  vaultCertificate,
  vaultNames,
} from '../../src/platforms/kubernetes/objects.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import type {Load} from '../../src/tools/telemetrygen.ts'

const request = '-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n'
const leaf = {commonName: 'edge-1', ttlSeconds: 86_400, issuePath: 'pki/issue/agent', vaultRole: 'leaf'} as const

const load: Load = {
  name: '4b1f09ce-1-logs-0',
  signal: 'logs',
  endpoint: 'agent.lkeobs-node.svc:4317',
  processes: 2,
  workers: 1,
  perWorker: 100,
  seconds: 10,
  batchSize: 100,
  spansPerTrace: 10,
  service: 'lkeobs-loadtest',
  metric: 'lkeobs.loadtest',
  instance: 'edge-1-0',
  attributes: {},
}

const installed = {certManager: true, secretsOperator: true} as const
const hub = (): readonly KubeObject[] => [
  ...namespaces({fleet: 'acme', cluster: 'hub', role: 'hub', ...installed}),
  ...rootCa({cluster: 'hub'}),
  ...vaultCertificate({names: [], addresses: []}),
  ...caRequest({name: 'edge-1', request, days: 365}),
  ...otlpService({annotations: {}, address: '203.0.113.7', sourceRanges: ['198.51.100.0/24']}),
  ...leafObjects({...leaf, component: 'gateway', names: ['otlp.hub.example'], addresses: ['203.0.113.7']}),
  ...configMap({name: 'gateway-leaf-agent', namespace: 'lkeobs', data: {'agent.json': '{}\n'}}),
  ...networkPolicies({role: 'hub', ...installed, grafana: true, instrumentation: false}),
]
const edge = (): readonly KubeObject[] => [
  ...namespaces({fleet: 'acme', cluster: 'edge-1', role: 'edge', ...installed}),
  ...rootCa({cluster: 'edge-1'}),
  ...vaultCertificate({names: [], addresses: []}),
  ...leafObjects({...leaf, component: 'agent'}),
  ...canary({tag: '2.7.2'}),
  ...generators(load),
  ...instrumentation(),
  ...networkPolicies({role: 'edge', ...installed, grafana: false, instrumentation: true, hubPort: 4317}),
]
const clusters = [
  {role: 'hub', of: hub},
  {role: 'edge', of: edge},
] as const

const titled = ({apiVersion, kind, metadata: {namespace, name}}: KubeObject): string => `${apiVersion} ${kind} ${namespace ?? '-'}/${name}`
const specOf = (object: KubeObject | undefined): Record<string, unknown> => (object?.['spec'] ?? {}) as Record<string, unknown>
const only = (objects: readonly KubeObject[], kind: string): KubeObject => {
  const [found, another] = objects.filter((one) => one.kind === kind)
  if (!found || another) throw new Error(`expected one ${kind}`)
  return found
}

test.for(clusters)('$role: every object says what it is and whose, once, and always the same', ({of}) => {
  const objects = of()
  for (const {apiVersion, kind, metadata} of objects) {
    expect(apiVersion).toMatch(/^([a-z0-9.-]+\/)?v\d/)
    expect(kind).toMatch(/^[A-Z]/)
    expect(metadata.name).toMatch(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/)
    expect(metadata.labels).toMatchObject({'app.kubernetes.io/managed-by': 'lkeobs', 'app.kubernetes.io/part-of': 'lkeobs'})
  }
  const titles = objects.map(titled)
  expect(new Set(titles).size).toBe(titles.length)
  expect(JSON.stringify(of())).toBe(JSON.stringify(objects))
})

test.for(clusters)('$role: nothing secret, and nothing empty that the API server would drop', ({of}) => {
  const objects = of()
  expect(objects.filter(({kind}) => kind === 'Secret')).toEqual([])
  expect(JSON.stringify(objects)).not.toMatch(/PRIVATE KEY-----/)
  // a selector of everybody is empty, and kept; so is what an issuer that signs itself needs to know
  const mayBeEmpty = new Set(['podSelector', 'namespaceSelector', 'selfSigned'])
  const emptied = (value: unknown, key: string): readonly string[] => {
    if (value === null || value === undefined || value === '') return [key]
    if (typeof value !== 'object') return []
    const fields = Object.entries(value)
    return fields.length === 0 && !mayBeEmpty.has(key) ? [key] : fields.flatMap(([name, field]) => emptied(field, name))
  }
  expect(objects.flatMap((object) => emptied(object, titled(object)))).toEqual([])
})

test('namespaces: ours is restricted and says whose it is; only an edge has a privileged one', () => {
  const levels = (objects: readonly KubeObject[]) =>
    Object.fromEntries(objects.map(({metadata: {name, labels}}) => [name, labels?.['pod-security.kubernetes.io/enforce']]))
  const of = {fleet: 'acme', cluster: 'one', certManager: false, secretsOperator: false}
  const [ours] = namespaces({...of, role: 'hub'})
  expect(ours?.metadata.annotations).toEqual({'lkeobs.io/fleet': 'acme', 'lkeobs.io/cluster': 'one', 'lkeobs.io/role': 'hub'})
  expect(levels(namespaces({...of, role: 'hub'}))).toEqual({lkeobs: 'restricted'})
  expect(levels(namespaces({...of, ...installed, role: 'edge'}))).toEqual({
    lkeobs: 'restricted',
    'lkeobs-node': 'privileged',
    'cert-manager': 'restricted',
    'vault-secrets-operator': 'restricted',
  })
})

test("Vault's certificate is for the names it always has, and for those that are asked for, each once", () => {
  const {dnsNames, ipAddresses} = specOf(
    only(vaultCertificate({names: ['vault.hub.example', 'vault'], addresses: ['10.0.0.1', '127.0.0.1']}), 'Certificate'),
  )
  expect(dnsNames).toEqual([...vaultNames, 'vault.hub.example'])
  expect(ipAddresses).toEqual([...vaultAddresses, '10.0.0.1'])
})

test('the request for a CA carries the CSR, and has another name when it asks for something else', () => {
  const nameOf = (wish: {readonly request: string; readonly days: number}) =>
    only(caRequest({name: 'edge-1', ...wish}), 'CertificateRequest').metadata.name
  const wish = only(caRequest({name: 'edge-1', request, days: 365}), 'CertificateRequest')
  expect(Buffer.from(String(specOf(wish)['request']), 'base64').toString()).toBe(request)
  expect(specOf(wish)['duration']).toBe('8760h0m0s')
  expect(wish.metadata.name).toMatch(/^edge-1-[0-9a-f]{8}$/)
  const names = [nameOf({request, days: 365}), nameOf({request, days: 30}), nameOf({request: request.replace('MIIB', 'MIIC'), days: 365})]
  expect(new Set(names).size).toBe(3)
  expect(nameOf({request: request.trim(), days: 365})).toBe(names[0])
})

test("the load balancer passes TCP through; a person's annotations win, and who may dial in is told to both who could ask", () => {
  const prefix = 'service.beta.kubernetes.io/linode-loadbalancer-'
  const plain = only(otlpService({annotations: {}}), 'Service')
  expect(plain.metadata.annotations).toEqual({
    [`${prefix}default-protocol`]: 'tcp',
    [`${prefix}default-proxy-protocol`]: 'none',
    [`${prefix}check-type`]: 'connection',
  })
  expect(specOf(plain)['loadBalancerSourceRanges']).toBeUndefined()
  const full = only(
    otlpService({
      annotations: {[`${prefix}check-type`]: 'none', [`${prefix}tags`]: 'acme'},
      address: '203.0.113.7',
      sourceRanges: ['198.51.100.0/24', '2001:db8::/32'],
    }),
    'Service',
  )
  expect(full.metadata.annotations).toEqual({
    [`${prefix}default-protocol`]: 'tcp',
    [`${prefix}default-proxy-protocol`]: 'none',
    [`${prefix}check-type`]: 'none',
    [`${prefix}reserved-ipv4`]: '203.0.113.7',
    [`${prefix}firewall-acl`]: '{"allowList":{"ipv4":["198.51.100.0/24"],"ipv6":["2001:db8::/32"]}}',
    [`${prefix}tags`]: 'acme',
  })
  expect(specOf(full)['loadBalancerSourceRanges']).toEqual(['198.51.100.0/24', '2001:db8::/32'])
})

test('a leaf is asked for as the component, and renewed at two thirds of its life at the latest', () => {
  const objects = leafObjects({...leaf, component: 'gateway', names: ['a.example', 'b.example'], addresses: ['203.0.113.7']})
  expect(objects.map(titled)).toMatchInlineSnapshot(`
    [
      "secrets.hashicorp.com/v1beta1 VaultConnection lkeobs/vault",
      "secrets.hashicorp.com/v1beta1 VaultAuth lkeobs/gateway",
      "secrets.hashicorp.com/v1beta1 VaultDynamicSecret lkeobs/gateway-leaf",
    ]
  `)
  expect(specOf(only(objects, 'VaultDynamicSecret'))).toMatchInlineSnapshot(`
    {
      "destination": {
        "create": true,
        "name": "gateway-leaf",
        "transformation": {
          "excludeRaw": true,
          "excludes": [
            ".*",
          ],
          "templates": {
            "leaf.pem": {
              "text": "{{ trim .Secrets.certificate }}
    {{ range .Secrets.ca_chain }}{{ trim . }}
    {{ else }}{{ trim .Secrets.issuing_ca }}
    {{ end }}{{ trim .Secrets.private_key }}
    ",
            },
          },
        },
      },
      "mount": "pki",
      "params": {
        "alt_names": "a.example,b.example",
        "common_name": "edge-1",
        "ip_sans": "203.0.113.7",
        "ttl": "86400s",
      },
      "path": "issue/agent",
      "refreshAfter": "57600s",
      "renewalPercent": 90,
      "requestHTTPMethod": "POST",
      "vaultAuthRef": "gateway",
    }
  `)
  const agent = leafObjects({...leaf, component: 'agent'})
  expect(new Set(agent.map(({metadata}) => metadata.namespace))).toEqual(new Set(['lkeobs-node']))
  expect(specOf(only(agent, 'VaultDynamicSecret'))['params']).toEqual({common_name: 'edge-1', ttl: '86400s'})
})

// Custom resources against the schemas of their definitions.

type Schema = {
  readonly type?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema | boolean
  readonly items?: Schema
  readonly required?: readonly string[]
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly 'x-kubernetes-int-or-string'?: boolean
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean
}
type Definition = {
  readonly kind: string
  readonly spec: {
    readonly group: string
    readonly names: {readonly kind: string}
    readonly versions: readonly {readonly name: string; readonly schema: {readonly openAPIV3Schema: Schema}}[]
  }
}

const typeOf = (value: unknown): string => {
  if (Array.isArray(value)) return 'array'
  if (Number.isInteger(value)) return 'integer'
  return typeof value
}

/** What of a value a schema does not admit; the API server would answer the same, or drop the field. */
const faults = (schema: Schema, value: unknown, at: string): readonly string[] => {
  if (schema['x-kubernetes-int-or-string']) return ['string', 'integer'].includes(typeOf(value)) ? [] : [`${at}: not a number or text`]
  const isType = schema.type === undefined || schema.type === typeOf(value) || (schema.type === 'number' && typeof value === 'number')
  if (!isType) return [`${at}: ${typeOf(value)} in place of ${schema.type}`]
  const own = [
    ...(schema.enum && !schema.enum.includes(value) ? [`${at}: ${JSON.stringify(value)} is none of ${schema.enum.join(', ')}`] : []),
    ...(schema.pattern !== undefined && !new RegExp(schema.pattern).test(String(value)) ? [`${at}: not ${schema.pattern}`] : []),
    ...(Number(value) < (schema.minimum ?? -Infinity) || Number(value) > (schema.maximum ?? Infinity) ? [`${at}: out of bounds`] : []),
  ]
  if (Array.isArray(value)) return [...own, ...value.flatMap((one: unknown, index) => faults(schema.items ?? {}, one, `${at}[${index}]`))]
  if (typeof value !== 'object' || value === null) return own
  const missing = (schema.required ?? [])
    .filter((name) => !(name in value) && schema.properties?.[name]?.default === undefined)
    .map((name) => `${at}.${name}: missing`)
  const inside = Object.entries(value).flatMap(([name, field]) => {
    const {additionalProperties: rest} = schema
    const known = schema.properties?.[name] ?? (typeof rest === 'object' ? rest : undefined)
    if (known) return faults(known, field, `${at}.${name}`)
    return schema['x-kubernetes-preserve-unknown-fields'] || rest === true ? [] : [`${at}.${name}: unknown`]
  })
  return [...own, ...missing, ...inside]
}

const charts = path.resolve(import.meta.dirname, '../../../shared/charts')

const definitions = (): readonly Definition[] =>
  ['cert-manager', 'vault-secrets-operator', 'opentelemetry-operator'].flatMap((chart) =>
    readdirSync(path.join(charts, chart, 'crds')).flatMap((file) =>
      parseAllDocuments(readFileSync(path.join(charts, chart, 'crds', file), 'utf8')).map((document) => document.toJS() as Definition),
    ),
  )

test('custom resources are as their definitions want them', ({skip}) => {
  skip(!existsSync(charts), `no definitions: there is no ${charts}`)
  const known = definitions()
  const schemaOf = ({apiVersion, kind}: KubeObject): Schema | undefined => {
    const [group, version] = apiVersion.split('/')
    const definition = known.find((one) => one.spec.group === group && one.spec.names.kind === kind)
    return definition?.spec.versions.find(({name}) => name === version)?.schema.openAPIV3Schema
  }
  const custom = [...hub(), ...edge()].filter(({apiVersion}) => /cert-manager|hashicorp|opentelemetry/.test(apiVersion))
  expect(custom.length).toBeGreaterThan(10)
  for (const object of custom) {
    const {properties = {}, ...schema} = schemaOf(object) ?? {}
    expect(properties, titled(object)).toHaveProperty('spec')
    // metadata is the API server's own
    expect(faults({...schema, properties: {...properties, metadata: {additionalProperties: true}}}, object, titled(object))).toEqual([])
  }
})

test('the check against a schema sees what is wrong', () => {
  const schema: Schema = {
    type: 'object',
    required: ['a'],
    properties: {
      a: {type: 'string', pattern: '^x', enum: ['x', 'y']},
      b: {type: 'integer', maximum: 9},
      c: {type: 'array', items: {type: 'boolean'}},
      d: {type: 'object', additionalProperties: {type: 'string'}},
    },
  }
  expect(faults(schema, {a: 'x', b: 9, c: [true], d: {any: 'text'}}, '')).toEqual([])
  expect(faults(schema, {a: 'z', b: 10, c: ['no'], d: {any: 1}, e: 1}, '')).toEqual([
    '.a: "z" is none of x, y',
    '.a: not ^x',
    '.b: out of bounds',
    '.c[0]: string in place of boolean',
    '.d.any: integer in place of string',
    '.e: unknown',
  ])
  expect(faults(schema, {}, '')).toEqual(['.a: missing'])
})
