import {isDeepStrictEqual} from 'node:util'
import {createTwoFilesPatch} from 'diff'
import {isFields} from '../fields.ts'
import {manifestOf, toYaml} from '../templates.ts'
import type {KubeObject} from '../tools/kube/kube.ts'

/** An object of a chart that is added, changed or removed. */
export type ObjectChange = {
  /** `ConfigMap gateway` */
  readonly object: string
  readonly change: 'added' | 'changed' | 'relabelled' | 'removed'
  /** Unified; what is in a Secret is never in it. Empty where only labels name another version. */
  readonly diff: string
}

/** An image that is run in another version than before. */
export type ImageChange = {readonly image: string; readonly from?: string; readonly to?: string}

type Documents = {
  readonly objects: readonly KubeObject[]
  /** What is in a folder `crds`: helm installs it once, and never touches it again. */
  readonly definitions: readonly KubeObject[]
}

const sourceIn = /^# Source: (.*)$/m
const inCrds = /^(?:[^/]+\/charts\/)*[^/]+\/crds\//

/** The objects that a release keeps: its hooks come and go. */
export const documentsIn = (manifest: string): Documents => {
  let source = ''
  const all = manifest.split(/^---\s*$/m).flatMap((text) => {
    // where a file begins with a comment of its own, its source stands before that
    source = sourceIn.exec(text)?.[1] ?? source
    const isDefinition = inCrds.test(source)
    return manifestOf<Partial<KubeObject>>(text)
      .filter((object): object is KubeObject => object.kind !== undefined && object.metadata !== undefined)
      .map((object) => ({object, isDefinition}))
  })
  const kept = all.filter(({object: {metadata}}) => metadata.annotations?.['helm.sh/hook'] === undefined)
  return {
    objects: kept.filter(({isDefinition}) => !isDefinition).map(({object}) => object),
    definitions: kept.filter(({isDefinition}) => isDefinition).map(({object}) => object),
  }
}

const nameOf = ({kind, metadata: {name}}: KubeObject): string => `${kind} ${name}`

/** Objects without a namespace are in that of the release. */
const keyed = (objects: readonly KubeObject[], namespace: string): ReadonlyMap<string, KubeObject> =>
  new Map(
    objects.map((object) => {
      const [group = ''] = object.apiVersion.includes('/') ? object.apiVersion.split('/') : []
      return [[group, object.kind, object.metadata.namespace ?? namespace, object.metadata.name].join(' '), object]
    }),
  )

/** What changes between two manifests of a release. */
export const objectChanges = (before: readonly KubeObject[], after: readonly KubeObject[], namespace: string): readonly ObjectChange[] => {
  const [old, wished] = [keyed(before, namespace), keyed(after, namespace)]
  return [...new Set([...old.keys(), ...wished.keys()])].toSorted().flatMap((key): readonly ObjectChange[] => {
    const [from, to] = [old.get(key), wished.get(key)]
    const some = to ?? from
    if (some === undefined) return []
    const object = nameOf(some)
    const [one, other] = [textOf(from, undefined), textOf(to, from)]
    if (one === other) return isDeepStrictEqual(labelsOf(from), labelsOf(to)) ? [] : [{object, change: 'relabelled', diff: ''}]
    const change = from === undefined ? 'added' : to === undefined ? 'removed' : 'changed'
    return [{object, change, diff: patchOf(object, one, other)}]
  })
}

const patchOf = (name: string, before: string, after: string): string =>
  createTwoFilesPatch(before === '' ? '/dev/null' : name, after === '' ? '/dev/null' : name, before, after, '', '', {context: 3})
    .split('\n')
    .filter((line, index) => index > 1 || !/^(Index: |={10,}$)/.test(line))
    .join('\n')
    .replaceAll(/^((?:---|\+\+\+) [^\t\n]*)\t$/gm, '$1')
    .trimEnd()

/** The object as text, in an order of its own; a Secret by its keys alone. */
const textOf = (object: KubeObject | undefined, before: KubeObject | undefined): string =>
  object === undefined ? '' : toYaml(sorted(unlabelled(veiled(object, before))) as object)

const labelsOf = (object: KubeObject | undefined) => object?.metadata.labels ?? {}

/** Every version of a chart labels all its objects anew; in a pod template it matters, for pods are replaced. */
const unlabelled = (object: KubeObject): KubeObject => {
  const {'helm.sh/chart': _, 'app.kubernetes.io/version': __, ...labels} = labelsOf(object)
  return object.metadata.labels === undefined ? object : {...object, metadata: {...object.metadata, labels}}
}

/** Secrets are not shown, and neither are authorities in webhooks: some charts make a new one at every rendering. */
const veiled = (object: KubeObject, before: KubeObject | undefined): KubeObject => {
  const values = (field: 'data' | 'stringData') => {
    const [some, old] = [object[field], before?.[field]]
    if (!isFields(some)) return {}
    const isNew = (key: string, value: unknown) => before !== undefined && (!isFields(old) || old[key] !== value)
    const hidden = Object.entries(some).map(([key, value]) => [key, isNew(key, value) ? '‹another secret›' : '‹secret›'])
    return {[field]: Object.fromEntries(hidden) as object}
  }
  const shown = object.kind === 'Secret' ? {...object, ...values('data'), ...values('stringData')} : object
  return JSON.parse(JSON.stringify(shown), (key, value: unknown) =>
    key === 'caBundle' && typeof value === 'string' ? '‹authority›' : value,
  ) as KubeObject
}

const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([one], [other]) => (one < other ? -1 : 1))
      .map(([key, part]) => [key, sorted(part)]),
  )
}

/** Every image of every container, by its repository. */
const imagesIn = (value: unknown): readonly string[] => {
  if (Array.isArray(value)) return value.flatMap(imagesIn)
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, part]: [string, unknown]) => {
    if (!/^(containers|initContainers)$/.test(key) || !Array.isArray(part)) return imagesIn(part)
    return part.flatMap((container: {readonly image?: unknown}) => (typeof container.image === 'string' ? [container.image] : []))
  })
}

const tagsOf = (objects: readonly KubeObject[]): ReadonlyMap<string, string> => {
  const all = imagesIn(objects).map((image) => {
    const [, repository = image, tag, digest] = /^(.+?)(?::([^:/@]+))?(?:@sha256:(\w{12})\w*)?$/.exec(image) ?? []
    return {repository, tag: tag ?? digest ?? 'latest'}
  })
  return new Map(
    [...Map.groupBy(all, ({repository}) => repository)].map(([repository, some]) => [
      repository,
      [...new Set(some.map(({tag}) => tag))].toSorted().join(', '),
    ]),
  )
}

export const imageChanges = (before: readonly KubeObject[], after: readonly KubeObject[]): readonly ImageChange[] => {
  const [old, wished] = [tagsOf(before), tagsOf(after)]
  return [...new Set([...old.keys(), ...wished.keys()])].toSorted().flatMap((image) => {
    const [from, to] = [old.get(image), wished.get(image)]
    return from === to ? [] : [{image, ...(from !== undefined && {from}), ...(to !== undefined && {to})}]
  })
}
