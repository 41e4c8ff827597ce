import {createHash} from 'node:crypto'
import {isFields} from '../../../fields.ts'
import type {KubeObject} from '../../../tools/kube/kube.ts'

/** Carries the digest of the wish that an object was last applied with. */
export const mark = 'lkeobs.io/wish'

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

/** Applied with this wish. The mark of a Secret does not cover its values. */
export const isOfThisWish = (wish: KubeObject, live: KubeObject): boolean => {
  const digest = wish.metadata.annotations?.[mark]
  return digest !== undefined && live.metadata.annotations?.[mark] === digest && wish.kind !== 'Secret'
}
