import {createHash} from 'node:crypto'
import {LkeobsError} from '../../errors.ts'
import {Secret} from '../../secret.ts'
import type {KubeObject, KubeTarget, Ref} from '../../tools/kube/kube.ts'

type Fields = Readonly<Record<string, unknown>>

/** Who set a field, by its `metadata.managedFields`. */
export type Owner = {readonly manager: string; readonly operation: 'Apply' | 'Update'; readonly time?: string}

/** A way into an object: field by field, elements of lists as they are in the live object. */
export type Way = readonly ({readonly field: string} | {readonly element: unknown; readonly label: string})[]

/** A field that is not as wished. `found` is undefined where it is absent; what is in a Secret is never named. */
export type Difference = {
  /** `spec.template.spec.containers[name=otel].image` */
  readonly path: string
  readonly wished: unknown
  readonly found: unknown
  /** Who set it last; nobody owns what is absent. */
  readonly owner?: Owner
  /** All who wish for it as it is. */
  readonly owners: readonly Owner[]
}

export type Verdict =
  | {readonly state: 'same'}
  | {readonly state: 'different'; readonly differences: readonly Difference[]; readonly byHand: boolean}
  | {readonly state: 'foreign'; readonly difference: Difference}

/** Carries the digest of the wish that an object was last applied with. */
export const mark = 'lkeobs.io/wish'

/** Where a comparison is: what it depends on beside the two values. */
type Place = {readonly live: KubeObject; readonly way: Way}

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value)
const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value)
const isScalar = (value: unknown): boolean => !isFields(value) && !isList(value)
/** The API server drops what is empty, or gives it back as another kind of empty. */
const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === '' ||
  (isList(value) && value.length === 0) ||
  (isFields(value) && Object.values(value).every(isEmpty))

/** The object with the digest of itself: it differs from the live one also by what is no longer wished for. */
export const marked = <T extends KubeObject>(object: T): T => ({
  ...object,
  metadata: {...object.metadata, annotations: {...object.metadata.annotations, [mark]: digestOf(object)}},
})

const digestOf = (object: KubeObject): string => {
  const {[mark]: _, ...annotations} = object.metadata.annotations ?? {}
  const wish = {...shapeOf(object), metadata: {...object.metadata, annotations}}
  return createHash('sha256').update(canonical(wish)).digest('hex').slice(0, 16)
}

/** A Secret without its values: annotations are shown where values are not. The values are compared one by one anyway. */
const shapeOf = (object: KubeObject): KubeObject => {
  if (object.kind !== 'Secret') return object
  const {data, stringData, ...rest} = object
  return {...rest, keys: [...keysOf(data), ...keysOf(stringData)].toSorted()}
}
const keysOf = (value: unknown): readonly string[] => (isFields(value) ? Object.keys(value) : [])

/** JSON that does not depend on the order of keys. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    isFields(part) ? Object.fromEntries(Object.entries(part).toSorted(([one], [other]) => (one < other ? -1 : 1))) : part,
  )

/** Read by these, or not ours to wish for. */
const notWished: ReadonlySet<string> = new Set(['apiVersion', 'kind', 'status'])

/** What is not in the live object as wished. What only the live object has (defaults, status, what others injected) is no difference. */
export const drift = (wish: KubeObject, live: KubeObject): readonly Difference[] => {
  // definitions are changed with the version of what brings them, never by us
  if (wish.kind === 'CustomResourceDefinition') return []
  const wished = Object.entries(wish.kind === 'Secret' ? encoded(wish) : wish).filter(([field]) => !notWished.has(field))
  return compare({live, way: []}, Object.fromEntries(wished), live)
}

/** As the API server keeps it: `stringData` is only ever written. What is secret is revealed to be compared, not to be told of. */
const encoded = (secret: KubeObject): KubeObject => {
  const {data, stringData, ...rest} = secret
  const kept = entriesOf(data).map(([key, value]) => [key, plain(value)] as const)
  const written = entriesOf(stringData).map(([key, value]) => [key, Buffer.from(String(plain(value))).toString('base64')] as const)
  return {...rest, data: Object.fromEntries([...kept, ...written])}
}
const entriesOf = (value: unknown): readonly (readonly [string, unknown])[] => (isFields(value) ? Object.entries(value) : [])
const plain = (value: unknown): unknown => (value instanceof Secret ? value.reveal() : value)

