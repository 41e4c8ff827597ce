import type {Fleet} from '../clusters.ts'
import {LkeobsError} from '../errors.ts'
import type {EdgeCluster} from '../platforms/platform.ts'
import {count} from '../output.ts'
import type {Plan} from '../steps/step.ts'
import {registered, retired, trusted} from '../trust/bundle.ts'
import {issuerOf, newIssuer} from '../trust/pki.ts'
import {agentRotated, gatewayRotated, issuerMadeAnew, type Rotated} from '../trust/rotation.ts'
import {inReach} from './edge-join.ts'

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

/** Another issuer for an edge: trusted beside the one of before, then signing the leaf in use, then alone. */
export const issuerRotate = ({hub}: Fleet, edge: EdgeCluster, told: (rotated: Rotated) => void): Plan => {
  const {name, vault} = edge
  const {signer} = inReach(hub, edge)
  return {
    command: `certs rotate --issuer ${name}`,
    title: `Another issuer for ${name}.`,
    steps: [
      issuerMadeAnew(hub, edge, () => newIssuer(vault, 'pki', `lkeobs edge ${name}`, signer)),
      registered(hub.vault, name, async () => (await issuerOf(vault, 'pki')) ?? ''),
      trusted(hub, hub.vault),
      agentRotated(edge, told),
      retired(hub.vault, name),
      trusted(hub, hub.vault),
    ],
  }
}
