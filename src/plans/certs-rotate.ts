import type {Fleet} from '../clusters.ts'
import type {EdgeCluster} from '../platforms/platform.ts'
import {count} from '../output.ts'
import type {Plan} from '../steps/step.ts'
import {agentRotated, gatewayRotated, type Rotated} from '../trust/rotation.ts'

export type RotateWish = {
  readonly edges: readonly EdgeCluster[]
  readonly gateway: boolean
  /** How many edges at once. */
  readonly concurrency: number
  readonly mostFailures: number | undefined
}

/** New leaves without a restart: done when each is in use on the wire. */
export const certsRotate = (
  {hub}: Fleet,
  {edges, gateway, concurrency, mostFailures}: RotateWish,
  told: (rotated: Rotated) => void,
): Plan => ({
  command: 'certs rotate',
  title: `New leaves for ${[...(gateway ? [`the gateway of ${hub.name}`] : []), ...(edges.length > 0 ? [count(edges.length, 'edge')] : [])].join(' and ')}.`,
  steps: [
    ...(gateway ? [gatewayRotated(hub, told)] : []),
    ...(edges.length > 0
      ? [
          {
            title: 'edges',
            concurrency,
            mostFailures,
            independent: 'LKO-8001' as const,
            steps: edges.map((edge) => agentRotated(edge, told)),
          },
        ]
      : []),
  ],
})
