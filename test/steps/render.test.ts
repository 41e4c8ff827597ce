import path from 'node:path'
import {parseAllDocuments} from 'yaml'
import {expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {render, renderTools, writeRendered} from '../../src/steps/render.ts'
import {createX509} from '../../src/tools/x509.ts'
import {fakeWorld, type FakeWorld, fleetOf, remembered} from '../support/fake-world.ts'

const fleet = ({endpoint = true, more = ''} = {}) => `apiVersion: lkeobs/v1
fleet: acme
hub:
  name: hub
  ${endpoint ? 'endpoint: hub.example.org:4317' : ''}
  platform:
    kubernetes: {context: hub, kubeconfig: /home/someone/kubeconfig${more}}
edges:
  - name: edge-1
    platform:
      kubernetes: {context: edge-1}
`

const x509 = remembered(createX509())

const rendered = async ({tools}: Pick<FakeWorld, 'tools'>, text = fleet()) => {
  const opened = openFleet(fleetOf(text), renderTools(tools), {rendered: true})
  const [edge] = opened.edges
  if (!edge) throw new Error('no edge')
  return {hub: await render(hubInit(opened.hub, tools), opened.hub), edge: await render(edgeJoin(opened.hub, edge), edge)}
}

test('the files of a cluster say the same whatever is on it, and whether or not it can be asked', async () => {
  const unreachable = fakeWorld({x509, contexts: []})
  const empty = await rendered(unreachable)
  expect(await rendered(unreachable)).toEqual(empty)
  const world = fakeWorld({x509})
  await world.play(hubInit(openFleet(fleetOf(fleet()), world.tools).hub, world.tools))
  expect(await rendered(world)).toEqual(empty)
  expect([...empty.hub.files.keys(), ...empty.edge.files.keys()]).toMatchInlineSnapshot(`
    [
      "hub/index.yaml",
      "hub/install.sh",
      "hub/namespaces.yaml",
      "hub/network-policies.yaml",
      "hub/cert-manager.values.yaml",
      "hub/vault-secrets-operator.values.yaml",
      "hub/otlp.yaml",
      "hub/root-ca.yaml",
      "hub/vault-certificate.yaml",
      "hub/vault-self.yaml",
      "hub/vault.values.yaml",
      "hub/prometheus.values.yaml",
      "hub/loki.values.yaml",
      "hub/tempo.values.yaml",
      "hub/grafana.values.yaml",
      "hub/gateway-account.yaml",
      "hub/leaf.yaml",
      "hub/gateway.values.yaml",
      "edges/edge-1/index.yaml",
      "edges/edge-1/install.sh",
      "edges/edge-1/namespaces.yaml",
      "edges/edge-1/network-policies.yaml",
      "edges/edge-1/cert-manager.values.yaml",
      "edges/edge-1/vault-secrets-operator.values.yaml",
      "edges/edge-1/root-ca.yaml",
      "edges/edge-1/vault-certificate.yaml",
      "edges/edge-1/vault-self.yaml",
      "edges/edge-1/vault.values.yaml",
      "edges/edge-1/agent-account.yaml",
      "edges/edge-1/leaf.yaml",
      "edges/edge-1/agent.values.yaml",
      "edges/edge-1/scraper.values.yaml",
      "edges/edge-1/canary.yaml",
      "edges/edge-1/dcgm-exporter.values.yaml",
    ]
  `)
})

test('no Secret is written, and nothing that leads to a cluster but its context', async () => {
  const {hub, edge} = await rendered(fakeWorld({x509, contexts: []}))
  for (const [file, content] of [...hub.files, ...edge.files]) {
    expect(content, file).not.toMatch(/^kind: Secret$/m)
    expect(content, file).not.toContain('PRIVATE KEY')
    expect(content, file).not.toContain('kubeconfig')
    expect(file.endsWith('.yaml') ? parseAllDocuments(content).flatMap(({errors}) => errors) : []).toEqual([])
  }
})

test('no node of a Vault in Git founds another one', async () => {
  const {hub} = await rendered(fakeWorld({x509, contexts: []}))
  expect(hub.files.get('hub/vault-self.yaml')).not.toContain('initialize')
  expect(hub.files.get('hub/vault-self.yaml')).toContain('retry_join')
})

test('releases and manifests are listed in order, and so are the commands', async () => {
  const {hub, edge} = await rendered(fakeWorld({x509, contexts: []}))
  const index = parseAllDocuments(hub.files.get('hub/index.yaml') ?? '')[0]?.toJS() as {steps: readonly Record<string, string>[]}
  expect(index.steps[0]).toEqual({manifests: 'namespaces.yaml'})
  expect(index.steps.find(({release}) => release === 'cert-manager')).toEqual({
    release: 'cert-manager',
    namespace: 'cert-manager',
    chart: 'cert-manager',
    repository: 'oci://quay.io/jetstack/charts/cert-manager',
    version: 'v1.21.1',
    values: 'cert-manager.values.yaml',
    only: 'where there is no cert-manager from elsewhere',
  })
  const script = edge.files.get('edges/edge-1/install.sh') ?? ''
  expect(script).toContain('\ncd "$(dirname "$0")/../.."\n')
  expect(script).toContain('\nkubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/namespaces.yaml\n')
  expect(script).toMatch(/\nhelm upgrade --install agent opentelemetry-collector --repo https:.* -f edges\/edge-1\/agent\.values\.yaml\n/)
  expect(script).toContain('# not in a file: the hub knows the issuer of edge-1\n')
  const brought = [...edge.files.keys()].filter((file) => !/index|install/.test(file))
  for (const file of brought) expect(script.split(`-f ${file}\n`), file).toHaveLength(2)
})

test('without hub.endpoint the load balancer is asked, and where it cannot be the key is named', async () => {
  const text = fleet({endpoint: false})
  const world = fakeWorld({x509})
  await expect(rendered(world, text)).rejects.toMatchObject({code: 'LKO-3115', message: expect.stringContaining('hub.endpoint: HOST:PORT')})
  await expect(rendered(fakeWorld({x509, contexts: []}), text)).rejects.toMatchObject({
    code: 'LKO-3101',
    message: expect.stringContaining('hub.endpoint: HOST:PORT'),
  })
  await world.play(hubInit(openFleet(fleetOf(text), world.tools).hub, world.tools))
  expect((await rendered(world, text)).edge.files.get('edges/edge-1/agent.values.yaml')).toContain('203.0.113.10:4317')
})

test('what an earlier render wrote and this one does not is removed, and nothing else', async () => {
  const {tools, files} = fakeWorld({x509, contexts: []})
  const out = path.resolve('deploy')
  const write = async (text?: string) => {
    const all = await writeRendered(tools.files, out, (await rendered({tools}, text)).hub)
    return all.filter(({state}) => state !== 'unchanged').map(({file, state}) => `${file} ${state}`)
  }
  expect(await write()).toContain('hub/grafana.values.yaml written')
  expect(await write()).toEqual([])
  for (const name of ['hub/mine.yaml', 'hub/kustomization.yaml', 'README.md']) files.set(path.join(out, name), 'mine')
  // an index that somebody has had their hands on
  const index = path.join(out, 'hub/index.yaml')
  files.set(index, (files.get(index) ?? '').replace('steps:\n', 'steps:\n  - manifests: ../README.md\n'))
  expect(await write(fleet({more: ', grafana: false'}))).toEqual([
    'hub/index.yaml written',
    'hub/install.sh written',
    'hub/network-policies.yaml written',
    'hub/grafana.values.yaml removed',
  ])
  expect(['hub/mine.yaml', 'hub/kustomization.yaml', 'README.md'].map((name) => files.get(path.join(out, name)))).toEqual([
    'mine',
    'mine',
    'mine',
  ])
})
