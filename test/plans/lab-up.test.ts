import {expect, test} from 'vitest'
import {labUp, openLab} from '../../src/plans/lab-up.ts'
import {createRecorder, preview} from '../../src/steps/preview.ts'
import {run} from '../../src/steps/run.ts'
import {flatten} from '../../src/steps/step.ts'
import {LkeobsError} from '../../src/errors.ts'
import {dryTools} from '../../src/tools/index.ts'
import {createX509} from '../../src/tools/x509.ts'
import {fakeWorld, type FakeWorld, fleetPath, remembered} from '../support/fake-world.ts'
import {everyProgramInstalled} from '../support/programs.ts'

const lab = async ({tools}: Pick<FakeWorld, 'tools'>, edges?: number) => labUp(await openLab(fleetPath, edges, tools), tools)
const x509 = remembered(createX509())
const labWorld = () => {
  everyProgramInstalled()
  return fakeWorld({x509})
}

test('a lab of one edge comes up by these writes, and by none the second time', async () => {
  const world = labWorld()
  expect(await world.play(await lab(world, 1))).toMatchInlineSnapshot(`
    "fleet file lab/lkeobs.yaml
      write .gitignore
      write lkeobs.yaml (0644)
    hub can be told from every other cluster
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
      start hub/gateway: otelcol --config=hub/gateway/gateway.yaml
    edge-1 can be told from every other cluster
      write edge-1/id
    hub knows which cluster edge-1 is
      vault of hub: lkeobs/clusters/edge-1 uid=‹id›
    root CA of edge-1 (its key in a file: this is a lab)
      write edge-1/ca/ca.key (secret)
      write edge-1/ca/ca.pem
    seal key of Vault on edge-1 (in a file beside its data: this is a lab)
      write edge-1/vault/seal.key (secret)
    password of Vault's administrator on edge-1
      write edge-1/vault/admin.password (secret)
    certificate of vault-0 on edge-1, signed by its root CA
      write edge-1/vault-0/tls.pem (secret)
    Vault node vault-0 on edge-1
      write edge-1/vault-0/vault.json
      start edge-1/vault-0: bao server -config=edge-1/vault-0/vault.json
    PKI of edge-1
      vault of edge-1: sys/mounts/pki type=pki config={"max_lease_ttl":"31536000s"}
    issuer of edge-1, signed by the hub (valid 1 year)
      vault of edge-1: pki/intermediate/generate/internal common_name='lkeobs edge edge-1' key_type=ec key_bits=256
      vault of hub: pki_edge/root/sign-intermediate csr=‹certificate request› common_name='lkeobs edge edge-1' ttl=8760h max_path_length=0
      vault of edge-1: pki/intermediate/set-signed certificate=‹certificate›
      vault of edge-1: pki/root/replace default=issuer-1
    what the agent of edge-1 may be called
      vault of edge-1: pki/roles/agent allowed_domains=["edge-1.edge.lkeobs"] allow_bare_domains=true allow_subdomains=false allow_wildcard_certificates=false allow_ip_sans=false server_flag=false client_flag=true key_type=ec key_bits=256 ttl=86400 max_ttl=172800 not_before_duration=60 no_store=true
    policy on edge-1: the leaf agent may ask for leaves, nothing else
      vault of edge-1: sys/policies/acl/lkeobs-leaf policy='path "pki/issue/agent" {capabilities = ["update"]}'
    credential of edge-1: says which edge it is, and its key is thrown away
      vault of hub: lkeobs/edges/edge-1 keys=‹key›
    the hub knows the issuer of edge-1
      vault of hub: lkeobs/edges/edge-1 keys=‹key› issuer=‹certificate›
    the gateway trusts the issuers of these edges and no one else
      write hub/gateway/clients.pem
    the gateway knows these edges by their credentials and no one else
      write hub/gateway/edges.jwks
    credential in the hands of the agent on edge-1
      write edge-1/agent/credential.jwt (secret)
    AppRole login on Vault of edge-1
      vault of edge-1: sys/auth/approle type=approle
    AppRole of the leaf agent on edge-1
      vault of edge-1: auth/approle/role/leaf token_policies=["lkeobs-leaf"] token_ttl=3600 token_max_ttl=86400
    credentials of the leaf agent on edge-1
      vault of edge-1: auth/approle/role/leaf/custom-secret-id secret_id=‹secret›
      write edge-1/leaf/role-id
      write edge-1/leaf/secret-id (secret)
    leaf agent on edge-1
      write edge-1/leaf/agent.json
      start edge-1/leaf: bao agent -config=edge-1/leaf/agent.json
    root CA of hub in the hands of the agent on edge-1
      write edge-1/agent/hub-ca.pem
    agent on edge-1
      write edge-1/agent/agent.yaml
      start edge-1/agent: otelcol --config=edge-1/agent/agent.yaml --feature-gates=stanza.synchronousLogEmitter"
  `)
  expect(await world.play(await lab(world))).toBe('')
})

test('a lab of three edges does for each edge what it does for one', async () => {
  const world = labWorld()
  const own = (edge: string) => world.transcript.filter((line) => line.includes(edge)).map((line) => line.replaceAll(edge, 'EDGE'))
  await world.play(await lab(world, 3))
  const ports = (lines: readonly string[]) => lines.toSorted()
  expect(ports(own('edge-1')).length).toBeGreaterThan(20)
  expect(ports(own('edge-2'))).toEqual(ports(own('edge-1')))
  expect(ports(own('edge-3'))).toEqual(ports(own('edge-1')))
  expect(await world.play(await lab(world, 3))).toBe('')
  expect(await world.play(await lab(world))).toBe('')
})

