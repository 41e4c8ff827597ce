import {setTimeout as sleep} from 'node:timers/promises'
import {atMost} from '../checks/check.ts'
import type {Fleet} from '../clusters.ts'
import {LkeobsError, messageOf} from '../errors.ts'
import type {EdgeCluster, HubCluster, Sighting} from '../platforms/platform.ts'
import {certificatesIn, readCertificate} from '../tools/x509.ts'
import {issuerShown} from '../trust/pki.ts'
import {byEnd, type Certificate, type CertificateKind, certificateOf, isDue, type Known, shortTime, unread} from './certificate.ts'
import {type Member, membersOf, registerOf} from './trusted.ts'

type AnyCluster = HubCluster | EdgeCluster
type About = Pick<Known, 'of' | 'renewedBy' | 'stops'>

/** A cluster that does not answer is not waited for as long as a step would. */
const readMs = 12_000
const clustersAtOnce = 10
const podsAtOnce = 8

const commandOf = ({role, name}: AnyCluster): string => (role === 'hub' ? 'lkeobs hub init' : `lkeobs edge join ${name}`)

/** What they are, and what stops when they end. */
const words = {
  hub: {
    leaf: ["gateway's leaf", 'no edge can send'],
    gateway: ['gateway, as dialled', 'no edge can send'],
    vault: ['Vault', 'no leaf is renewed; edges that it unseals do not open'],
    root: ['root CA', 'no edge can send; no leaf is renewed'],
    destination: ['destination', 'it is sent nothing: what is meant for it waits'],
  },
  edge: {
    leaf: ["agent's leaf", 'it cannot send'],
    vault: ['Vault', 'its leaf is not renewed'],
    root: ['root CA', 'its leaf is not renewed'],
    'hub-ca': ["hub's CA, for the agent", 'it cannot send'],
    'seal-ca': ["hub's CA, for the seal", 'its Vault does not open when it starts'],
  },
} as const satisfies Record<string, Partial<Record<Sighting['kind'], readonly [of: string, stops: string]>>>

/** The mounts of each Vault that sign; what they sign is refused once they have ended. */
const issuers = {
  hub: [
    ['pki_hub', 'issuer of the gateway', 'no edge can send; no new leaf from a day before'],
    ['pki_edge', 'issuer of edges', 'no edge can join, or get another issuer'],
  ],
  edge: [['pki', 'issuer of its leaves', 'it cannot send; no new leaf from a day before']],
} as const

const aboutOf = (cluster: AnyCluster, kind: Sighting['kind']): About => {
  const known: Partial<Record<Sighting['kind'], readonly [string, string]>> = words[cluster.role]
  const [of, stops] = known[kind] ?? [kind, '']
  const {leaf, ca} = cluster.renewedBy
  const run = commandOf(cluster)
  const byKind: Partial<Record<Sighting['kind'], string>> = {
    leaf,
    gateway: leaf,
    vault: ca ?? run,
    root: ca ?? 'nobody',
    destination: 'who runs it',
  }
  return {of, renewedBy: byKind[kind] ?? run, stops}
}

const reasonOf = (error: unknown): string =>
  `${error instanceof LkeobsError ? `${error.code} ` : ''}${messageOf(error)}`.replaceAll(/\s*\n\s*/g, '; ')

const within = <T>(work: Promise<T>): Promise<T> =>
  Promise.race([work, sleep(readMs, undefined, {ref: false}).then(() => Promise.reject(new Error(`no answer within ${readMs / 1000} s`)))])

/** What is in such a file stands for itself, and nothing in it for another: while a root CA is exchanged there are two. */
const isBundle = (kind: CertificateKind): boolean => kind === 'root' || kind === 'hub-ca' || kind === 'seal-ca'

