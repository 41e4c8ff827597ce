import type {CollectorBuild} from '../collector/build.ts'
import {LkeobsError} from '../errors.ts'
import type {Cluster} from '../platforms/platform.ts'
import type {QueueAdmin, QueueState} from '../tools/queue-admin.ts'
import type {Counters} from '../tools/stores.ts'

/** Which collector a cluster was seen to run, whatever its fleet file wishes; `unknown` where it does not answer. */
export type SeenBuild = CollectorBuild | 'unknown'

export type CollectorProcess = {
  readonly admin: QueueAdmin
  /** Undefined where its queue administration does not answer. */
  readonly state: QueueState | undefined
}

/** The collector of a cluster, in all its processes, as it was found. */
export type Collector = {
  readonly cluster: string
  readonly component: 'gateway' | 'agent'
  readonly build: SeenBuild
  readonly processes: readonly CollectorProcess[]
  /** Its own counters; undefined where it does not answer, or was not asked since its queues said all. */
  readonly page: Counters | undefined
  /** Why not all of it could be asked. */
  readonly problem: {readonly code: string; readonly message: string} | undefined
}

const problemOf = (error: unknown) => {
  if (error instanceof LkeobsError) return {code: error.code, message: error.message}
  throw error
}

/** Asks each process of a cluster's collector for its queues, and for its counters where it has no queue of ours. */
export const collectorOf = async (cluster: Pick<Cluster, 'name' | 'role' | 'queueAdmins' | 'counters'>): Promise<Collector> => {
  const component = cluster.role === 'hub' ? 'gateway' : 'agent'
  const known = {cluster: cluster.name, component} as const
  let problem: Collector['problem']
  try {
    const admins = await cluster.queueAdmins()
    const processes = await Promise.all(
      admins.map(async (admin) => ({
        admin,
        state: await admin.state().catch((error: unknown) => {
          problem = problemOf(error)
          return undefined
        }),
      })),
    )
    const isWhole = processes.length > 0 && processes.every(({state}) => state !== undefined)
    const page = isWhole ? undefined : await cluster.counters(component)
    const isOurs = processes.some(({state}) => state !== undefined) || problem !== undefined || hasOwnQueues(page)
    const build = isOurs ? 'lkeobs' : page === undefined ? 'unknown' : 'upstream'
    if (!isWhole && build !== 'upstream')
      problem ??= {code: 'LKO-2013', message: `The collector ${component} on ${cluster.name} does not answer in all its processes.`}
    return {...known, build, processes, page, problem}
  } catch (error) {
    return {...known, build: 'unknown', processes: [], page: undefined, problem: problemOf(error)}
  }
}

const hasOwnQueues = (page: Counters | undefined): boolean => page?.some(({name}) => name.startsWith('lkeobs_queue_')) === true
