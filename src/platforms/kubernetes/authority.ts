import {LkeobsError} from '../../errors.ts'
import {Secret} from '../../secret.ts'
import type {Step, Task} from '../../steps/step.ts'
import {until} from '../../steps/wait.ts'
import type {Condition} from '../../tools/kube/condition.ts'
import type {KubeObject} from '../../tools/kube/kube.ts'
import {isSignedBy, type KeyPair, readCertificate} from '../../tools/x509.ts'
import {applied, put} from './applied.ts'
import {namespace} from './names.ts'
import {caRequest, labelled, rootCa, vaultAddresses, vaultCertificate, vaultNames} from './objects.ts'
import {rolledOut} from './rollout.ts'
import type {Site} from './site.ts'

const rootDays = 3650
const serverDays = 365
const renewBeforeMs = 30 * 86_400_000
const signedWithinMs = 30_000

/** The root CA of a cluster, and Vault's certificate signed by it. */
export type Authority = {
  rootCa(): Promise<string>
  hasRootCa(): readonly Task[]
  signCa(request: string, wish: {readonly days: number; readonly pathLength: number}): Promise<string>
  hasVaultCertificate(): readonly Task[]
  /** Another one for Vault, whatever is left of the one there is. May return before it is there. */
  vaultCertificateRenewed(): Promise<void>
}

type TlsSecret = KubeObject & {readonly data?: Readonly<Record<string, string>>}

export const rootSecret = 'lkeobs-root'
export const vaultSecret = 'vault-tls'

/** What a Secret holds, decoded; undefined where there is no such key. */
export const valueIn = async ({kube}: Pick<Site, 'kube'>, at: string, name: string, key: string): Promise<string | undefined> => {
  const secret = await kube.read<TlsSecret>({apiVersion: 'v1', kind: 'Secret', name, namespace: at})
  const value = secret?.data?.[key]
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString()
}

const rootOf = async (site: Site): Promise<string> => {
  const certificate = await valueIn(site, namespace, rootSecret, 'tls.crt')
  if (certificate === undefined) throw new Error(`${site.cluster} has no root CA yet`)
  return certificate
}

/** cert-manager makes the certificates and renews them. */
export const certManagerAuthority = (site: Site): Authority => ({
  rootCa: () => rootOf(site),
  hasRootCa: () => [applied(site, `root CA of ${site.cluster}, kept by cert-manager`, 'root-ca.yaml', rootCa({cluster: site.cluster}))],
  async signCa(request, {days}) {
    const [wish] = caRequest({name: 'lkeobs-issuer', request, days})
    if (!wish) throw new Error('no request')
    const {kube} = site
    const {name} = wish.metadata
    await kube.apply([wish], {file: site.file('issuer-request.yaml')})
    type Signed = KubeObject & {readonly status?: {readonly certificate?: string}}
    let certificate: string | undefined
    const seen = await until(
      async () => {
        const live = await kube.read<Signed>({apiVersion: wish.apiVersion, kind: wish.kind, name, namespace})
        certificate = live?.status?.certificate
        if (certificate !== undefined) return true
        if (live === undefined) return 'the request is gone'
        const ready = rolledOut(live)
        return ready === true ? 'not signed yet' : ready
      },
      {forMs: signedWithinMs},
    )
    if (certificate === undefined) throw new LkeobsError('LKO-3005', `cert-manager has not signed CertificateRequest ${name}: ${seen}`)
    return Buffer.from(certificate, 'base64').toString()
  },
  hasVaultCertificate: () => [
    applied(
      site,
      `certificate of Vault on ${site.cluster}, signed by its root CA`,
      'vault-certificate.yaml',
      vaultCertificate({names: [], addresses: []}),
    ),
  ],
  // as its own tool `cmctl renew` does
  async vaultCertificateRenewed() {
    type Live = KubeObject & {readonly status?: {readonly conditions?: readonly Condition[]}}
    const ref = {apiVersion: 'cert-manager.io/v1', kind: 'Certificate', name: vaultSecret, namespace}
    const conditions = (await site.kube.read<Live>(ref))?.status?.conditions ?? []
    const issuing = {
      type: 'Issuing',
      status: 'True',
      reason: 'ManuallyTriggered',
      message: 'asked for by lkeobs',
      lastTransitionTime: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
    }
    await site.kube.patch(ref, {status: {conditions: [...conditions.filter(({type}) => type !== 'Issuing'), issuing]}}, 'status')
  },
})

/** The same without cert-manager: made here, kept in the same Secrets, and renewed by any run in the last month. */
export const ownAuthority = (site: Site): Authority => {
  const {tools} = site
  const pair = async (): Promise<KeyPair> => {
    const [certificate, key] = await Promise.all([rootOf(site), valueIn(site, namespace, rootSecret, 'tls.key')])
    if (key === undefined) throw new Error(`${site.cluster} has no key of its root CA`)
    return {certificate, key: new Secret(key)}
  }
  const keep = (name: string, file: string, {certificate, key}: KeyPair, ca: string) =>
    put(site, [tlsSecret(name, certificate, key, ca)], file)

  const root: Step = {
    title: `root CA of ${site.cluster} (its key in a Secret)`,
    done: async () => ((await valueIn(site, namespace, rootSecret, 'tls.crt')) === undefined ? 'there is none' : true),
    async apply() {
      const made = await tools.x509.createCa({commonName: `lkeobs root ${site.cluster}`, days: rootDays, pathLength: 2})
      await keep(rootSecret, 'root-ca.yaml', made, made.certificate)
    },
  }
  const names = [...vaultNames, ...vaultAddresses]
  const issued = async () => {
    const ca = await pair()
    const made = await tools.x509.issueServer(ca, {commonName: 'vault', names, days: serverDays})
    await keep(vaultSecret, 'vault-certificate.yaml', made, ca.certificate)
  }
  const server: Step = {
    title: `certificate of Vault on ${site.cluster}, signed by its root CA`,
    async done() {
      const certificate = readCertificate((await valueIn(site, namespace, vaultSecret, 'tls.crt')) ?? '')
      if (!certificate) return 'there is none'
      const above = readCertificate(await rootOf(site))
      if (!above || !isSignedBy(certificate, above)) return 'not signed by the root CA'
      const said = new Set(certificate.subjectAltName?.split(', ').map((one) => one.replace(/^[^:]*:/, '')))
      if (names.some((name) => !said.has(name))) return 'it is for other names'
      return Date.parse(certificate.validTo) - Date.now() > renewBeforeMs ? true : 'it expires soon'
    },
    apply: issued,
  }
  return {
    rootCa: () => rootOf(site),
    hasRootCa: () => [root],
    signCa: async (request, wish) => tools.x509.signCa(await pair(), request, wish),
    hasVaultCertificate: () => [server],
    vaultCertificateRenewed: issued,
  }
}

const tlsSecret = (name: string, certificate: string, key: Secret, ca: string): KubeObject =>
  labelled({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {name, namespace},
    type: 'kubernetes.io/tls',
    stringData: {'tls.crt': certificate, 'tls.key': key, 'ca.crt': ca},
  })
