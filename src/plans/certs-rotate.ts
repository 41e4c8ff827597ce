import type {Fleet} from '../clusters.ts'
import {LkeobsError} from '../errors.ts'
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

/** Throws LKO-5302 where a new leaf could not be asked for, or not be seen in use. Only reads. */
export const checkRotatable = async ({hub}: Pick<Fleet, 'hub'>, {edges, gateway}: Pick<RotateWish, 'edges' | 'gateway'>): Promise<void> => {
  const seen = await Promise.all(edges.map(async (edge) => edge.leafRenewed !== undefined && (await edge.dialled()) !== undefined))
  const not = [...(gateway && !hub.leafRenewed ? [hub.name] : []), ...edges.filter((_, at) => !seen[at]).map(({name}) => name)]
  if (not.length > 0) throw new LkeobsError('LKO-5302', `Not from here: ${not.join(', ')}.`, {next: ['lkeobs certs status']})
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
