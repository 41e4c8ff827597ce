import path from 'node:path'
import type {Fleet} from '../clusters.ts'
import {feedOf} from '../collector/destinations.ts'
import {exporterOf} from '../destinations/index.ts'
import {secretsForgotten} from '../destinations/secrets.ts'
import {withoutDestination} from '../fleet/edit.ts'
import type {Destination} from '../fleet/schema.ts'
import {count, duration} from '../output.ts'
import type {Ways} from '../platforms/kubernetes/site.ts'
import type {HubCluster} from '../platforms/platform.ts'
import type {Plan, Step} from '../steps/step.ts'
import {until} from '../steps/wait.ts'
import type {Tools} from '../tools/index.ts'
import {sum} from '../verify/hops.ts'
import {fileIs, fleetAs} from './dest-add.ts'

export type DestinationRemove = {
  readonly fleet: Fleet
  readonly name: string
  /** How long it is waited for what is in its queue. */
  readonly drainMs: number
  /** Told how many items were left in the end. */
  readonly left: (items: number) => void
  readonly ways: Ways
}

/** A destination that is fed no more, sends what it has, and then is gone: from the file, the gateway, and Vault. */
export const destRemove = ({fleet, name, drainMs, left, ways}: DestinationRemove, tools: Tools): Plan => {
  const {file, hub} = fleet
  const destination = file.fleet.destinations.find((one) => one.name === name)
  const after = fleetAs(file, destination ? withoutDestination(file.text, name) : file.text, tools, ways)
  return {
    command: `dest remove ${name}`,
    title: `${hub.name} no longer sends to ${name}.`,
    steps: [
      ...(destination && drainMs > 0
        ? [{title: `${name} is fed no more`, steps: hub.gatewayRuns({closing: [name]})}, drained(hub, destination, {drainMs, left}, tools)]
        : []),
      fileIs(after.file, `${name} not in ${path.relative(process.cwd(), file.file)}`, tools),
      ...after.hub.gatewayRuns(),
      ...after.hub.destinationGone(name),
      // last: without it the gateway that is could not be started again
      secretsForgotten(hub.vault, name),
    ],
  }
}

const drained = (
  hub: HubCluster,
  destination: Destination,
  {drainMs, left}: Pick<DestinationRemove, 'drainMs' | 'left'>,
  {download}: Tools,
): Step => {
  const waiting = async () => {
    const counters = await hub.counters('gateway')
    const exporters = [feedOf(destination.name), exporterOf(destination)]
    return counters && exporters.reduce((items, exporter) => items + sum(counters, 'otelcol_exporter_queue_size', {exporter}), 0)
  }
  let isOver = false
  const isEmpty = async () => {
    const items = await waiting()
    return items === 0 ? true : items === undefined ? 'the gateway does not say' : `${count(items, 'item')} in it`
  }
  return {
    title: `queue of ${destination.name} is empty, or ${duration(drainMs)} have passed`,
    done: async () => (isOver ? true : isEmpty()),
    async apply(tell) {
      if (download.dry) return
      if ((await until(isEmpty, {forMs: drainMs, tell})) === true) return
      isOver = true
      const items = (await waiting()) ?? 0
      left(items)
      tell(`${count(items, 'item')} left in it: given up`, 'lasting')
    },
  }
}
