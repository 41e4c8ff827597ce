import type {X509Certificate} from 'node:crypto'
import {LkeobsError, orElse} from '../errors.ts'
import type {Cluster, EdgeCluster, HubCluster} from '../platforms/platform.ts'
import type {Group, Step} from '../steps/step.ts'
import {readCertificate} from '../tools/x509.ts'
import {reloadMs} from './leaf.ts'
import {issuerOf} from './pki.ts'
import {entryOf} from './register.ts'

/** What became of one certificate. */
export type Rotated = {
  readonly cluster: string
  /** Which node of its Vault; left out for the leaf of its collector. */
  readonly node?: string
  /** Serial numbers, in hex. */
  readonly before: string
  readonly after: string
  /** From asking for it until it was in use on the wire. */
  readonly propagationMs: number
}

const serialOf = (pem: string | undefined): string => readCertificate(pem ?? '')?.serialNumber ?? ''

/** Longer than a connection may live, and an agent waits before it dials again after it was refused for a while. */
const patienceMs = 150_000

type Told = (rotated: Rotated) => void

/** Its Vault is gone: what brings it back, and until when the leaf there is lasts. */
const withoutVault = (
  {name, role}: HubCluster | EdgeCluster,
  {code, message}: LkeobsError,
  leaf: X509Certificate | undefined,
): LkeobsError => {
  const until = leaf
    ? ` It goes on with the leaf it has, which ends ${new Date(leaf.validTo).toISOString().slice(0, 16).replace('T', ' ')} UTC.`
    : ''
  return new LkeobsError(code, `${message}.${until}`, {next: [role === 'hub' ? 'lkeobs hub init' : `lkeobs edge join ${name}`]})
}

/** Another leaf for a cluster's collector, without a restart: asked for, and then seen in use. */
const rotated = (cluster: HubCluster | EdgeCluster, what: string, isInUse: () => Promise<true | string>, told: Told): Group => {
  const {name} = cluster
  let before: string | undefined
  let askedAt = 0
  return {
    title: name,
    steps: [
      {
        title: `another leaf in the hands of the ${what} on ${name}`,
        async done() {
          const leaf = await cluster.leafNow()
          before ??= leaf ?? ''
          const serial = serialOf(leaf)
          return serial !== '' && serial !== serialOf(before) ? true : 'it has the one from before'
        },
        async apply() {
          askedAt = Date.now()
          await orElse(cluster.leafRenewed?.() ?? Promise.resolve(), (error) => {
            throw error.code === 'LKO-5001' ? withoutVault(cluster, error, readCertificate(before ?? '')) : error
          })
        },
        patienceMs,
      },
      {
        title: `in use by the ${what} on ${name}`,
        async done() {
          const seen = await isInUse()
          if (seen === true)
            told({cluster: name, before: serialOf(before), after: serialOf(await cluster.leafNow()), propagationMs: Date.now() - askedAt})
          return seen
        },
        apply: async () => undefined,
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
    async () => {
      const own = serialOf(await hub.leafNow())
      const shown = (await hub.served()).map(serialOf)
      if (shown.length === 0) return 'no gateway answers'
      const others = shown.filter((serial) => serial !== own).length
      return others === 0 ? true : `${others} of ${shown.length} show another`
    },
    told,
  )

/**
 * What an agent shows is hidden in TLS 1.3 from all but the gateway. So its connections are watched: one that was made after
 * the collector had to read the file anew (configtls reads it in the handshake, once `reload_interval` is over) was made with
 * the new leaf, and when no other is left, it is in use.
 */
export const agentRotated = (edge: EdgeCluster, told: Told): Group => {
  const early = new Set<string>()
  let leaf = ''
  let seenAt = 0
  return rotated(
    edge,
    'agent',
    async () => {
      const now = serialOf(await edge.leafNow())
      if (now !== leaf) {
        leaf = now
        seenAt = Date.now()
        early.clear()
      }
      const dialled = await edge.dialled()
      if (dialled === undefined) return 'its connections cannot be seen from here'
      if (Date.now() - seenAt <= reloadMs) {
        for (const connection of dialled) early.add(connection)
        return 'its connections are from before'
      }
      if (dialled.length === 0) return 'it has no connection'
      const old = dialled.filter((connection) => early.has(connection)).length
      return old === 0 ? true : `${old} of ${dialled.length} connections from before`
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
export const shownByVault = (cluster: string, node: string, {now, shown, reloaded}: VaultCertificates): Step => ({
  title: `${node} on ${cluster} shows the certificate in its hands`,
  patienceMs,
  async done() {
    const [own, seen] = [serialOf(await now(node)), serialOf(await shown(node))]
    if (seen === '') return 'it does not answer'
    return seen === own ? true : 'it shows another'
  },
  apply: () => reloaded(node),
})

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
