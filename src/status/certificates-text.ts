import {bold, count, dim, mark, nextCommands, table} from '../output.ts'
import {byEnd, type Certificate, endCells, isDue, nameOf, shortTime} from './certificate.ts'
import type {FleetCertificates} from './certificates.ts'

const marks = {valid: mark.so, soon: mark.soon, expired: mark.not, unknown: mark.not} as const

const markOf = ({state, why}: Certificate): string => (state === 'valid' && why !== undefined ? mark.not : marks[state])

/** What is in order and differs only in which of several it is, as one row: that of the one that ends first. */
const rowsOf = (certificates: readonly Certificate[]): readonly (readonly string[])[] => {
  const families = Map.groupBy(certificates, (one) => `${one.kind} ${one.of} ${isDue(one) ? keyOf(one) : ''}`)
  return [...families.values()].flatMap((family) => {
    const [first] = family.toSorted(byEnd)
    if (!first) return []
    const [ends, left] = endCells(first)
    const what = family.length === 1 ? nameOf(first) : `${first.of} (${family.length})`
    return [[`${markOf(first)} ${what}`, first.seen, ends, left || 'not read', first.issuer ?? '', first.renewedBy, first.stops]]
  })
}

const keyOf = ({cluster, of, which, at, serial}: Certificate): string => [cluster, of, which, at, serial].join(' ')

const findingOf = (certificate: Certificate): string => {
  const {cluster, state, expires, stops, seen, at, serial, why} = certificate
  const end = expires === undefined ? '' : `${state === 'expired' ? 'ended' : 'ends'} ${shortTime(expires)}`
  const said = [why, state === 'valid' ? undefined : end].filter(Boolean).join('; ')
  return `${cluster}: ${nameOf(certificate)}: ${said}. When it ends: ${stops}.${serial === undefined ? '' : dim(` ${seen} (${at}), serial ${serial}`)}`
}

/** One line for each that is due; for those of a cluster that could not be read for the same reason, one together. */
const findings = (certificates: readonly Certificate[]): readonly string[] => {
  const due = certificates.filter(isDue)
  const groups = Map.groupBy(due, (one) => (one.state === 'unknown' ? `${one.cluster} ${one.why}` : keyOf(one)))
  return [...groups.values()].flatMap((group) => {
    const [first] = group
    if (!first) return []
    if (first.state !== 'unknown') return [`${markOf(first)} ${findingOf(first)}`]
    return [`${mark.not} ${first.cluster}: not read: ${group.map(nameOf).join(', ')}: ${first.why}`]
  })
}

const shownCommands = 3

/** The runs that renew what is due; where something could not be read, what looks at the cluster. */
const nextOf = ({ok, certificates, clusters}: FleetCertificates): readonly string[] => {
  if (ok) return ['lkeobs status']
  const roleOf = new Map(clusters.map(({name, role}) => [name, role]))
  const own = (cluster: string) => (roleOf.get(cluster) === 'hub' ? 'lkeobs hub init' : `lkeobs edge join ${cluster}`)
  const commands = certificates.filter(isDue).flatMap(({cluster, state, kind, renewedBy}) => {
    if (state === 'unknown' && kind !== 'trusted')
      return [roleOf.get(cluster) === 'hub' ? 'lkeobs doctor --hub' : `lkeobs doctor --edge ${cluster}`]
    if (renewedBy.startsWith('lkeobs')) return [renewedBy]
    // a run puts right what should have renewed it, and writes the trust bundle anew
    return renewedBy === 'nobody' && kind !== 'trusted' ? [] : [own(cluster)]
  })
  const unique = [...new Set(commands)]
  return unique.length > shownCommands
    ? [...unique.slice(0, shownCommands), `…          (and ${unique.length - shownCommands} more)`]
    : unique
}

const total = ({certificates, clusters, counts}: FleetCertificates): string => {
  const strange = certificates.filter(({state, why}) => state === 'valid' && why !== undefined).length
  const parts = [
    `${counts.valid} valid`,
    ...(counts.soon > 0 ? [`${mark.soon} ${counts.soon} soon over`] : []),
    ...(counts.expired > 0 ? [`${mark.not} ${counts.expired} over`] : []),
    ...(counts.unknown > 0 ? [`${mark.not} ${counts.unknown} not read`] : []),
    ...(strange > 0 ? [`${mark.not} ${strange} not as it should be`] : []),
  ]
  return `${count(certificates.length, 'certificate')} of ${count(clusters.length, 'cluster')}: ${parts.join(', ')}`
}

/** Every certificate, cluster by cluster, what ends first at the top of each; then what has to be done. */
export const certificatesText = (found: FleetCertificates): string => {
  const {fleet, certificates, clusters, leftOut} = found
  const header = ['certificate', 'seen', 'ends (UTC)', 'left', 'issued by', 'renewed by', 'when it ends']
  const rows = clusters.flatMap(({name}) => [[''], [bold(name)], ...rowsOf(certificates.filter(({cluster}) => cluster === name))])
  const said = [...findings(certificates), ...leftOut.map((what) => dim(`${mark.skipped} ${what}`))]
  return [
    `fleet ${fleet}   ${total(found)}`,
    '',
    table(header, rows),
    '',
    ...(said.length > 0 ? [...said, ''] : []),
    nextCommands(nextOf(found)),
  ].join('\n')
}
