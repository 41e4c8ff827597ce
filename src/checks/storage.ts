import {addressOf, type Balanced} from '../tools/kube/balancer.ts'
import type {KubeObject} from '../tools/kube/kube.ts'
import {kubectl} from '../tools/kube/kubectl.ts'
import {type Check, failed, ok, skipped, warning} from './check.ts'
import type {Subject} from './cluster.ts'

type StorageClass = KubeObject & {readonly provisioner?: string; readonly volumeBindingMode?: string}

const isDefault = ({metadata: {annotations}}: StorageClass): boolean =>
  annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true' ||
  annotations?.['storageclass.beta.kubernetes.io/is-default-class'] === 'true'

const shown = ({metadata, provisioner, volumeBindingMode}: StorageClass): string =>
  [
    metadata.name,
    `by ${provisioner ?? 'nobody'}`,
    ...(volumeBindingMode === 'WaitForFirstConsumer' ? ['made when the first pod wants it'] : []),
  ].join(', ')

const namesOf = (classes: readonly StorageClass[]): string => classes.map(({metadata}) => metadata.name).join(', ') || 'none'

export const storageClass: Check<Subject> = {
  id: 'storage-class',
  about: 'its volumes have a storage class',
  of: 'kubernetes',
  needs: ['api-server'],
  async run({site: {kube}, platform}) {
    const all = await kube.list<StorageClass>({apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass'})
    const next = [kubectl(kube.target, 'get', 'storageclass')]
    if (platform.storageClass !== undefined) {
      const found = all.find(({metadata}) => metadata.name === platform.storageClass)
      return found
        ? ok(shown(found))
        : failed('LKO-3107', `There is no storage class ${platform.storageClass}; there are: ${namesOf(all)}.`, next)
    }
    const defaults = all.filter(isDefault)
    const [first] = defaults
    if (first === undefined)
      return failed('LKO-3107', `The fleet file names no storage class, and none is the default; there are: ${namesOf(all)}.`, next)
    return defaults.length === 1
      ? ok(shown(first))
      : warning(`${namesOf(defaults)} are all the default, and the newest of them counts: name one in the fleet file (storageClass).`, next)
  },
}

type Service = KubeObject & Balanced & {readonly spec?: {readonly type?: string}}
type Node = KubeObject & {readonly spec?: {readonly providerID?: string}}

/** As long as a load balancer may take. */
const patienceMs = 180_000

/** Whether somebody gives addresses is seen only where one was asked for. */
export const loadBalancer: Check<Subject> = {
  id: 'load-balancer',
  about: 'load balancers get an address',
  of: 'kubernetes',
  needs: ['api-server'],
  async run({site: {kube, role}}) {
    if (role === 'edge') return skipped('edges dial, and are not dialled')
    const [services, nodes] = await Promise.all([
      kube.list<Service>({apiVersion: 'v1', kind: 'Service'}),
      kube.list<Node>({apiVersion: 'v1', kind: 'Node'}),
    ])
    const balancers = services.filter(({spec}) => spec?.type === 'LoadBalancer')
    const named = ({metadata}: Service) => `${metadata.namespace}/${metadata.name}`
    const served = balancers.find((service) => addressOf(service) !== undefined)
    if (served) return ok(`${named(served)} has ${addressOf(served)}`)
    const waiting = balancers.find(({metadata}) => Date.now() - Date.parse(String(metadata['creationTimestamp'])) > patienceMs)
    if (waiting)
      return failed('LKO-3115', `Service ${named(waiting)} is a load balancer and has had no address for minutes.`, [
        kubectl(kube.target, '-n', waiting.metadata.namespace ?? 'default', 'describe', 'service', waiting.metadata.name),
      ])
    const isLinode = nodes.some(({spec}) => spec?.providerID?.startsWith('linode://'))
    return isLinode ? ok('nodes of Linode, which makes NodeBalancers') : skipped('no Service has asked for one yet, so nobody knows')
  },
}
