import {chartSource} from '../platforms/kubernetes/site.ts'
import {type Check, ok, skipped} from './check.ts'
import type {Subject} from './cluster.ts'

/** Only of a folder of charts can be said beforehand whether it has them. */
export const charts: Check<Subject> = {
  id: 'charts',
  about: 'the charts it is made of are at hand',
  of: 'kubernetes',
  async run({site, wishes}) {
    const {charts: folder} = site.ways
    if (folder === undefined) return skipped('they are fetched from their repositories when they are installed')
    const names = [...new Set(wishes.map(({chart}) => chart))]
    for (const name of names) await chartSource(site, name)
    return ok(`${names.length} in ${folder}`)
  },
}
