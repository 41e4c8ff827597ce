import type {Release} from '../components/release.ts'
import {isFields} from '../fields.ts'
import {chartSource, type Site} from '../platforms/kubernetes/site.ts'
import type {Kube, KubeObject} from '../tools/kube/kube.ts'
import {documentsIn} from './manifests.ts'

/** A definition (CRD) in the folder `crds` of a chart, which helm installs once and never touches again. */
export type DefinitionChange = {
  readonly name: string
  /** `left` is one that the chart no longer has: removing it would remove every object of its kind. */
  readonly change: 'added' | 'changed' | 'left'
}

const groupOf = ({spec}: KubeObject): unknown => (spec as {readonly group?: unknown} | undefined)?.group
const versionsOf = ({spec}: KubeObject): unknown => (spec as {readonly versions?: unknown} | undefined)?.versions

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === false ||
  value === '' ||
  (Array.isArray(value) ? value.length === 0 : isFields(value) && Object.keys(value).length === 0)

/** Whether all of a wish is there. Schemas are kept as they were given: in one, nothing else may be there either. */
const covers = (live: unknown, wish: unknown, exactly = false): boolean => {
  if (Array.isArray(wish))
    return Array.isArray(live) ? wish.length === live.length && wish.every((part, at) => covers(live[at], part, exactly)) : isEmpty(wish)
  if (isFields(wish)) {
    if (!isFields(live)) return isEmpty(wish) && isEmpty(live)
    const keys = exactly ? [...new Set([...Object.keys(wish), ...Object.keys(live)])] : Object.keys(wish)
    return keys.every((key) => covers(live[key], wish[key], exactly || key === 'openAPIV3Schema'))
  }
  return wish === live || (isEmpty(wish) && isEmpty(live))
}

/** How the definitions of a chart differ from those of a cluster. */
export const definitionChanges = (wished: readonly KubeObject[], live: readonly KubeObject[]): readonly DefinitionChange[] => {
  const [names, groups] = [new Set(wished.map(({metadata}) => metadata.name)), new Set(wished.map(groupOf))]
  const left = live.filter((one) => groups.has(groupOf(one)) && !names.has(one.metadata.name))
  return [
    ...wished.flatMap((wish): readonly DefinitionChange[] => {
      const {name} = wish.metadata
      const found = live.find(({metadata}) => metadata.name === name)
      if (!found) return [{name, change: 'added'}]
      return covers({versions: versionsOf(found)}, {versions: versionsOf(wish)}) ? [] : [{name, change: 'changed'}]
    }),
    ...left.map(({metadata: {name}}): DefinitionChange => ({name, change: 'left'})),
  ]
}

const definitionKind = {apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition'}

/** What the cluster has of them; nothing is asked where there are none. */
export const liveDefinitions = async (kube: Kube, wished: readonly KubeObject[]): Promise<readonly KubeObject[]> =>
  wished.length === 0 ? [] : kube.list(definitionKind)

/** The manifest of a release as it would be. */
export const renderedRelease = async (site: Site, {name, namespace, chart, values}: Release): Promise<string> => {
  const source = await chartSource(site, chart)
  return site.helm.template({name, namespace, values, chart: source, file: ''}, await site.kube.version())
}

/** Brings the definitions of a chart up to date, so that its new version finds them. */
export const bringDefinitions = async (site: Site, release: Release): Promise<readonly DefinitionChange[]> => {
  const {definitions} = documentsIn(await renderedRelease(site, release))
  const changes = definitionChanges(definitions, await liveDefinitions(site.kube, definitions))
  const due = new Set(changes.filter(({change}) => change !== 'left').map(({name}) => name))
  const objects = definitions.filter(({metadata}) => due.has(metadata.name))
  // helm made them and never comes back for them
  if (objects.length > 0) await site.kube.apply(objects, {file: site.file(`${release.name}.crds.yaml`), force: true})
  return changes
}
