import {gzipSync} from 'node:zlib'
import {expect, test} from 'vitest'
import {LkeobsError} from '../../src/errors.ts'
import {type ChartSource, createHelm, dryHelm, releasesIn} from '../../src/tools/helm.ts'
import type {Kube, KubeObject} from '../../src/tools/kube/kube.ts'
import type {Command} from '../../src/tools/shell.ts'
import {fakeWorld} from '../support/fake-world.ts'

const target = {context: 'hub'}
const published: ChartSource = {name: 'opentelemetry-collector', repository: 'https://charts.example', version: '0.170.0'}
const release = {name: 'gateway', namespace: 'lkeobs', chart: published, values: {mode: 'statefulset'}, file: 'hub/gateway.values.yaml'}

/** helm that runs nothing: it says this and fails, or says nothing. */
const helmThat = (says?: string) => {
  const commands: Command[] = []
  const open = createHelm({
    program: async (name) => `/programs/${name}`,
    shell: {
      async run(command) {
        commands.push(command)
        if (says === undefined) return 'kind: Pod\n'
        says.split('\n').forEach((line) => command.onLine?.(line))
        throw new LkeobsError('LKO-4003', `helm …\n${says}`)
      },
    },
  })
  return {open, commands, typed: () => commands.map(({file, args}) => [file.replace('/programs/', ''), ...args].join(' '))}
}

test.for([
  [published, 'opentelemetry-collector --repo https://charts.example --version 0.170.0'],
  [
    {name: 'cert-manager', repository: 'oci://quay.io/charts/cert-manager', version: 'v1.21.1'},
    'oci://quay.io/charts/cert-manager --version v1.21.1',
  ],
  [{file: '/charts/loki-1.tgz'}, '/charts/loki-1.tgz'],
] as const)('a release is made of %j, its values by stdin, what was given before forgotten', async ([chart, words]) => {
  const {open, commands, typed} = helmThat()
  await open(target).upgrade({...release, chart})
  await open({...target, kubeconfig: '/k'}).upgrade({...release, chart}, {force: true})
  const more = '--reset-values --history-max 3 --timeout 5m -f -'
  expect(typed()).toEqual([
    `helm upgrade --install gateway ${words} --namespace lkeobs --kube-context hub ${more}`,
    `helm upgrade --install gateway ${words} --namespace lkeobs --kube-context hub --kubeconfig /k --force-conflicts ${more}`,
  ])
  expect(commands[0]).toMatchObject({input: '{"mode":"statefulset"}', env: {HELM_DRIVER: 'secret', HELM_KUBETOKEN: ''}})
})

test('a chart is rendered and fetched without a cluster', async () => {
  const {open, typed} = helmThat()
  const helm = open(undefined)
  expect(await helm.template(release, '1.37.2')).toBe('kind: Pod\n')
  await helm.pull({name: 'cert-manager', repository: 'oci://quay.io/charts/cert-manager', version: 'v1.21.1'}, 'charts')
  expect(typed()).toEqual([
    'helm template gateway opentelemetry-collector --repo https://charts.example --version 0.170.0 --namespace lkeobs --kube-version 1.37.2 --include-crds --skip-tests -f -',
    'helm pull oci://quay.io/charts/cert-manager --version v1.21.1 --destination charts',
  ])
})

const conflict = 'Apply failed with 1 conflict: conflict with "other" using apps/v1: .spec.replicas'

test.for([
  [
    'LKO-3109',
    'Deployment lkeobs/web: .spec.replicas is applied by other',
    `level=WARN msg="upgrade failed" error="conflict occurred while applying object lkeobs/web apps/v1, Kind=Deployment: Apply failed with 1 conflict: conflict with \\"other\\": .spec.replicas"\nError: UPGRADE FAILED: conflict occurred while applying object lkeobs/web apps/v1, Kind=Deployment: ${conflict}`,
  ],
  [
    'LKO-3110',
    'release gateway: unable to continue with install: ConfigMap "b-cm"',
    'Release "b" does not exist. Installing it now.\nError: unable to continue with install: ConfigMap "b-cm" in namespace "x" exists and cannot be imported into the current release: invalid ownership metadata',
  ],
  [
    'LKO-3108',
    'pods "pp" is forbidden: violates PodSecurity',
    'Error: UPGRADE FAILED: failed to create resource: server-side apply failed for object x/pp /v1, Kind=Pod: pods "pp" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
  ],
  [
    'LKO-3103',
    'User "limited" cannot list resource "secrets"',
    'Error: query: failed to query with labels: secrets is forbidden: User "limited" cannot list resource "secrets" in API group "" in the namespace "x"',
  ],
  [
    'LKO-3102',
    'hub: kubernetes cluster unreachable: Get "https://x/version": dial tcp 127.0.0.1:1: connect: connection refused',
    'Error: kubernetes cluster unreachable: Get "https://x/version": dial tcp 127.0.0.1:1: connect: connection refused',
  ],
  ['LKO-3101', 'context "nope" does not exist', 'Error: kubernetes cluster unreachable: context "nope" does not exist'],
  [
    'LKO-3113',
    'release gateway: looks like "https://x"',
    'Error: looks like "https://x" is not a valid chart repository or cannot be reached: Get "https://x/index.yaml": dial tcp 127.0.0.1:1: connect: connection refused',
  ],
  [
    'LKO-3113',
    'FetchReference',
    'Error: failed to perform "FetchReference" on source: Get "https://x/v2/demo/manifests/1": dial tcp: lookup x: no such host',
  ],
  ['LKO-3113', 'version "1.2.3" not found', 'Error: chart "demo" version "1.2.3" not found in https://x repository'],
  ['LKO-3113', 'path "/x.tgz" not found', 'Error: path "/x.tgz" not found'],
  ['LKO-4003', 'another operation', 'Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress'],
] as const)('what helm is refused is %s: %s', async ([code, message, says]) => {
  const {open} = helmThat(says)
  await expect(open(target).upgrade(release)).rejects.toMatchObject({code, message: expect.stringContaining(message)})
})

