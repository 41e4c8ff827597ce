import {describe, expect, onTestFinished, test, vi} from 'vitest'
import {edgeOf, openFleet} from '../../src/clusters.ts'
import {LkeobsError} from '../../src/errors.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {edgeLeave} from '../../src/plans/edge-leave.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import type {EdgeCluster} from '../../src/platforms/platform.ts'
import {createX509, readCertificate} from '../../src/tools/x509.ts'
import {splitPem} from '../support/pem.ts'
import {fakeWorld, type FakeWorld, fleetOf, fleetPath, remembered} from '../support/fake-world.ts'

const text = newLabFleet({edges: 2})
const x509 = remembered(createX509())
const waiting = `${fleetPath.replace('lkeobs.yaml', '')}.lkeobs/edge-1/agent/queue/logs`

const made = (async () => {
  const world = fakeWorld({x509})
  world.files.set(fleetPath, text)
  const {hub, edges} = openFleet(fleetOf(text), world.tools)
  await world.play(hubInit(hub, world.tools))
  for (const edge of edges) await world.play(edgeJoin(hub, edge))
  world.files.set(waiting, 'records')
  return world.snapshot()
})()
const fleetWorld = async () => {
  const world = fakeWorld({x509})
  world.restore(await made)
  return world
}

type How = {readonly abandon?: boolean; readonly reached?: boolean; readonly queued?: EdgeCluster['queued']}

/** What an agent says of its queue is tried on real ones; here it has sent everything as soon as it is closed. */
const leaving = ({tools, files}: FakeWorld, {abandon = false, reached = true, queued = async () => 0}: How = {}) => {
  const fleet = openFleet(fleetOf(files.get(fleetPath) ?? ''), tools)
  return edgeLeave({...fleet, edge: {...edgeOf(fleet, 'edge-1'), queued}, abandon, reached}, tools)
}

test('an edge leaves by these writes, and nothing of it is left', async () => {
  const world = await fleetWorld()
  expect(await world.play(leaving(world))).toMatchInlineSnapshot(`
    "agent on edge-1 takes nothing in, and sends what it has
      stop edge-1/agent
      write edge-1/agent/agent.yaml
      start edge-1/agent: otelcol --config=edge-1/agent/agent.yaml --feature-gates=stanza.synchronousLogEmitter
    agent on edge-1 and its queue are gone
      stop edge-1/agent
      remove edge-1/agent/queue-checkpoints
      remove edge-1/agent/queue
    hub no longer knows edge-1
      vault of hub: remove lkeobs/edges/edge-1
      vault of hub: remove lkeobs/clusters/edge-1
    the gateway trusts the issuers of these edges and no one else
      write hub/gateway/clients.pem
    the gateway knows these edges by their credentials and no one else
      write hub/gateway/edges.jwks
    nothing of edge-1 runs
      stop edge-1/vault-0
      stop edge-1/leaf
    nothing is kept of edge-1
      remove edge-1
    edge-1 is not in lab/lkeobs.yaml
      write lkeobs.yaml (0644)"
  `)
  expect([...world.files.keys()].filter((file) => file.includes('edge-1'))).toEqual([])
  expect(world.shape().running.filter((line) => line.includes('edge-1'))).toEqual([])
  expect(world.files.get(fleetPath)).toBe(text.replace(/ {2}- name: edge-1\n.*\n/, ''))
  const bundle = splitPem(world.files.get(`${world.folder}/hub/gateway/clients.pem`) ?? '').map((pem) => readCertificate(pem)?.subject)
  expect(bundle).toEqual(['CN=lkeobs trusts nobody', 'CN=lkeobs edge edge-2'])
})

test('killed before any write, the next run finishes, and comes to the same', async () => {
  const first = await fleetWorld()
  const moments = await first.momentsOf(leaving(first))
  const end = first.shape()
  expect(moments.length).toBeGreaterThan(8)
  for (const {state} of moments) {
    const world = fakeWorld({x509})
    world.restore(state)
    await world.play(leaving(world))
    expect(world.shape()).toEqual(end)
  }
})

test('nothing of the rest of the fleet is written to', async () => {
  const world = await fleetWorld()
  const of = (name: string) => [...world.files].filter(([file]) => file.includes(`/${name}/`) && !/clients\.pem$|edges\.jwks$/.test(file))
  const before = [...of('hub'), ...of('edge-2')]
  await world.play(leaving(world))
  expect([...of('hub'), ...of('edge-2')]).toEqual(before)
})

