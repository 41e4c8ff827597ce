import {expect, test} from 'vitest'
import {edgeOf, openFleet} from '../../src/clusters.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {createRecorder, preview} from '../../src/steps/preview.ts'
import {flatten} from '../../src/steps/step.ts'
import {dryTools} from '../../src/tools/index.ts'
import {createX509} from '../../src/tools/x509.ts'
import {fakeWorld, type FakeWorld, fleetOf, remembered} from '../support/fake-world.ts'

const text = `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, platform: {kubernetes: {context: hub}}}
edges: [{name: edge-1, platform: {kubernetes: {context: edge-1}}}]
`
const bare = text.replaceAll('{context: ', '{certManager: false, secretsOperator: false, context: ')
const x509 = remembered(createX509())

const hubIn = ({tools}: Pick<FakeWorld, 'tools'>, fleet = text) => hubInit(openFleet(fleetOf(fleet), tools).hub, tools)
const edgeIn = ({tools}: Pick<FakeWorld, 'tools'>, fleet = text) => {
  const opened = openFleet(fleetOf(fleet), tools)
  return edgeJoin(opened.hub, edgeOf(opened, 'edge-1'))
}

test('a hub is made by these writes, and by none the second time', async () => {
  const world = fakeWorld({x509})
  expect(await world.play(hubIn(world))).toMatchInlineSnapshot(`
    "namespaces on hub, with pod security
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/namespaces.yaml
    network policies on hub: closed, but for what the fleet needs
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/network-policies.yaml
    cert-manager on hub
      helm upgrade --install cert-manager oci://quay.io/jetstack/charts/cert-manager --version v1.21.1 --namespace cert-manager --kube-context hub -f hub/cert-manager.values.yaml
    Vault Secrets Operator on hub
      helm upgrade --install vault-secrets-operator vault-secrets-operator --repo https://helm.releases.hashicorp.com --version 1.4.1 --namespace vault-secrets-operator --kube-context hub -f hub/vault-secrets-operator.values.yaml
    load balancer that edges dial on hub
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/otlp.yaml
    root CA of hub, kept by cert-manager
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/root-ca.yaml
    seal key of Vault on hub (in a Secret)
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/vault-seal.yaml
    password of Vault's administrator on hub
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/vault-admin.yaml
    certificate of Vault on hub, signed by its root CA
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/vault-certificate.yaml
    what each Vault node on hub is told alone
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/vault-self.yaml
    Vault on hub: 3 nodes of OpenBao
      helm upgrade --install vault openbao --repo https://openbao.github.io/openbao-helm --version 0.29.2 --namespace lkeobs --kube-context hub -f hub/vault.values.yaml
    Vault on hub is founded: no node founds another
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/vault-self.yaml
    Prometheus on hub
      helm upgrade --install prometheus prometheus --repo https://prometheus-community.github.io/helm-charts --version 29.27.0 --namespace lkeobs --kube-context hub -f hub/prometheus.values.yaml
    Loki on hub
      helm upgrade --install loki loki --repo https://grafana-community.github.io/helm-charts --version 18.11.0 --namespace lkeobs --kube-context hub -f hub/loki.values.yaml
    Tempo on hub
      helm upgrade --install tempo tempo --repo https://grafana-community.github.io/helm-charts --version 2.2.4 --namespace lkeobs --kube-context hub -f hub/tempo.values.yaml
    administrator of Grafana on hub
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/grafana-admin.yaml
    Grafana on hub
      helm upgrade --install grafana grafana --repo https://grafana-community.github.io/helm-charts --version 12.11.1 --namespace lkeobs --kube-context hub -f hub/grafana.values.yaml
    PKI that signs the issuers of edges
      vault of hub: sys/mounts/pki_edge type=pki config={"max_lease_ttl":"94608000s"}
    issuer of edges, signed by the root CA
      vault of hub: pki_edge/intermediate/generate/internal common_name='lkeobs hub edges' key_type=ec key_bits=256
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/issuer-request.yaml
      vault of hub: pki_edge/intermediate/set-signed certificate=‹certificate›
      vault of hub: pki_edge/root/replace default=issuer-1
    PKI of the gateway
      vault of hub: sys/mounts/pki_hub type=pki config={"max_lease_ttl":"94608000s"}
    issuer of the gateway, signed by the root CA
      vault of hub: pki_hub/intermediate/generate/internal common_name='lkeobs hub gateway' key_type=ec key_bits=256
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/issuer-request.yaml
      vault of hub: pki_hub/intermediate/set-signed certificate=‹certificate›
      vault of hub: pki_hub/root/replace default=issuer-1
    what the gateway may be called
      vault of hub: pki_hub/roles/gateway allowed_domains=["gateway.hub.lkeobs","gateway.lkeobs.svc"] allow_bare_domains=true allow_subdomains=false allow_wildcard_certificates=false allow_ip_sans=true server_flag=true client_flag=false key_type=ec key_bits=256 ttl=86400 max_ttl=172800 not_before_duration=60 no_store=true
    register of edges
      vault of hub: sys/mounts/lkeobs type=kv config={"max_lease_ttl":"0s"}
    policy on hub: the leaf agent may ask for leaves, nothing else
      vault of hub: sys/policies/acl/lkeobs-leaf policy='path "pki_hub/issue/gateway" {capabilities = ["update"]}'
    service account of the gateway on hub
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/gateway-account.yaml
    login by service account on Vault of hub
      vault of hub: sys/auth/kubernetes type=kubernetes
    where Vault on hub asks about service accounts
      vault of hub: auth/kubernetes/config kubernetes_host=https://kubernetes.default.svc:443
    what the service account of the gateway on hub may do
      vault of hub: auth/kubernetes/role/gateway bound_service_account_names=["gateway"] bound_service_account_namespaces=["lkeobs"] audience=vault token_policies=["lkeobs-leaf"] token_ttl=3600 token_max_ttl=86400
    root CA of Vault beside the gateway on hub
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/gateway-vault-ca.yaml
    leaf of the gateway on hub, asked for by Vault Secrets Operator
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/leaf.yaml
    a certificate whose key was thrown away, for a gateway that trusts no edge yet
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/gateway-nobody.yaml
    the gateway trusts the issuers of these edges and no one else
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/gateway-clients.yaml
    a key whose other half was thrown away, for a gateway that knows no edge yet
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/gateway-no-edge.yaml
    the gateway knows these edges by their credentials and no one else
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/gateway-edges.yaml
    gateway on hub
      helm upgrade --install gateway opentelemetry-collector --repo https://open-telemetry.github.io/opentelemetry-helm-charts --version 0.170.0 --namespace lkeobs --kube-context hub -f hub/gateway.values.yaml"
  `)
  expect(await world.play(hubIn(world))).toBe('')
})

