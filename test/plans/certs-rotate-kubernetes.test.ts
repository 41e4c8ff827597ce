import {expect, test} from 'vitest'
import {edgeOf, openFleet} from '../../src/clusters.ts'
import {rotationOf, type RotateWish} from '../../src/plans/certs-rotate.ts'
import {edgeJoin, inReach} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {createX509} from '../../src/tools/x509.ts'
import {newIssuer} from '../../src/trust/pki.ts'
import {entryOf} from '../../src/trust/register.ts'
import type {Rotated} from '../../src/trust/rotation.ts'
import {fakeWorld, type FakeWorld, fleetOf} from '../support/fake-world.ts'

const text = `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, platform: {kubernetes: {context: hub}}}
edges: [{name: edge-1, platform: {kubernetes: {context: edge-1}}}]
`
const x509 = createX509()
const nothing = {all: false, gateway: false, vault: false, root: false, rollback: false, concurrency: 10}

const opened = ({tools}: FakeWorld) => openFleet(fleetOf(text), tools)
const rotationIn = async (world: FakeWorld, wish: Partial<RotateWish>, rotated: (one: Rotated) => void = () => undefined) => {
  const [fleet, rotation] = [opened(world), rotationOf({...nothing, ...wish})]
  await rotation?.checked(fleet)
  const plan = await rotation?.plan(fleet, world.tools, {rotated, mark: () => undefined})
  if (!plan) throw new Error('nothing is rotated')
  return plan
}
const joined = async () => {
  const world = fakeWorld({x509})
  await world.play(hubInit(opened(world).hub, world.tools))
  await world.play(edgeJoin(opened(world).hub, edgeOf(opened(world), 'edge-1')))
  return world
}

test('on Kubernetes an edge gets another leaf by these writes, and a join finds what it wished for', async () => {
  const world = await joined()
  const rotated: Rotated[] = []
  const plan = await rotationIn(world, {edge: ['edge-1']}, (one) => rotated.push(one))
  expect(await world.play(plan)).toMatchInlineSnapshot(`
    "a container to look from in every pod of the agent on edge-1
      kubectl --context edge-1 debug agent-0 --namespace lkeobs-node --container=lkeobs-look --image=quay.io/openbao/openbao:2.7.2 --image-pull-policy=IfNotPresent --profile=restricted --custom=/dev/stdin --attach=false --quiet -- sh -c 'trap "exit 0" TERM INT; while :; do sleep 3600 & wait $!; done' <<<'{"securityContext":{"runAsUser":100,"runAsGroup":0,"readOnlyRootFilesystem":true},"volumeMounts":[{"name":"leaf","mountPath":"/etc/lkeobs/leaf","readOnly":true}]}'
    another leaf for the agent on edge-1
      kubectl --context edge-1 patch vaultdynamicsecret.secrets.hashicorp.com agent-leaf --namespace lkeobs-node --type=merge --field-manager=lkeobs --patch '{"spec":{"destination":{"annotations":{"lkeobs.io/asked-at":"‹now›"}}}}'
    in use by the agent on edge-1
      kubectl --context edge-1 annotate pods --namespace lkeobs-node --selector app.kubernetes.io/instance=agent --overwrite lkeobs.io/rotated=‹now›"
  `)
  expect(rotated).toMatchObject([{cluster: 'edge-1', pod: 'agent-0'}])
  expect(rotated[0]?.after).not.toBe(rotated[0]?.before)
  expect(await world.play(edgeJoin(opened(world).hub, edgeOf(opened(world), 'edge-1')))).toBe('')
  // the container stands, the rest is done again
  expect(await world.play(await rotationIn(world, {edge: ['edge-1']}))).not.toContain(' debug ')
})

test('so does the gateway', async () => {
  const world = await joined()
  const rotated: Rotated[] = []
  expect(await world.play(await rotationIn(world, {gateway: true}, (one) => rotated.push(one)))).toMatchInlineSnapshot(`
    "another leaf for the gateway on hub
      kubectl --context hub patch vaultdynamicsecret.secrets.hashicorp.com gateway-leaf --namespace lkeobs --type=merge --field-manager=lkeobs --patch '{"spec":{"destination":{"annotations":{"lkeobs.io/asked-at":"‹now›"}}}}'"
  `)
  expect(rotated.map(({cluster, pod}) => [cluster, pod])).toEqual([['hub', undefined]])
})

