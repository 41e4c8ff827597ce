import {type Fields, isFields} from '../../../fields.ts'
import {isEmpty, isText} from './sameness.ts'

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

/** What an element has that does not say so. */
export const defaults: Fields = {protocol: 'TCP'}

type Key = (element: unknown) => string

/** How to tell the elements of both lists apart. */
export const keyOf = (wished: readonly unknown[], found: readonly unknown[]): Key | undefined => {
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
