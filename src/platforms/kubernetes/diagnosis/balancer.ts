import {eventsOf, latest} from './events.ts'
import {describe, fault, type Finder} from './fault.ts'
import {changed, nameOf} from './live.ts'

/** LKO-3115 */
export const noAddress: Finder = (scene, {live}) => {
  if (live.kind !== 'Service' || live.spec?.type !== 'LoadBalancer' || (live.status?.loadBalancer?.ingress ?? []).length > 0)
    return undefined
  const said = latest(eventsOf(scene, live, /^(SyncLoadBalancerFailed|AllocationFailed|UnAvailableLoadBalancer|UnavailableLoadBalancer)$/))
  const at = changed(live)
  if (!scene.isRipe({first: at, last: Math.max(at, said?.last ?? 0)}, 90)) return undefined
  const words = said?.message ?? 'nobody says why; most likely the cluster has no controller for load balancers'
  return fault(scene, 'LKO-3115', `Service ${nameOf(live)} has had no address for more than 90 s: ${words}.`, describe(live))
}
