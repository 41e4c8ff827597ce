import {setTimeout as sleep} from 'node:timers/promises'
import {expect, test} from 'vitest'
import {needed} from '../../src/checks/permissions.ts'
import {applied} from '../../src/platforms/kubernetes/applied.ts'
import {generatorJobs} from '../../src/platforms/kubernetes/generators.ts'
import {generators, namespaces} from '../../src/platforms/kubernetes/objects.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import type {Load} from '../../src/tools/telemetrygen.ts'
import {eventually} from '../lab/cli.ts'
import {useServer} from './server.ts'
import {carriedOut, permit, siteOn} from './site.ts'

const plain = {
  installsCertManager: false,
  installsSecretsOperator: false,
  certManager: false,
  secretsOperator: false,
  instrumentation: false,
}
const identity = {fleet: 'acme', cluster: 'edge-1', role: 'edge', certManager: false, secretsOperator: false} as const
const server = useServer(async (at) => {
  await carriedOut(applied(siteOn(at), 'namespaces', 'namespaces.yaml', namespaces(identity)))
  await at.kubectl('-n', 'lkeobs', 'create', 'serviceaccount', 'default')
  await permit(at, {...plain, role: 'edge'})
})
const jobs = () => generatorJobs(siteOn(server(), {user: 'permitted', role: 'edge'}), 'agent.lkeobs-node.svc:4317')

const load: Load = {
  name: '4b1f09ce-1-warm-traces-12',
  signal: 'traces',
  endpoint: 'agent.lkeobs-node.svc:4317',
  processes: 3,
  workers: 2,
  perWorker: 500,
  seconds: 7.5,
  batchSize: 500,
  spansPerTrace: 10,
  service: 'lkeobs-loadtest',
  metric: 'lkeobs.loadtest',
  instance: 'edge-1-0',
  attributes: {'lkeobs.run': '4b1f09ce-1-warm'},
}
const jobNames = async () => (await server().kubectl('-n', 'lkeobs', 'get', 'jobs', '-o', 'name')).trim()

test('who has what doctor asks for makes them, and removes them when it is over', async () => {
  expect(needed({...plain, role: 'edge'}).some(({resource}) => resource === 'jobs')).toBe(true)
  const over = new AbortController()
  const writes = await server().writes('permitted', async () => {
    const sent = jobs().run(load, {over: over.signal, onStart: () => undefined})
    await eventually('the Job is there', async () => (await jobNames()) !== '', 20_000)
    await sleep(1500)
    over.abort()
    expect(await sent).toHaveLength(3)
  })
  const name = 'lkeobs/telemetrygen-4b1f09ce-1-warm-traces-12'
  expect(writes).toEqual([`patch jobs ${name}`, `delete jobs ${name}`])
  expect(await jobNames()).toBe('')
})

test('its pods are admitted where pods are restricted', async () => {
  const [job] = generators(load) as unknown as readonly {readonly spec: {readonly template: KubeObject}}[]
  const pod = {...job?.spec.template, apiVersion: 'v1', kind: 'Pod'}
  const named = {...pod, metadata: {...pod.metadata, name: 'one', namespace: 'lkeobs'}}
  const {status, body} = await server().request('POST', '/api/v1/namespaces/lkeobs/pods?dryRun=All', named)
  expect(status, JSON.stringify(body)).toBe(201)
})

test('what a run that was killed has left goes before the next', async () => {
  await siteOn(server(), {role: 'edge'}).kube.apply(generators(load), {file: '-'})
  expect(await jobNames()).not.toBe('')
  const ready = () => server().writes('permitted', () => jobs().ready())
  expect(await ready()).toEqual(['delete jobs lkeobs/telemetrygen-4b1f09ce-1-warm-traces-12', 'patch networkpolicies lkeobs/telemetrygen'])
  expect(await jobNames()).toBe('')
  expect(await ready()).toEqual([])
})
