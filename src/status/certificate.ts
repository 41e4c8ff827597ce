import type {X509Certificate} from 'node:crypto'
import {duration} from '../output.ts'
import type {Sighting} from '../platforms/platform.ts'

/** What a certificate is for. `issuer` signs in a Vault; `chain` follows another one and is no issuer of the fleet. */
export type CertificateKind = Sighting['kind'] | 'issuer' | 'chain'

/** What is known of a certificate before it is read. */
export type Known = {
  readonly cluster: string
  readonly kind: CertificateKind
  /** In words: `gateway's leaf`. */
  readonly of: string
  /** Which of several: a node of Vault, a pod, an edge. */
  readonly which?: string
  readonly seen: Sighting['seen'] | 'in Vault'
  /** Where exactly: an address, a file, a Secret, a mount of Vault. */
  readonly at: string
  /** A program that does so by itself, the command that does, or `nobody`. */
  readonly renewedBy: string
  /** What stops working when it ends. */
  readonly stops: string
}

export type Certificate = Known & {
  /** `soon`: whoever renews it should have done so. `unknown`: it could not be read. */
  readonly state: 'valid' | 'soon' | 'expired' | 'unknown'
  readonly subject?: string
  readonly issuer?: string
  readonly serial?: string
  /** notAfter */
  readonly expires?: string
  readonly leftSeconds?: number
  readonly daysLeft?: number
  /** Why it could not be read, or what else is not as it should be. */
  readonly why?: string
}

const dayMs = 86_400_000

/** When long-lived ones are due unless told otherwise: commands and cert-manager renew in the last month. */
export const warnDays = 30

/** Below which rest of its life a certificate is due. */
const dueBelow = (kind: CertificateKind, lifeMs: number, warnMs: number): number => {
  // renewed at two thirds of its life: in the last quarter that is overdue
  if (kind === 'leaf' || kind === 'gateway') return lifeMs / 4
  // it signs no leaf that would outlive it
  return kind === 'issuer' ? Math.max(warnMs, dayMs) : warnMs
}

const nameIn = (distinguished: string): string => distinguished.split('\n').at(-1)?.replace(/^CN=/, '') ?? ''

export const unread = (known: Known, why: string): Certificate => ({...known, state: 'unknown', why})

/** What is said of a certificate that was read. */
export const certificateOf = (known: Known, certificate: X509Certificate, warnMs = warnDays * dayMs, now = Date.now()): Certificate => {
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)]
  const leftMs = to - now
  return {
    ...known,
    state: leftMs <= 0 ? 'expired' : leftMs < dueBelow(known.kind, to - from, warnMs) ? 'soon' : 'valid',
    subject: nameIn(certificate.subject),
    issuer: nameIn(certificate.issuer),
    serial: certificate.serialNumber,
    expires: new Date(to).toISOString(),
    leftSeconds: Math.round(leftMs / 1000),
    daysLeft: Math.floor(leftMs / dayMs),
    ...(from > now && {why: `not valid before ${shortTime(new Date(from).toISOString())}`}),
  }
}

/** `Vault vault-1` */
export const nameOf = ({of, which}: Pick<Known, 'of' | 'which'>): string => (which === undefined ? of : `${of} ${which}`)

/** Whether anything has to be done about it. */
export const isDue = ({state, why}: Certificate): boolean => state !== 'valid' || why !== undefined

/** What ends first comes first; before it what could not be read, which may have ended. */
export const byEnd = (one: Certificate, other: Certificate): number =>
  (one.leftSeconds ?? -Infinity) - (other.leftSeconds ?? -Infinity) || nameOf(one).localeCompare(nameOf(other))

/** `2026-11-23 18:30` */
export const shortTime = (iso: string): string => iso.slice(0, 16).replace('T', ' ')

/** End and rest of its life, as two cells. */
export const endCells = ({expires, leftSeconds}: Pick<Certificate, 'expires' | 'leftSeconds'>): readonly [string, string] => [
  expires === undefined ? '' : shortTime(expires),
  leftSeconds === undefined ? '' : leftSeconds > 0 ? duration(leftSeconds * 1000) : 'over',
]
