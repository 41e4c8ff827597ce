import {expect, test} from 'vitest'
import {applied} from '../../src/platforms/kubernetes/applied.ts'
import {askedOfOperator} from '../../src/platforms/kubernetes/leaf.ts'
import {networkPolicies} from '../../src/platforms/kubernetes/network-policies.ts'
import {
  canary,
  caRequest,
  configMap,
  instrumentation,
  leafObjects,
  namespaces,
  otlpService,
  rootCa,
  serviceAccount,
  vaultCertificate,
} from '../../src/platforms/kubernetes/objects.ts'
import type {Step} from '../../src/steps/step.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import {useServer} from './server.ts'
import {settle} from './settle.ts'
import {carriedOut, define, live, noDefinitions, permit, siteOn} from './site.ts'

const request = '-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n'
const leaf = {commonName: 'edge-1', ttlSeconds: 86_400, issuePath: 'pki/issue/agent', vaultRole: 'leaf'} as const
const installed = {certManager: true, secretsOperator: true} as const

/** Every object there is, with all that may be wished for, in the order in which a cluster gets them. */
const wishes = {
  hub: {
    namespaces: namespaces({fleet: 'acme', cluster: 'hub', role: 'hub', ...installed}),
    'network policies': networkPolicies({role: 'hub', ...installed, grafana: true, instrumentation: false}),
    'load balancer': otlpService({annotations: {'example.com/own': 'yes'}, address: '203.0.113.7', sourceRanges: ['198.51.100.0/24']}),
    'root CA': rootCa({cluster: 'hub'}),
    'certificate of Vault': vaultCertificate({names: ['vault.hub.example'], addresses: ['203.0.113.8']}),
    'request for a CA': caRequest({name: 'edge-1', request, days: 365}),
    leaf: leafObjects({...leaf, component: 'gateway', names: ['otlp.hub.example'], addresses: ['203.0.113.7']}),
    'service account': serviceAccount({name: 'gateway', namespace: 'lkeobs'}),
    files: configMap({name: 'gateway-leaf-agent', namespace: 'lkeobs', data: {'agent.json': '{}\n'}}),
  },
  edge: {
    namespaces: namespaces({fleet: 'acme', cluster: 'edge-1', role: 'edge', ...installed}),
    'network policies': networkPolicies({role: 'edge', ...installed, grafana: false, instrumentation: true, hubPort: 4317}),
    'root CA': rootCa({cluster: 'edge-1'}),
    'certificate of Vault': vaultCertificate({names: [], addresses: []}),
    'service account': serviceAccount({name: 'agent', namespace: 'lkeobs-node'}),
    leaf: leafObjects({...leaf, component: 'agent'}),
    canary: canary({tag: '2.7.2'}),
    instrumentation: instrumentation(),
  },
} as const

const isCustom = ({apiVersion}: KubeObject): boolean => /^(cert-manager\.io|secrets\.hashicorp\.com|opentelemetry\.io)\//.test(apiVersion)

/** What these are not before somebody else has done something. */
const waitsFor: Readonly<Record<string, RegExp>> = {
  'load balancer': /^Service otlp: no address yet$/,
  'root CA': /^Issuer lkeobs-self-signed: not ready yet \(and 2 more\)$/,
  'certificate of Vault': /^Certificate vault-tls: not ready yet$/,
  'request for a CA': /^CertificateRequest edge-1-\w+: not ready yet$/,
  canary: /^Deployment canary: /,
}

const prepared = (role: 'hub' | 'edge') =>
  useServer(async (server) => {
    await define(server)
    const controllers = {installsCertManager: true, installsSecretsOperator: true}
    await permit(server, {role, ...installed, ...controllers, instrumentation: role === 'edge'})
  })
const servers = {hub: prepared('hub'), edge: prepared('edge')} as const

