import type {Fleet} from '../clusters.ts'
import {kindOf, signalsOf} from '../destinations/index.ts'
import {secretsKept} from '../destinations/secrets.ts'
import {LkeobsError} from '../errors.ts'
import type {Destination} from '../fleet/schema.ts'
import {count, duration, mark, nextCommands, table} from '../output.ts'
import type {Vault} from '../tools/vault.ts'
import type {Tls} from '../tools/tls.ts'
import type {Wire} from '../tools/wire.ts'
import {certificatesIn} from '../tools/x509.ts'

export type DestinationTried = {
  readonly name: string
  readonly kind: string
  readonly at: string
  /** It takes what it is sent. */
  readonly ok: boolean
  /** What it answered, in a few words. */
  readonly said?: string
  readonly latencyMs?: number
  /** How far its clock is ahead of ours, in seconds; it says whole seconds. Left out where it tells no time. */
  readonly skewSeconds?: number
  /** Of the certificates it shows, the one that ends first; left out where it shows none. */
  readonly certificate?: {readonly expires: string; readonly daysLeft: number}
  readonly problem?: {readonly code: string; readonly title: string; readonly message: string; readonly next: readonly string[]}
}

type Trying = {readonly vault: Vault; readonly wire: Wire; readonly tls: Tls}

const dayMs = 86_400_000

/** What is shown may be looked at even where it is not trusted. Nothing where nobody shows any. */
const certificateAt = async (tls: Tls, address: string | undefined): Promise<DestinationTried['certificate']> => {
  if (address === undefined) return undefined
  const chain = await tls.served(address).catch(() => '')
  const ends = certificatesIn(chain).flatMap((certificate) => (certificate ? [Date.parse(certificate.validTo)] : []))
  if (ends.length === 0) return undefined
  const end = Math.min(...ends)
  return {expires: new Date(end).toISOString(), daysLeft: Math.floor((end - Date.now()) / dayMs)}
}

/** Throws LKO-7115 where Vault lacks a secret of it. */
const secretsOf = async (vault: Vault, destination: Destination) => {
  const {kind, settings} = kindOf(destination)
  const secrets = await secretsKept(vault, destination)
  const missing = kind.needs(settings).find((name) => secrets[name] === undefined)
  if (missing === undefined) return secrets
  throw new LkeobsError('LKO-7115', `${destination.name} needs its ${missing}; ${vault.address} has none.`, {
    next: [`lkeobs dest add ${kind.name} ${destination.name} --${missing}-file FILE`],
  })
}

const tried = async ({vault, wire, tls}: Trying, destination: Destination): Promise<DestinationTried> => {
  const {kind, settings} = kindOf(destination)
  const {name} = destination
  const common = {name, kind: kind.name, at: kind.at(settings)}
  const certificate = certificateAt(tls, kind.tlsAt(settings))
  try {
    const secrets = await secretsOf(vault, destination)
    const {said, latencyMs, clockMs} = await kind.probe({name, settings, secrets, signals: signalsOf(destination)}, wire)
    const skewSeconds = clockMs === undefined ? undefined : Math.round((clockMs - Date.now()) / 1000)
    const shown = await certificate
    return {...common, ok: true, said, latencyMs, ...(skewSeconds !== undefined && {skewSeconds}), ...(shown && {certificate: shown})}
  } catch (error) {
    if (!(error instanceof LkeobsError)) throw error
    const {code, title, message, next} = error
    const shown = await certificate
    return {...common, ok: false, ...(shown && {certificate: shown}), problem: {code, title, message, next}}
  }
}

/** Those of the fleet file by these names, or all. Throws LKO-7114 naming those there are. */
export const destinationsNamed = ({file}: Pick<Fleet, 'file'>, name: string | undefined): readonly Destination[] => {
  const {destinations} = file.fleet
  const found = destinations.filter((destination) => name === undefined || destination.name === name)
  if (found.length > 0 || name === undefined) return found
  const names = destinations.map((destination) => destination.name)
  throw new LkeobsError('LKO-7114', `${name}: the fleet has ${names.length === 0 ? 'no destination' : names.join(', ')}.`, {
    next: ['lkeobs dest list'],
  })
}

/** Tries each as `dest add` did, with its secret from the Vault of the hub: it is sent an item, and its answer is read. */
export const triedDestinations = (trying: Trying, destinations: readonly Destination[]): Promise<readonly DestinationTried[]> =>
  Promise.all(destinations.map((destination) => tried(trying, destination)))

/** A certificate that ends within this time is due. */
const soonDays = 30
/** A clock that is off by more puts items where nobody looks for them. */
const mostSkewSeconds = 5

const isSoon = ({certificate, skewSeconds = 0}: DestinationTried): boolean =>
  (certificate !== undefined && certificate.daysLeft < soonDays) || Math.abs(skewSeconds) > mostSkewSeconds

const skewText = (seconds: number | undefined): string =>
  seconds === undefined
    ? '–'
    : Math.abs(seconds) <= 1
      ? 'same'
      : `${duration(Math.abs(seconds) * 1000)} ${seconds > 0 ? 'ahead' : 'behind'}`

export const triedText = (all: readonly DestinationTried[]): string => {
  if (all.length === 0) return `no destinations\n${nextCommands(['lkeobs dest add --help'])}`
  const rows = all.map((each) => [
    `${each.ok ? (isSoon(each) ? mark.soon : mark.so) : mark.not} ${each.name}`,
    each.kind,
    each.latencyMs === undefined ? '–' : duration(each.latencyMs),
    each.certificate === undefined ? '–' : count(each.certificate.daysLeft, 'day'),
    skewText(each.skewSeconds),
    each.said ?? `${each.problem?.code}  ${each.problem?.title}`,
  ])
  const problems = all.flatMap(({problem}) => (problem ? [problem] : []))
  const next = problems.flatMap((problem) => problem.next)
  return [
    table(['destination', 'kind', 'latency', 'certificate', 'clock', 'answer'], rows),
    ...problems.map(({message}) => message),
    nextCommands(next.length === 0 ? ['lkeobs dest list'] : [...new Set(next)]),
  ].join('\n')
}
