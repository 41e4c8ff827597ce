import {isFields} from '../../../fields.ts'
import {plain} from '../../../secret.ts'
import {quantity} from '../../../tools/kube/quantity.ts'
import {fieldsOf, type Place} from './place.ts'

/** The API server drops what is empty, or gives it back as another kind of empty. */
export const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  plain(value) === '' ||
  (Array.isArray(value) && value.length === 0) ||
  (isFields(value) && Object.values(value).every(isEmpty))

/** Ports and the like are a number here and a text there. */
export const isText = (value: unknown): value is string | number => typeof value === 'string' || typeof value === 'number'

/** Where the quantities of Kubernetes are. Elsewhere '1000m' is a text like any other. */
const quantityPlaces = /^(resources|requests|limits|capacity|hard|overhead|sizeLimit|divisor|storage|averageValue)$/

/** Their absence means yes, the image's user, or one; that of all other fields means `false` and 0. */
const otherwiseByDefault =
  /^(automountServiceAccountToken|allowPrivilegeEscalation|enableServiceLinks|allocateLoadBalancerNodePorts|runAsUser|runAsGroup|fsGroup|replicas)$/

export const isSame = (place: Place, wish: unknown, found: unknown): boolean => {
  const wished = plain(wish)
  if (wished === found) return true
  const fields = fieldsOf(place)
  if (found === undefined || found === null) return (wished === false || wished === 0) && !otherwiseByDefault.test(fields.at(-1) ?? '')
  if (!isText(wished) || !isText(found)) return false
  if (String(wished) === String(found)) return true
  const equalBy = (read: (text: string) => number | undefined) => isClose(read(String(wished)), read(String(found)))
  if (fields.some((field) => quantityPlaces.test(field)) && equalBy(quantity)) return true
  return place.live.apiVersion.includes('cert-manager.io/') && equalBy(goDuration)
}

const isClose = (one: number | undefined, other: number | undefined): boolean =>
  one !== undefined && other !== undefined && Math.abs(one - other) <= 1e-12 * Math.max(Math.abs(one), Math.abs(other))

const seconds: Readonly<Record<string, number>> = {h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, µs: 1e-6, ns: 1e-9}

/** `8760h`, `1h30m0s`, in seconds. */
const goDuration = (text: string): number | undefined => {
  if (!/^(?:\d+(?:\.\d+)?(?:h|ms|m|s|us|µs|ns))+$/.test(text)) return undefined
  return [...text.matchAll(/([\d.]+)([a-zµ]+)/g)].reduce((sum, [, amount, unit = '']) => sum + Number(amount) * (seconds[unit] ?? 0), 0)
}
