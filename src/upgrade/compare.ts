import {isDeepStrictEqual} from 'node:util'
import type {Release} from '../components/release.ts'
import {isFields} from '../fields.ts'
import type {ChartFacts, InstalledRelease} from '../tools/helm.ts'
import type {KubeObject} from '../tools/kube/kube.ts'
import {type DefinitionChange, definitionChanges} from './definitions.ts'
import {documentsIn, type ImageChange, imageChanges, type ObjectChange, objectChanges} from './manifests.ts'
import {isSameVersion} from './versions.ts'

/** What is known of a release before it is changed. */
export type Known = {
  readonly release: Release
  readonly installed: InstalledRelease | undefined
  readonly pinned: ChartFacts
  /** The manifest it would have, with the definitions of its chart. */
  readonly manifest: string
  /** The definitions of the cluster; asked for only where the chart has some. */
  readonly definitions: readonly KubeObject[]
  /** Its objects that are not as helm left them. */
  readonly drifted: readonly string[]
}

type FromTo = {readonly from?: string; readonly to?: string}

/** A value that is given to the chart, by its path. */
export type ValueChange = FromTo & {readonly path: string}

export type ReleaseChange = {
  readonly release: string
  readonly namespace: string
  readonly chart: string
  /** `new`, what helm left behind (`failed`, `pending-upgrade`), or `deployed`. */
  readonly state: string
  readonly version: FromTo
  readonly app: FromTo
  readonly images: readonly ImageChange[]
  readonly values: readonly ValueChange[]
  readonly objects: readonly ObjectChange[]
  readonly definitions: readonly DefinitionChange[]
  /** Changed since by somebody else, and set right. */
  readonly drifted: readonly string[]
}

const fromTo = (from: string | undefined, to: string | undefined): FromTo => ({
  ...(from !== undefined && {from}),
  ...(to !== undefined && {to}),
})

/** What changes in a release; undefined where nothing does. */
export const compareRelease = ({release, installed, pinned, manifest, definitions, drifted}: Known): ReleaseChange | undefined => {
  const {name, namespace, chart, values} = release
  const wished = documentsIn(manifest)
  const before = installed ? documentsIn(installed.manifest).objects : []
  const valued = valueChanges(installed?.values ?? {}, JSON.parse(JSON.stringify(values)))
  const isSame =
    installed?.status === 'deployed' &&
    isSameVersion(installed.chart.version, pinned.version) &&
    valued.length === 0 &&
    drifted.length === 0
  // where helm is not called, nothing of its rendering counts
  if (isSame) return undefined
  return {
    release: name,
    namespace,
    chart,
    state: installed?.status ?? 'new',
    version: fromTo(installed?.chart.version, pinned.version),
    app: fromTo(installed?.chart.appVersion, pinned.appVersion),
    images: imageChanges(before, wished.objects),
    values: installed ? valued : [],
    objects: objectChanges(before, wished.objects, namespace),
    definitions: definitionChanges(wished.definitions, definitions),
    drifted,
  }
}

const secretive = /password|passwd|secret|token|credential|private|(api|access)_?key/i

/** The values that differ, each by its path; what is no plain value, or may be secret, is only named. */
export const valueChanges = (from: unknown, to: unknown, path: readonly string[] = []): readonly ValueChange[] => {
  if (isDeepStrictEqual(from, to)) return []
  if (isFields(from) && isFields(to))
    return [...new Set([...Object.keys(from), ...Object.keys(to)])].flatMap((key) => valueChanges(from[key], to[key], [...path, key]))
  if (Array.isArray(from) && Array.isArray(to) && from.length === to.length)
    return from.flatMap((part, index) => valueChanges(part, to[index], [...path, String(index)]))
  const isShown = !path.some((part) => secretive.test(part))
  const shown = (value: unknown) => (isShown && /^(string|number|boolean)$/.test(typeof value) ? {shown: String(value)} : undefined)
  return [{path: path.join('.'), ...fromTo(shown(from)?.shown, shown(to)?.shown)}]
}
