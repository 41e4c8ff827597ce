import {isDeepStrictEqual} from 'node:util'
import type {Step} from '../steps/step.ts'
import type {Vault} from '../tools/vault.ts'
import {isSignedBy, readCertificate} from '../tools/x509.ts'

const daySeconds = 86_400
const renewBeforeMs = 30 * daySeconds * 1000

type Values = Readonly<Record<string, unknown>>

/** A path of Vault holds these values; fields that are not wished for are left alone. */
export const written = (vault: Vault, title: string, path: string, wished: Values | (() => Promise<Values>)): Step => {
  const wish = async () => (typeof wished === 'function' ? wished() : wished)
  return {
    title,
    async done() {
      const found = await vault.read<Record<string, unknown>>(path)
      if (found === undefined) return 'there is none'
      const differing = Object.entries(await wish()).find(([key, value]) => !isDeepStrictEqual(found[key], value))
      return differing === undefined ? true : `${differing[0]} differs`
    },
    apply: async () => void (await vault.write(path, await wish())),
  }
}

type Mounts = Readonly<Record<string, {readonly type: string; readonly config: {readonly max_lease_ttl: number}} | undefined>>

/** A secrets engine at this path; `maxDays` bounds what it may issue. */
export const mounted = (vault: Vault, title: string, path: string, type: 'pki' | 'kv' | 'transit', maxDays = 0): Step => ({
  title,
  async done() {
    const mount = (await vault.read<Mounts>('sys/mounts'))?.[`${path}/`]
    if (mount === undefined) return 'there is none'
    return mount.config.max_lease_ttl === maxDays * daySeconds ? true : 'it is tuned otherwise'
  },
  async apply() {
    const config = {max_lease_ttl: `${maxDays * daySeconds}s`}
    const there = (await vault.read<Mounts>('sys/mounts'))?.[`${path}/`]
    await (there === undefined ? vault.write(`sys/mounts/${path}`, {type, config}) : vault.write(`sys/mounts/${path}/tune`, config))
  },
})

/** An auth method at its usual path. */
export const authEnabled = (vault: Vault, title: string, type: 'approle' | 'kubernetes'): Step => ({
  title,
  done: async () => ((await vault.read<Record<string, unknown>>('sys/auth'))?.[`${type}/`] === undefined ? 'there is none' : true),
  apply: async () => void (await vault.write(`sys/auth/${type}`, {type})),
})

/** Who signs an intermediate CA's request. */
export type Signer = {
  /** Its own certificate (PEM). */
  certificate(): Promise<string>
  sign(request: string): Promise<string>
  /** Whether it has signed this certificate (PEM) as far as it remembers; left out where the signature says enough. */
  remembers?(certificate: string): Promise<boolean>
}

/** The certificate (PEM) of the CA that a mount issues with; undefined before it has one. */
export const issuerOf = async (vault: Vault, mount: string): Promise<string | undefined> => {
  // without an issuer Vault answers the certificate's path with an error
  const issuers = await vault.read<{default: string}>(`${mount}/config/issuers`)
  return issuers?.default ? (await vault.read<{certificate: string}>(`${mount}/cert/ca`))?.certificate : undefined
}

/** The same as anybody is told, without a login. Throws with the reason where it is not. */
export const issuerShown = async (vault: Vault, mount: string): Promise<string> => {
  const {status, data, errors} = await vault.request({method: 'GET', path: `${mount}/cert/ca`})
  const {certificate} = data
  if (status === 200 && typeof certificate === 'string' && certificate !== '') return certificate
  if (status === 503) throw new Error('Vault is sealed')
  throw new Error(`there is none (${status}${errors.length === 0 ? '' : ` ${errors.join('; ').trim()}`})`)
}

/** A mount's CA, its key made inside Vault, signed by somebody above. */
export const issuer = (vault: Vault, title: string, mount: string, commonName: string, signer: Signer): Step => ({
  title,
  async done() {
    const pem = (await issuerOf(vault, mount)) ?? ''
    const own = readCertificate(pem)
    const above = readCertificate(await signer.certificate())
    if (!own) return 'there is none'
    if (!above || !isSignedBy(own, above)) return 'signed by another CA'
    if (signer.remembers && !(await signer.remembers(pem))) return 'who signs does not know it'
    return Date.parse(own.validTo) - Date.now() > renewBeforeMs ? true : 'it expires soon'
  },
  apply: () => newIssuer(vault, mount, commonName, signer),
})

/** Another CA for a mount, its key made inside Vault; from now on it issues with this one. */
export const newIssuer = async (vault: Vault, mount: string, commonName: string, signer: Signer): Promise<void> => {
  const {csr} = await vault.write<{csr: string}>(`${mount}/intermediate/generate/internal`, {
    common_name: commonName,
    key_type: 'ec',
    key_bits: 256,
  })
  const certificate = await signer.sign(csr)
  const answer = await vault.write<{imported_issuers?: string[]; existing_issuers?: string[]}>(`${mount}/intermediate/set-signed`, {
    certificate,
  })
  // a second CA in the same mount does not become the one that issues by itself
  const made = [answer.imported_issuers, answer.existing_issuers].flat().find((id) => typeof id === 'string')
  if (made !== undefined) await vault.write(`${mount}/root/replace`, {default: made})
}
