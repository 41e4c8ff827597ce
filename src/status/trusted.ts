import type {X509Certificate} from 'node:crypto'
import type {EdgeCluster, HubCluster} from '../platforms/platform.ts'
import {certificatesIn, readCertificate} from '../tools/x509.ts'
import {logsInUnasked} from '../trust/admin.ts'
import {nobodyFile} from '../trust/bundle.ts'
import {edgesKnown, entryOf} from '../trust/register.ts'
import type {Known} from './certificate.ts'

/** The issuers of the edges that the hub knows, and those of before that are not retired yet: fingerprints by name. */
export type Register =
  | {readonly edges: ReadonlyMap<string, string>; readonly retiring: ReadonlyMap<string, string>; readonly nobody: string | undefined}
  | {readonly unknown: string}

const fingerprintOf = (pem: string | undefined): string | undefined => readCertificate(pem ?? '')?.fingerprint256

/** Nobody is asked for a password only to look. */
export const registerOf = async (hub: HubCluster, passwordFile: string | undefined): Promise<Register> => {
  if (!logsInUnasked(hub.seal, passwordFile))
    return {unknown: `the register needs the password of the administrator on ${hub.name} (--password-file)`}
  const [names, nobody] = await Promise.all([edgesKnown(hub.vault), hub.read('gateway', nobodyFile)])
  const entries = await Promise.all(names.map(async (name) => [name, await entryOf(hub.vault, name)] as const))
  const fingerprints = (field: 'issuer' | 'retiring') =>
    new Map(
      entries.flatMap(([name, entry]) => {
        const fingerprint = fingerprintOf(entry[field])
        return fingerprint === undefined ? [] : [[name, fingerprint]]
      }),
    )
  return {edges: fingerprints('issuer'), retiring: fingerprints('retiring'), nobody: fingerprintOf(nobody)}
}

/** One CA in the gateway's trust bundle, and whose it is; without a certificate, one that is missing there or cannot be read. */
export type Member = {
  readonly whose: Pick<Known, 'of' | 'which' | 'renewedBy' | 'stops'>
  readonly certificate?: X509Certificate
  readonly why?: string
}

const ofEdge = (name: string) => ({
  of: 'trusted issuer',
  which: name,
  renewedBy: `lkeobs edge join ${name}`,
  stops: `${name} cannot send`,
})
/** Trusted until the rotation that is under way has come to its end. */
const ofRetiring = (name: string) => ({
  of: 'trusted issuer of before',
  which: name,
  renewedBy: `lkeobs certs rotate --issuer ${name}`,
  stops: `${name} cannot send with a leaf of before`,
})
const ofNobody = {of: 'trusted nobody', renewedBy: 'nobody', stops: 'nothing: it lets nobody in'}
const ofWhoever = (subject: string) => ({
  of: 'trusted stranger',
  which: subject,
  renewedBy: 'nobody',
  stops: 'whoever it signed cannot send',
})

/** Each certificate of the bundle, and each edge of the register that is not in it. */
export const membersOf = (pem: string, register: Register, edges: readonly Pick<EdgeCluster, 'name'>[]): readonly Member[] => {
  const all = certificatesIn(pem)
  const members = all.map((certificate): Member => {
    if (!certificate) return {whose: ofWhoever('what is no certificate'), why: 'it cannot be parsed'}
    const subject = certificate.subject.replace(/^CN=/, '')
    if ('unknown' in register) {
      if (subject === 'lkeobs trusts nobody') return {whose: ofNobody, certificate}
      const edge = edges.find(({name}) => subject === `lkeobs edge ${name}`)
      return edge ? {whose: ofEdge(edge.name), certificate} : {whose: ofWhoever(subject), certificate, why: 'of no edge in the fleet file'}
    }
    if (certificate.fingerprint256 === register.nobody) return {whose: ofNobody, certificate}
    const inList = (list: ReadonlyMap<string, string>) =>
      [...list].find(([, fingerprint]) => fingerprint === certificate.fingerprint256)?.[0]
    const [name, retiring] = [inList(register.edges), inList(register.retiring)]
    if (name !== undefined) return {whose: ofEdge(name), certificate}
    if (retiring !== undefined) return {whose: ofRetiring(retiring), certificate}
    return {whose: ofWhoever(subject), certificate, why: 'of no edge in the register'}
  })
  const there = new Set(all.map((certificate) => certificate?.fingerprint256))
  const missing = 'unknown' in register ? [] : [...register.edges].filter(([, fingerprint]) => !there.has(fingerprint))
  return [...members, ...missing.map(([name]) => ({whose: ofEdge(name), why: "it is not in the gateway's bundle"}))]
}