const compare = (place: Place, wished: unknown, found: unknown): readonly Difference[] => {
  if (wished === undefined || wished === null || (isEmpty(wished) && isEmpty(found)) || isOthers(place)) return []
  if (isFields(wished) && (isFields(found) || isEmpty(found)))
    return Object.entries(wished).flatMap(([field, value]) =>
      compare(into(place, {field}), value, isFields(found) ? found[field] : undefined),
    )
  if (isList(wished) && isList(found)) return compareLists(place, wished, found)
  return isSame(place, wished, found) ? [] : [difference(place, wished, found)]
}

const into = ({live, way}: Place, segment: Way[number]): Place => ({live, way: [...way, segment]})

const fieldsOf = ({way}: Pick<Place, 'way'>): readonly string[] => way.flatMap((segment) => ('field' in segment ? [segment.field] : []))

/** What a controller fills in by design: the CA injector of cert-manager, or the API server's own one. */
const isOthers = (place: Place): boolean => fieldsOf(place).at(-1) === 'caBundle' && /Webhook|^APIService$/.test(place.live.kind)

const compareLists = (place: Place, wished: readonly unknown[], found: readonly unknown[]): readonly Difference[] => {
  const type = listTypeOf(place)
  const differs = [difference(place, wished, found)]
  if ([...wished, ...found].every(isScalar)) {
    const contained = wished.every((value) => found.some((other) => isSame(place, value, other)))
    const equal = wished.length === found.length && wished.every((value, index) => isSame(place, value, found[index]))
    return equal || (contained && type === 'merged') ? [] : differs
  }
  const key = keyOf(wished, found)
  // one more element in a list that is one value is a change of that value
  if (wished.length !== found.length && (type === 'atomic' || !key)) return differs
  return wished.flatMap((element, index) => {
    const id = key?.(element)
    const other = key ? found.find((some) => key(some) === id) : found[index]
    return compareElements(into(place, {element: other, label: id ?? String(index)}), element, other)
  })
}

/** An element that is not there is one difference, not one for each of its fields. */
const compareElements = (place: Place, wished: unknown, found: unknown): readonly Difference[] =>
  found === undefined && !isEmpty(wished) ? [difference(place, wished, found)] : compare(place, wished, found)

/** What Kubernetes merges lists by, the narrower first: volume mounts have a name, too, and so have ports. */
const listKeys = [
  ['mountPath'],
  ['devicePath'],
  ['containerPort', 'protocol'],
  ['port', 'protocol'],
  ['topologyKey', 'whenUnsatisfiable'],
  ['topologyKey'],
  ['name'],
  ['key'],
  ['ip'],
  ['type'],
  ['uid'],
  ['path'],
  ['host'],
] as const

type Key = (element: unknown) => string

/** How to tell the elements of both lists apart. */
const keyOf = (wished: readonly unknown[], found: readonly unknown[]): Key | undefined => {
  const usable = listKeys.find((names) =>
    [wished, found].every(
      (list) => list.every((element) => has(element, names[0])) && new Set(list.map(keyBy(names))).size === list.length,
    ),
  )
  return usable && keyBy(usable)
}

const has = (element: unknown, name: string): boolean => isFields(element) && isText(element[name]) && !isEmpty(element[name])

const keyBy =
  (names: readonly string[]): Key =>
  (element) =>
    names
      .flatMap((name) => {
        const value = (isFields(element) ? element[name] : undefined) ?? defaults[name]
        return isText(value) ? [`${name}=${value}`] : []
      })
      .join(',')

/** Where the quantities of Kubernetes are. Elsewhere '1000m' is a text like any other. */
const quantityPlaces = /^(resources|requests|limits|capacity|hard|overhead|sizeLimit|divisor|storage|averageValue)$/

/** Their absence means yes, the image's user, or one; that of all other fields means `false` and 0. */
const otherwiseByDefault =
  /^(automountServiceAccountToken|allowPrivilegeEscalation|enableServiceLinks|allocateLoadBalancerNodePorts|runAsUser|runAsGroup|fsGroup|replicas)$/

const isSame = (place: Place, wished: unknown, found: unknown): boolean => {
  if (wished === found) return true
  const fields = fieldsOf(place)
  if (found === undefined || found === null) return (wished === false || wished === 0) && !otherwiseByDefault.test(fields.at(-1) ?? '')
  if (!isText(wished) || !isText(found)) return false
  if (String(wished) === String(found)) return true
  const equalBy = (read: (text: string) => number | undefined) => isClose(read(String(wished)), read(String(found)))
  if (fields.some((field) => quantityPlaces.test(field)) && equalBy(quantity)) return true
  return place.live.apiVersion.includes('cert-manager.io/') && equalBy(goDuration)
}

