import type {KubeObject} from '../../../tools/kube/kube.ts'

/** A way into an object: field by field, elements of lists as they are in the live object. */
export type Way = readonly ({readonly field: string} | {readonly element: unknown; readonly label: string})[]

/** Where a comparison is: what it depends on beside the two values. */
export type Place = {readonly live: KubeObject; readonly way: Way}

export const into = ({live, way}: Place, segment: Way[number]): Place => ({live, way: [...way, segment]})

/** The fields that lead there, without the elements between them. */
export const fieldsOf = ({way}: Pick<Place, 'way'>): readonly string[] =>
  way.flatMap((segment) => ('field' in segment ? [segment.field] : []))

/** `spec.containers[name=otel].image` */
export const textOf = (way: Way): string =>
  way
    .map((segment) => {
      if (!('field' in segment)) return `[${segment.label}]`
      return /^[\w-]+$/.test(segment.field) ? `.${segment.field}` : `['${segment.field}']`
    })
    .join('')
    .replace(/^\./, '')
