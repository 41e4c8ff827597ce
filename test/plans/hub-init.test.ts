import {expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {createRecorder, preview} from '../../src/steps/preview.ts'
import {flatten} from '../../src/steps/step.ts'
import {dryTools} from '../../src/tools/index.ts'
import {createX509, readCertificate} from '../../src/tools/x509.ts'
import {fakeWorld, type FakeWorld, fleetOf, leafOf, remembered} from '../support/fake-world.ts'

const text = newLabFleet({edges: 1})
const x509 = remembered(createX509())
const hubIn = ({tools}: Pick<FakeWorld, 'tools'>, fleet = text) => hubInit(openFleet(fleetOf(fleet), tools).hub, tools)

const madeOnce = async () => {
  const world = fakeWorld({x509})
  await world.play(hubIn(world))
  return world.snapshot()
}
let made: ReturnType<typeof madeOnce> | undefined
const worldWithHub = async () => {
  const world = fakeWorld({x509})
  world.restore(await (made ??= madeOnce()))
  return world
}

test('a hub is made by these writes, and by none the second time', async () => {
  const world = fakeWorld({x509})
  expect(await world.play(hubIn(world))).toMatchInlineSnapshot(`
    "hub can be told from every other cluster
      write hub/id
    root CA of hub (its key in a file: this is a lab)
      write hub/ca/ca.key (secret)
      write hub/ca/ca.pem
    seal key of Vault on hub (in a file beside its data: this is a lab)
      write hub/vault/seal.key (secret)
    password of Vault's administrator on hub
      write hub/vault/admin.password (secret)
    certificate of vault-0 on hub, signed by its root CA
      write hub/vault-0/tls.pem (secret)
    certificate of vault-1 on hub, signed by its root CA
      write hub/vault-1/tls.pem (secret)
    certificate of vault-2 on hub, signed by its root CA
      write hub/vault-2/tls.pem (secret)
    Vault node vault-0 on hub
      write hub/vault-0/vault.json
      start hub/vault-0: bao server -config=hub/vault-0/vault.json
    Vault node vault-1 on hub
      write hub/vault-1/vault.json
      start hub/vault-1: bao server -config=hub/vault-1/vault.json
    Vault node vault-2 on hub
      write hub/vault-2/vault.json
      start hub/vault-2: bao server -config=hub/vault-2/vault.json
    Prometheus on hub
      write hub/prometheus/prometheus.yaml
      start hub/prometheus: prometheus --config.file=hub/prometheus/prometheus.yaml --storage.tsdb.path=hub/prometheus/data --web.listen-address=127.0.0.1:14304 --web.enable-otlp-receiver --enable-feature=exemplar-storage --log.level=warn
    Loki on hub
      write hub/loki/loki.yaml
      start hub/loki: loki -config.file=hub/loki/loki.yaml
    Tempo on hub
      write hub/tempo/tempo.yaml
      start hub/tempo: tempo -config.file=hub/tempo/tempo.yaml
    PKI that signs the issuers of edges
      vault of hub: sys/mounts/pki_edge type=pki config={"max_lease_ttl":"94608000s"}
    issuer of edges, signed by the root CA
      vault of hub: pki_edge/intermediate/generate/internal common_name='lkeobs hub edges' key_type=ec key_bits=256
      vault of hub: pki_edge/intermediate/set-signed certificate=‹certificate›
      vault of hub: pki_edge/root/replace default=issuer-1
    PKI of the gateway
      vault of hub: sys/mounts/pki_hub type=pki config={"max_lease_ttl":"94608000s"}
    issuer of the gateway, signed by the root CA
      vault of hub: pki_hub/intermediate/generate/internal common_name='lkeobs hub gateway' key_type=ec key_bits=256
      vault of hub: pki_hub/intermediate/set-signed certificate=‹certificate›
      vault of hub: pki_hub/root/replace default=issuer-1
    what the gateway may be called
      vault of hub: pki_hub/roles/gateway allowed_domains=["gateway.hub.lkeobs","localhost"] allow_bare_domains=true allow_subdomains=false allow_wildcard_certificates=false allow_ip_sans=true server_flag=true client_flag=false key_type=ec key_bits=256 ttl=86400 max_ttl=172800 not_before_duration=60 no_store=true
    register of edges
      vault of hub: sys/mounts/lkeobs type=kv config={"max_lease_ttl":"0s"}
    policy on hub: the leaf agent may ask for leaves, nothing else
      vault of hub: sys/policies/acl/lkeobs-leaf policy='path "pki_hub/issue/gateway" {capabilities = ["update"]}'
    AppRole login on Vault of hub
      vault of hub: sys/auth/approle type=approle
    AppRole of the leaf agent on hub
      vault of hub: auth/approle/role/leaf token_policies=["lkeobs-leaf"] token_ttl=3600 token_max_ttl=86400
    credentials of the leaf agent on hub
      vault of hub: auth/approle/role/leaf/custom-secret-id secret_id=‹secret›
      write hub/leaf/role-id
      write hub/leaf/secret-id (secret)
    leaf agent on hub
      write hub/leaf/agent.json
      start hub/leaf: bao agent -config=hub/leaf/agent.json
    a certificate whose key was thrown away, for a gateway that trusts no edge yet
      write hub/gateway/nobody.pem
    the gateway trusts the issuers of these edges and no one else
      write hub/gateway/clients.pem
    a key whose other half was thrown away, for a gateway that knows no edge yet
      write hub/gateway/no-edge.jwks
    the gateway knows these edges by their credentials and no one else
      write hub/gateway/edges.jwks
    gateway on hub
      write hub/gateway/gateway.yaml
      start hub/gateway: otelcol --config=hub/gateway/gateway.yaml"
  `)
  expect(await world.play(hubIn(world))).toBe('')
})

test('a preview lists every step and leaves the world as it is', async () => {
  const world = fakeWorld({x509})
  const recorder = createRecorder()
  const plan = hubIn({tools: dryTools(world.tools, recorder.record)})
  const previews = await preview(plan, recorder)
  expect(previews.map(({title}) => title)).toEqual(flatten(plan.steps).map(({title}) => title))
  // where no node runs, none shows another certificate; where there is no leaf, none is for the wrong name; where there are no
  // logs, none is too large
  expect(previews.filter(({state}) => state === 'holds').map(({title}) => title)).toEqual([
    ...[0, 1, 2].map((node) => `no certificate shown by vault-${node} on hub but the one in its hands`),
    'no leaf on hub for other names or of another issuer',
    'gateway on hub: nothing waits in the queue of an earlier version',
    'logs on hub within their limit',
  ])
  expect(previews.filter(({state}) => state === 'unknown').map(({title}) => title)).toMatchInlineSnapshot(`[]`)
  expect(world.transcript).toEqual([])
  expect(world.files.size).toBe(0)
})

test('a preview of a hub that is there has nothing to do', async () => {
  const world = await worldWithHub()
  const recorder = createRecorder()
  const previews = await preview(hubIn({tools: dryTools(world.tools, recorder.record)}), recorder)
  expect(previews.filter(({state}) => state !== 'holds')).toEqual([])
  expect(world.transcript).toEqual([])
})

test('a process that was killed is started, and nothing else is touched', async () => {
  const world = await worldWithHub()
  for (const component of ['hub/loki', 'hub/vault-1', 'hub/leaf']) world.kill(component)
  expect(await world.play(hubIn(world))).toMatchInlineSnapshot(`
    "Vault node vault-1 on hub
      write hub/vault-1/vault.json
      start hub/vault-1: bao server -config=hub/vault-1/vault.json
    Loki on hub
      write hub/loki/loki.yaml
      start hub/loki: loki -config.file=hub/loki/loki.yaml
    leaf agent on hub
      write hub/leaf/agent.json
      start hub/leaf: bao agent -config=hub/leaf/agent.json"
  `)
})

test('what an administrator changed by hand is set right', async () => {
  const world = await worldWithHub()
  const {vault} = openFleet(fleetOf(text), world.tools).hub
  await vault.write('pki_hub/roles/gateway', {allowed_domains: ['*'], allow_any_name: true})
  await vault.write('sys/mounts/pki_edge/tune', {max_lease_ttl: '1h'})
  world.files.delete(`${world.folder}/hub/gateway/clients.pem`)
  expect(await world.play(hubIn(world))).toMatchInlineSnapshot(`
    "PKI that signs the issuers of edges
      vault of hub: sys/mounts/pki_edge/tune max_lease_ttl=94608000s
    what the gateway may be called
      vault of hub: pki_hub/roles/gateway allowed_domains=["gateway.hub.lkeobs","localhost"] allow_bare_domains=true allow_subdomains=false allow_wildcard_certificates=false allow_ip_sans=true server_flag=true client_flag=false key_type=ec key_bits=256 ttl=86400 max_ttl=172800 not_before_duration=60 no_store=true
    the gateway trusts the issuers of these edges and no one else
      write hub/gateway/clients.pem"
  `)
  expect(await world.play(hubIn(world))).toBe('')
})

const elsewhere = text.replace('endpoint: 127.0.0.1:14300', 'endpoint: hub.example.org:14300')

test('another endpoint changes what the gateway may be called, and its leaf', async () => {
  const world = await worldWithHub()
  expect(await world.play(hubIn(world, elsewhere))).toMatchInlineSnapshot(`
    "what the gateway may be called
      vault of hub: pki_hub/roles/gateway allowed_domains=["gateway.hub.lkeobs","localhost","hub.example.org"] allow_bare_domains=true allow_subdomains=false allow_wildcard_certificates=false allow_ip_sans=true server_flag=true client_flag=false key_type=ec key_bits=256 ttl=86400 max_ttl=172800 not_before_duration=60 no_store=true
    no leaf on hub for other names or of another issuer
      vault of hub: pki_hub/issue/gateway common_name=gateway.hub.lkeobs alt_names=localhost,hub.example.org ip_sans=127.0.0.1 ttl=86400s
      write hub/gateway/leaf.pem (secret)
      stop hub/leaf
    leaf agent on hub
      write hub/leaf/agent.json
      start hub/leaf: bao agent -config=hub/leaf/agent.json"
  `)
  expect(await world.play(hubIn(world, elsewhere))).toBe('')
})

// bao agent keeps a leaf that is still valid, whatever its template asks for now (consul-template, vault_pki.go)
test('with another endpoint the gateway has a leaf for its new name', async () => {
  const world = await worldWithHub()
  await world.play(hubIn(world, elsewhere))
  expect(readCertificate(leafOf(world, 'hub', 'gateway'))?.checkHost('hub.example.org')).toBe('hub.example.org')
})
