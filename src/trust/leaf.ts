import type {Step} from '../steps/step.ts'
import {render} from '../templates.ts'
import type {Vault} from '../tools/vault.ts'
import {written} from './pki.ts'

/** Files of certificates are read again at the next handshake, once this is over. */
export const reloadMs = 1000

/** The policy of whoever asks for the leaves of a cluster. */
export const leafPolicy = 'lkeobs-leaf'

/** What a leaf is issued for. */
export type LeafWish = {
  /** `pki/issue/agent` */
  readonly issuePath: string
  readonly commonName: string
  readonly names?: readonly string[]
  readonly addresses?: readonly string[]
  readonly ttlSeconds: number
  /** Where certificate, issuer and key are wanted, in one file: no reader can see a certificate beside another's key. */
  readonly file: string
}

/** What a leaf may be called, as a role of Vault's PKI; durations in seconds, as Vault gives them back. */
export const leafRole = ({commonName, names = [], addresses = [], ttlSeconds}: LeafWish, use: 'client' | 'server') => ({
  allowed_domains: [commonName, ...names],
  allow_bare_domains: true,
  allow_subdomains: false,
  allow_wildcard_certificates: false,
  allow_ip_sans: addresses.length > 0,
  server_flag: use === 'server',
  client_flag: use === 'client',
  key_type: 'ec',
  key_bits: 256,
  ttl: ttlSeconds,
  max_ttl: ttlSeconds * 2,
  not_before_duration: 60,
  no_store: true,
})

/** Who has it may ask for leaves and nothing else. */
export const leafPolicyWritten = (vault: Vault, cluster: string, issuePath: string): Step =>
  written(vault, `policy on ${cluster}: the leaf agent may ask for leaves, nothing else`, `sys/policies/acl/${leafPolicy}`, {
    policy: `path "${issuePath}" {capabilities = ["update"]}`,
  })

const template = ({issuePath, commonName, names = [], addresses = [], ttlSeconds}: LeafWish): string => {
  const parameters = [
    issuePath,
    `common_name=${commonName}`,
    ...(names.length > 0 ? [`alt_names=${names.join(',')}`] : []),
    ...(addresses.length > 0 ? [`ip_sans=${addresses.join(',')}`] : []),
    `ttl=${ttlSeconds}s`,
  ]
  return `{{ with pkiCert ${parameters.map((word) => JSON.stringify(word)).join(' ')} }}{{ .Cert }}{{ .CA }}{{ .Key }}{{ end }}`
}

/** What `bao agent` needs to know to write the leaf and renew it after two thirds of its life. Given to it as JSON. */
export const leafAgentConfig = (
  wish: LeafWish,
  vault: {readonly address: string; readonly ca: string},
  method: {readonly type: 'approle' | 'kubernetes'; readonly config: Readonly<Record<string, unknown>>},
): string =>
  `${JSON.stringify(
    render('vault-agent.yaml', {vault, method, template: {contents: template(wish), destination: wish.file, mode: '0600'}}),
    undefined,
    2,
  )}\n`
