import {isFields, isList} from '../../../fields.ts'
import {plain, secretsIn} from '../../../secret.ts'
import type {KubeObject} from '../../../tools/kube/kube.ts'
import {keyOf} from './elements.ts'
import {listTypeOf, type Owner, ownersOf} from './owners.ts'
import {fieldsOf, into, type Place, textOf} from './place.ts'
import {isEmpty, isSame} from './sameness.ts'

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

/** Read by these, or not ours to wish for. */
const notWished: ReadonlySet<string> = new Set(['apiVersion', 'kind', 'status'])

/** What is not in the live object as wished. What only the live object has (defaults, status, what others injected) is no difference. */
export const drift = (wish: KubeObject, live: KubeObject): readonly Difference[] => {
  // definitions are changed with the version of what brings them, never by us
  if (wish.kind === 'CustomResourceDefinition') return []
  const wished = Object.entries(wish.kind === 'Secret' ? encoded(wish) : wish).filter(([field]) => !notWished.has(field))
  return compare({live, way: []}, Object.fromEntries(wished), live)
}

/** As the API server keeps it: `stringData` is only ever written. */
const encoded = (secret: KubeObject): KubeObject => {
  const {data, stringData, ...rest} = secret
  const written = entriesOf(stringData).map(([key, value]) => [key, Buffer.from(String(plain(value))).toString('base64')] as const)
  return {...rest, data: Object.fromEntries([...entriesOf(data), ...written])}
}

const entriesOf = (value: unknown): readonly (readonly [string, unknown])[] => (isFields(value) ? Object.entries(value) : [])
const isScalar = (value: unknown): boolean => !isFields(value) && !isList(value)

const compare = (place: Place, wished: unknown, found: unknown): readonly Difference[] => {
  if (wished === undefined || wished === null || (isEmpty(wished) && isEmpty(found)) || isOthers(place)) return []
  if (isFields(wished) && (isFields(found) || isEmpty(found)))
    return Object.entries(wished).flatMap(([field, value]) =>
      compare(into(place, {field}), value, isFields(found) ? found[field] : undefined),
    )
  if (isList(wished) && isList(found)) return compareLists(place, wished, found)
  return isSame(place, wished, found) ? [] : [difference(place, wished, found)]
}

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

const difference = (place: Place, wished: unknown, found: unknown): Difference => {
  const owners = ownersOf(place.live, place.way)
  const owner = owners.toSorted((one, other) => (other.time ?? '').localeCompare(one.time ?? ''))[0]
  const [first] = fieldsOf(place)
  const isSecret = (place.live.kind === 'Secret' && first === 'data') || secretsIn(wished).length > 0
  const shown = (value: unknown) => (isSecret && value !== undefined ? '‹secret›' : value)
  return {path: textOf(place.way), wished: shown(wished), found: shown(found), ...(owner && {owner}), owners}
}
