import {webcrypto, X509Certificate} from 'node:crypto'
import {isIP} from 'node:net'
import {Secret} from '../secret.ts'

/** A certificate with its key, both PEM. The certificate may be followed by its chain. */
export type KeyPair = {readonly certificate: string; readonly key: Secret}

/** Makes and signs certificates (ECDSA P-256). */
export type X509 = {
  /** A self-signed CA. `pathLength` is how many CAs may stand below it. */
  createCa(wish: {readonly commonName: string; readonly days: number; readonly pathLength: number}): Promise<KeyPair>
  /** A server's certificate for these DNS names and IP addresses. */
  issueServer(ca: KeyPair, wish: {readonly commonName: string; readonly names: readonly string[]; readonly days: number}): Promise<KeyPair>
  /** Signs the request of an intermediate CA; returns its certificate. */
  signCa(ca: KeyPair, request: string, wish: {readonly days: number; readonly pathLength: number}): Promise<string>
}

/** The first certificate of a PEM text; undefined when there is none that parses. */
export const readCertificate = (pem: string): X509Certificate | undefined => {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}

/** The certificates of a PEM text, each as it stands there. */
export const splitPem = (pem: string): readonly string[] =>
  (pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []).map((one) => `${one}\n`)

/** The same, read; undefined for one that does not parse. */
export const certificatesIn = (pem: string): readonly (X509Certificate | undefined)[] => splitPem(pem).map(readCertificate)

/** Whether `certificate` was signed by `issuer` and is valid now. */
export const isSignedBy = (certificate: X509Certificate, issuer: X509Certificate): boolean =>
  certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey) && Date.parse(certificate.validTo) > Date.now()

/** Whether a server that calls itself by this DNS name or IP address may show the certificate. */
export const isFor = (certificate: X509Certificate, name: string): boolean =>
  (isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined

const algorithm = {name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256'} as const
const dayMs = 86_400_000
// clocks differ a little between machines
const skewMs = 60_000

const library = async () => {
  await import('reflect-metadata')
  return import('@peculiar/x509')
}

const pkcs8 = {
  toPem: async (key: webcrypto.CryptoKey): Promise<Secret> => {
    const base64 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')
    return new Secret(`-----BEGIN PRIVATE KEY-----\n${base64.match(/.{1,64}/g)?.join('\n')}\n-----END PRIVATE KEY-----\n`)
  },
  fromPem: async (key: Secret): Promise<webcrypto.CryptoKey> =>
    webcrypto.subtle.importKey('pkcs8', Buffer.from(key.reveal().replace(/-----[^-]+-----|\s/g, ''), 'base64'), algorithm, false, ['sign']),
}

const validity = (days: number) => ({notBefore: new Date(Date.now() - skewMs), notAfter: new Date(Date.now() + days * dayMs)})

export const createX509 = (): X509 => ({
  async createCa({commonName, days, pathLength}) {
    const x509 = await library()
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: `CN=${commonName}`,
      keys,
      ...validity(days),
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(true, pathLength, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    return {certificate: `${certificate.toString('pem')}\n`, key: await pkcs8.toPem(keys.privateKey)}
  },

  async issueServer(ca, {commonName, names, days}) {
    const x509 = await library()
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const issuer = new x509.X509Certificate(ca.certificate)
    const certificate = await x509.X509CertificateGenerator.create({
      subject: `CN=${commonName}`,
      issuer: issuer.subject,
      publicKey: keys.publicKey,
      signingKey: await pkcs8.fromPem(ca.key),
      ...validity(days),
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        new x509.SubjectAlternativeNameExtension(names.map((value) => ({type: isIP(value) ? 'ip' : 'dns', value}))),
        await x509.AuthorityKeyIdentifierExtension.create(issuer),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    return {certificate: `${certificate.toString('pem')}\n`, key: await pkcs8.toPem(keys.privateKey)}
  },

  async signCa(ca, request, {days, pathLength}) {
    const x509 = await library()
    const csr = new x509.Pkcs10CertificateRequest(request)
    const issuer = new x509.X509Certificate(ca.certificate)
    const certificate = await x509.X509CertificateGenerator.create({
      subject: csr.subject,
      issuer: issuer.subject,
      publicKey: csr.publicKey,
      signingKey: await pkcs8.fromPem(ca.key),
      ...validity(days),
      signingAlgorithm: algorithm,
      extensions: [
        new x509.BasicConstraintsExtension(true, pathLength, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature,
          true,
        ),
        await x509.AuthorityKeyIdentifierExtension.create(issuer),
        await x509.SubjectKeyIdentifierExtension.create(csr.publicKey),
      ],
    })
    return `${certificate.toString('pem')}\n`
  },
})

export const dryX509 = (record: (line: string) => void): X509 => {
  const made = (what: string): KeyPair => {
    record(what)
    return {certificate: `‹certificate›`, key: new Secret('‹key›')}
  }
  return {
    createCa: async ({commonName, days}) => made(`create CA ${commonName} (${days} days)`),
    issueServer: async (_, {commonName, names, days}) =>
      made(`issue server certificate ${commonName} for ${names.join(', ')} (${days} days)`),
    async signCa(_, request, {days}) {
      record(`sign intermediate CA of ${request.slice(0, 60)} (${days} days)`)
      return '‹certificate›'
    },
  }
}