test('an edge joins by these writes, and by none the second time', async () => {
  const world = fakeWorld({x509})
  await world.play(hubIn(world))
  expect(await world.play(edgeIn(world))).toMatchInlineSnapshot(`
    "namespaces on edge-1, with pod security
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/namespaces.yaml
    network policies on edge-1: closed, but for what the fleet needs
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/network-policies.yaml
    cert-manager on edge-1
      helm upgrade --install cert-manager oci://quay.io/jetstack/charts/cert-manager --version v1.21.1 --namespace cert-manager --kube-context edge-1 -f edges/edge-1/cert-manager.values.yaml
    Vault Secrets Operator on edge-1
      helm upgrade --install vault-secrets-operator vault-secrets-operator --repo https://helm.releases.hashicorp.com --version 1.4.1 --namespace vault-secrets-operator --kube-context edge-1 -f edges/edge-1/vault-secrets-operator.values.yaml
    hub knows which cluster edge-1 is
      vault of hub: lkeobs/clusters/edge-1 uid=uid-of-edge-1
    root CA of edge-1, kept by cert-manager
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/root-ca.yaml
    seal key of Vault on edge-1 (in a Secret)
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/vault-seal.yaml
    password of Vault's administrator on edge-1
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/vault-admin.yaml
    certificate of Vault on edge-1, signed by its root CA
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/vault-certificate.yaml
    what each Vault node on edge-1 is told alone
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/vault-self.yaml
    Vault on edge-1: 1 node of OpenBao
      helm upgrade --install vault openbao --repo https://openbao.github.io/openbao-helm --version 0.29.2 --namespace lkeobs --kube-context edge-1 -f edges/edge-1/vault.values.yaml
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
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/gateway-clients.yaml
      kubectl --context hub annotate pods --namespace lkeobs --selector app.kubernetes.io/instance=gateway --overwrite lkeobs.io/handed=‹digest›
    the gateway knows these edges by their credentials and no one else
      kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/gateway-edges.yaml
      kubectl --context hub annotate pods --namespace lkeobs --selector app.kubernetes.io/instance=gateway --overwrite lkeobs.io/handed=‹digest›
    credential in the hands of the agent on edge-1
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/agent-credential.yaml
    service account of the agent on edge-1
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/agent-account.yaml
    login by service account on Vault of edge-1
      vault of edge-1: sys/auth/kubernetes type=kubernetes
    where Vault on edge-1 asks about service accounts
      vault of edge-1: auth/kubernetes/config kubernetes_host=https://kubernetes.default.svc:443
    what the service account of the agent on edge-1 may do
      vault of edge-1: auth/kubernetes/role/agent bound_service_account_names=["agent"] bound_service_account_namespaces=["lkeobs-node"] audience=vault token_policies=["lkeobs-leaf"] token_ttl=3600 token_max_ttl=86400
    root CA of Vault beside the agent on edge-1
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/agent-vault-ca.yaml
    leaf of the agent on edge-1, asked for by Vault Secrets Operator
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/leaf.yaml
    root CA of hub in the hands of the agent on edge-1
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/agent-hub-ca.yaml
    agent on every node of edge-1
      helm upgrade --install agent opentelemetry-collector --repo https://open-telemetry.github.io/opentelemetry-helm-charts --version 0.170.0 --namespace lkeobs-node --kube-context edge-1 -f edges/edge-1/agent.values.yaml
    scraper of cluster state and events on edge-1
      helm upgrade --install scraper opentelemetry-collector --repo https://open-telemetry.github.io/opentelemetry-helm-charts --version 0.170.0 --namespace lkeobs --kube-context edge-1 -f edges/edge-1/scraper.values.yaml
    workload on edge-1 from which canaries are sent
      kubectl --context edge-1 apply --server-side --field-manager=lkeobs -f edges/edge-1/canary.yaml"
  `)
  expect(await world.play(edgeIn(world))).toBe('')
})

