import {expect, test} from 'vitest'
import {needed} from '../../src/checks/permissions.ts'
import {lookersRun} from '../../src/platforms/kubernetes/inside.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import {containersOf, notRestricted, type PodSpec} from '../components/restricted.ts'
import {eventually} from '../lab/cli.ts'
import {useServer} from './server.ts'
import {carriedOut, failureOf, live, permit, siteOn} from './site.ts'

const pod = {apiVersion: 'v1', kind: 'Pod'} as const
const plain = {installsCertManager: false, installsSecretsOperator: false, certManager: false, instrumentation: false}
const edge = {...plain, role: 'edge', secretsOperator: true} as const
type Pod = KubeObject & {readonly spec: PodSpec & {readonly ephemeralContainers?: PodSpec['containers']}}

/** As the chart makes them, as far as it matters here. */
const agent = (name: string) => ({
  ...pod,
  metadata: {name, namespace: 'lkeobs-node', labels: {'app.kubernetes.io/instance': 'agent'}},
  spec: {
    securityContext: {runAsNonRoot: true, seccompProfile: {type: 'RuntimeDefault'}},
    containers: [
      {name: 'opentelemetry-collector', image: 'x', securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: ['ALL']}}},
    ],
    volumes: [{name: 'leaf', secret: {secretName: 'agent-leaf'}}],
  },
})

const server = useServer(async (at) => {
  await at.kubectl('create', 'namespace', 'lkeobs-node')
  // stricter than ours
  await at.kubectl('label', 'namespace', 'lkeobs-node', 'pod-security.kubernetes.io/enforce=restricted')
  await at.kubectl('-n', 'lkeobs-node', 'create', 'serviceaccount', 'default')
  await at.kubectlWith([agent('agent-a'), agent('agent-b')], 'create', '-f', '-')
  await permit(at, edge)
})

/** In place of a kubelet. */
const says = async (name: string, state: object) => {
  const {spec} = await live<Pod>(siteOn(server()), pod, name, 'lkeobs-node')
  const statuses = (spec.ephemeralContainers ?? []).map((container, index, all) => ({
    name: container.name,
    image: container.image,
    imageID: '',
    ready: false,
    restartCount: 0,
    state: index === all.length - 1 ? state : {terminated: {exitCode: 0}},
  }))
  const body = {...pod, metadata: {name}, status: {ephemeralContainerStatuses: statuses}}
  await server().kubectl('patch', 'pod', name, '-n', 'lkeobs-node', '--subresource=status', '--type=merge', '-p', JSON.stringify(body))
}
const running = (...names: readonly string[]) => Promise.all(names.map((name) => says(name, {running: {startedAt: null}})))
const lookers = async (name: string) => (await live<Pod>(siteOn(server()), pod, name, 'lkeobs-node')).spec.ephemeralContainers ?? []
const step = () => lookersRun(siteOn(server(), {role: 'edge', user: 'permitted'}), 'agent')

test('every agent gets a container that is restricted, and one that stands is used again', async () => {
  const first = step()
  expect(await first.done()).toBe('agent-a and 1 more: it has none')
  await first.apply(() => undefined)
  for (const name of ['agent-a', 'agent-b']) {
    const [looker, ...more] = await lookers(name)
    expect(more).toEqual([])
    expect(looker).toMatchObject({
      name: 'lkeobs-look',
      imagePullPolicy: 'IfNotPresent',
      securityContext: {runAsNonRoot: true, runAsUser: 100, runAsGroup: 0, readOnlyRootFilesystem: true},
      volumeMounts: [{name: 'leaf', mountPath: '/etc/lkeobs/leaf', readOnly: true}],
    })
    expect(looker && notRestricted({containers: [looker]})).toEqual([])
  }
  // two that look at the same time
  await says('agent-a', {waiting: {reason: 'ContainerCreating'}})
  expect(await step().done()).toBe('agent-a and 1 more: ContainerCreating')
  await running('agent-a', 'agent-b')
  const written = await server().writes('permitted', async () => {
    expect((await carriedOut(step())).map(({state}) => state)).toEqual(['already so'])
  })
  expect(written).toEqual([])

  // one that has ended is never started again
  await says('agent-b', {terminated: {exitCode: 0}})
  const again = step()
  expect(await again.done()).toBe('agent-b: it has none')
  await again.apply(() => undefined)
  expect((await lookers('agent-b')).map(({name}) => name)).toEqual(['lkeobs-look', 'lkeobs-look-2'])
  await running('agent-b')
  expect(await again.done()).toBe(true)
  expect(containersOf((await live<Pod>(siteOn(server()), pod, 'agent-a', 'lkeobs-node')).spec)).toHaveLength(1)
})

test('an image that cannot be had is waited for no longer', async () => {
  await says('agent-a', {waiting: {reason: 'ImagePullBackOff', message: 'Back-off pulling image'}})
  await expect(step().watch?.()).rejects.toMatchObject({code: 'LKO-3104'})
  await running('agent-a')
  await step().watch?.()
})

test('who may not add a container is told which right is missing, and doctor asks for it', async () => {
  await server().kubectlWith([agent('agent-c')], 'create', '-f', '-')
  await server().kubectl('create', 'clusterrole', 'lookers', '--verb=get,list', '--resource=pods,namespaces')
  await server().kubectl('create', 'clusterrolebinding', 'lookers', '--clusterrole=lookers', '--user=reader')
  const error = await failureOf(lookersRun(siteOn(server(), {role: 'edge', user: 'reader'}), 'agent'))
  expect(error).toMatchObject({code: 'LKO-3103', oclif: {exit: 4}})
  expect(error.message).toContain('cannot patch resource "pods/ephemeralcontainers"')
  expect(await server().typed(error.next[0])).toBe('no\n')
  const asked = {verb: 'patch', resource: 'pods', subresource: 'ephemeralcontainers', namespace: 'lkeobs-node'}
  expect(needed(edge)).toContainEqual(expect.objectContaining(asked))
  // where a Vault agent stands beside the collector it is looked from there
  expect(needed({...edge, secretsOperator: false})).not.toContainEqual(expect.objectContaining(asked))
})

test('a policy that wants none is named', async () => {
  const named = {metadata: {name: 'no-ephemeral'}}
  const policy = {apiVersion: 'admissionregistration.k8s.io/v1', kind: 'ValidatingAdmissionPolicy', ...named}
  const rule = {apiGroups: [''], apiVersions: ['v1'], operations: ['UPDATE'], resources: ['pods/ephemeralcontainers']}
  const spec = {matchConstraints: {resourceRules: [rule]}, validations: [{expression: 'false', message: 'nobody looks in here'}]}
  await server().kubectlWith(
    [
      {...policy, spec},
      {...policy, kind: 'ValidatingAdmissionPolicyBinding', spec: {policyName: 'no-ephemeral', validationActions: ['Deny']}},
    ],
    'create',
    '-f',
    '-',
  )
  // it takes a moment to count
  const debug = 'kubectl debug agent-c -n lkeobs-node --image=x --attach=false --profile=restricted --quiet'
  await eventually('no container is added', async () => (await server().sh(debug)).code !== 0, 20_000)
  const error = await failureOf(step())
  expect(error).toMatchObject({code: 'LKO-3108', oclif: {exit: 5}})
  expect(error.message).toContain('nobody looks in here')
})
