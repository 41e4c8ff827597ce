import type {X509Certificate} from 'node:crypto'
import {LkeobsError, orElse} from '../errors.ts'
import type {Cluster, Dialler, EdgeCluster, Hand, HubCluster} from '../platforms/platform.ts'
import type {Group, Step, Task} from '../steps/step.ts'
import {readCertificate} from '../tools/x509.ts'
import {reloadMs} from './leaf.ts'
import {issuerOf} from './pki.ts'
import {entryOf} from './register.ts'

/** What became of one certificate. */
export type Rotated = {
  readonly cluster: string
  /** Which node of its Vault; left out for the leaf of its collector. */
  readonly node?: string
  /** Which of its collectors, where each is seen for itself. */
  readonly pod?: string
  /** Serial numbers, in hex. */
  readonly before: string
  readonly after: string
  /** Until it was in use on the wire: of a leaf from when it was there, in its file or its Secret, otherwise from asking for it. */
  readonly propagationMs: number
}

const serialOf = (pem: string | undefined): string => readCertificate(pem ?? '')?.serialNumber ?? ''

/** Longer than a connection may live, and an agent waits before it dials again after it was refused for a while. */
const patienceMs = 150_000

type Told = (rotated: Rotated) => void

/** Its Vault is gone: what brings it back, and until when the leaf there is lasts. */
const withoutVault = (
  {name, role}: Pick<Cluster, 'name' | 'role'>,
  {code, message}: LkeobsError,
  leaf: X509Certificate | undefined,
): LkeobsError => {
  const until = leaf
    ? ` It goes on with the leaf it has, which ends ${new Date(leaf.validTo).toISOString().slice(0, 16).replace('T', ' ')} UTC.`
    : ''
  return new LkeobsError(code, `${message}.${until}`, {next: [role === 'hub' ? 'lkeobs hub init' : `lkeobs edge join ${name}`]})
}

/** What is seen of the collectors of a cluster. */
type Sight = {
  /** What it takes to see it. */
  readonly needs: readonly Task[]
  /** Each leaf in their hands, and whether it is in use: `true`, or why not. */
  look(): Promise<readonly (Hand & {readonly inUse: true | string})[]>
}

/** The first of those of which something is not so. */
const firstOf = (not: readonly {readonly pod?: string; readonly why: string}[]): true | string => {
  const [first, ...more] = not
  if (!first) return true
  return `${first.pod === undefined ? '' : `${first.pod}: `}${first.why}${more.length === 0 ? '' : ` (and ${more.length} more)`}`
}

/** What a cluster answers about its collectors' leaves. */
type Leaved = Pick<Cluster, 'name' | 'role' | 'leavesNow' | 'leafRenewed' | 'leafBrought'>

/** Another leaf for a cluster's collectors, without a restart: asked for, and then seen in use. */
const rotated = (cluster: Leaved, what: string, {needs, look}: Sight, told: Told): Group => {
  const {name} = cluster
  /** Those of before: in their place, and in anybody's hands. */
  let before: {readonly leaves: readonly Hand[]; readonly hands: readonly Hand[]; readonly serials: ReadonlySet<string>} | undefined
  const isNew = ({leaf}: Hand) => !['', ...(before?.serials ?? [])].includes(serialOf(leaf))
  const serialBefore = ({pod}: Hand) => {
    const own = before && [...before.hands, ...before.leaves].find((hand) => hand.pod === pod)
    return serialOf((own ?? before?.leaves[0])?.leaf)
  }
  let askedAt = 0
  /** The last look that did not find it yet. */
  let notThereAt = 0
  const inUse = new Set<string | undefined>()
  return {
    title: name,
    steps: [
      ...needs,
      {
        title: `another leaf for the ${what} on ${name}`,
        async done() {
          const lookedAt = Date.now()
          const leaves = await cluster.leavesNow()
          if (!before) {
            const hands = await look()
            before = {leaves, hands, serials: new Set([...leaves, ...hands].map(({leaf}) => serialOf(leaf)))}
          }
          if (leaves.length > 0 && leaves.every(isNew)) return true
          notThereAt = lookedAt
          const not = leaves.filter((leaf) => !isNew(leaf))
          return leaves.length === 0
            ? 'there is none'
            : firstOf(not.map(({pod}) => ({...(pod !== undefined && {pod}), why: 'the one from before'})))
        },
        async apply() {
          askedAt = Date.now()
          await orElse(cluster.leafRenewed?.() ?? Promise.resolve(), (error) => {
            throw error.code === 'LKO-5001' ? withoutVault(cluster, error, readCertificate(before?.leaves[0]?.leaf ?? '')) : error
          })
        },
        patienceMs,
      },
      {
        title: `in use by the ${what} on ${name}`,
        async done() {
          const seen = await look()
          const at = Date.now()
          const judged = seen.map((one) => ({...one, why: one.inUse === true && !isNew(one) ? 'it has the one from before' : one.inUse}))
          for (const {pod, leaf, why} of judged) {
            if (why !== true || inUse.has(pod)) continue
            inUse.add(pod)
            told({
              cluster: name,
              ...(pod !== undefined && {pod}),
              before: serialBefore({...(pod !== undefined && {pod}), leaf}),
              after: serialOf(leaf),
              propagationMs: at - Math.max(askedAt, notThereAt),
            })
          }
          const not = judged.flatMap(({pod, why}) => (why === true ? [] : [{...(pod !== undefined && {pod}), why}]))
          return judged.length === 0 ? 'it is not seen' : firstOf(not)
        },
        apply: async () => cluster.leafBrought?.(),
        patienceMs,
      },
    ],
  }
}