const rowsIn = (known: Known, pem: string | undefined, warnMs: number): readonly Certificate[] => {
  if (pem === undefined) return [unread(known, 'there is none')]
  const [first, ...rest] = certificatesIn(pem)
  if (!first) return [unread(known, 'no certificate is in it')]
  const next: Known = isBundle(known.kind)
    ? known
    : {...known, kind: 'chain', of: `chain of ${known.of}`, stops: 'what it is in the chain of is refused'}
  return [
    certificateOf(known, first, warnMs),
    ...rest.map((one) => (one ? certificateOf(next, one, warnMs) : unread(next, 'it cannot be parsed'))),
  ]
}

/** A kubelet brings a Secret to its pods within 90 s, and a node of Vault takes it up some seconds later. */
const takenUpMs = 5 * 60_000

/** Whoever renews Vault's certificate has not renewed what is shown until a node has taken it up. */
const takenUp = async ({vaultCertificates}: AnyCluster, node: string, shown: Certificate): Promise<Certificate> => {
  const own = readCertificate((await vaultCertificates?.now(node)) ?? '')
  if (!own || shown.serial === undefined || shown.serial === own.serialNumber) return shown
  const since = Date.parse(own.validFrom)
  return Date.now() - since < takenUpMs
    ? shown
    : {...shown, why: `it has another since ${shortTime(new Date(since).toISOString())}, and was not told`}
}

/** One place where certificates are seen, or why nothing is seen there. */
const look = async (cluster: AnyCluster, sighting: Sighting, warnMs: number): Promise<readonly Certificate[]> => {
  const {kind, seen, at, which} = sighting
  const known: Known = {cluster: cluster.name, kind, ...aboutOf(cluster, kind), ...(which !== undefined && {which}), seen, at}
  try {
    if ('read' in sighting) {
      const [first, ...rest] = rowsIn(known, await within(sighting.read()), warnMs)
      if (!first) return []
      return [kind === 'vault' && which !== undefined ? await within(takenUp(cluster, which, first)) : first, ...rest]
    }
    const found = await within(sighting.each())
    if (found.length === 0) return [unread(known, 'there are none')]
    return (await atMost(podsAtOnce, found, (one) => look(cluster, one, warnMs))).flat()
  } catch (error) {
    return [unread(known, reasonOf(error))]
  }
}

/** The CA that a mount issues with. Any node tells anybody. */
const lookAtIssuer = async (
  cluster: AnyCluster,
  [mount, of, stops]: readonly [mount: string, of: string, stops: string],
  warnMs: number,
): Promise<readonly Certificate[]> => {
  const known: Known = {cluster: cluster.name, kind: 'issuer', of, seen: 'in Vault', at: mount, renewedBy: commandOf(cluster), stops}
  try {
    const asked = Promise.any(cluster.vaultNodes().map(({vault}) => issuerShown(vault, mount)))
    return rowsIn(known, await within(asked), warnMs)
  } catch (error) {
    return [unread(known, reasonOf(error instanceof AggregateError ? error.errors[0] : error))]
  }
}

const keyOf = ({cluster, issuer, serial}: Certificate): string => `${cluster} ${issuer} ${serial}`

/** Issuers are told once: what a chain repeats of them is left out. */
const withoutRepeated = (rows: readonly Certificate[]): readonly Certificate[] => {
  const told = new Set(rows.filter(({kind}) => kind !== 'chain').map(keyOf))
  return rows.filter((row) => row.kind !== 'chain' || (!told.has(keyOf(row)) && told.add(keyOf(row))))
}

/** The certificates of a cluster where they are seen; all but those of edges that its gateway trusts. */
export const certificatesOf = async (
  cluster: AnyCluster,
  {warnMs, kinds}: {readonly warnMs: number; readonly kinds?: readonly CertificateKind[]},
): Promise<readonly Certificate[]> => {
  const isWanted = (kind: CertificateKind) => kinds?.includes(kind) ?? true
  const sightings = cluster.certificates().filter(({kind}) => kind !== 'trusted' && isWanted(kind))
  const rows = await Promise.all([
    ...sightings.map((sighting) => look(cluster, sighting, warnMs)),
    ...(isWanted('issuer') ? issuers[cluster.role].map((one) => lookAtIssuer(cluster, one, warnMs)) : []),
  ])
  return withoutRepeated(rows.flat()).filter(({kind}) => isWanted(kind))
}

