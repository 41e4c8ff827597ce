import type {Cluster} from '../platforms/platform.ts'
import type {Site} from '../platforms/kubernetes/site.ts'
import {isGroup, type Plan, type Step, type Task} from '../steps/step.ts'
import {releasesIn} from '../tools/helm.ts'
import {bringDefinitions} from '../upgrade/definitions.ts'

/** The plan by which the cluster was made, with the definitions of each chart brought up to date before its release. */
export const upgraded = (plan: Plan, {name, role, site}: Pick<Cluster, 'name' | 'role' | 'site'>): Plan => ({
  command: role === 'hub' ? 'hub upgrade' : `edge upgrade ${name}`,
  title: `${role === 'hub' ? 'Hub' : 'Edge'} ${name} is brought to the pinned versions and the fleet file.`,
  steps: site ? plan.steps.map((task) => withDefinitions(task, site)) : plan.steps,
})

const withDefinitions = (task: Task, site: Site): Task => {
  if (isGroup(task)) return {...task, steps: task.steps.map((member) => withDefinitions(member, site))}
  const {wish} = task
  if (!wish) return task
  return {
    ...task,
    async apply(tell) {
      await bring(site, wish)
      await task.apply(tell)
    },
  }
}

/** helm installs them with a new release itself. */
const bring = async (site: Site, wish: NonNullable<Step['wish']>): Promise<void> => {
  const wished = await wish()
  if (!('release' in wished)) return
  const {release} = wished
  const [installed] = await releasesIn(site.kube, release.namespace, release.name)
  if (installed?.chart.name === release.chart) await bringDefinitions(site, release)
}
