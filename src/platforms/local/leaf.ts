import {randomBytes} from 'node:crypto'
import {relative} from 'node:path'
import type {Component} from '../../components/component.ts'
import {Secret} from '../../secret.ts'
import type {Step, Task} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import type {Vault} from '../../tools/vault.ts'
import {isFor, isSignedBy, readCertificate} from '../../tools/x509.ts'
import {leafAgentConfig, leafPolicy, type LeafWish} from '../../trust/leaf.ts'
import {authEnabled, issuerOf, written} from '../../trust/pki.ts'
import type {Place} from '../platform.ts'
import type {Machine} from './index.ts'

/** The component that keeps a leaf certificate fresh, and the AppRole it logs in with. */
const name = 'leaf'
const roleName = 'leaf'
const roleIdFile = 'role-id'
const secretIdFile = 'secret-id'

/** A Vault agent beside the collector writes the leaf into its hands, and renews it. */
export const deliveredByAgent = (
  vault: Vault,
  machine: Machine,
  files: Tools['files'],
  leaf: LeafWish,
  keeper: Component,
): readonly Task[] => [...access(vault, machine), leafFits(vault, machine, files, leaf), machine.runs(keeper)]

/** Its login, and the credentials in its hands. */
const access = (vault: Vault, machine: Machine): readonly Step[] => [
  authEnabled(vault, `AppRole login on Vault of ${machine.cluster}`, 'approle'),
  written(vault, `AppRole of the leaf agent on ${machine.cluster}`, `auth/approle/role/${roleName}`, {
    token_policies: [leafPolicy],
    token_ttl: 3600,
    token_max_ttl: 86_400,
  }),
  credentials(vault, machine),
]

const credentials = (vault: Vault, machine: Machine): Step => ({
  title: `credentials of the leaf agent on ${machine.cluster}`,
  async done() {
    const [roleId, secretId] = await Promise.all([machine.read(name, roleIdFile), machine.read(name, secretIdFile)])
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
    await machine.hand(name, roleIdFile, roleId)
    await machine.hand(name, secretIdFile, secretId)
  },
})

/**
 * The leaf in the collector's hands, if there is one, is for these names and of the present issuer. The agent itself asks
 * neither: it keeps any leaf that has not expired.
 */
const leafFits = (vault: Vault, machine: Machine, files: Tools['files'], wish: LeafWish): Step => ({
  title: `no leaf on ${machine.cluster} for other names or of another issuer`,
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
    // in its place: a handshake without a file would fail
    await leafIssued(vault, files, wish)
    await machine.stopped(name, '').apply(tell)
  },
})

type Issued = {readonly certificate: string; readonly issuing_ca: string; readonly private_key: string}

/** Another leaf in the collector's hands, and its agent started anew: it would go by the end of the one it knows, and keeps this one. */
export const leafRenewed = async (
  vault: Vault,
  machine: Machine,
  {files}: Pick<Tools, 'files'>,
  wish: LeafWish,
  keeper: Component,
): Promise<void> => {
  await leafIssued(vault, files, wish)
  await machine.stopped(name, '').apply(() => undefined)
  await machine.runs(keeper).apply(() => undefined)
}

const leafIssued = async (vault: Vault, files: Tools['files'], wish: LeafWish): Promise<void> => {
  const {commonName, names = [], addresses = [], ttlSeconds} = wish
  const issued = await vault.write<Issued>(wish.issuePath, {
    common_name: commonName,
    alt_names: names.join(','),
    ip_sans: addresses.join(','),
    ttl: `${ttlSeconds}s`,
  })
  const {certificate, issuing_ca: issuer, private_key: key} = issued
  await files.write(wish.file, new Secret([certificate, issuer, key].map((pem) => `${pem.trim()}\n`).join('')))
}

/** `bao agent`, writing the leaf and renewing it after two thirds of its life. */
export const leafAgent = (at: Place, vaultAddress: string, ca: string, wish: LeafWish): Component => ({
  name,
  title: 'leaf agent',
  program: 'openbao',
  args: ['agent', `-config=${at.file('agent.json')}`],
  files: {
    'agent.json': leafAgentConfig(
      wish,
      {address: vaultAddress, ca},
      {
        type: 'approle',
        config: {
          role_id_file_path: at.file(roleIdFile),
          secret_id_file_path: at.file(secretIdFile),
          remove_secret_id_file_after_reading: false,
        },
      },
    ),
  },
  // it reads them when it starts, and so whom it trusts
  restartOn: [roleIdFile, secretIdFile, relative(at.folder, ca)],
  async ready({files}) {
    const certificate = readCertificate((await files.read(wish.file)) ?? '')
    if (!certificate) return 'no leaf yet'
    return Date.parse(certificate.validTo) > Date.now() ? true : `the leaf expired ${certificate.validTo}`
  },
})
