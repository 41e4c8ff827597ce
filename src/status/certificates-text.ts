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
    const what = family.length === 1 ? nameOf(first) : `${first.of} (${family.length})`
    return [[`${markOf(first)} ${what}`, ...cellsOf(first)]]
  })
}

const cellsOf = (certificate: Certificate): readonly string[] => {
  const {seen, issuer = '', renewedBy, stops} = certificate
  const [ends, left] = endCells(certificate)
  return [seen, ends, left || 'not read', issuer, renewedBy, stops]
}

const keyOf = ({cluster, of, which, at, serial}: Certificate): string => [cluster, of, which, at, serial].join(' ')

const findingOf = (certificate: Certificate): string => {
  const {cluster, state, expires, stops, seen, at, serial, why} = certificate
  const end = expires === undefined ? '' : `${state === 'expired' ? 'ended' : 'ends'} ${shortTime(expires)}`
  const said = [why, state === 'valid' ? undefined : end].filter(Boolean).join('; ')
  return `${cluster}: ${nameOf(certificate)}: ${said}. When it ends: ${stops}.${serial === undefined ? '' : dim(` ${seen} (${at}), serial ${serial}`)}`
}

/** One line for each that is due; before them, for those of a cluster that could not be read for the same reason, one together. */
const findings = ({certificates, clusters}: FleetCertificates): readonly string[] => {
  const unread = clusters.flatMap(({name}) => {
    const reasons = Map.groupBy(
      certificates.filter(({cluster, state}) => cluster === name && state === 'unknown'),
      ({why}) => why,
    )
    return [...reasons].map(([why, group]) => `${mark.not} ${name}: not read: ${group.map(nameOf).join(', ')}: ${why}`)
  })
  const due = certificates.filter((one) => isDue(one) && one.state !== 'unknown')
  return [...unread, ...due.map((one) => `${markOf(one)} ${findingOf(one)}`)]
}

const shownCommands = 3

/** The runs that renew what is due; where a cluster could not be read, what looks at it. The hub's come first: edges need it. */
const nextOf = ({ok, certificates, clusters}: FleetCertificates): readonly string[] => {
  if (ok) return ['lkeobs status']
  const due = certificates.filter(isDue)
  const commands = clusters.flatMap(({name, role, platform}) => {
    const [run, looks] =
      role === 'hub' ? ['lkeobs hub init', 'lkeobs doctor --hub'] : [`lkeobs edge join ${name}`, `lkeobs doctor --edge ${name}`]
    return due
      .filter(({cluster}) => cluster === name)
      .flatMap(({state, kind, renewedBy}) => {
        // a run starts what does not run on this machine
        if (state === 'unknown' && kind !== 'trusted') return [platform === 'local' ? run : looks]
        if (renewedBy.startsWith('lkeobs')) return [renewedBy]
        // a run puts right what should have renewed it, and writes the trust bundle anew
        return renewedBy === 'nobody' && kind !== 'trusted' ? [] : [run]
      })
  })
  const unique = [...new Set(commands)]
  // of a root CA that ends, nobody makes another
  if (unique.length === 0) return ['lkeobs status']
  const more = unique.length - shownCommands
  return unique
    .slice(0, shownCommands)
    .map((command, index) => (more > 0 && index === shownCommands - 1 ? `${command}          (and ${more} more)` : command))
}

const total = ({certificates, clusters, counts}: FleetCertificates): string => {
  const strange = certificates.filter(({state, why}) => state === 'valid' && why !== undefined).length
  const parts = [
    `${counts.valid - strange} valid`,
    ...(counts.soon > 0 ? [`${mark.soon} ${counts.soon} soon over`] : []),
    ...(counts.expired > 0 ? [`${mark.not} ${counts.expired} over`] : []),
    ...(counts.unknown > 0 ? [`${mark.not} ${counts.unknown} not read`] : []),
    ...(strange > 0 ? [`${mark.not} ${strange} not as it should be`] : []),
  ]
  return `${count(certificates.length, 'certificate')} of ${count(clusters.length, 'cluster')}: ${parts.join(', ')}`
}

/** With more edges than this, one of which nothing is due takes a single row. */
const edgesInFull = 10

/** Rows cluster by cluster, what ends first at the top of each. */
const groupsOf = ({certificates, clusters}: FleetCertificates): readonly (readonly string[])[] => {
  const own = new Map(clusters.map(({name}) => [name, certificates.filter(({cluster}) => cluster === name)]))
  const isShort = clusters.length > edgesInFull + 1
  const short = clusters.filter(({name, role}) => isShort && role === 'edge' && !own.get(name)?.some(isDue)).map(({name}) => name)
  const full = clusters.filter(({name}) => !short.includes(name))
  return [
    ...full.flatMap(({name}) => [[''], [bold(name)], ...rowsOf(own.get(name) ?? [])]),
    ...(short.length === 0 ? [] : [[''], [bold('edges of which nothing is due: what ends first')]]),
    ...short.flatMap((name) => {
      const [first] = own.get(name) ?? []
      return first ? [[`${mark.so} ${name}: ${nameOf(first)}`, ...cellsOf(first)]] : []
    }),
  ]
}

/** Every certificate, and then what has to be done. */
export const certificatesText = (found: FleetCertificates): string => {
  const {fleet, leftOut} = found
  const header = ['certificate', 'seen', 'ends (UTC)', 'left', 'issued by', 'renewed by', 'when it ends']
  const said = [...findings(found), ...leftOut.map((what) => dim(`${mark.skipped} ${what}`))]
  return [
    `fleet ${fleet}   ${total(found)}`,
    '',
    table(header, groupsOf(found)),
    '',
    ...(said.length > 0 ? [...said, ''] : []),
    nextCommands(nextOf(found)),
  ].join('\n')
}
