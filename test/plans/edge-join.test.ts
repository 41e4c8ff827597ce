import {expect, test} from 'vitest'
import {edgeOf, openFleet} from '../../src/clusters.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {createRecorder, preview} from '../../src/steps/preview.ts'
import {flatten} from '../../src/steps/step.ts'
import {dryTools} from '../../src/tools/index.ts'
import {createX509, isSignedBy, readCertificate} from '../../src/tools/x509.ts'
import {splitPem} from '../support/pem.ts'
import {fakeWorld, type FakeWorld, fleetOf, leafOf, remembered} from '../support/fake-world.ts'

const text = newLabFleet({edges: 2})
const joining = ({tools}: Pick<FakeWorld, 'tools'>, name: string, fleet = text) => {
  const opened = openFleet(fleetOf(fleet), tools)
  return edgeJoin(opened.hub, edgeOf(opened, name))
}
const x509 = remembered(createX509())
const hubOnly = (async () => {
  const world = fakeWorld({x509})
  await world.play(hubInit(openFleet(fleetOf(text), world.tools).hub, world.tools))
  return world.snapshot()
})()
const worldWithHub = async () => {
  const world = fakeWorld({x509})
  world.restore(await hubOnly)
  return world
}
const certificates = (pem: string) => splitPem(pem).flatMap((one) => readCertificate(one) ?? [])

test('an edge joins by these writes, and by none the second time', async () => {
  const world = await worldWithHub()
  expect(await world.play(joining(world, 'edge-2'))).toMatchInlineSnapshot(`
    "edge-2 can be told from every other cluster
      write edge-2/id
    hub knows which cluster edge-2 is
      vault of hub: lkeobs/clusters/edge-2 uid=‹id›
    root CA of edge-2 (its key in a file: this is a lab)
      write edge-2/ca/ca.key (secret)
      write edge-2/ca/ca.pem
    seal key of Vault on edge-2 (in a file beside its data: this is a lab)
      write edge-2/vault/seal.key (secret)
    password of Vault's administrator on edge-2
      write edge-2/vault/admin.password (secret)
    certificate of vault-0 on edge-2, signed by its root CA
      write edge-2/vault-0/tls.pem (secret)
    Vault node vault-0 on edge-2
      write edge-2/vault-0/vault.json
      start edge-2/vault-0: bao server -config=edge-2/vault-0/vault.json
    PKI of edge-2
      vault of edge-2: sys/mounts/pki type=pki config={"max_lease_ttl":"31536000s"}
    issuer of edge-2, signed by the hub (valid 1 year)
      vault of edge-2: pki/intermediate/generate/internal common_name='lkeobs edge edge-2' key_type=ec key_bits=256
      vault of hub: pki_edge/root/sign-intermediate csr=‹certificate request› common_name='lkeobs edge edge-2' ttl=8760h max_path_length=0
      vault of edge-2: pki/intermediate/set-signed certificate=‹certificate›
      vault of edge-2: pki/root/replace default=issuer-1
    what the agent of edge-2 may be called
      vault of edge-2: pki/roles/agent allowed_domains=["edge-2.edge.lkeobs"] allow_bare_domains=true allow_subdomains=false allow_wildcard_certificates=false allow_ip_sans=false server_flag=false client_flag=true key_type=ec key_bits=256 ttl=86400 max_ttl=172800 not_before_duration=60 no_store=true
    policy on edge-2: the leaf agent may ask for leaves, nothing else
      vault of edge-2: sys/policies/acl/lkeobs-leaf policy='path "pki/issue/agent" {capabilities = ["update"]}'
    credential of edge-2: says which edge it is, and its key is thrown away
      vault of hub: lkeobs/edges/edge-2 keys=‹key›
    the hub knows the issuer of edge-2
      vault of hub: lkeobs/edges/edge-2 keys=‹key› issuer=‹certificate›
    the gateway trusts the issuers of these edges and no one else
      write hub/gateway/clients.pem
    the gateway knows these edges by their credentials and no one else
      write hub/gateway/edges.jwks
    credential in the hands of the agent on edge-2
      write edge-2/agent/credential.jwt (secret)
    AppRole login on Vault of edge-2
      vault of edge-2: sys/auth/approle type=approle
    AppRole of the leaf agent on edge-2
      vault of edge-2: auth/approle/role/leaf token_policies=["lkeobs-leaf"] token_ttl=3600 token_max_ttl=86400
    credentials of the leaf agent on edge-2
      vault of edge-2: auth/approle/role/leaf/custom-secret-id secret_id=‹secret›
      write edge-2/leaf/role-id
      write edge-2/leaf/secret-id (secret)
    leaf agent on edge-2
      write edge-2/leaf/agent.json
      start edge-2/leaf: bao agent -config=edge-2/leaf/agent.json
    root CA of hub in the hands of the agent on edge-2
      write edge-2/agent/hub-ca.pem
    agent on edge-2
      write edge-2/agent/agent.yaml
      start edge-2/agent: otelcol --config=edge-2/agent/agent.yaml --feature-gates=stanza.synchronousLogEmitter"
  `)
  expect(await world.play(joining(world, 'edge-2'))).toBe('')
})

