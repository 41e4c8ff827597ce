import {createPrivateKey, randomBytes, webcrypto} from 'node:crypto'
import {LkeobsError} from '../../src/errors.ts'
import {plain, Secret} from '../../src/secret.ts'
import type {Vault} from '../../src/tools/vault.ts'
import {type KeyPair, readCertificate, type X509} from '../../src/tools/x509.ts'

type Values = Readonly<Record<string, unknown>>
type Mount = {
  readonly type: string
  maxLease: number
  readonly pending: Secret[]
  readonly issuers: Map<string, KeyPair>
  issuer: string
  readonly values: Map<string, Values>
}
type AppRole = {settings: Values; readonly roleId: string; readonly secretIds: Set<string>}

/** What the nodes of one Vault keep together. */
export type VaultData = {
  readonly members: Set<string>
  readonly mounts: Map<string, Mount>
  readonly auth: Set<string>
  readonly policies: Map<string, Values>
  readonly users: Map<string, string>
  readonly roles: Map<string, AppRole>
  readonly tokens: Map<string, Values>
}

export const emptyVault = (): VaultData => ({
  members: new Set(),
  mounts: new Map(),
  auth: new Set(['token']),
  policies: new Map(),
  users: new Map(),
  roles: new Map(),
  tokens: new Map(),
})

/** The same at this moment, whatever becomes of the other. */
export const copied = (data: VaultData): VaultData => ({
  members: new Set(data.members),
  mounts: new Map(
    [...data.mounts].map(([at, mount]) => [
      at,
      {...mount, pending: [...mount.pending], issuers: new Map(mount.issuers), values: new Map(mount.values)},
    ]),
  ),
  auth: new Set(data.auth),
  policies: new Map(data.policies),
  users: new Map(data.users),
  roles: new Map([...data.roles].map(([name, role]) => [name, {...role, secretIds: new Set(role.secretIds)}])),
  tokens: new Map(data.tokens),
})

export const refused = (status: number, why: string): LkeobsError => new LkeobsError('LKO-5002', `${status} ${why}`)

/** Vault takes durations as text and gives them back in seconds. */
const seconds = (value: unknown): unknown => {
  const [, number, unit = ''] = /^(\d+)([smhd])$/.exec(typeof value === 'string' ? value : '') ?? []
  return number === undefined ? value : Number(number) * ({s: 1, m: 60, h: 3600, d: 86_400}[unit] ?? 1)
}
const asVaultKeeps = (values: Values): Values =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, /ttl|duration/.test(key) ? seconds(value) : value]))