test('without cert-manager and Vault Secrets Operator, lkeobs makes the certificates and an agent beside the collector fetches the leaf', async () => {
  const world = fakeWorld({x509})
  const writes = await world.play(hubIn(world, bare))
  expect(writes).not.toMatch(/cert-manager|secrets-operator/)
  expect(writes).toContain('leaf-agent.yaml')
  expect(await world.play(hubIn(world, bare))).toBe('')
  const joined = await world.play(edgeIn(world, bare))
  expect(joined).not.toMatch(/cert-manager|secrets-operator/)
  expect(await world.play(edgeIn(world, bare))).toBe('')
})

test('killed at any of its writes, the next run completes it, and the one after has nothing to do', async () => {
  const world = fakeWorld({x509})
  const plan = hubIn(world)
  const moments = await world.momentsOf(plan)
  expect(moments.length).toBeGreaterThan(20)
  for (const {line, state} of moments) {
    world.restore(state)
    await world.play(plan)
    expect(await world.play(plan), `killed before ${line}`).toBe('')
  }
  // two runs for each of its writes
}, 180_000)

test('a preview lists every step and leaves the world as it is, on an empty cluster too', async () => {
  const world = fakeWorld({x509})
  const recorder = createRecorder()
  const tools = dryTools(world.tools, recorder.record)
  const plan = hubIn({tools})
  const previews = await preview(plan, recorder)
  expect(previews.map(({title}) => title)).toEqual(flatten(plan.steps).map(({title}) => title))
  const lines = previews.flatMap(({writes}) => writes)
  expect(lines.filter((line) => line.startsWith('helm upgrade --install ')).map((line) => line.split(' ')[3])).toEqual([
    'cert-manager',
    'vault-secrets-operator',
    'vault',
    'prometheus',
    'loki',
    'tempo',
    'grafana',
    'gateway',
  ])
  expect(lines.every((line) => !/BEGIN|password=/.test(line))).toBe(true)
  expect(world.transcript).toEqual([])
})
