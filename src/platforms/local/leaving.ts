import path from 'node:path'
import {queuedIn} from '../../collector/queue.ts'
import type {Component} from '../../components/component.ts'
import type {Step} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import type {EdgeCluster} from '../platform.ts'
import type {LocalCluster, Machine} from './index.ts'

type Leaving = {
  readonly cluster: LocalCluster
  readonly machine: Machine
  readonly tools: Pick<Tools, 'files' | 'processes' | 'http' | 'vault'>
  /** The same component, as it takes nothing in. */
  readonly closedAgent: Component
  /** What an earlier version has queued is sent first. */
  readonly earlier: readonly Step[]
  readonly counters: EdgeCluster['counters']
}

/**
 * How an edge on this machine comes to its end. Nothing is noted down: there is something to send as long as there is a folder
 * with a queue, and that is removed when it is empty.
 */
export const leaving = ({
  cluster: {name, stateFolder},
  machine,
  tools,
  closedAgent,
  earlier,
  counters,
}: Leaving): Pick<EdgeCluster, 'closed' | 'queued' | 'queueGone' | 'removed'> => {
  const {files, processes} = tools
  const folder = path.join(stateFolder, name)
  const queues = ['queue', 'queue-checkpoints'].map((queue) => machine.place('agent').file(queue))
  const hasQueue = async () => files.exists(queues[0] ?? '')
  const closes = machine.runs(closedAgent)
  const stops = machine.stopped('agent', '')

  /** By what was started here, whatever the fleet file says now. */
  const running = async (): Promise<readonly string[]> => {
    const all = await files.list(path.join(folder, 'run'))
    const alive = await Promise.all(all.map((component) => processes.find(path.join(folder, 'run', component))))
    return all.filter((_, index) => alive[index] !== undefined)
  }

  const stopped: Step = {
    title: `nothing of ${name} runs`,
    async done() {
      const left = await running()
      return left.length === 0 ? true : `${left.join(', ')} still running`
    },
    async apply(tell) {
      for (const component of await running()) await machine.stopped(component, '').apply(tell)
    },
  }

  return {
    closed: () => [
      ...earlier,
      {
        ...closes,
        title: `agent on ${name} takes nothing in, and sends what it has`,
        done: async () => ((await hasQueue()) ? closes.done() : true),
      },
    ],
    async queued() {
      if (!(await hasQueue())) return 0
      // before that it has not looked at what it kept
      return (await closedAgent.ready(tools)) === true ? queuedIn(await counters('agent')) : undefined
    },
    queueGone: () => [
      {
        title: `agent on ${name} and its queue are gone`,
        async done() {
          if ((await stops.done()) !== true) return 'it runs'
          return (await hasQueue()) ? 'its queue is there' : true
        },
        async apply(tell) {
          await stops.apply(tell)
          // the queue last: as long as it is there, it is looked at again
          for (const queue of queues.toReversed()) await files.remove(queue)
        },
      },
    ],
    removed: () => [
      stopped,
      {
        title: `nothing is kept of ${name}`,
        done: async () => ((await files.exists(folder)) ? `${path.basename(stateFolder)}/${name} is there` : true),
        apply: () => files.remove(folder),
      },
    ],
  }
}
