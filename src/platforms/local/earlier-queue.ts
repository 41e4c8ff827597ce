import path from 'node:path'
import type {Component} from '../../components/component.ts'
import {count} from '../../output.ts'
import {until} from '../../steps/wait.ts'
import type {Step} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import type {Machine} from './index.ts'

type EarlierQueue = {
  readonly machine: Machine
  readonly tools: Pick<Tools, 'files' | 'download' | 'http' | 'vault'>
  /** The collector with the exporters of the build upstream: it takes nothing in, and sends what their files hold. */
  readonly draining: Component
  /** How many items wait in it; undefined where it does not say yet. */
  readonly queued: () => Promise<number | undefined>
}

/** As the storage extension names the queue of an exporter: exporter_otlp_grpc_hub_logs. */
const isExporterQueue = (file: string): boolean => /^exporter_.+_(metrics|logs|traces)$/.test(file)

const drainMs = 10 * 60_000

/**
 * What the exporters of an earlier version, or of the build upstream, have queued is sent before the durable queue begins: that
 * reads none of it. The collector takes nothing in meanwhile. Where the other side is away, the step waits, and fails without a loss.
 */
export const earlierQueueSent = ({machine, tools, draining, queued}: EarlierQueue): Step => {
  const {files, download} = tools
  const {name} = draining
  const folder = machine.place(name).file('queue')
  const left = async () => (await files.list(folder)).filter(isExporterQueue)
  const isEmpty = async () => {
    const items = (await draining.ready(tools)) === true ? await queued() : undefined
    return items === 0 ? true : items === undefined ? 'it does not say yet how many items wait' : `${count(items, 'item')} to be sent`
  }
  return {
    title: `${name} on ${machine.cluster}: nothing waits in the queue of an earlier version`,
    done: async () => ((await left()).length === 0 ? true : `${folder} has one`),
    async apply(tell) {
      await machine.runs(draining).apply(tell)
      if (download.dry) return
      if ((await until(isEmpty, {forMs: drainMs, tell})) !== true) return
      await machine.stopped(name, '').apply(tell)
      for (const file of await left()) await files.remove(path.join(folder, file))
    },
  }
}