/** Ports and the like are a number here and a text there. */
const isText = (value: unknown): value is string | number => typeof value === 'string' || typeof value === 'number'

const isClose = (one: number | undefined, other: number | undefined): boolean =>
  one !== undefined && other !== undefined && Math.abs(one - other) <= 1e-12 * Math.max(Math.abs(one), Math.abs(other))

const decimal = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E']
const binary = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei']

/** `500m`, `1Gi`, `1e3`, `0.5` */
const quantity = (text: string): number | undefined => {
  const [, digits, exponent, suffix = ''] = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/.exec(text) ?? []
  if (digits === undefined) return undefined
  if (exponent !== undefined) return Number(`${digits}e${exponent}`)
  return Number(digits) * (suffix.endsWith('i') ? 1024 ** binary.indexOf(suffix) : 1000 ** (decimal.indexOf(suffix) - 3))
}

const seconds: Readonly<Record<string, number>> = {h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, µs: 1e-6, ns: 1e-9}

/** `8760h`, `1h30m0s`, in seconds. */
const goDuration = (text: string): number | undefined => {
  if (!/^(?:\d+(?:\.\d+)?(?:h|ms|m|s|us|µs|ns))+$/.test(text)) return undefined
  return [...text.matchAll(/([\d.]+)([a-zµ]+)/g)].reduce((sum, [, amount, unit = '']) => sum + Number(amount) * (seconds[unit] ?? 0), 0)
}

const difference = (place: Place, wished: unknown, found: unknown): Difference => {
  const owners = ownersOf(place.live, place.way)
  const owner = owners.toSorted((one, other) => (other.time ?? '').localeCompare(one.time ?? ''))[0]
  const [first] = fieldsOf(place)
  const isSecret = place.live.kind === 'Secret' && first === 'data'
  const shown = (value: unknown) => (isSecret && value !== undefined ? '‹secret›' : value)
  return {path: textOf(place.way), wished: shown(wished), found: shown(found), ...(owner && {owner}), owners}
}

const textOf = (way: Way): string =>
  way
    .map((segment) => {
      if (!('field' in segment)) return `[${segment.label}]`
      return /^[\w-]+$/.test(segment.field) ? `.${segment.field}` : `['${segment.field}']`
    })
    .join('')
    .replace(/^\./, '')

type Managed = {readonly owner: Owner; readonly fields: Fields}

const managedOf = (live: KubeObject): readonly Managed[] => {
  const {managedFields} = live.metadata
  if (!isList(managedFields)) return []
  return managedFields.flatMap((entry) => {
    if (!isFields(entry) || !isFields(entry['fieldsV1'])) return []
    const {manager, operation, time, fieldsV1} = entry
    const owner: Owner = {
      manager: typeof manager === 'string' ? manager : 'unknown',
      operation: operation === 'Apply' ? 'Apply' : 'Update',
      ...(typeof time === 'string' && {time}),
    }
    return [{owner, fields: fieldsV1}]
  })
}

/** How far a manager's fields lead along a way: all of it, or to a value that is owned as a whole. */
const reach = (fields: Fields, way: Way): {readonly depth: number; readonly node: Fields} | undefined => {
  let node = fields
  for (const [depth, segment] of way.entries()) {
    if (depth > 0 && Object.keys(node).length === 0) return {depth, node}
    const next = 'field' in segment ? node[`f:${segment.field}`] : elementOf(node, segment.element)
    if (!isFields(next)) return undefined
    node = next
  }
  return {depth: way.length, node}
}

/** `k:{"containerPort":4317,"protocol":"TCP"}`: the key is the server's, whichever we told the elements apart by. */
const elementOf = (node: Fields, element: unknown): unknown => {
  if (!isFields(element)) return undefined
  const name = Object.keys(node).find((key) => {
    const wanted = key.startsWith('k:') ? parsed(key.slice(2)) : undefined
    return isFields(wanted) && Object.entries(wanted).every(([field, value]) => (element[field] ?? defaults[field]) === value)
  })
  return name === undefined ? undefined : node[name]
}
const defaults: Fields = {protocol: 'TCP'}

const parsed = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

const reachAll = (live: KubeObject, way: Way) =>
  managedOf(live).flatMap(({owner, fields}) => {
    const reached = reach(fields, way)
    return reached ? [{owner, ...reached}] : []
  })

