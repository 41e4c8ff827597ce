import {isDeepStrictEqual} from 'node:util'
import type {Release} from '../../components/release.ts'
import {chartOf} from '../../components/charts.ts'
import {LkeobsError, messageOf} from '../../errors.ts'
import type {Step} from '../../steps/step.ts'
import {manifestOf} from '../../templates.ts'
import {helmLines, type InstalledRelease, releasesIn} from '../../tools/helm.ts'
import type {KubeObject} from '../../tools/kube/kube.ts'
import {findings, firstOf, refOf, waiting} from './applied.ts'
import {fieldManager} from './names.ts'
import {chartSource, type Site} from './site.ts'

/** helm, and whoever applies what is not in a chart. */
export const releaseManagers = ['helm', fieldManager]

/** Kept by helm's record, not by us: their schemas are large, and only their being there counts. */
export const objectsOf = ({manifest, namespace}: InstalledRelease): readonly KubeObject[] =>
  manifestOf<KubeObject>(manifest)
    .filter(({kind}) => kind !== 'CustomResourceDefinition')
    .map((object) => (object.metadata.namespace === undefined && !clusterWide.has(object.kind) ? within(object, namespace) : object))

const within = (object: KubeObject, namespace: string): KubeObject => ({...object, metadata: {...object.metadata, namespace}})
const clusterWide = new Set([
  'ClusterRole',
  'ClusterRoleBinding',
  'ValidatingWebhookConfiguration',
  'MutatingWebhookConfiguration',
  'Namespace',
  'PriorityClass',
  'StorageClass',
])

const interrupted = /^pending-/

/** A release of a pinned chart with these values; its objects are as the chart made them, and its pods are ready. */
export const released = (site: Site, title: string, wished: () => Promise<Release> | Release, {patienceMs = 300_000} = {}): Step => {
  const {kube, helm} = site

  const installed = async ({namespace, name}: Release): Promise<InstalledRelease | undefined> =>
    (await releasesIn(kube, namespace, name)).find((one) => one.name === name)

  const asWished = async (wish: Release): Promise<true | string> => {
    const there = await installed(wish)
    if (there === undefined) return 'not installed'
    const recorded = isRecorded(wish, there)
    return recorded === true ? firstOf(await findings(kube, objectsOf(there), releaseManagers, {recorded})) : recorded
  }

  const wait = waiting(kube, async () => {
    const there = await installed(await wished())
    return there ? objectsOf(there) : []
  })

  return {
    title,
    patienceMs,
    done: async () => asWished(await wished()),
    async apply(tell) {
      const wish = await wished()
      const there = await installed(wish)
      await wait.begin(tell)
      if (there) refuseOthers(site, wish, there)
      const isCutShort = there !== undefined && interrupted.test(there.status)
      // helm was killed at its work: it would refuse for ever, and what it has made already carries its marks
      if (isCutShort) {
        tell(`an earlier helm was interrupted (${there.status}): its record is removed`, 'lasting')
        await kube.remove({apiVersion: 'v1', kind: 'Secret', name: there.secretName, namespace: wish.namespace})
      }
      const objects = there && !isCutShort ? objectsOf(there) : []
      const found = await findings(kube, objects, releaseManagers, {recorded: there?.status === 'deployed'})
      const differing = found.filter(({differs}) => differs)
      const byHand = differing.filter((one) => one.byHand)
      for (const {seen} of byHand) tell(`changed by hand, put back: ${seen}`, 'lasting')
      // only its pods are not ready yet
      if (there && differing.length === 0 && isRecorded(wish, there) === true) return
      const {name, namespace, values} = wish
      const chart = await chartSource(site, wish.chart)
      const upgrade = () =>
        helm.upgrade({name, namespace, values, chart, file: site.file(`${name}.values.yaml`)}, {force: byHand.length > 0})
      try {
        await upgrade()
      } catch (error) {
        // a port that was given another number is another element of the list, and both cannot have one name: only a new Service has ours alone
        const services = byHand.map(({wish: object}) => object).filter(({kind}) => kind === 'Service')
        if (services.length === 0 || !/Duplicate value/.test(messageOf(error))) throw error
        for (const service of services) {
          tell(`Service ${service.metadata.name} cannot take its own ports back: made anew`, 'lasting')
          await kube.remove(refOf(service))
        }
        await upgrade()
      }
    },
    watch: wait.watch,
    async wish() {
      const release = await wished()
      return {file: site.file(`${release.name}.values.yaml`), release}
    },
  }
}

/** Charts are tagged with and without a `v`. */
const bare = (version: string): string => version.replace(/^v/, '')

/** Whether helm has put there what is wished for: this chart, this version, these values. */
const isRecorded = ({chart, values}: Release, there: InstalledRelease): true | string => {
  const {version} = chartOf(chart)
  if (there.status !== 'deployed') return `helm left it ${there.status}`
  if (there.chart.name !== chart) return `it is a release of the chart ${there.chart.name}`
  if (bare(there.chart.version) !== bare(version)) return `chart ${there.chart.version} instead of ${version}`
  return isDeepStrictEqual(there.values, JSON.parse(JSON.stringify(values))) ? true : 'its values differ'
}

/** A release that is not ours is left alone, and other versions are a decision of their own. */
const refuseOthers = ({kube, ways, role, cluster}: Site, {name, namespace, chart}: Release, there: InstalledRelease): void => {
  if (there.chart.name !== chart) {
    throw new LkeobsError(
      'LKO-3110',
      `${name} in the namespace ${namespace} is a release of the chart ${there.chart.name} ${there.chart.version}; ours is of the chart ${chart}.`,
      {next: [helmLines.list(kube.target, namespace)]},
    )
  }
  const {version} = chartOf(chart)
  if (ways.upgrade === true || bare(there.chart.version) === bare(version)) return
  throw new LkeobsError(
    'LKO-3114',
    `${name} on ${cluster} is chart ${chart} ${there.chart.version}; this version of lkeobs installs ${version}.`,
    {
      next: [role === 'hub' ? 'lkeobs hub upgrade' : `lkeobs edge upgrade ${cluster}`],
    },
  )
}
