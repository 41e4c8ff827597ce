import {exporterOf} from '../destinations/index.ts'
import {LkeobsError} from '../errors.ts'
import type {Destination} from '../fleet/schema.ts'
import type {HubCluster} from '../platforms/platform.ts'

/** Throws LKO-7116 where the hub's collector has no exporter for the destination. */
export const checkExporter = async (hub: HubCluster, destination: Destination): Promise<void> => {
  const [type = ''] = exporterOf(destination).split('/')
  const all = await hub.exporters()
  if (all === undefined || all.includes(type)) return
  throw new LkeobsError('LKO-7116', `The collector of ${hub.name} has no exporter ${type}; it has ${all.join(', ')}.`, {
    next: ['lkeobs tools list', 'lkeobs tools install otelcol'],
  })
}
