import {setTimeout as sleep} from 'node:timers/promises'
import {onTestFinished} from 'vitest'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import type {Server} from './server.ts'

type Status = Readonly<Record<string, unknown>>
type Kind = {readonly path: string; readonly resource: string; readonly status: (object: KubeObject) => Status | undefined}

const now = () => new Date().toISOString().replace(/\.\d+Z$/, 'Z')
const condition = (type: string) => ({type, status: 'True', reason: 'Settled', message: '', lastTransitionTime: now()})
const specOf = (object: KubeObject) => (object['spec'] ?? {}) as {readonly replicas?: number; readonly type?: string}

const rolledOut = (object: KubeObject): Status => {
  const {replicas = 1} = specOf(object)
  const counts = {replicas, updatedReplicas: replicas, readyReplicas: replicas, availableReplicas: replicas}
  return {observedGeneration: object.metadata['generation'], ...counts}
}
const ready = ({metadata: {generation}}: KubeObject): Status => ({
  conditions: [{...condition('Ready'), observedGeneration: generation}],
})

const kinds: readonly Kind[] = [
  {path: '/apis/apps/v1', resource: 'deployments', status: rolledOut},
  {path: '/apis/apps/v1', resource: 'statefulsets', status: rolledOut},
  {
    path: '/apis/apps/v1',
    resource: 'daemonsets',
    status: ({metadata: {generation}}) => ({
      observedGeneration: generation,
      currentNumberScheduled: 1,
      desiredNumberScheduled: 1,
      numberAvailable: 1,
      numberMisscheduled: 0,
      numberReady: 1,
      updatedNumberScheduled: 1,
    }),
  },
  {
    path: '/apis/batch/v1',
    resource: 'jobs',
    status: () => ({
      succeeded: 1,
      startTime: now(),
      completionTime: now(),
      conditions: ['SuccessCriteriaMet', 'Complete'].map((type) => ({...condition(type), lastProbeTime: now()})),
    }),
  },
  {
    path: '/api/v1',
    resource: 'services',
    status: (object) => (specOf(object).type === 'LoadBalancer' ? {loadBalancer: {ingress: [{ip: '203.0.113.9'}]}} : undefined),
  },
  ...['issuers', 'certificates', 'certificaterequests'].map((resource) => ({path: '/apis/cert-manager.io/v1', resource, status: ready})),
]

type Settled = {readonly except?: readonly string[]}

/** The generation of each object that was settled, by its uid. */
const known = new Map<unknown, unknown>()

/** Does once what controllers and nodes would do: pods run, Jobs end, balancers get an address, certificates are signed. */
export const settle = async (server: Server, {except = []}: Settled = {}): Promise<void> => {
  const wanted = kinds.filter(({resource}) => !except.includes(resource))
  await Promise.all(
    wanted.map(async ({path, resource, status}) => {
      const {body} = await server.request('GET', `${path}/${resource}`, undefined, 'controller')
      const {items = []} = body as {readonly items?: readonly KubeObject[]}
      for (const object of items) {
        const {namespace, name, uid, generation = 1} = object.metadata
        const wish = status(object)
        if (wish === undefined || known.get(uid) === generation) continue
        const at = `${path}/namespaces/${namespace}/${resource}/${name}/status`
        const answer = await server.request('PATCH', at, {status: wish}, 'controller')
        if (answer.status === 200) known.set(uid, generation)
        else if (answer.status !== 404 && answer.status !== 409) throw new Error(`${at}: ${JSON.stringify(answer.body)}`)
      }
    }),
  )
}

/** The same again and again, until the test is over. */
export const settling = (server: Server, settled?: Settled): void => {
  const over = new AbortController()
  const work = async () => {
    while (!over.signal.aborted) {
      await settle(server, settled)
      await sleep(250)
    }
  }
  const working = work()
  onTestFinished(async () => {
    over.abort()
    await working
  })
}
