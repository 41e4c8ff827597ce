import path from 'node:path'
import {chartOf} from '../../components/charts.ts'
import type {ChartName} from '../../components/release.ts'
import {LkeobsError} from '../../errors.ts'
import type {Step} from '../../steps/step.ts'
import type {ChartSource, Helm} from '../../tools/helm.ts'
import type {Tools} from '../../tools/index.ts'
import type {Kube, KubeTarget} from '../../tools/kube/kube.ts'

/** How a command goes about the clusters of a fleet. */
export type Ways = {
  /** A folder of packaged charts that is used instead of their repositories. */
  readonly charts?: string | undefined
  /** Releases of other versions are brought to the pinned ones. */
  readonly upgrade?: boolean
  /** To be written to files: what is on a cluster has no part in it. */
  readonly rendered?: boolean
}

/** A Kubernetes cluster and what is used to work on it. */
export type Site = {
  readonly cluster: string
  readonly role: 'hub' | 'edge'
  readonly fleet: string
  readonly kube: Kube
  readonly helm: Helm
  readonly tools: Tools
  readonly ways: Ways
  /** A file of this cluster as `render` writes it: `hub/vault.values.yaml`. */
  file(name: string): string
}

/** The pinned chart, in the folder of charts or in its repository. Throws LKO-3113 where the folder lacks it. */
export const chartSource = async ({ways: {charts}, tools}: Site, name: ChartName): Promise<ChartSource> => {
  const chart = chartOf(name)
  if (charts === undefined) return chart
  const file = path.resolve(charts, `${name}-${chart.version}.tgz`)
  if (await tools.files.exists(file)) return {file}
  throw new LkeobsError('LKO-3113', `${charts} has no ${path.basename(file)}.`, {next: [`lkeobs charts pull --charts ${charts}`]})
}

/** Who works for a cluster in the API server's eyes. */
export const targetOf = (folder: string, {context, kubeconfig}: {context: string; kubeconfig?: string | undefined}): KubeTarget => ({
  context,
  ...(kubeconfig !== undefined && {kubeconfig: path.resolve(folder, kubeconfig)}),
})

/** What the step brings is not for every cluster. */
export const notEverywhere = (step: Step, only: string): Step => {
  const {wish} = step
  return wish ? {...step, wish: async () => ({...(await wish()), only})} : step
}
