import {randomBytes} from 'node:crypto'
import type {Component} from '../components/component.ts'
import type {Place, Platform} from '../platforms/platform.ts'
import {Secret} from '../secret.ts'
import type {Step} from '../steps/step.ts'
import {render} from '../templates.ts'
import type {Tools} from '../tools/index.ts'
import type {Vault} from '../tools/vault.ts'
import {isFor, isSignedBy, readCertificate} from '../tools/x509.ts'
import {authEnabled, issuerOf, written} from './pki.ts'

/** The component that keeps a leaf certificate fresh, and the AppRole it logs in with. */
const name = 'leaf'
const roleName = 'leaf'
const roleIdFile = 'role-id'
const secretIdFile = 'secret-id'

/** What a leaf is issued for. */
export type LeafWish = {
  /** `pki/issue/agent` */
  readonly issuePath: string
  readonly commonName: string
  readonly names?: readonly string[]
  readonly addresses?: readonly string[]
  /** Lifetime in hours. */
  readonly hours: number
  /** Where certificate, issuer and key are wanted, in one file: no reader can see a certificate beside another's key. */
  readonly file: string
}

/** What a leaf may be called, as a role of Vault's PKI; durations in seconds, as Vault gives them back. */
export const leafRole = ({commonName, names = [], addresses = [], hours}: LeafWish, use: 'client' | 'server') => ({
  allowed_domains: [commonName, ...names],
  allow_bare_domains: true,
  allow_subdomains: false,
  allow_wildcard_certificates: false,
  allow_ip_sans: addresses.length > 0,
  server_flag: use === 'server',
  client_flag: use === 'client',
  key_type: 'ec',
  key_bits: 256,
  ttl: hours * 3600,
  max_ttl: hours * 2 * 3600,
  not_before_duration: 60,
  no_store: true,
})

/** What may be issued, by whom, and the credentials in the agent's hands. */
export const leafAccess = (vault: Vault, platform: Platform, {issuePath}: Pick<LeafWish, 'issuePath'>): readonly Step[] => [
  written(vault, `policy on ${platform.cluster}: the leaf agent may ask for leaves, nothing else`, `sys/policies/acl/lkeobs-${roleName}`, {
    policy: `path "${issuePath}" {capabilities = ["update"]}`,
  }),
  authEnabled(vault, `AppRole login on Vault of ${platform.cluster}`, 'approle'),
  written(vault, `AppRole of the leaf agent on ${platform.cluster}`, `auth/approle/role/${roleName}`, {
    token_policies: [`lkeobs-${roleName}`],
    token_ttl: 3600,
    token_max_ttl: 86_400,
  }),
  credentials(vault, platform),
]

const credentials = (vault: Vault, platform: Platform): Step => ({
  title: `credentials of the leaf agent on ${platform.cluster}`,
  async done() {
    const [roleId, secretId] = await Promise.all([platform.read(name, roleIdFile), platform.read(name, secretIdFile)])
    if (roleId === undefined || secretId === undefined) return 'not handed over'
    const known = await vault.read<{role_id: string}>(`auth/approle/role/${roleName}/role-id`)
    if (known?.role_id !== roleId) return 'of another role'
    const accepted = await vault.lookup(`auth/approle/role/${roleName}/secret-id/lookup`, {secret_id: new Secret(secretId)})
    return accepted === undefined ? 'Vault does not know them' : true
  },
  async apply() {
    const {role_id: roleId} = (await vault.read<{role_id: string}>(`auth/approle/role/${roleName}/role-id`)) ?? {role_id: ''}
    const secretId = new Secret(randomBytes(24).toString('hex'))
    await vault.write(`auth/approle/role/${roleName}/custom-secret-id`, {secret_id: secretId})
    await platform.hand(name, roleIdFile, roleId)
    await platform.hand(name, secretIdFile, secretId)
  },
})

/**
 * The leaf in the collector's hands, if there is one, is for these names and of the present issuer. The agent itself asks
 * neither: it keeps any leaf that has not expired.
 */
export const leafFits = (vault: Vault, platform: Platform, files: Tools['files'], wish: LeafWish): Step => ({
  title: `no leaf on ${platform.cluster} for other names or of another issuer`,
  async done() {
    const leaf = readCertificate((await files.read(wish.file)) ?? '')
    if (!leaf) return true
    const [mount = ''] = wish.issuePath.split('/')
    const above = readCertificate((await issuerOf(vault, mount)) ?? '')
    if (!above || !isSignedBy(leaf, above)) return 'of another issuer'
    const lacking = [...(wish.names ?? []), ...(wish.addresses ?? [])].find((each) => !isFor(leaf, each))
    return lacking === undefined ? true : `not for ${lacking}`
  },
  async apply(tell) {
    await platform.stopped(name, '').apply(tell)
    await files.remove(wish.file)
  },
})

const template = ({issuePath, commonName, names = [], addresses = [], hours}: LeafWish): string => {
  const parameters = [
    issuePath,
    `common_name=${commonName}`,
    ...(names.length > 0 ? [`alt_names=${names.join(',')}`] : []),
    ...(addresses.length > 0 ? [`ip_sans=${addresses.join(',')}`] : []),
    `ttl=${hours}h`,
  ]
  return `{{ with pkiCert ${parameters.map((word) => JSON.stringify(word)).join(' ')} }}{{ .Cert }}{{ .CA }}{{ .Key }}{{ end }}`
}

/** `bao agent`, writing the leaf and renewing it after two thirds of its life. */
export const leafAgent = (at: Place, vaultAddress: string, ca: string, wish: LeafWish): Component => ({
  name,
  title: 'leaf agent',
  program: 'openbao',
  args: ['agent', `-config=${at.file('agent.json')}`],
  files: {
    'agent.json': JSON.stringify(
      render('vault-agent.yaml', {
        vault: {address: vaultAddress, ca},
        roleId: at.file(roleIdFile),
        secretId: at.file(secretIdFile),
        template: {contents: template(wish), destination: wish.file, mode: '0600'},
      }),
      undefined,
      2,
    ),
  },
  restartOn: [roleIdFile, secretIdFile],
  async ready({files}) {
    const certificate = readCertificate((await files.read(wish.file)) ?? '')
    if (!certificate) return 'no leaf yet'
    return Date.parse(certificate.validTo) > Date.now() ? true : `the leaf expired ${certificate.validTo}`
  },
})