/** What the gateways show to who dials them is the leaf in their hands. */
export const gatewayRotated = (hub: HubCluster, told: Told): Group =>
  rotated(
    hub,
    'gateway',
    {
      needs: [],
      async look() {
        const hands = await hub.leavesNow()
        const own = new Set(hands.map(({leaf}) => serialOf(leaf)))
        const shown = (await hub.served()).map(serialOf)
        const others = shown.filter((serial) => !own.has(serial)).length
        const inUse = shown.length === 0 ? 'no gateway answers' : others === 0 ? true : `${others} of ${shown.length} show another`
        return hands.map((hand) => ({...hand, inUse}))
      },
    },
    told,
  )

/**
 * What an agent shows is hidden in TLS 1.3 from all but the gateway. So its connections are watched: one that was made after
 * the collector had to read the file anew (configtls reads it in the handshake, once `reload_interval` is over) was made with
 * the new leaf, and when no other is left, it is in use.
 */
export const agentRotated = (edge: Leaved & Pick<EdgeCluster, 'diallers' | 'diallersSeen'>, told: Told): Group => {
  /** Of each agent: its leaf, since when it is seen to have it, and the connections that may be older. */
  const agents = new Map<string | undefined, {readonly serial: string; readonly since: number; early?: ReadonlySet<string>}>()
  const judged = ({pod, leaf, connections}: Dialler, lookedAt: number): true | string => {
    const serial = serialOf(leaf)
    if (serial === '') return 'its leaf is not seen'
    const agent = agents.get(pod)
    if (agent?.serial !== serial) {
      agents.set(pod, {serial, since: Date.now()})
      return 'its connections are from before'
    }
    if (!agent.early) {
      if (lookedAt - agent.since > reloadMs) agent.early = new Set(connections)
      return 'its connections are from before'
    }
    if (connections.length === 0) return 'it has no connection'
    const {early} = agent
    const old = connections.filter((connection) => early.has(connection)).length
    return old === 0 ? true : `${old} of ${connections.length} connections from before`
  }
  return rotated(
    edge,
    'agent',
    {
      needs: edge.diallersSeen(),
      async look() {
        const lookedAt = Date.now()
        return ((await edge.diallers()) ?? []).map((one) => ({...one, inUse: judged(one, lookedAt)}))
      },
    },
    told,
  )
}

/**
 * Another issuer for an edge. It is under way as long as the hub does not know the one there is, or still trusts the one of
 * before: then no other is made.
 */
export const issuerMadeAnew = (hub: HubCluster, edge: EdgeCluster, make: () => Promise<void>): Step => {
  let before: string | undefined
  return {
    title: `another issuer of ${edge.name}, signed by ${hub.name}`,
    async done() {
      const [entry, now = ''] = [await entryOf(hub.vault, edge.name), await issuerOf(edge.vault, 'pki')]
      if (entry.retiring !== undefined || entry.issuer?.trim() !== now.trim()) return true
      before ??= now
      return now === before ? 'the one from before' : true
    },
    apply: make,
  }
}

type VaultCertificates = NonNullable<Cluster['vaultCertificates']>

/** A node of Vault shows the certificate in its hands: where it does not, it is told that there is another. */
const shownByVault = (cluster: string, node: string, {now, shown, reloaded}: VaultCertificates): Step => ({
  title: `${node} on ${cluster} shows the certificate in its hands`,
  patienceMs,
  async done() {
    const [own, seen] = [serialOf(await now(node)), serialOf(await shown(node))]
    if (seen === '') return 'it does not answer'
    return seen === own ? true : 'it shows another'
  },
  apply: () => reloaded(node),
})

/** A node that runs shows no certificate but the one in its hands; one that does not run begins with it. */
export const shownWhereItRuns = (cluster: string, node: string, certificates: VaultCertificates): Step => {
  const step = shownByVault(cluster, node, certificates)
  return {
    ...step,
    title: `no certificate shown by ${node} on ${cluster} but the one in its hands`,
    done: async () => ((await certificates.shown(node)) === undefined ? true : step.done()),
  }
}

/** Another certificate for the nodes of a Vault, taken up by one after the other without a restart. */
export const vaultRotated = (cluster: HubCluster | EdgeCluster, certificates: VaultCertificates, told: Told): Group => {
  const {name} = cluster
  const nodes = cluster.vaultNodes().map((node) => node.name)
  const before = new Map<string, string>()
  let askedAt = 0
  const isNew = async (node: string) => {
    const serial = serialOf(await certificates.now(node))
    if (!before.has(node)) before.set(node, serial)
    return serial !== '' && serial !== before.get(node)
  }
  return {
    title: name,
    steps: [
      {
        title: `another certificate for Vault on ${name}`,
        patienceMs,
        async done() {
          const seen = await Promise.all(nodes.map(isNew))
          return seen.every(Boolean) ? true : 'it has the one from before'
        },
        async apply() {
          askedAt = Date.now()
          await certificates.renewed()
        },
      },
      ...nodes.map((node): Step => {
        const shows = shownByVault(name, node, certificates)
        return {
          ...shows,
          async done() {
            const seen = await shows.done()
            if (seen === true)
              told({
                cluster: name,
                node,
                before: before.get(node) ?? '',
                after: serialOf(await certificates.now(node)),
                propagationMs: Date.now() - askedAt,
              })
            return seen
          },
        }
      }),
    ],
  }
}

/** How long it took until what was asked for was in use: half of them, 95 of a hundred, the slowest. */
export type Propagation = {readonly p50: number; readonly p95: number; readonly max: number}

export const propagationOf = (all: readonly Rotated[]): Propagation => {
  const took = all.map(({propagationMs}) => propagationMs)
  return {p50: percentile(took, 0.5), p95: percentile(took, 0.95), max: Math.max(0, ...took)}
}

/** The value below which this part of them is; 0 where there are none. */
const percentile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * part) - 1)] ?? 0