const trustedRow = (known: Known, {whose, certificate, why}: Member, warnMs: number): Certificate => {
  const about = {...known, ...whose}
  if (!certificate) return unread(about, why ?? '')
  return {...certificateOf(about, certificate, warnMs), ...(why !== undefined && {why})}
}

type Wish = {
  /** All of them unless given. */
  readonly only?: readonly AnyCluster[] | undefined
  readonly warnMs: number
  readonly passwordFile?: string | undefined
}

/** Whom the gateway trusts, each by its name in the register. */
const trustedOf = async (
  {hub, edges}: Fleet,
  {warnMs, passwordFile}: Wish,
): Promise<{readonly rows: readonly Certificate[]; readonly leftOut: readonly string[]}> => {
  const leftOut: string[] = []
  const rows = hub.certificates().map(async (sighting): Promise<readonly Certificate[]> => {
    if (sighting.kind !== 'trusted' || !('read' in sighting)) return []
    const {kind, seen, at} = sighting
    const known: Known = {
      cluster: hub.name,
      kind,
      of: "gateway's trust bundle",
      seen,
      at,
      renewedBy: commandOf(hub),
      stops: 'no edge can send',
    }
    try {
      const [pem, register] = await Promise.all([
        within(sighting.read()),
        within(registerOf(hub, passwordFile)).catch((error: unknown) => ({unknown: reasonOf(error)})),
      ])
      if (pem === undefined) return [unread(known, 'there is none')]
      if ('unknown' in register) leftOut.push(`whose issuers the gateway trusts is told by their names alone: ${register.unknown}`)
      const members = membersOf(pem, register, edges)
      return members.length === 0 ? [unread(known, 'no certificate is in it')] : members.map((member) => trustedRow(known, member, warnMs))
    } catch (error) {
      return [unread(known, reasonOf(error))]
    }
  })
  return {rows: (await Promise.all(rows)).flat(), leftOut}
}

export type FleetCertificates = {
  readonly fleet: string
  /** Nothing is due, and all of them could be read. */
  readonly ok: boolean
  readonly warnSeconds: number
  readonly clusters: readonly {readonly name: string; readonly role: 'hub' | 'edge'; readonly platform: 'local' | 'kubernetes'}[]
  readonly counts: Readonly<Record<Certificate['state'], number>>
  /** What ends first comes first. */
  readonly certificates: readonly Certificate[]
  /** What could not be asked, and why. */
  readonly leftOut: readonly string[]
}

/** Every certificate of the fleet, or of some of its clusters. */
export const fleetCertificates = async (fleet: Fleet, wish: Wish): Promise<FleetCertificates> => {
  const clusters = wish.only ?? [fleet.hub, ...fleet.edges]
  const [own, {rows, leftOut}] = await Promise.all([
    atMost(clustersAtOnce, clusters, (cluster) => certificatesOf(cluster, wish)),
    clusters.includes(fleet.hub) ? trustedOf(fleet, wish) : {rows: [], leftOut: []},
  ])
  const certificates = [...own.flat(), ...rows].toSorted(byEnd)
  const count = (state: Certificate['state']) => certificates.filter((one) => one.state === state).length
  return {
    fleet: fleet.file.fleet.fleet,
    ok: !certificates.some(isDue),
    warnSeconds: wish.warnMs / 1000,
    clusters: clusters.map(({name, role, site}) => ({name, role, platform: site ? 'kubernetes' : 'local'})),
    counts: {valid: count('valid'), soon: count('soon'), expired: count('expired'), unknown: count('unknown')},
    certificates,
    leftOut,
  }
}