test('a hub that takes nothing: exit code 6 with how many items wait, and all of the edge is there', async () => {
  vi.useFakeTimers({toFake: ['Date']})
  onTestFinished(() => void vi.useRealTimers())
  const world = await fleetWorld()
  const queued = async () => {
    vi.setSystemTime(Date.now() + 60_000)
    return 10_000
  }
  const error: unknown = await world.play(leaving(world, {queued})).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(LkeobsError)
  expect(error).toMatchObject({code: 'LKO-2002', oclif: {exit: 6}})
  expect(String(error)).toContain('10000 items in the queue of edge-1')
  expect(world.files.has(waiting)).toBe(true)
  expect(world.files.get(fleetPath)).toBe(text)
})

test('an agent that does not say what it has is waited for', async () => {
  const world = await fleetWorld()
  const answers = [undefined, undefined, 10_000, 7, undefined, 7, 0]
  await world.play(leaving(world, {queued: async () => (answers.length > 1 ? answers.shift() : answers[0])}))
  expect(world.files.has(waiting)).toBe(false)
})

test('an abandoned queue is not waited for', async () => {
  const world = await fleetWorld()
  const queued = async () => 10_000
  expect(await world.play(leaving(world, {abandon: true, queued}))).not.toContain('start edge-1/agent')
  expect(world.files.has(waiting)).toBe(false)
})

test('of a hub that cannot be told, the edge stays in the fleet file, so that the next run tells it', async () => {
  const world = await fleetWorld()
  await world.play(leaving(world, {reached: false}))
  expect([...world.files.keys()].filter((file) => file.includes('edge-1/'))).toEqual([])
  expect(world.files.get(fleetPath)).toBe(text)
  expect(await world.play(leaving(world))).toMatchInlineSnapshot(`
    "hub no longer knows edge-1
      vault of hub: remove lkeobs/edges/edge-1
      vault of hub: remove lkeobs/clusters/edge-1
    the gateway trusts the issuers of these edges and no one else
      write hub/gateway/clients.pem
    the gateway knows these edges by their credentials and no one else
      write hub/gateway/edges.jwks
    edge-1 is not in lab/lkeobs.yaml
      write lkeobs.yaml (0644)"
  `)
})

