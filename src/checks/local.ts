import {bytes} from '../output.ts'
import {checkRoom, stateFolderOf} from '../platforms/local/index.ts'
import type {Cluster} from '../platforms/platform.ts'
import type {Tools} from '../tools/index.ts'
import {type Check, ok} from './check.ts'
import {type DataPath, dataPathChecks} from './data-path.ts'

/** A cluster of processes on this machine. */
export type LocalSubject = {
  readonly cluster: Pick<Cluster, 'checked' | 'processes'>
  readonly folder: string
  readonly tools: Pick<Tools, 'files'>
  /** Left out where nothing is known of it. */
  readonly dataPath?: DataPath
}

/** Everything that is looked at before its processes start. */
export const localChecks: readonly Check<LocalSubject>[] = [
  {
    id: 'disk',
    about: 'there is room on the disk',
    of: 'local',
    async run({folder, tools}) {
      await checkRoom(folder, tools)
      return ok(`${bytes(await tools.files.free(stateFolderOf(folder)))} free`)
    },
  },
  {
    id: 'ports',
    about: 'its ports are free, or held by its own processes',
    of: 'local',
    needs: ['disk'],
    async run({cluster}) {
      await cluster.checked()
      return ok(undefined, ['lkeobs lab up'])
    },
  },
  ...dataPathChecks<LocalSubject>('local', ['disk']),
]
