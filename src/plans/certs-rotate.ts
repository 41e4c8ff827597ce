import {checkHub, edgeOf, edgesOf, type Fleet} from '../clusters.ts'
import {LkeobsError} from '../errors.ts'
import type {Cluster, EdgeCluster, HubCluster} from '../platforms/platform.ts'
import {count} from '../output.ts'
import type {Group, Plan, Task} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {registered, retired, trusted} from '../trust/bundle.ts'
import {issuerOf, newIssuer} from '../trust/pki.ts'
import {agentRotated, gatewayRotated, issuerMadeAnew, type Rotated, vaultRotated} from '../trust/rotation.ts'
import {inReach} from './edge-join.ts'
import {rootRollback, rootRotate, rootRotationOf} from './root-rotate.ts'

/** What is to be rotated, by the names it has on the command line. */
export type RotateWish = {
  readonly all: boolean
  readonly gateway: boolean
  readonly edge?: readonly string[] | undefined
  readonly issuer?: string | undefined
  readonly vault: boolean
  readonly root: boolean
  readonly rollback: boolean
  /** How many edges at once. */
  readonly concurrency: number
  readonly 'max-failures'?: number | undefined
}

/** Who is told of what has come about. */
export type Witness = {
  /** A certificate that is in use. */
  rotated(one: Rotated): void
  /** A moment of the run. */
  mark(what: string): void
}

/** A way of rotating: what has to be so before anything is changed, what a person is asked, and what is done. */
export type Rotation = {
  readonly title: string
  /** Only reads. */
  checked(fleet: Fleet): Promise<void>
  question?(fleet: Fleet): string
  plan(fleet: Fleet, tools: Tools, witness: Witness): Promise<Plan>
}

/** Undefined where nothing is wished for. */
export const rotationOf = (wish: RotateWish): Rotation | undefined => {
  if (wish.root) return ofRoot(wish)
  if (wish.vault) return ofVaults(wish)
  if (wish.issuer !== undefined) return ofIssuer(wish.issuer)
  return wish.all || wish.gateway || wish.edge !== undefined ? ofLeaves(wish) : undefined
}

/** Throws LKO-5302 naming those of which something cannot be had from here. */
const refuse = (not: readonly {readonly name: string}[]): void => {
  if (not.length === 0) return
  throw new LkeobsError('LKO-5302', `Not from here: ${not.map(({name}) => name).join(', ')}.`, {next: ['lkeobs certs status']})
}

/** A new leaf can be asked for, and be seen in use. */
const checkEdges = async (edges: readonly EdgeCluster[]): Promise<void> => {
  const seen = await Promise.all(edges.map(async (edge) => edge.leafRenewed !== undefined && (await edge.diallers()) !== undefined))
  refuse(edges.filter((_, at) => !seen[at]))
}

/** Edges side by side: one that fails does not stop the others. */
const sideBySide = (title: string, {concurrency, 'max-failures': mostFailures}: RotateWish, steps: readonly Group[]): readonly Task[] =>
  steps.length === 0 ? [] : [{title, concurrency, mostFailures, independent: 'LKO-8001', steps}]

const named = (members: readonly string[]): string => members.map((name) => `--edge ${name}`).join(' ')

/** New leaves without a restart: done when each is in use on the wire. */
const ofLeaves = (wish: RotateWish): Rotation => {
  const isOfGateway = wish.all || wish.gateway
  const edgesIn = (fleet: Fleet) => (wish.all || wish.edge !== undefined ? edgesOf(fleet, wish.edge) : [])
  return {
    title: 'New leaves',
    async checked(fleet) {
      await checkHub(fleet.hub)
      if (isOfGateway && !fleet.hub.leafRenewed) refuse([fleet.hub])
      await checkEdges(edgesIn(fleet))
    },
    async plan(fleet, _, {rotated}) {
      const edges = edgesIn(fleet)
      const whose = [
        ...(isOfGateway ? [`the gateway of ${fleet.hub.name}`] : []),
        ...(edges.length > 0 ? [count(edges.length, 'edge')] : []),
      ]
      return {
        command: 'certs rotate',
        title: `New leaves for ${whose.join(' and ')}.`,
        again: (members) => `certs rotate ${named(members)}`,
        steps: [
          ...(isOfGateway ? [gatewayRotated(fleet.hub, rotated)] : []),
          ...sideBySide(
            'edges',
            wish,
            edges.map((edge) => agentRotated(edge, rotated)),
          ),
        ],
      }
    },
  }
}

/** Other certificates for Vault's nodes, without a restart: of these edges, or of the hub and every edge. */
const ofVaults = (wish: RotateWish): Rotation => {
  const edgesIn = (fleet: Fleet) => (wish.edge === undefined ? fleet.edges : edgesOf(fleet, wish.edge))
  const hubIn = ({hub}: Fleet) => (wish.edge === undefined ? [hub] : [])
  const groupsOf = (clusters: readonly (HubCluster | EdgeCluster)[], rotated: Witness['rotated']) =>
    clusters.flatMap((cluster) => (cluster.vaultCertificates ? [vaultRotated(cluster, cluster.vaultCertificates, rotated)] : []))
  return {
    title: 'Other certificates for Vault',
    async checked(fleet) {
      refuse([...hubIn(fleet), ...edgesIn(fleet)].filter(({vaultCertificates}) => !vaultCertificates))
    },
    async plan(fleet, _, {rotated}) {
      const clusters: readonly Pick<Cluster, 'name'>[] = [...hubIn(fleet), ...edgesIn(fleet)]
      return {
        command: 'certs rotate --vault',
        title: `Other certificates for Vault on ${clusters.length === 1 ? clusters[0]?.name : count(clusters.length, 'cluster')}.`,
        again: (members) => `certs rotate --vault ${named(members)}`,
        steps: [...groupsOf(hubIn(fleet), rotated), ...sideBySide('edges', wish, groupsOf(edgesIn(fleet), rotated))],
      }
    },
  }
}

/** Another issuer for an edge: trusted beside the one of before, then signing the leaf in use, then alone. */
const ofIssuer = (name: string): Rotation => ({
  title: `Another issuer for ${name}`,
  async checked(fleet) {
    await checkHub(fleet.hub)
    await checkEdges([edgeOf(fleet, name)])
  },
  async plan(fleet, _, {rotated}) {
    const {hub} = fleet
    const edge = edgeOf(fleet, name)
    const {vault} = edge
    const {signer} = inReach(hub, edge)
    return {
      command: `certs rotate --issuer ${name}`,
      title: `Another issuer for ${name}.`,
      steps: [
        issuerMadeAnew(hub, edge, () => newIssuer(vault, 'pki', `lkeobs edge ${name}`, signer)),
        registered(hub.vault, name, async () => (await issuerOf(vault, 'pki')) ?? ''),
        trusted(hub, hub.vault),
        agentRotated(edge, rotated),
        retired(hub.vault, name),
        trusted(hub, hub.vault),
      ],
    }
  },
})

/** Another root CA for the hub, or back to the one of before. Killed in between, it finds a hub that does not run, and brings it up. */
const ofRoot = ({rollback}: RotateWish): Rotation => ({
  title: rollback ? 'Back to the root CA of before' : 'Another root CA',
  async checked(fleet) {
    await rootRotationOf(fleet)
  },
  question: ({hub: {name}}) => `Exchange the root CA of ${name}? Every agent is restarted on the way, with its queue on disk.`,
  async plan(fleet, tools, {mark}) {
    return (rollback ? rootRollback : rootRotate)(fleet, await rootRotationOf(fleet), tools, mark)
  },
})
