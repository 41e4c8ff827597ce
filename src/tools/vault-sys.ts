import {LkeobsError} from '../errors.ts'
import {Secret} from '../secret.ts'
import type {SealStatus, Vault, VaultAnswer, VaultRequest} from './vault.ts'

/** Where OpenBao and Vault have gone separate ways: OpenBao from 2.6, and Vault. */
const dialects = {
  openbao: {rotation: 'sys/rotate/root', rootToken: 'sys/generate-root-token'},
  vault: {rotation: 'sys/rekey', rootToken: 'sys/generate-root'},
} as const

/** What the server says it is: only OpenBao tells when it was committed. */
export const dialectOf = ({commit_date: committed}: Pick<SealStatus, 'commit_date'>): keyof typeof dialects =>
  committed === undefined ? 'vault' : 'openbao'

/** What became of a share that was given. */
export type Taken = 'counted' | 'complete' | 'duplicate' | 'wrong' | 'malformed' | 'foreign' | 'expired' | 'denied'

const words: readonly (readonly [Taken, RegExp])[] = [
  ['duplicate', /already been provided/],
  ['foreign', /incorrect nonce/],
  ['malformed', /hex or base64|key is (shorter|longer)|invalid key length/],
  ['wrong', /decrypt|invalid key|authentication failed|incorrect key shares|combined key|aborted|unable to authenticate/],
  ['expired', /no (rotation|rekey|root generation|barrier)|not (in progress|started)|in progress$/],
]

/** Vault says it in words; what it was is told apart by them. Undefined where they are none of these. */
export const takenOf = ({status, errors}: Pick<VaultAnswer, 'status' | 'errors'>): Taken | undefined =>
  status === 403 ? 'denied' : words.find(([, pattern]) => errors.some((text) => pattern.test(text)))?.[0]

/** An attempt that several holders make together: a rotation of the shares, or the making of a root token. */
export type Attempt = {
  readonly started: boolean
  readonly nonce?: string
  readonly progress?: number
  readonly required?: number
  /** Of the new shares' proof, once there are new shares. */
  readonly verificationNonce?: string
}
type AttemptData = Omit<Attempt, 'verificationNonce'> & {readonly verification_nonce?: string}

export type RotationWish = {readonly shares: number; readonly threshold: number; readonly keys: readonly string[]}
export type InitWish = RotationWish & {readonly rootTokenKey: string}
export type InitReply = {readonly shares: readonly string[]; readonly rootToken: string}

type As = Secret | 'administrator'