const algorithm = {name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256'} as const

/** The request of a CA whose key was made inside Vault. */
const caRequest = async (commonName: string): Promise<{readonly csr: string; readonly key: Secret}> => {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  await import('reflect-metadata')
  const {Pkcs10CertificateRequestGenerator} = await import('@peculiar/x509')
  const request = await Pkcs10CertificateRequestGenerator.create({name: `CN=${commonName}`, keys, signingAlgorithm: algorithm})
  const base64 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  return {csr: request.toString('pem'), key: new Secret(`-----BEGIN PRIVATE KEY-----\n${base64}\n-----END PRIVATE KEY-----\n`)}
}
/** Making keys is what takes time: worlds that are made by the dozen have them made once. */
const requests = new Map<string, ReturnType<typeof caRequest>>()
export const requestOf = async (commonName: string, again: boolean): ReturnType<typeof caRequest> => {
  const known = again ? undefined : requests.get(commonName)
  const made = known ?? caRequest(commonName)
  if (!again) requests.set(commonName, made)
  return made
}

const pkiOf = (data: VaultData, path: string): Mount => {
  const mount = data.mounts.get(path)
  if (mount?.type !== 'pki') throw refused(404, `no handler for route "${path}"`)
  return mount
}

/** The answer to a read; undefined is Vault's 404. A path that is not known here is a mistake in the test or in lkeobs. */
const read = (data: VaultData, path: string): object | undefined => {
  const [, mount = '', rest = ''] = /^([^/]+)\/(.*)$/.exec(path) ?? []
  const engine = data.mounts.get(mount)
  if (path === 'sys/mounts')
    return Object.fromEntries([...data.mounts].map(([at, {type, maxLease}]) => [`${at}/`, {type, config: {max_lease_ttl: maxLease}}]))
  if (path === 'sys/auth') return Object.fromEntries([...data.auth].map((type) => [`${type}/`, {type}]))
  if (path === 'sys/storage/raft/configuration') return {config: {servers: [...data.members].map((node_id) => ({node_id}))}}
  if (path.startsWith('sys/policies/acl/')) return data.policies.get(path)
  const [, role = '', detail] = /^auth\/approle\/role\/(\w+)(\/role-id)?$/.exec(path) ?? []
  if (role !== '') {
    const found = data.roles.get(role)
    return found && (detail === undefined ? found.settings : {role_id: found.roleId})
  }
  if (/^pki\w*\/(config\/issuers|cert\/ca|roles\/\w+)$/.test(path)) {
    if (engine === undefined) return undefined
    if (rest === 'config/issuers') return {default: engine.issuer}
    if (rest !== 'cert/ca') return engine.values.get(path)
    const issuer = engine.issuers.get(engine.issuer)
    if (issuer === undefined) throw refused(500, 'no default issuer currently configured')
    return {certificate: issuer.certificate}
  }
  if (/^(lkeobs\/((edges|clusters|destinations)\/[\w-]+|drill)|seals\/keys\/[\w-]+)$/.test(path)) return engine?.values.get(path)
  throw new Error(`the fake Vault does not know how to read ${path}`)
}

const text = (value: unknown): string => (value instanceof Secret ? value.reveal() : typeof value === 'string' ? value : '')

type Making = {readonly x509: X509; readonly alwaysNewKeys: boolean}

const enginePaths: Readonly<Record<string, (mount: Mount, values: Values, making: Making) => Promise<object>>> = {
  async 'intermediate/generate/internal'({pending}, {common_name: name}, {alwaysNewKeys}) {
    const {csr, key} = await requestOf(text(name), alwaysNewKeys)
    pending.push(key)
    return {csr}
  },
  async 'intermediate/set-signed'(mount, {certificate}) {
    const pem = text(certificate)
    const own = readCertificate(pem)
    const key = mount.pending.findLast((candidate) => own?.checkPrivateKey(createPrivateKey(candidate.reveal())))
    if (key === undefined) throw refused(400, 'no key here belongs to the certificate')
    const id = `issuer-${mount.issuers.size + 1}`
    mount.issuers.set(id, {certificate: pem, key})
    if (mount.issuer === '') mount.issuer = id
    return {imported_issuers: [id], existing_issuers: null}
  },
  async 'root/replace'(mount, {default: id}) {
    if (!mount.issuers.has(text(id))) throw refused(400, 'no such issuer')
    mount.issuer = text(id)
    return {default: id}
  },
  async 'root/sign-intermediate'(mount, {csr, ttl, max_path_length: pathLength}, {x509}) {
    const issuer = mount.issuers.get(mount.issuer)
    if (issuer === undefined) throw refused(500, 'no default issuer currently configured')
    const days = Number(seconds(ttl)) / 86_400
    if (days > mount.maxLease / 86_400) throw refused(400, 'the lifetime is longer than the mount allows')
    return {certificate: await x509.signCa(issuer, text(csr), {days, pathLength: Number(pathLength)})}
  },
}

const write = async (data: VaultData, path: string, values: Values, making: Making): Promise<object> => {
  const [, mount, tune] = /^sys\/mounts\/(\w+)(\/tune)?$/.exec(path) ?? []
  if (mount !== undefined) {
    const there = data.mounts.get(mount)
    if ((tune === undefined) === (there !== undefined)) throw refused(400, `path is already in use or not there: ${path}`)
    const config = (tune === undefined ? values['config'] : values) as Values
    const maxLease = Number(seconds(config['max_lease_ttl']))
    if (there) there.maxLease = maxLease
    else data.mounts.set(mount, {type: text(values['type']), maxLease, pending: [], issuers: new Map(), issuer: '', values: new Map()})
    return {}
  }
  const [, method] = /^sys\/auth\/(\w+)$/.exec(path) ?? []
  if (method !== undefined) {
    if (data.auth.has(method)) throw refused(400, `path is already in use at ${method}/`)
    data.auth.add(method)
    return {}
  }
  if (path.startsWith('sys/policies/acl/')) {
    data.policies.set(path, values)
    return {}
  }
  const [, role = '', secretId] = /^auth\/approle\/role\/(\w+)(\/custom-secret-id)?$/.exec(path) ?? []
  if (role !== '') {
    if (!data.auth.has('approle')) throw refused(404, 'no handler for route "auth/approle"')
    const there = data.roles.get(role)
    if (secretId !== undefined) {
      if (!there) throw refused(400, 'no such role')
      if (!(values['secret_id'] instanceof Secret)) throw new Error('a secret id is a Secret')
      there.secretIds.add(values['secret_id'].reveal())
    } else if (there) there.settings = asVaultKeeps(values)
    else data.roles.set(role, {settings: asVaultKeeps(values), roleId: `role-id-of-${role}`, secretIds: new Set()})
    return {}
  }
  if (path === 'auth/token/create-orphan') {
    const token = `s.${randomBytes(12).toString('hex')}`
    const period = seconds(values['period'])
    data.tokens.set(token, {ttl: period, period, orphan: true, policies: values['policies']})
    return {client_token: token}
  }
  const [, edge = ''] = /^seals\/keys\/([\w-]+)$/.exec(path) ?? []
  if (edge !== '') {
    const at = data.mounts.get('seals')
    if (at?.type !== 'transit') throw refused(404, 'no handler for route "seals"')
    at.values.set(path, {...values, exportable: false, allow_plaintext_backup: false, deletion_allowed: false})
    return {}
  }
  if (/^pki\w*\/issue\/\w+$/.test(path)) {
    const wish = Object.fromEntries(Object.entries(values).flatMap(([key, value]) => (value === '' ? [] : [[key, String(value)]])))
    const leaf = await issueLeaf(data, path, wish, making)
    if (leaf === undefined) throw refused(400, 'the role does not allow it')
    const [certificate, issuer, key] = leaf.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----\n?/g) ?? []
    return {certificate, issuing_ca: issuer, private_key: key}
  }
  const [, engine = '', rest = ''] = /^(pki\w*|lkeobs)\/(.+)$/.exec(path) ?? []
  if (engine.startsWith('pki')) {
    const at = pkiOf(data, engine)
    const known = enginePaths[rest]
    if (known) return known(at, values, making)
    if (/^roles\/\w+$/.test(rest)) {
      at.values.set(path, asVaultKeeps(values))
      return {}
    }
  }
  if (/^((edges|clusters|destinations)\/[\w-]+|drill)$/.test(rest)) {
    const at = data.mounts.get(engine)
    if (at?.type !== 'kv') throw refused(404, `no handler for route "${engine}"`)
    at.values.set(path, Object.fromEntries(Object.entries(values).map(([key, value]) => [key, plain(value)])))
    return {}
  }
  throw new Error(`the fake Vault does not know how to write ${path}`)
}

