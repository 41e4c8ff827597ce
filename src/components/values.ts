import {createHash} from 'node:crypto'
import {toYaml} from '../templates.ts'

/** A disk that a component asks for. */
export type Disk = {
  /** `10Gi` */
  readonly size: string
  /** The cluster's default unless given. */
  readonly storageClass?: string | undefined
}

/** The disk in a chart's words. */
export const disk = ({size, storageClass}: Disk) => ({enabled: true, size, storageClass})

/** A store's disk, and for how long it keeps what it is sent. */
export type Kept = Disk & {readonly retentionDays: number}

const mebi: Readonly<Record<string, number>> = {Mi: 1, Gi: 1024, Ti: 1024 ** 2, M: 1e6 / 2 ** 20, G: 1e9 / 2 ** 20, T: 1e12 / 2 ** 20}

/** A share of a disk in MiB. */
export const shareOf = ({size}: Disk, share: number): number => {
  const {amount = '', unit = ''} = /^(?<amount>[\d.]+)(?<unit>[MGT]i?)$/.exec(size)?.groups ?? {}
  const inMebi = mebi[unit]
  if (inMebi === undefined) throw new Error(`${size}: expected a size like 10Gi`)
  return Math.floor(Number(amount) * inMebi * share)
}

/** A bucket in place of a disk. Its keys are in the Secret `secret`: `access-key-id` and `secret-access-key`. */
export type ObjectStorage = {
  /** `us-ord-1.linodeobjects.com`: a host, never with the bucket before it. */
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  readonly secret: string
}

const accessKeyId = 'OBJECT_STORAGE_ACCESS_KEY_ID'
const secretAccessKey = 'OBJECT_STORAGE_SECRET_ACCESS_KEY'

/** The bucket's keys as a program finds them in its environment, and as its configuration refers to them there. */
export const objectStorageKeys = {
  accessKeyId: `\${${accessKeyId}}`,
  secretAccessKey: `\${${secretAccessKey}}`,
  env: (secret: string) =>
    [
      {name: accessKeyId, key: 'access-key-id'},
      {name: secretAccessKey, key: 'secret-access-key'},
    ].map(({name, key}) => ({name, valueFrom: {secretKeyRef: {name: secret, key}}})),
} as const

/** What stands for a text where only its change matters. */
export const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex')

/** A text as it comes out of helm's `tpl` again: a backquoted string survives in every kind of YAML scalar. */
const untemplated = (text: string) => text.replaceAll('{{', '{{`{{`}}')

/** Values that a chart puts through `tpl` after it made YAML of them. */
export const forTpl = <T>(value: T): T =>
  JSON.parse(JSON.stringify(value), (_, found: unknown) => (typeof found === 'string' ? untemplated(found) : found)) as T

/** The same, where a chart asks for the text of a configuration file. */
export const yamlForTpl = (value: object): string => untemplated(toYaml(value))
export const jsonForTpl = (value: object): string => untemplated(JSON.stringify(value, undefined, 2))

/** A rendered document with some of a section's settings replaced. */
export const amended = (document: Readonly<Record<string, unknown>>, section: string, settings: object): Record<string, unknown> => ({
  ...document,
  [section]: {...(document[section] as object | undefined), ...settings},
})
