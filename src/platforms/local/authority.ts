import {createPrivateKey} from 'node:crypto'
import path from 'node:path'
import {Secret} from '../../secret.ts'
import {isFor, isSignedBy, type KeyPair, readCertificate, splitPem} from '../../tools/x509.ts'
import type {Step} from '../../steps/step.ts'
import type {Local} from './process.ts'
import {newRootCa, type RootRotation, rootRotation} from './root-rotation.ts'

/** A server's certificate and key. */
export const serverFile = 'tls.pem'
const serverDays = 365
// a year's certificate is renewed by any run in its last month
const renewBeforeMs = 30 * 86_400_000

/** A cluster's root CA and what it signs. */
export type Authority = {
  /** The root CA of the cluster (PEM). */
  rootCa(): Promise<string>
  /** A step: the cluster has a root CA. */
  hasRootCa(): Step
  /** Exchanging the root CA for another. */
  readonly rootRotation: RootRotation
  /** A step: the component holds `tls.pem` (certificate and key) for its names, signed by the root CA. */
  hasServerCertificate(component: string, names: readonly string[]): Step
  /** Puts another one into its hands, whatever is left of the one there is. */
  serverCertificateRenewed(component: string, names: readonly string[]): Promise<void>
  /** The certificate for an intermediate CA's request, signed by the root CA. */
  signCa(request: string, wish: {readonly days: number; readonly pathLength: number}): Promise<string>
}

/** The root CA in two files; while one takes the place of another, both certificates in the one, and a key file for the other. */
export const authority = ({cluster, folder, place, tools}: Local): Authority => {
  const {files, x509} = tools
  const certificateFile = path.join(folder, 'ca', 'ca.pem')
  const keyFile = path.join(folder, 'ca', 'ca.key')
  const otherKeyFile = path.join(folder, 'ca', 'other.key')
  const retiredFile = path.join(folder, 'ca', 'retired.pem')

  /** All that is trusted; the first one signs. */
  const rootCa = async (): Promise<string> => {
    const trusted = await files.read(certificateFile)
    if (trusted === undefined) throw new Error(`${cluster} has no root CA yet`)
    return trusted
  }
  const pair = async (): Promise<KeyPair> => {
    const [certificate = ''] = splitPem(await rootCa())
    const keys = await Promise.all([keyFile, otherKeyFile].map((file) => files.read(file)))
    const found = keys.flatMap((key) => (key === undefined ? [] : [{certificate, key: new Secret(key)}]))
    const own = found.find(matches) ?? found[0]
    if (!own) throw new Error(`${cluster} has no root CA yet`)
    return own
  }
  const matches = ({certificate, key}: KeyPair): boolean => {
    try {
      return readCertificate(certificate)?.checkPrivateKey(createPrivateKey(key.reveal())) === true
    } catch {
      return false
    }
  }

  const fileOf = (component: string) => place(component).file(serverFile)
  const serverCertificateRenewed: Authority['serverCertificateRenewed'] = async (component, names) => {
    const {certificate, key} = await x509.issueServer(await pair(), {commonName: names[0] ?? component, names, days: serverDays})
    // one file for both, so that no reader ever sees a certificate beside another's key
    await files.write(fileOf(component), new Secret(certificate + key.reveal()))
  }

  return {
    rootCa,
    serverCertificateRenewed,
    rootRotation: rootRotation({cluster, files, x509, certificateFile, keyFile, otherKeyFile, retiredFile, pair}),
    signCa: async (request, wish) => x509.signCa(await pair(), request, wish),

    hasRootCa: () => ({
      title: `root CA of ${cluster} (its key in a file: this is a lab)`,
      async done() {
        if (!(await files.exists(certificateFile))) return 'there is none'
        return matches(await pair()) ? true : 'certificate and key do not belong together'
      },
      async apply() {
        const {certificate, key} = await newRootCa(x509, cluster)
        // the certificate last: it says that the key beside it is whole
        await files.write(keyFile, key)
        await files.write(certificateFile, certificate)
      },
    }),

    hasServerCertificate: (component, names) => ({
      title: `certificate of ${component} on ${cluster}, signed by its root CA`,
      async done() {
        const pem = await files.read(fileOf(component))
        if (pem === undefined) return 'there is none'
        const certificate = readCertificate(pem)
        const root = readCertificate((await pair()).certificate)
        if (!certificate || !root || !isSignedBy(certificate, root)) return 'not signed by the root CA'
        if (names.some((name) => !isFor(certificate, name))) return 'it is for other names'
        return Date.parse(certificate.validTo) - Date.now() > renewBeforeMs ? true : 'it expires soon'
      },
      apply: () => serverCertificateRenewed(component, names),
    }),
  }
}