test('the gateway trusts the issuer of each edge that joined, and the agent the root of the hub', async () => {
  const world = await worldWithHub()
  const bundle = () => certificates(world.files.get(`${world.folder}/hub/gateway/clients.pem`) ?? '')
  expect(bundle().map(({subject}) => subject)).toEqual(['CN=lkeobs trusts nobody'])
  await world.play(joining(world, 'edge-2'))
  await world.play(joining(world, 'edge-1'))
  expect(bundle().map(({subject}) => subject)).toEqual(['CN=lkeobs trusts nobody', 'CN=lkeobs edge edge-1', 'CN=lkeobs edge edge-2'])
  for (const [index, edge] of ['edge-1', 'edge-2'].entries()) {
    const [leaf, issuer] = certificates(leafOf(world, edge, 'agent'))
    const listed = bundle()[index + 1]
    expect(listed && leaf && isSignedBy(leaf, listed)).toBe(true)
    expect(leaf?.subject).toBe(`CN=${edge}.edge.lkeobs`)
    expect(issuer?.fingerprint256).toBe(listed?.fingerprint256)
  }
  const [gateway, above] = certificates(leafOf(world, 'hub', 'gateway'))
  const [root] = certificates(world.files.get(`${world.folder}/edge-1/agent/hub-ca.pem`) ?? '')
  expect(gateway && above && root && isSignedBy(gateway, above) && isSignedBy(above, root)).toBe(true)
})

test('a preview lists every step and leaves the world as it is', async () => {
  const world = await worldWithHub()
  const recorder = createRecorder()
  const plan = joining({tools: dryTools(world.tools, recorder.record)}, 'edge-1')
  const previews = await preview(plan, recorder)
  expect(previews.map(({title}) => title)).toEqual(flatten(plan.steps).map(({title}) => title))
  expect(Object.entries(Object.groupBy(previews, ({state}) => state)).map(([state, those]) => `${state}: ${those?.length}`))
    .toMatchInlineSnapshot(`
      [
        "would run: 23",
        "holds: 10",
      ]
    `)
  expect(world.transcript).toEqual([])
})

test('another endpoint gives the agent another configuration, and nothing else', async () => {
  const world = await worldWithHub()
  await world.play(joining(world, 'edge-1'))
  const moved = text.replace('endpoint: 127.0.0.1:14300', 'endpoint: 127.0.0.1:15300')
  expect(await world.play(joining(world, 'edge-1', moved))).toMatchInlineSnapshot(`
    "agent on edge-1
      stop edge-1/agent
      write edge-1/agent/agent.yaml
      start edge-1/agent: otelcol --config=edge-1/agent/agent.yaml --feature-gates=stanza.synchronousLogEmitter"
  `)
  expect(await world.play(joining(world, 'edge-1', moved))).toBe('')
})

test('more log files give the agent another configuration, and nothing else', async () => {
  const world = await worldWithHub()
  await world.play(joining(world, 'edge-1'))
  const more = text.replace('name: edge-1', 'name: edge-1\n    logs: [/var/log/app/*.log]')
  expect((await world.play(joining(world, 'edge-1', more))).split('\n')).toEqual([
    'agent on edge-1',
    '  stop edge-1/agent',
    '  write edge-1/agent/agent.yaml',
    '  start edge-1/agent: otelcol --config=edge-1/agent/agent.yaml --feature-gates=stanza.synchronousLogEmitter',
  ])
})
