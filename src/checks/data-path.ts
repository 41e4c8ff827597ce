import {bytes, duration} from '../output.ts'
import type {Collector} from '../status/collectors.ts'
import {type Check, ok, skipped, type Verdict, warning} from './check.ts'

/** What the queues of a cluster's collector may take of a disk, and for what. */
export type QueueNeed = {
  /** For how long nothing may be lost though the next hop is away. */
  readonly outageSeconds: number
  /** Of the queues of one collector, when they are full. */
  readonly bytes: number
}

/** What is looked at of the data path of a cluster. */
export type DataPath = {
  readonly need: QueueNeed
  /** Room for its queues on the disk that they are on; undefined where nobody can say. Throws what the platform throws. */
  readonly room: () => Promise<{readonly bytes: number; readonly what: string} | undefined>
  readonly collector: () => Promise<Collector>
  /** What brings another collector there, to be typed. */
  readonly upgrade: readonly string[]
}

type Subject = {readonly dataPath?: DataPath}

const outageBudget = async ({dataPath}: Subject): Promise<Verdict> => {
  if (!dataPath) return skipped('nothing is known of its queues')
  const {need} = dataPath
  const room = await dataPath.room()
  if (room === undefined) return skipped('nobody says how large the disk of its queues is')
  const outage = duration(need.outageSeconds * 1000)
  if (room.bytes >= need.bytes) return ok(`${bytes(need.bytes)} for ${outage}; ${room.what} ${bytes(room.bytes)}`)
  const lasts = duration((need.outageSeconds * room.bytes * 1000) / need.bytes)
  return warning(
    `Queues for an outage of ${outage} take ${bytes(need.bytes)}; ${room.what} ${bytes(room.bytes)}. At the declared rates that lasts for ${lasts}; then the collector refuses, and senders keep the data or lose it. Enlarge the disk, or declare a shorter outage or lower rates in the fleet file (outage, rates).`,
    ['lkeobs status --wide'],
  )
}

/** What the stock collector promises less, in the words of docs/data-plane.md. */
const weaker = [
  'One item that a store refuses for good costs the batch it is in, of all edges, up to 8,192 items; nothing is kept as a dead letter.',
  'An item that is refused again and again stops the queue of its store for every edge.',
  'A queue takes about 400 requests a second, whatever is in them.',
  'No shares: one loud edge takes the room of the others.',
  'A damaged queue file is put aside as a whole; how much was in it is not counted.',
] as const

const build = async ({dataPath}: Subject): Promise<Verdict> => {
  if (!dataPath) return skipped('nothing is known of its collector')
  const {build: found, component, problem} = await dataPath.collector()
  if (found === 'lkeobs' && problem) return warning(`Not all of its collector answers: ${problem.message}`, ['lkeobs status'])
  if (found === 'lkeobs') return ok('the build of lkeobs')
  if (found === 'unknown') return skipped(`its ${component} does not answer, or is not there yet`)
  return warning(
    [
      'Its collector is the stock build (upstream), which promises less:',
      ...weaker.map((promise) => `· ${promise}`),
      'To change that, set `collector: {build: lkeobs}` in the fleet file, then:',
    ].join('\n'),
    dataPath.upgrade,
  )
}

/** The checks of the data path, for clusters of a platform. */
export const dataPathChecks = <S extends Subject>(of: 'local' | 'kubernetes', needs: readonly string[]): readonly Check<S>[] => [
  {id: 'outage-budget', about: 'its disk has room for the declared outage', of, needs, run: outageBudget},
  {id: 'collector-build', about: 'its collector keeps all promises', of, needs, run: build},
]