const stored = (name: string, revision: number, status: string, label = status): KubeObject => {
  const content = {
    name,
    namespace: 'lkeobs',
    version: revision,
    info: {status},
    chart: {metadata: {name: 'demo', version: '0.1.0', appVersion: '1.2'}, templates: []},
    config: revision === 1 ? null : {k: revision},
    manifest: 'kind: Pod\n',
  }
  const packed = gzipSync(JSON.stringify(content)).toString('base64')
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {name: `sh.helm.release.v1.${name}.v${revision}`, labels: {owner: 'helm', name, status: label, version: String(revision)}},
    data: {release: revision === 9 ? 'never decoded' : Buffer.from(packed).toString('base64')},
  }
}

test('what is installed is read from the newest Secret of each release', async () => {
  const asked: unknown[] = []
  const list = async (...of: readonly unknown[]) => {
    asked.push(of)
    return [stored('b', 1, 'pending-install'), stored('a', 9, 'deployed'), stored('a', 10, 'failed')]
  }
  const found = await releasesIn({list} as unknown as Kube, 'lkeobs', 'a')
  expect(asked).toEqual([
    [
      {apiVersion: 'v1', kind: 'Secret'},
      {namespace: 'lkeobs', labels: 'owner=helm,status!=superseded,name=a'},
    ],
  ])
  expect(found).toEqual([
    {
      name: 'a',
      namespace: 'lkeobs',
      revision: 10,
      status: 'failed',
      chart: {name: 'demo', version: '0.1.0', appVersion: '1.2'},
      values: {k: 10},
      manifest: 'kind: Pod\n',
      secretName: 'sh.helm.release.v1.a.v10',
    },
    expect.objectContaining({name: 'b', status: 'pending-install', values: {}}),
  ])
})

test('a dry run notes what a person would type', async () => {
  const noted: string[] = []
  const {open, commands} = helmThat()
  const helm = dryHelm(open, (line) => void noted.push(line))(target)
  await helm.upgrade(release)
  await helm.uninstall(release)
  expect(noted).toEqual([
    'helm upgrade --install gateway opentelemetry-collector --repo https://charts.example --version 0.170.0 --namespace lkeobs --kube-context hub -f hub/gateway.values.yaml',
    'helm uninstall gateway --namespace lkeobs --kube-context hub --ignore-not-found',
  ])
  expect(commands).toEqual([])
})

test('the cluster in memory keeps releases as helm does', async () => {
  const world = fakeWorld()
  const {tools} = world
  const [kube, helm] = [tools.kube(target), tools.helm(target)]
  await expect(helm.upgrade(release)).rejects.toThrow('namespaces "lkeobs" not found')
  await kube.apply([{apiVersion: 'v1', kind: 'Namespace', metadata: {name: 'lkeobs'}}], {file: 'hub/namespaces.yaml'})
  await helm.upgrade(release)
  await helm.upgrade({...release, values: {}})
  expect(await releasesIn(kube, 'lkeobs')).toMatchObject([
    {name: 'gateway', revision: 2, status: 'deployed', chart: {name: 'opentelemetry-collector', version: '0.170.0'}, values: {}},
  ])
  expect(
    await kube.list({apiVersion: 'v1', kind: 'Pod'}, {namespace: 'lkeobs', labels: 'app.kubernetes.io/instance=gateway'}),
  ).toHaveLength(1)
  await helm.uninstall(release)
  expect(await releasesIn(kube, 'lkeobs')).toEqual([])
  expect(world.transcript).toHaveLength(5)
  await expect(tools.kube({context: 'nope'}).version()).rejects.toMatchObject({code: 'LKO-3101'})
})