describe('on Kubernetes', () => {
  const edges = [{name: 'edge-1', platform: {kubernetes: {context: 'edge-1', instrumentation: true}}}]
  const hub = {name: 'hub', platform: {kubernetes: {context: 'hub'}}}
  const kubernetes = JSON.stringify({apiVersion: 'lkeobs/v1', fleet: 'prod', hub, edges})
  const joined = (async () => {
    const world = fakeWorld({x509, contexts: ['hub', 'edge-1']})
    world.files.set(fleetPath, kubernetes)
    const fleet = openFleet(fleetOf(kubernetes), world.tools)
    await world.play(hubInit(fleet.hub, world.tools))
    await world.play(edgeJoin(fleet.hub, edgeOf(fleet, 'edge-1')))
    return world.snapshot()
  })()
  const clusterWorld = async () => {
    const world = fakeWorld({x509, contexts: ['hub', 'edge-1']})
    world.restore(await joined)
    return world
  }
  const left = (world: FakeWorld) => [...(world.clusters.get('edge-1')?.keys() ?? [])]

  test('by these writes, and nothing is left on the cluster', async () => {
    const world = await clusterWorld()
    expect(await world.play(leaving(world))).toMatchInlineSnapshot(`
      "agents on edge-1 take nothing in, and send what they have
        helm upgrade --install agent opentelemetry-collector --repo https://open-telemetry.github.io/opentelemetry-helm-charts --version 0.170.0 --namespace lkeobs-node --kube-context edge-1 -f edges/edge-1/agent.values.yaml
      agents on edge-1 are gone
        helm uninstall agent --namespace lkeobs-node --kube-context edge-1 --ignore-not-found
      queue folders on the nodes of edge-1 are gone
        kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/sweep.yaml
      hub no longer knows edge-1
        vault of hub: remove lkeobs/edges/edge-1
        vault of hub: remove lkeobs/clusters/edge-1
      the gateway trusts the issuers of these edges and no one else
        kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/gateway-clients.yaml
        kubectl --context hub annotate pods --namespace lkeobs --selector app.kubernetes.io/instance=gateway --overwrite lkeobs.io/handed=‹digest›
      the gateway knows these edges by their credentials and no one else
        kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/gateway-edges.yaml
        kubectl --context hub annotate pods --namespace lkeobs --selector app.kubernetes.io/instance=gateway --overwrite lkeobs.io/handed=‹digest›
      nothing is asked of controllers on edge-1 any more
        kubectl --context edge-1 delete certificate.cert-manager.io lkeobs-root --namespace lkeobs --wait=false --ignore-not-found
        kubectl --context edge-1 delete certificate.cert-manager.io vault-tls --namespace lkeobs --wait=false --ignore-not-found
        kubectl --context edge-1 delete issuer.cert-manager.io lkeobs-self-signed --namespace lkeobs --wait=false --ignore-not-found
        kubectl --context edge-1 delete issuer.cert-manager.io lkeobs-root --namespace lkeobs --wait=false --ignore-not-found
        kubectl --context edge-1 delete instrumentation.opentelemetry.io default --namespace lkeobs --wait=false --ignore-not-found
        kubectl --context edge-1 delete vaultdynamicsecret.secrets.hashicorp.com agent-leaf --namespace lkeobs-node --wait=false --ignore-not-found
        kubectl --context edge-1 delete vaultauth.secrets.hashicorp.com agent --namespace lkeobs-node --wait=false --ignore-not-found
        kubectl --context edge-1 delete vaultconnection.secrets.hashicorp.com vault --namespace lkeobs-node --wait=false --ignore-not-found
      opentelemetry-operator on edge-1 is gone
        helm uninstall opentelemetry-operator --namespace lkeobs --kube-context edge-1 --ignore-not-found
      scraper on edge-1 is gone
        helm uninstall scraper --namespace lkeobs --kube-context edge-1 --ignore-not-found
      vault on edge-1 is gone
        helm uninstall vault --namespace lkeobs --kube-context edge-1 --ignore-not-found
      cert-manager on edge-1 is gone, unless it is or serves somebody else's
        helm uninstall cert-manager --namespace cert-manager --kube-context edge-1 --ignore-not-found
      namespace cert-manager on edge-1 is gone, or somebody else's
        kubectl --context edge-1 delete namespace cert-manager --wait=false --ignore-not-found
      vault-secrets-operator on edge-1 is gone, unless it is or serves somebody else's
        helm uninstall vault-secrets-operator --namespace vault-secrets-operator --kube-context edge-1 --ignore-not-found
      namespace vault-secrets-operator on edge-1 is gone, or somebody else's
        kubectl --context edge-1 delete namespace vault-secrets-operator --wait=false --ignore-not-found
      namespace lkeobs-node on edge-1 is gone, or somebody else's
        kubectl --context edge-1 delete namespace lkeobs-node --wait=false --ignore-not-found
      namespace lkeobs on edge-1 is gone, or somebody else's
        kubectl --context edge-1 delete namespace lkeobs --wait=false --ignore-not-found
      edge-1 is not in lab/lkeobs.yaml
        write lkeobs.yaml (0644)"
    `)
    expect(left(world)).toEqual([])
    expect(world.files.get(fleetPath)).not.toContain('edge-1')
  })

  test('killed before any write, the next run finishes', async () => {
    const first = await clusterWorld()
    for (const {state} of await first.momentsOf(leaving(first))) {
      const world = fakeWorld({x509, contexts: ['hub', 'edge-1']})
      world.restore(state)
      await world.play(leaving(world))
      expect(left(world)).toEqual([])
      expect(world.files.get(fleetPath)).not.toContain('edge-1')
    }
  })

  test("what is somebody else's stays: objects in our namespaces, controllers that serve others", async () => {
    const world = await clusterWorld()
    const {tools} = world
    const kube = tools.kube({context: 'edge-1'})
    const theirs = [
      {apiVersion: 'v1', kind: 'Namespace', metadata: {name: 'shop'}},
      {apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'dashboards', namespace: 'lkeobs'}},
      {apiVersion: 'cert-manager.io/v1', kind: 'Issuer', metadata: {name: 'tls', namespace: 'shop'}},
      {
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: {name: 'issuers.cert-manager.io'},
        spec: {group: 'cert-manager.io', names: {kind: 'Issuer'}, versions: [{name: 'v1', storage: true}]},
      },
    ]
    await kube.apply(theirs, {file: '-'})
    await world.play(leaving(world))
    expect(
      left(world)
        .filter((key) => !/helm\.release/.test(key))
        .toSorted(),
    ).toMatchInlineSnapshot(`
      [
        "ConfigMap//cert-manager/chart-cert-manager",
        "ConfigMap//lkeobs/dashboards",
        "CustomResourceDefinition/apiextensions.k8s.io//issuers.cert-manager.io",
        "Deployment/apps/cert-manager/cert-manager",
        "Issuer/cert-manager.io/shop/tls",
        "Namespace///cert-manager",
        "Namespace///lkeobs",
        "Namespace///shop",
        "NetworkPolicy/networking.k8s.io/cert-manager/all-pods",
        "NetworkPolicy/networking.k8s.io/cert-manager/cert-manager",
        "NetworkPolicy/networking.k8s.io/cert-manager/default-deny",
        "NetworkPolicy/networking.k8s.io/cert-manager/dns",
        "Pod//cert-manager/cert-manager-0",
      ]
    `)
    expect(world.transcript.filter((line) => /helm uninstall cert-manager/.test(line))).toEqual([])
  })
})