for (const role of ['hub', 'edge'] as const) {
  const all = Object.entries(wishes[role])
  const stepsOf = (wanted: (objects: readonly KubeObject[]) => boolean): readonly (readonly [string, Step])[] => {
    const site = siteOn(servers[role](), {role, user: 'permitted'})
    return all
      .filter(([, objects]) => wanted(objects))
      .map(([title, objects]) => [title, applied(site, title, `${title}.yaml`, objects, {patienceMs: 1000})])
  }
  /** The step that does not end as it should, with what it ended as. */
  const failing = async (steps: readonly (readonly [string, Step])[]): Promise<readonly (readonly [string, unknown])[]> => {
    for (const [title, step] of steps) {
      expect(await step.done(), title).toMatch(/ is not there/)
      await step.apply(() => undefined)
      const isWaited = waitsFor[title]
      if (isWaited) expect(await step.done(), title).toMatch(isWaited)
      else expect(await step.done(), title).toBe(true)
    }
    await settle(servers[role]())
    const ends = await Promise.all(steps.map(async ([title, step]) => [title, await step.done()] as const))
    return ends.filter(([, end]) => end !== true)
  }
  const plain = (objects: readonly KubeObject[]) => !objects.some(isCustom)
  const custom = (objects: readonly KubeObject[]) => objects.some(isCustom)

  test(`${role}: every object is accepted from whom doctor permits it, and kept as it was wished for`, async () => {
    expect(await failing(stepsOf(plain))).toEqual([])
  })

  test(`${role}: so is every object of a custom kind`, async ({skip}) => {
    skip(noDefinitions !== undefined, noDefinitions)
    expect(await failing(stepsOf(custom))).toEqual([])
  })

  test(`${role}: a second run writes nothing`, async () => {
    const steps = stepsOf((objects) => noDefinitions === undefined || plain(objects)).map(([, step]) => step)
    const written = await servers[role]().writes('permitted', async () => {
      const outcomes = await carriedOut(...steps)
      expect(outcomes.filter(({state}) => state !== 'already so')).toEqual([])
    })
    expect(written).toEqual([])
  })

  test(`${role}: so does applying what is there anew, whoever has forgotten that it did`, async () => {
    const site = siteOn(servers[role](), {role, user: 'permitted'})
    const before = await servers[role]().kubectl('get', 'networkpolicies', '-A', '-o', 'jsonpath={.items[*].metadata.resourceVersion}')
    expect(before.split(' ')).toHaveLength(wishes[role]['network policies'].length)
    await site.kube.apply(wishes[role]['network policies'], {file: 'policies.yaml'})
    const marks = await servers[role]().kubectl('get', 'networkpolicies', '-A', '-o', 'jsonpath={.items[*].metadata.generation}')
    expect(new Set(marks.split(' '))).toEqual(new Set(['1']))
  })

  test(`${role}: namespaces are as strict as is said of them`, async () => {
    const columns = [
      'custom-columns=NAME:.metadata.name',
      String.raw`E:.metadata.labels.pod-security\.kubernetes\.io/enforce`,
      String.raw`W:.metadata.labels.pod-security\.kubernetes\.io/warn`,
      String.raw`A:.metadata.labels.pod-security\.kubernetes\.io/audit`,
    ].join(',')
    const table = await servers[role]().kubectl(
      'get',
      'namespaces',
      '-l',
      'app.kubernetes.io/managed-by=lkeobs',
      '--no-headers',
      '-o',
      columns,
    )
    const rows = table
      .trim()
      .split('\n')
      .map((line) => line.replaceAll(/ +/g, ' ').trim())
    expect(rows).toEqual([
      'cert-manager restricted restricted restricted',
      'lkeobs restricted restricted restricted',
      ...(role === 'edge' ? ['lkeobs-node privileged privileged privileged'] : []),
      'vault-secrets-operator restricted restricted restricted',
    ])
  })
}

test('a leaf that was asked for anew is another wish to the operator, and the same to us', async ({skip}) => {
  skip(noDefinitions !== undefined, noDefinitions)
  const site = siteOn(servers.edge(), {role: 'edge', user: 'permitted'})
  const step = applied(site, 'leaf', 'leaf.yaml', wishes.edge.leaf)
  type Asked = KubeObject & {readonly spec: {readonly destination: {readonly annotations?: object}}}
  const asked = () =>
    live<Asked>(site, {apiVersion: 'secrets.hashicorp.com/v1beta1', kind: 'VaultDynamicSecret'}, 'agent-leaf', 'lkeobs-node')
  const before = await asked()
  await askedOfOperator(site, 'agent')
  const after = await asked()
  expect(Number(after.metadata['generation'])).toBe(Number(before.metadata['generation']) + 1)
  const {annotations, ...destination} = after.spec.destination
  expect({...after.spec, destination}).toEqual(before.spec)
  expect(Object.keys(annotations ?? {})).toEqual(['lkeobs.io/asked-at'])
  const written = await servers.edge().writes('permitted', async () => {
    expect((await carriedOut(step)).map(({state}) => state)).toEqual(['already so'])
  })
  expect(written).toEqual([])
  // what is put back does not take it away either: that would be a further leaf
  await site.kube.apply(wishes.edge.leaf, {file: 'leaf.yaml'})
  expect((await asked()).metadata['generation']).toBe(after.metadata['generation'])
})
