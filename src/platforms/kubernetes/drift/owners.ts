import {type Fields, isFields, isList} from '../../../fields.ts'
import type {KubeObject} from '../../../tools/kube/kube.ts'
import {defaults} from './elements.ts'
import type {Place, Way} from './place.ts'

/** Who set a field, by its `metadata.managedFields`. */
export type Owner = {readonly manager: string; readonly operation: 'Apply' | 'Update'; readonly time?: string}

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
export const listTypeOf = ({live, way}: Place): 'merged' | 'atomic' | undefined => {
  const all = reachAll(live, way)
  const isMerged = all.some(({depth, node}) => depth === way.length && Object.keys(node).some((key) => /^[kv]:/.test(key)))
  if (isMerged) return 'merged'
  return all.length > 0 ? 'atomic' : undefined
}

/** A person with kubectl. Who applies server-side means to keep the field: a script, or another tool. */
export const isByHand = ({manager, operation}: Owner): boolean => operation === 'Update' && manager.startsWith('kubectl')
