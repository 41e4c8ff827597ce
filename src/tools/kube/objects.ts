import {plain, Secret} from '../../secret.ts'
import type {KubeObject} from './kube.ts'

/** What a program said, without the secrets that were handed to it. */
export const without = (secrets: readonly string[], text: string): string =>
  secrets
    .flatMap((secret) => [secret, Buffer.from(secret).toString('base64')])
    .filter(({length}) => length > 3)
    .reduce((left, secret) => left.replaceAll(secret, '[redacted]'), text)

/** `stringData` is written as `data`: server-side apply would never take a key away that was written the other way. */
export const asKept = (object: KubeObject): KubeObject => {
  const {stringData, ...rest} = object as KubeObject & {
    readonly stringData?: Readonly<Record<string, string | Secret>>
    readonly data?: object
  }
  if (object.kind !== 'Secret' || stringData === undefined) return object
  const encoded = Object.entries(stringData).map(([key, value]) => [key, new Secret(Buffer.from(plain(value)).toString('base64'))])
  return {...rest, data: {...rest.data, ...(Object.fromEntries(encoded) as Record<string, Secret>)}}
}

export const shown = ({kind, metadata: {name, namespace}}: KubeObject): string =>
  `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`