test("other certificates for Vault's nodes are asked of cert-manager, without changing what is wished for", async () => {
  const world = await joined()
  const {hub} = opened(world)
  await hub.vaultCertificates?.renewed()
  expect(world.transcript.at(-1)).toMatch(
    /patch certificate\.cert-manager\.io vault-tls --namespace lkeobs --subresource=status .*"type":"Issuing","status":"True"/,
  )
  expect(await world.play(hubInit(hub, world.tools))).toBe('')
})

test('a node of Vault that goes on showing the certificate of before is told by the next run', async () => {
  const world = await joined()
  const {certificate: old} = await x509.createCa({commonName: 'vault', days: 1, pathLength: 0})
  const told: string[] = []
  const tools: typeof world.tools = {
    ...world.tools,
    tls: {
      served: async (address) =>
        /^vault-\d\.hub:/.test(address) && !told.includes(address.split('.')[0] ?? '') ? old : world.tools.tls.served(address),
    },
    kube: (target) => ({
      ...world.tools.kube(target),
      async exec({pod}, command) {
        expect(command.join(' ')).toMatch(/kill -HUP \$\(pidof bao\) sh [0-9a-f]{64}$/)
        told.push(pod)
        return ''
      },
    }),
  }
  const hubOf = () => openFleet(fleetOf(text), tools).hub
  const written = await world.play(hubInit(hubOf(), tools))
  expect(told).toEqual(['vault-0', 'vault-1', 'vault-2'])
  expect(written.split('\n').filter((line) => !line.startsWith(' '))).toEqual(
    told.map((node) => `no certificate shown by ${node} on hub but the one in its hands`),
  )
  expect(await world.play(hubInit(hubOf(), tools))).toBe('')
})

test('an issuer that a join has renewed signs the leaf in every pod before the one of before is trusted no longer', async () => {
  const bare = text.replaceAll('{context: ', '{certManager: false, secretsOperator: false, context: ')
  const world = fakeWorld({x509})
  const early = openFleet(fleetOf(bare), world.tools)
  await world.play(hubInit(early.hub, world.tools))
  await world.play(edgeJoin(early.hub, edgeOf(early, 'edge-1')))
  const {vault} = edgeOf(early, 'edge-1')
  const issued = async () => (await vault.write<{certificate: string}>('pki/issue/agent', {common_name: 'edge-1.edge.lkeobs'})).certificate
  const hands = {leaf: await issued(), asked: 0}
  const tools: typeof world.tools = {
    ...world.tools,
    kube: (target) => ({
      ...world.tools.kube(target),
      async exec({container}, command) {
        expect(container).toBe('leaf-agent')
        if (!command.join(' ').includes('-exit-after-auth')) return hands.leaf
        hands.asked += 1
        // both are trusted as yet
        expect((await entryOf(early.hub.vault, 'edge-1')).retiring).toBeDefined()
        hands.leaf = await issued()
        return ''
      },
    }),
  }
  const join = () => {
    const fleet = openFleet(fleetOf(bare), tools)
    return world.play(edgeJoin(fleet.hub, edgeOf(fleet, 'edge-1')))
  }
  expect(await join()).toBe('')
  await newIssuer(vault, 'pki', 'lkeobs edge edge-1', inReach(early.hub, edgeOf(early, 'edge-1')).signer)
  // every CA of the fake Vault has one key: what the one of before has signed is made here
  const before = await x509.createCa({commonName: 'lkeobs edge edge-1', days: 1, pathLength: 0})
  hands.leaf = (await x509.issueServer(before, {commonName: 'edge-1.edge.lkeobs', names: ['edge-1'], days: 1})).certificate
  await join()
  expect(hands.asked).toBe(1)
  expect((await entryOf(early.hub.vault, 'edge-1')).retiring).toBeUndefined()
  expect(await join()).toBe('')
})
