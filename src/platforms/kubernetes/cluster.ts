import type {FleetFile} from '../../fleet/load.ts'
import type {Edge} from '../../fleet/schema.ts'
import type {Tools} from '../../tools/index.ts'
import type {EdgeCluster, HubCluster} from '../platform.ts'
export const openKubernetesHub = (_file: FleetFile, _platform: object, _tools: Tools): HubCluster => {
  throw new Error('x')
}
export const openKubernetesEdge = (_file: FleetFile, _edge: Edge, _platform: object | undefined, _tools: Tools): EdgeCluster => {
  throw new Error('x')
}
