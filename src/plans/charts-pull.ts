import path from 'node:path'
import {allCharts} from '../components/charts.ts'
import type {Plan, Step} from '../steps/step.ts'
import type {PublishedChart} from '../tools/helm.ts'
import type {Tools} from '../tools/index.ts'

const atOnce = 4

/** Every pinned chart, packaged, in a folder: for machines that do not reach the repositories. */
export const chartsPull = (
  folder: string,
  tools: Pick<Tools, 'files' | 'helm'>,
  charts: readonly PublishedChart[] = allCharts(),
): Plan => ({
  command: `charts pull --charts ${folder}`,
  title: `Fills ${folder} with the pinned charts.`,
  steps: [
    folderMade(folder, tools),
    {
      title: 'charts at their pinned versions',
      concurrency: atOnce,
      independent: 'LKO-3113',
      steps: charts.map((chart) => pulled(chart, folder, tools)),
    },
  ],
})

const folderMade = (folder: string, {files}: Pick<Tools, 'files'>): Step => ({
  title: `folder ${folder}`,
  done: async () => ((await files.exists(folder)) ? true : 'not there'),
  apply: () => files.makeFolder(folder),
})

/** A file of that name is whole: helm puts it there when it has all of it. */
const pulled = ({name, repository, version}: PublishedChart, folder: string, {files, helm}: Pick<Tools, 'files' | 'helm'>): Step => ({
  title: `${name} ${version}`,
  done: async () => ((await files.exists(path.join(folder, `${name}-${version}.tgz`))) ? true : 'not there'),
  apply: () => helm(undefined).pull({name, repository, version}, folder),
})
