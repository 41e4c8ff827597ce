import {count} from '../output.ts'
import {namespace, nodeNamespace} from '../platforms/kubernetes/names.ts'
import {type Condition, isTrue} from '../tools/kube/condition.ts'
import type {KubeObject} from '../tools/kube/kube.ts'
import {kubectl} from '../tools/kube/kubectl.ts'
import {type Check, failed, ok, skipped, warning} from './check.ts'
import type {Subject} from './cluster.ts'
import {type Amount, type PodWish, quantity, sum} from './wishes.ts'

type Node = KubeObject & {
  readonly spec?: {readonly unschedulable?: boolean; readonly taints?: readonly {readonly key: string; readonly effect: string}[]}
  readonly status?: {
    readonly allocatable?: Readonly<Record<string, string>>
    readonly conditions?: readonly Condition[]
  }
}
type Container = {readonly resources?: {readonly requests?: Readonly<Record<string, string>>}; readonly restartPolicy?: string}
type Pod = KubeObject & {
  readonly spec?: {
    readonly nodeName?: string
    readonly containers?: readonly Container[]
    readonly initContainers?: readonly Container[]
    readonly overhead?: Readonly<Record<string, string>>
  }
  readonly status?: {readonly phase?: string}
}

const listNodes = async ({site: {kube}}: Subject): Promise<readonly Node[]> =>
  (await kube.list<Node>({apiVersion: 'v1', kind: 'Node'})).filter(({metadata}) => metadata.labels?.['kubernetes.io/os'] !== 'windows')

const isReady = (node: Node): boolean => isTrue(node, 'Ready')
const takesAll = ({spec}: Node): boolean => (spec?.taints ?? []).every(({effect}) => effect === 'PreferNoSchedule')
const takesPods = (node: Node): boolean => isReady(node) && node.spec?.unschedulable !== true && takesAll(node)
const hasGpu = ({metadata, status}: Node): boolean =>
  metadata.labels?.['nvidia.com/gpu.present'] === 'true' || quantity(status?.allocatable?.['nvidia.com/gpu']) > 0

export const nodes: Check<Subject> = {
  id: 'nodes',
  about: 'its nodes are ready',
  of: 'kubernetes',
  needs: ['api-server'],
  async run(subject) {
    const all = await listNodes(subject)
    const next = [kubectl(subject.site.kube.target, 'get', 'nodes')]
    const down = all.filter((node) => !isReady(node)).map(({metadata}) => metadata.name)
    const shown = `${down.slice(0, 3).join(', ')}${down.length > 3 ? ` and ${down.length - 3} more` : ''}`
    if (all.length === down.length)
      return failed('LKO-3105', all.length === 0 ? 'The cluster has no nodes.' : `No node is ready: ${shown}.`, next)
    if (down.length > 0) return warning(`${count(down.length, 'node')} of ${all.length} not ready: ${shown}.`, next)
    const gpus = all.filter(hasGpu).length
    const closed = all.filter((node) => !takesPods(node)).length
    return ok(
      [
        count(all.length, 'node'),
        ...(gpus > 0 ? [`${gpus} with GPUs`] : []),
        ...(closed > 0 ? [`${closed} cordoned or tainted`] : []),
      ].join(', '),
    )
  },
}

const amountOf = (of: Readonly<Record<string, string>> | undefined): Amount => ({
  cpu: quantity(of?.['cpu']),
  memory: quantity(of?.['memory']),
})
const most = (one: Amount, other: Amount): Amount => ({cpu: Math.max(one.cpu, other.cpu), memory: Math.max(one.memory, other.memory)})
const nothing: Amount = {cpu: 0, memory: 0}

/** What the scheduler counts for a pod: its containers and those beside them, or the largest of those before them. */
export const requestOf = ({spec}: Pod): Amount => {
  const {containers = [], initContainers = [], overhead} = spec ?? {}
  const own = (all: readonly Container[]) => all.map(({resources}) => amountOf(resources?.requests))
  const beside = initContainers.filter(({restartPolicy}) => restartPolicy === 'Always')
  const before = initContainers.filter(({restartPolicy}) => restartPolicy !== 'Always')
  return sum([own(before).reduce(most, sum(own([...containers, ...beside]))), amountOf(overhead)])
}

export type Place = {readonly node: string; readonly free: Amount; readonly isOpen: boolean}

const fits = (wish: Amount, {free}: Place): boolean => wish.cpu <= free.cpu && wish.memory <= free.memory
const less = (place: Place, {cpu, memory}: Amount): Place => ({
  ...place,
  free: {cpu: place.free.cpu - cpu, memory: place.free.memory - memory},
})

/** Puts the pods onto the nodes, the largest first, each where most is free. Those that find no place are returned. */
export const placed = (wishes: readonly PodWish[], places: readonly Place[]): readonly string[] => {
  const missing: string[] = []
  let left = places
  for (const {component, pods, each} of wishes) {
    if (pods !== 'one on each node') continue
    for (const place of left) if (!fits(each, place)) missing.push(`${component} on ${place.node}`)
    left = left.map((place) => less(place, each))
  }
  const single = wishes
    .flatMap(({component, pods, each}) => Array.from({length: pods === 'one on each node' ? 0 : pods}, () => ({component, each})))
    .toSorted((one, other) => other.each.memory - one.each.memory)
  for (const {component, each} of single) {
    const [best] = left.filter((place) => place.isOpen && fits(each, place)).toSorted((one, other) => other.free.memory - one.free.memory)
    if (best) left = left.map((place) => (place === best ? less(place, each) : place))
    else missing.push(component)
  }
  return missing
}

const shownAmount = ({cpu, memory}: Amount): string => `${Math.round(cpu * 100) / 100} CPU, ${Math.round((memory / 2 ** 30) * 10) / 10} GiB`

/** What is ours already is to be there anyway: it takes no room from itself. */
const ours = new Set([namespace, nodeNamespace, 'cert-manager', 'vault-secrets-operator'])

export const room: Check<Subject> = {
  id: 'room',
  about: 'there is room on its nodes for all that is installed',
  of: 'kubernetes',
  needs: ['api-server', 'nodes'],
  async run(subject) {
    const {site, wishes} = subject
    const [all, pods] = await Promise.all([listNodes(subject), site.kube.list<Pod>({apiVersion: 'v1', kind: 'Pod'})])
    const others = pods.filter(
      ({metadata, status}) => !ours.has(metadata.namespace ?? '') && !/^(Succeeded|Failed)$/.test(status?.phase ?? ''),
    )
    const places = all.filter(isReady).map((node): Place => {
      const taken = sum(others.filter(({spec}) => spec?.nodeName === node.metadata.name).map(requestOf))
      const whole: Place = {node: node.metadata.name, free: amountOf(node.status?.allocatable), isOpen: takesPods(node)}
      return less(whole, taken)
    })
    if (wishes.length === 0) return skipped('nothing is known of what it is to run')
    const missing = [...Map.groupBy(placed(wishes, places), (component) => component)].map(([component, {length}]) =>
      length > 1 ? `${component} (${length})` : component,
    )
    const asked = sum(wishes.flatMap(({pods: n, each}) => Array.from({length: n === 'one on each node' ? places.length : n}, () => each)))
    const free = sum([nothing, ...places.filter(({isOpen}) => isOpen).map((place) => place.free)])
    const figures = `asked for ${shownAmount(asked)}; free ${shownAmount(free)}`
    if (missing.length === 0) return ok(figures)
    return failed('LKO-3105', `No node has room for ${missing.join(', ')} (${figures}).`, [kubectl(site.kube.target, 'describe', 'nodes')])
  },
}