/** Who set a field of a live object; whoever owns the field itself goes before those who own something around it. */
export const ownersOf = (live: KubeObject, way: Way): readonly Owner[] => {
  const all = reachAll(live, way)
  const deepest = Math.max(...all.map(({depth}) => depth))
  return all.filter(({depth}) => depth === deepest).map(({owner}) => owner)
}

/** Whether several may own parts of a list, as its managers' fields show; unknown where nobody set it. */
const listTypeOf = ({live, way}: Place): 'merged' | 'atomic' | undefined => {
  const all = reachAll(live, way)
  const isMerged = all.some(({depth, node}) => depth === way.length && Object.keys(node).some((key) => /^[kv]:/.test(key)))
  if (isMerged) return 'merged'
  return all.length > 0 ? 'atomic' : undefined
}

/** A person with kubectl. Who applies server-side means to keep the field: a script, or another tool. */
export const isByHand = ({manager, operation}: Owner): boolean => operation === 'Update' && manager.startsWith('kubectl')

/**
 * Whether a live object is as wished, and if not, whether it is ours to mend. `own` are the managers that are us; `recorded` is a
 * wish that is known to have been applied.
 */
export const judge = (wish: KubeObject, live: KubeObject, own: readonly string[], {recorded = false} = {}): Verdict => {
  const differences = drift(wish, live).filter(({owners}) => !(isOfThisWish(wish, live) && areOurApplied(owners, own)))
  if (differences.length === 0) return {state: 'same'}
  for (const one of differences) {
    const owner = one.owners.find((some) => !own.includes(some.manager) && !isByHand(some))
    if (owner) return {state: 'foreign', difference: {...one, owner}}
  }
  // what was taken away, or scaled to 0, has no owner; where this very wish was applied somebody must have done it since
  const byHand = differences.some(({owners}) => owners.some(isByHand) || (owners.length === 0 && (recorded || isOfThisWish(wish, live))))
  return {state: 'different', differences, byHand}
}

/** Applied with this wish. The mark of a Secret does not cover its values. */
const isOfThisWish = (wish: KubeObject, live: KubeObject): boolean => {
  const digest = wish.metadata.annotations?.[mark]
  return digest !== undefined && live.metadata.annotations?.[mark] === digest && wish.kind !== 'Secret'
}

/**
 * Whoever changes a field takes it over. One that is still ours alone, under the mark of this very wish, was changed
 * while it was admitted (by a policy, or to another spelling), and would be again.
 */
const areOurApplied = (owners: readonly Owner[], own: readonly string[]): boolean =>
  owners.length > 0 && owners.every(({manager, operation}) => own.includes(manager) && operation === 'Apply')

/** A line to type, for the cluster that is meant. */
export const kubectl = ({context, kubeconfig}: KubeTarget, ...args: readonly string[]): string =>
  ['kubectl', ...(kubeconfig === undefined ? [] : ['--kubeconfig', kubeconfig]), '--context', context, ...args].map(quoted).join(' ')

const quoted = (word: string): string => (/^[\w@%+=:,./~<>-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)

/** As kubectl takes it: `statefulset`, `certificate.cert-manager.io`. */
export const resourceOf = ({apiVersion, kind}: Pick<Ref, 'apiVersion' | 'kind'>): string => {
  const [group = '', version] = apiVersion.split('/')
  return version !== undefined && group.includes('.') ? `${kind.toLowerCase()}.${group}` : kind.toLowerCase()
}

/** LKO-3109: a field that is someone else's. */
export const conflictError = (ref: Ref, {path, wished, found, owner}: Difference, target?: KubeTarget): LkeobsError => {
  const whose = owner ? `${owner.manager} (${owner.operation}${owner.time === undefined ? '' : `, ${owner.time}`})` : 'someone else'
  const where = ref.namespace === undefined ? [] : ['-n', ref.namespace]
  const args = [...where, 'get', resourceOf(ref), ref.name, '-o', 'yaml', '--show-managed-fields']
  return new LkeobsError(
    'LKO-3109',
    `${path} of ${ref.kind} ${ref.namespace === undefined ? '' : `${ref.namespace}/`}${ref.name} is ${short(found)}, set by ${whose}; wished for is ${short(wished)}.`,
    {next: [target ? kubectl(target, ...args) : ['kubectl', ...args].join(' ')]},
  )
}

const short = (value: unknown): string => {
  if (value === undefined) return 'absent'
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.length > 120 ? `${text.slice(0, 119)}…` : text
}