/** The `sys/` requests of a ceremony, over one node. Shares and tokens are Secrets, and are in no error. */
export const vaultSys = (vault: Vault) => {
  const refuse = ({path}: Pick<VaultRequest, 'path'>, {status, errors}: VaultAnswer): never => {
    throw new LkeobsError('LKO-5002', `${path} at ${vault.address}: ${status} ${errors.join('; ')}`)
  }
  const ask = async <T>(request: VaultRequest): Promise<T> => {
    const answer = await vault.request(request)
    return answer.status < 300 ? (answer.data as T) : refuse(request, answer)
  }
  /** Gives a share; `undefined` status words are refusals. */
  const give = async (
    request: VaultRequest,
  ): Promise<{readonly taken: Taken; readonly status: number; readonly data: VaultAnswer['data']}> => {
    const answer = await vault.request(request)
    if (answer.status < 300) return {taken: answer.data['complete'] === true ? 'complete' : 'counted', ...answer}
    return {taken: takenOf(answer) ?? refuse(request, answer), ...answer}
  }
  let known: (typeof dialects)[keyof typeof dialects] | undefined
  const dialect = async () => (known ??= dialects[dialectOf((await vault.sealStatus()) ?? {})])
  const attempt = ({verification_nonce: proof, ...data}: AttemptData): Attempt => ({...data, ...(proof && {verificationNonce: proof})})

  return {
    async init({shares, threshold, keys, rootTokenKey}: InitWish): Promise<InitReply> {
      const data = {secret_shares: shares, secret_threshold: threshold, pgp_keys: keys, root_token_pgp_key: rootTokenKey}
      const reply = await ask<{keys_base64: string[]; root_token: string}>({method: 'POST', path: 'sys/init', data})
      return {shares: reply.keys_base64, rootToken: reply.root_token}
    },
    /** With a single share and a root token that nobody is to keep. */
    async initAlone(): Promise<{readonly share: Secret; readonly token: Secret}> {
      const data = {secret_shares: 1, secret_threshold: 1}
      const reply = await ask<{keys_base64: string[]; root_token: string}>({method: 'POST', path: 'sys/init', data})
      return {share: new Secret(reply.keys_base64[0] ?? ''), token: new Secret(reply.root_token)}
    },
    unseal: (share: Secret) => give({method: 'POST', path: 'sys/unseal', data: {key: share}}),
    reset: () => ask<object>({method: 'POST', path: 'sys/unseal', data: {reset: true}}),
    /** Undefined while there is none. */
    async leader(): Promise<{readonly isSelf: boolean; readonly address: string} | undefined> {
      const {status, data} = await vault.request({method: 'GET', path: 'sys/leader'})
      const address = data['leader_address']
      return status < 300 && typeof address === 'string' && address !== '' ? {isSelf: data['is_self'] === true, address} : undefined
    },
    async lookupSelf(token: Secret): Promise<{readonly status: number; readonly accessor: string; readonly policies: readonly string[]}> {
      const {status, data} = await vault.request({method: 'GET', path: 'auth/token/lookup-self', as: token})
      return {
        status,
        accessor: typeof data['accessor'] === 'string' ? data['accessor'] : '',
        policies: (data['policies'] ?? []) as readonly string[],
      }
    },
    async revokeSelf(token: Secret): Promise<number> {
      await ask({method: 'POST', path: 'auth/token/revoke-self', data: {}, as: token})
      return 204
    },
    /** Whether a token of this accessor lives. */
    async lives(accessor: string): Promise<boolean> {
      const request: VaultRequest = {method: 'POST', path: 'auth/token/lookup-accessor', data: {accessor}, as: 'administrator'}
      const answer = await vault.request(request)
      if (answer.status < 300) return true
      return [400, 403, 404].includes(answer.status) ? false : refuse(request, answer)
    },
    async revokeAccessor(accessor: string): Promise<void> {
      await vault.request({method: 'POST', path: 'auth/token/revoke-accessor', data: {accessor}, as: 'administrator'})
    },

    async rotation(as: As = 'administrator') {
      return attempt(await ask<AttemptData>({method: 'GET', path: `${(await dialect()).rotation}/init`, as}))
    },
    async startRotation({shares, threshold, keys}: RotationWish) {
      const data = {secret_shares: shares, secret_threshold: threshold, pgp_keys: keys, backup: true, require_verification: true}
      return attempt(await ask<AttemptData>({method: 'POST', path: `${(await dialect()).rotation}/init`, data, as: 'administrator'}))
    },
    async giveToRotation(share: Secret, nonce: string, as: As) {
      return give({method: 'POST', path: `${(await dialect()).rotation}/update`, data: {key: share, nonce}, as})
    },
    async proof(as: As = 'administrator') {
      return attempt(await ask<AttemptData>({method: 'GET', path: `${(await dialect()).rotation}/verify`, as}))
    },
    async prove(share: Secret, nonce: string, as: As) {
      return give({method: 'POST', path: `${(await dialect()).rotation}/verify`, data: {key: share, nonce}, as})
    },
    /** The new shares, encrypted, by the fingerprint of the key they are for (lower-case hex). */
    async rotationBackup(): Promise<{readonly nonce: string; readonly keys: Readonly<Record<string, readonly string[]>>}> {
      const path = `${(await dialect()).rotation}/backup`
      const data = await ask<{nonce: string; keys_base64: Record<string, string[]>}>({method: 'GET', path, as: 'administrator'})
      return {nonce: data.nonce, keys: data.keys_base64}
    },
    async removeRotationBackup(): Promise<void> {
      await vault.request({method: 'DELETE', path: `${(await dialect()).rotation}/backup`, as: 'administrator'})
    },
    /** Vault wants to be told which, in the first minutes. */
    async cancelRotation(nonce: string): Promise<void> {
      await ask({method: 'DELETE', path: `${(await dialect()).rotation}/init`, data: {nonce}, as: 'administrator'})
    },

    async rootToken(as: As = 'administrator') {
      return attempt(await ask<AttemptData>({method: 'GET', path: `${(await dialect()).rootToken}/attempt`, as}))
    },
    async startRootToken(key: string) {
      const path = `${(await dialect()).rootToken}/attempt`
      return attempt(await ask<AttemptData>({method: 'POST', path, data: {pgp_key: key}, as: 'administrator'}))
    },
    async giveToRootToken(share: Secret, nonce: string, as: As) {
      return give({method: 'POST', path: `${(await dialect()).rootToken}/update`, data: {key: share, nonce}, as})
    },
    async cancelRootToken(nonce: string): Promise<void> {
      await ask({method: 'DELETE', path: `${(await dialect()).rootToken}/attempt`, data: {nonce}, as: 'administrator'})
    },
  }
}

export type VaultSys = ReturnType<typeof vaultSys>