test('an edge more is made without touching the others', async () => {
  const world = labWorld()
  await world.play(await lab(world, 1))
  const {length} = world.transcript
  await world.play(await lab(world, 2))
  expect(world.transcript.slice(length).filter((line) => !line.includes('edge-2'))).toMatchInlineSnapshot(`
    [
      "write .gitignore",
      "write lkeobs.yaml (0644)",
      "write hub/gateway/clients.pem",
      "write hub/gateway/edges.jwks",
    ]
  `)
})

test('a preview lists every step and leaves the world as it is', async () => {
  const world = labWorld()
  const recorder = createRecorder()
  const plan = await lab({tools: dryTools(world.tools, recorder.record)}, 2)
  const previews = await preview(plan, recorder)
  expect(previews.map(({title}) => title)).toEqual(flatten(plan.steps).map(({title}) => title))
  expect(Object.entries(Object.groupBy(previews, ({state}) => state)).map(([state, those]) => `${state}: ${those?.length}`))
    .toMatchInlineSnapshot(`
      [
        "holds: 26",
        "would run: 77",
      ]
    `)
  expect(world.transcript).toEqual([])
  expect(world.files.size).toBe(0)
})

test('killed at any of its writes, the next run completes it, and the one after has nothing to do', async () => {
  const world = labWorld()
  const plan = await lab(world, 1)
  const moments = await world.momentsOf(plan)
  const whole = world.shape()
  expect(moments.length).toBeGreaterThan(60)
  for (const {line, state} of moments) {
    world.restore(state)
    // nothing of the killed run is remembered
    await world.play(await lab(world, 1))
    expect(world.shape(), `killed before ${line}`).toEqual(whole)
    expect(await world.play(await lab(world, 1)), `killed before ${line}`).toBe('')
  }
  // two runs for each of its writes
}, 180_000)

test('a disk that is full says so, and the run goes on once there is room', async () => {
  const world = labWorld()
  const plan = await lab(world, 1)
  world.beforeWrite = (line) => {
    if (line.includes('edge-1/agent')) throw new LkeobsError('LKO-3004', `${line}: no space left on device`)
  }
  await expect(run(plan, 'silent')).rejects.toMatchObject({
    code: 'LKO-3004',
    message: expect.stringMatching(/no space left on device\nNothing was undone; \d+ of \d+ steps hold\.$/),
    next: ['lkeobs lab up          (goes on from there)', 'lkeobs explain LKO-3004'],
  })
  world.beforeWrite = () => undefined
  expect((await world.play(plan)).split('\n').filter((line) => /^ {2}.*edge-1\/agent/.test(line))).toEqual([
    '  write edge-1/agent/credential.jwt (secret)',
    '  write edge-1/agent/hub-ca.pem',
    '  write edge-1/agent/agent.yaml',
    '  start edge-1/agent: otelcol --config=edge-1/agent/agent.yaml --feature-gates=stanza.synchronousLogEmitter',
  ])
})

test('an edge that cannot be made does not keep the others from coming up', async () => {
  const world = labWorld()
  const plan = await lab(world, 3)
  world.beforeWrite = (line) => {
    if (line.startsWith('start edge-2/vault-0')) throw new LkeobsError('LKO-3004', 'no space left on device')
  }
  const failure = await run(plan, 'silent').catch((error: unknown) => error)
  expect(failure).toMatchObject({code: 'LKO-8001', oclif: {exit: 8}})
  expect((failure as Error).message).toMatch(/^Vault node vault-0 on edge-2: LKO-3004 no space left on device\nNothing was undone; /)
  expect(world.transcript.filter((line) => /^vault of edge-[13]: pki\/root\/replace/.test(line))).toHaveLength(2)
  world.beforeWrite = () => undefined
  await world.play(plan)
  expect(await world.play(plan)).toBe('')
})

test('a Vault that was stopped while it initialised itself is made anew', async () => {
  const world = labWorld()
  const plan = await lab(world, 1)
  const [before] = (await world.momentsOf(plan)).filter(({line}) => line.includes('sys/mounts/pki_edge'))
  const whole = world.shape()
  if (before) world.restore(before.state)
  // it has its data and no administrator
  for (const data of world.vaults.values()) data.users.clear()
  world.hurry()
  const {length} = world.transcript
  await world.play(plan)
  expect(world.transcript.slice(length, length + 12)).toMatchInlineSnapshot(`
    [
      "stop hub/vault-0",
      "remove hub/vault-0/data",
      "stop hub/vault-1",
      "remove hub/vault-1/data",
      "stop hub/vault-2",
      "remove hub/vault-2/data",
      "write hub/vault-0/vault.json",
      "write hub/vault-1/vault.json",
      "write hub/vault-2/vault.json",
      "start hub/vault-0: bao server -config=hub/vault-0/vault.json",
      "start hub/vault-1: bao server -config=hub/vault-1/vault.json",
      "start hub/vault-2: bao server -config=hub/vault-2/vault.json",
    ]
  `)
  expect(world.shape()).toEqual(whole)
})
