import {expect, test} from 'vitest'
import {applied} from '../../src/platforms/kubernetes/applied.ts'
import {leaving} from '../../src/platforms/kubernetes/leaving.ts'
import {namespaces} from '../../src/platforms/kubernetes/objects.ts'
import {flatten, type Step} from '../../src/steps/step.ts'
import {useServer} from './server.ts'
import {settling} from './settle.ts'
import {carriedOut, live, siteOn} from './site.ts'

const server = useServer()
const site = () => siteOn(server(), {role: 'edge'})
const namespace = {apiVersion: 'v1', kind: 'Namespace'} as const

const goneStep = (name: string): Step => {
  const never = async (): Promise<never> => {
    throw new Error('no release is asked for')
  }
  const step = flatten(leaving(site(), never).removed()).find(({title}) => title.startsWith(`namespace ${name} `))
  if (!step) throw new Error(`no step for ${name}`)
  return step
}
const remarksOf = async (step: Step): Promise<readonly string[]> => {
  const remarks: string[] = []
  await step.apply((line, how) => void (how === 'lasting' && remarks.push(line)))
  return remarks
}

test('a namespace of ours goes; one that was there before us, or has something of others in it, stays without our marks', async () => {
  settling(server())
  await server().kubectl('create', 'namespace', 'lkeobs-node')
  const wish = namespaces({fleet: 'acme', cluster: 'edge-1', role: 'edge', certManager: true, secretsOperator: false})
  await carriedOut(applied(site(), 'namespaces', 'namespaces.yaml', wish))
  await server().kubectl('-n', 'lkeobs', 'create', 'configmap', 'dashboards')

  // nobody finishes what is deleted here
  expect(await remarksOf(goneStep('cert-manager'))).toEqual([])
  expect((await live(site(), namespace, 'cert-manager')).metadata['deletionTimestamp']).toBeDefined()

  expect(await remarksOf(goneStep('lkeobs'))).toEqual(['namespace lkeobs stays: ConfigMap dashboards in it'])
  expect(await remarksOf(goneStep('lkeobs-node'))).toEqual(['namespace lkeobs-node stays: somebody else wrote to it'])
  for (const name of ['lkeobs', 'lkeobs-node']) {
    const {metadata} = await live(site(), namespace, name)
    expect(metadata['deletionTimestamp']).toBeUndefined()
    expect(metadata.annotations ?? {}).toEqual({})
    expect(Object.keys(metadata.labels ?? {})).toEqual(['kubernetes.io/metadata.name'])
    expect(await goneStep(name).done()).toBe(true)
  }
  await live(site(), {apiVersion: 'v1', kind: 'ConfigMap'}, 'dashboards', 'lkeobs')
})

test('what removes the queues is admitted where the agents are', async () => {
  const {kube} = site()
  const {code, stderr} = await server().sh('kubectl label namespace lkeobs-node pod-security.kubernetes.io/enforce=privileged')
  expect(code, stderr).toBe(0)
  const {sweep} = await import('../../src/platforms/kubernetes/objects.ts')
  await kube.apply(sweep({tag: '2.7.2'}), {file: '-'})
  await live(site(), {apiVersion: 'apps/v1', kind: 'DaemonSet'}, 'sweep', 'lkeobs-node')
})
