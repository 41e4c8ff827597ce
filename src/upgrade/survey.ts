import {chartOf} from '../components/charts.ts'
import type {Release} from '../components/release.ts'
import {LkeobsError} from '../errors.ts'
import {findings, refOf} from '../platforms/kubernetes/applied.ts'
import {type Difference, drift} from '../platforms/kubernetes/drift/drift.ts'
import {mark, marked} from '../platforms/kubernetes/drift/mark.ts'
import {fieldManager} from '../platforms/kubernetes/names.ts'
import {objectsOf, releaseManagers} from '../platforms/kubernetes/released.ts'
import {chartSource, type Site} from '../platforms/kubernetes/site.ts'
import type {Cluster} from '../platforms/platform.ts'
import {flatten, type Plan, type Step} from '../steps/step.ts'
import {type InstalledRelease, releasesIn} from '../tools/helm.ts'
import type {KubeObject} from '../tools/kube/kube.ts'
import {compareRelease, type ReleaseChange} from './compare.ts'
import {liveDefinitions, renderedRelease} from './definitions.ts'
import {documentsIn} from './manifests.ts'
import {refuseSkew} from './versions.ts'

/** An object of ours that is not as wished. */
export type OwnChange = {
  /** `NetworkPolicy lkeobs/gateway` */
  readonly object: string
  readonly change: 'added' | 'changed'
  readonly fields: readonly {readonly path: string; readonly from: unknown; readonly to: unknown}[]
}

/** What an upgrade of a cluster would change. */
export type Survey = {
  readonly cluster: string
  readonly role: 'hub' | 'edge'
  readonly releases: readonly ReleaseChange[]
  /** Releases that are as wished. */
  readonly unchanged: readonly string[]
  readonly objects: readonly OwnChange[]
  /** Other steps that do not hold, with what is not so. */
  readonly steps: readonly {readonly title: string; readonly seen: string}[]
}

/** Asks every step of the plan; where one does not hold, what it would change. Only reads. */
export const survey = async (plan: Plan, {name, role, site}: Pick<Cluster, 'name' | 'role' | 'site'>): Promise<Survey> => {
  const releases: ReleaseChange[] = []
  const unchanged: string[] = []
  const objects = new Map<string, OwnChange>()
  const steps: {readonly title: string; readonly seen: string}[] = []
  for (const step of flatten(plan.steps)) {
    const seen = await asked(step)
    const wish = site && seen !== later ? await step.wish?.() : undefined
    if (site && wish && 'release' in wish) {
      const {release} = wish
      const installed = await installedOf(site, release)
      if (seen === true) {
        if (installed) unchanged.push(release.name)
        continue
      }
      const change = await releaseChange(site, release, installed)
      if (change) releases.push(change)
      else steps.push({title: step.title, seen})
    } else if (seen === true) continue
    else if (site && wish && 'objects' in wish) {
      const changes = await ownChanges(site, wish.objects)
      for (const change of changes) objects.set(change.object, change)
      if (changes.length === 0) steps.push({title: step.title, seen})
    } else steps.push({title: step.title, seen})
  }
  return {cluster: name, role, releases, unchanged, objects: [...objects.values()], steps}
}

export const isNothing = ({releases, objects, steps}: Survey): boolean => releases.length + objects.length + steps.length === 0

const later = 'known only after the steps before it'

/** What the cluster refuses is said before anything is changed; what cannot be asked yet is no mistake, and neither is a hub without an address. */
const asked = async (step: Step): Promise<true | string> => {
  try {
    return await step.done()
  } catch (error) {
    if (error instanceof LkeobsError && error.code.startsWith('LKO-31') && error.code !== 'LKO-3115') throw error
    return later
  }
}

const installedOf = async ({kube}: Site, {name, namespace}: Release): Promise<InstalledRelease | undefined> =>
  (await releasesIn(kube, namespace, name)).find((one) => one.name === name)

const releaseChange = async (site: Site, release: Release, installed: InstalledRelease | undefined): Promise<ReleaseChange | undefined> => {
  const {kube, helm, cluster} = site
  if (installed && installed.chart.name !== release.chart) {
    const whose = `${release.name} in the namespace ${release.namespace} is a release of the chart ${installed.chart.name}`
    throw new LkeobsError('LKO-3110', `${whose}; ours is of the chart ${release.chart}.`)
  }
  const pinned = {...(await helm.facts(await chartSource(site, release.chart))), version: chartOf(release.chart).version}
  refuseSkew({cluster, kubernetes: await kube.version(), release, installed, pinned})
  const manifest = await renderedRelease(site, release)
  const definitions = await liveDefinitions(kube, documentsIn(manifest).definitions)
  const found = installed?.status === 'deployed' ? await findings(kube, objectsOf(installed), releaseManagers) : []
  const drifted = found.filter(({differs}) => differs).map(({seen}) => String(seen))
  return compareRelease({release, installed, pinned, manifest, definitions, drifted})
}

const ownChanges = async ({kube}: Site, objects: readonly KubeObject[]): Promise<readonly OwnChange[]> => {
  const found = await findings(
    kube,
    objects.map((object) => marked(object)),
    [fieldManager],
  )
  return Promise.all(
    found
      .filter(({differs}) => differs)
      .map(async ({wish}): Promise<OwnChange> => {
        const {kind, metadata} = wish
        const object = `${kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`
        const live = await kube.read(refOf(wish))
        return live ? {object, change: 'changed', fields: fieldsOf(drift(wish, live))} : {object, change: 'added', fields: []}
      }),
  )
}

/** The digest of a wish says only that something is no longer wished for. */
const fieldsOf = (differences: readonly Difference[]): OwnChange['fields'] =>
  differences.filter(({path}) => !path.includes(mark)).map(({path, wished, found}) => ({path, from: found, to: wished}))