/** Whether these credentials are of this AppRole, and its policies let it write to the path. */
export const mayWrite = (data: VaultData, roleId: string, secretId: string, path: string): boolean => {
  const role = [...data.roles.values()].find((candidate) => candidate.roleId === roleId && candidate.secretIds.has(secretId))
  const policies = (role?.settings['token_policies'] ?? []) as readonly string[]
  return policies.some((name) => text(data.policies.get(`sys/policies/acl/${name}`)?.['policy']).includes(`path "${path}"`))
}

/** A leaf as `bao agent` gets it; undefined where the role does not allow the name. */
export const issueLeaf = async (
  data: VaultData,
  path: string,
  wish: Readonly<Record<string, string>>,
  {x509}: Making,
): Promise<string | undefined> => {
  const [, engine = '', role = ''] = /^(\w+)\/issue\/(\w+)$/.exec(path) ?? []
  const mount = pkiOf(data, engine)
  const issuer = mount.issuers.get(mount.issuer)
  const settings = mount.values.get(`${engine}/roles/${role}`)
  const names = [wish['common_name'] ?? '', ...(wish['alt_names']?.split(',') ?? [])]
  const addresses = wish['ip_sans']?.split(',') ?? []
  const allowed = (settings?.['allowed_domains'] ?? []) as readonly string[]
  if (!issuer || names.some((name) => !allowed.includes(name)) || (addresses.length > 0 && settings?.['allow_ip_sans'] !== true))
    return undefined
  if (Number(seconds(wish['ttl'])) > Number(settings?.['max_ttl'])) return undefined
  const {certificate, key} = await x509.issueServer(issuer, {commonName: names[0] ?? '', names: [...names, ...addresses], days: 1})
  return certificate + issuer.certificate + key.reveal()
}

const shown = (value: unknown): string => {
  if (value instanceof Secret) return '‹secret›'
  if (Array.isArray(value) && value.some((one) => one instanceof Object && 'kid' in one))
    return `‹${value.length === 1 ? 'key' : `${value.length} keys`}›`
  if (typeof value !== 'string') return JSON.stringify(value)
  if (/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(value)) return '‹id›'
  const [, pem] = /-----BEGIN ([A-Z ]+)-----/.exec(value) ?? []
  if (pem !== undefined) return `‹${pem.toLowerCase()}›`
  return /\s/.test(value) ? `'${value}'` : value
}

/** The write as one line. */
export const lineOf = (path: string, values: Values): string =>
  [path, ...Object.entries(values).map(([key, value]) => `${key}=${shown(value)}`)].join(' ')

/** Vault's answers to somebody who has logged in. */
export const vaultApi = (
  loggedIn: () => Promise<VaultData>,
  wrote: (path: string, values: Values) => void,
  making: Making,
): Pick<Vault, 'read' | 'list' | 'write' | 'lookup'> => ({
  read: async <T extends object>(path: string) => read(await loggedIn(), path) as T | undefined,
  async list(path) {
    const data = await loggedIn()
    if (path !== 'lkeobs/edges') throw new Error(`the fake Vault does not know how to list ${path}`)
    return [...(data.mounts.get('lkeobs')?.values.keys() ?? [])]
      .filter((key) => key.startsWith(path))
      .map((key) => key.slice(path.length + 1))
  },
  async write<T extends object>(path: string, values: Values = {}) {
    const data = await loggedIn()
    wrote(path, values)
    return (await write(data, path, values, making)) as T
  },
  async lookup<T extends object>(path: string, values: Values) {
    const [, role] = /^auth\/approle\/role\/(\w+)\/secret-id\/lookup$/.exec(path) ?? []
    if (path === 'auth/token/lookup') {
      const found = (await loggedIn()).tokens.get(text(values['token']))
      if (!found) throw refused(403, 'bad token')
      return found as T
    }
    if (role === undefined) throw new Error(`the fake Vault does not know how to look up ${path}`)
    const data = await loggedIn()
    return data.roles.get(role)?.secretIds.has(text(values['secret_id'])) ? ({} as T) : undefined
  },
})
