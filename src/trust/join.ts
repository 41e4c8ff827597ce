import {isDeepStrictEqual} from 'node:util'
import type {Signal} from '../collector/config.ts'
import {LkeobsError} from '../errors.ts'
import type {Secret} from '../secret.ts'
import type {PublicJwk} from '../tools/jose.ts'
import type {Vault} from '../tools/vault.ts'
import {registry} from './register.ts'

/*
 * How an edge that the hub cannot reach joins: both sides lay papers into a folder of the hub's Vault that is this edge's.
 * The invite may lay down the request once, which binds it to the key in it. What the hub answers is sealed to that key, with
 * a token that may lay down the rest. So a lost answer, or a side that is killed, costs nothing: the papers stay.
 */

/** The papers, by name. */
export type Papers = {
  /** Of the hub: an invite is open. The accessor can only revoke its token. */
  readonly invite: {readonly expires: number; readonly accessor: string; readonly seal: 'static' | 'transit'}
  /** Of the edge, laid down once: the key that answers are sealed to. */
  readonly request: {readonly key: PublicJwk; readonly thumbprint: string; readonly at: string; readonly from: string}
  /** Of the hub: the key that it agreed to. */
  readonly accepted: {readonly thumbprint: string; readonly at: string}
  /** Of the hub: what only the edge can open. The accessor is that of the token in it, the kid that of its credential. */
  readonly answer: {readonly thumbprint: string; readonly sealed: string; readonly accessor: string; readonly kid: string}
  /** Of the edge: the request for its issuer's certificate. */
  readonly csr: {readonly csr: string}
  /** Of the hub: the certificate for that request. */
  readonly issuer: {readonly csr: string; readonly certificate: string}
  /** Of the edge: canaries are on their way. */
  readonly canaries: {readonly run: string; readonly traces: Readonly<Record<Signal, string>>}
  /** Of the hub: which of them are in its stores. */
  readonly seen: {readonly run: string; readonly back: Readonly<Record<Signal, number | null>>}
}
export type Paper = keyof Papers

/** What is sealed to the edge. */
export type Answer = {readonly token: string; readonly credential: string; readonly sealToken?: string}

const all: readonly Paper[] = ['invite', 'request', 'accepted', 'answer', 'csr', 'issuer', 'canaries', 'seen']
export const joins = `${registry}/joins`
const placeOf = (edge: string, paper: Paper): string => `${joins}/${edge}/${paper}`

export const invitePolicyOf = (edge: string): string => `lkeobs-invite-${edge}`
export const joinPolicyOf = (edge: string): string => `lkeobs-join-${edge}`

const may = (edge: string, paper: Paper, ...what: readonly string[]): string =>
  `path "${placeOf(edge, paper)}" {capabilities = ${JSON.stringify(what)}}`

/** Create, and not update: the first request is the only one. */
export const invitePolicy = (edge: string): string =>
  [may(edge, 'request', 'create', 'read'), may(edge, 'accepted', 'read'), may(edge, 'answer', 'read')].join('\n')

export const joinPolicy = (edge: string): string =>
  [
    ...(['csr', 'canaries'] as const).map((paper) => may(edge, paper, 'create', 'update', 'read')),
    ...(['issuer', 'seen'] as const).map((paper) => may(edge, paper, 'read')),
  ].join('\n')

/** An edge's folder, by somebody who may read and write in it. */
export type Folder = {
  read<P extends Paper>(paper: P): Promise<Papers[P] | undefined>
  lay<P extends Paper>(paper: P, content: Papers[P]): Promise<void>
}

/** As the hub's administrator. */
export const folderOf = (vault: Vault, edge: string): Folder & {clear(): Promise<void>} => ({
  read: (paper) => vault.read(placeOf(edge, paper)),
  async lay(paper, content) {
    if (!isDeepStrictEqual(await vault.read(placeOf(edge, paper)), content)) await vault.write(placeOf(edge, paper), content)
  },
  async clear() {
    for (const paper of all) await vault.request({method: 'DELETE', path: placeOf(edge, paper), as: 'administrator'})
  },
})

/** With a token that may do some of it. `LKO-6004` where the hub does not let it. */
export const folderBy = (vault: Vault, edge: string, token: () => Promise<Secret>, refused: () => LkeobsError): Folder => {
  const ask = async (method: 'GET' | 'POST', paper: Paper, data?: Readonly<Record<string, unknown>>) => {
    const answer = await vault.request({method, path: placeOf(edge, paper), as: await token(), ...(data && {data})})
    if (answer.status === 403) throw refused()
    if (answer.status >= 400 && answer.status !== 404)
      throw new LkeobsError('LKO-5002', `${method} ${paper} of ${edge} at ${vault.address}: ${answer.status} ${answer.errors.join('; ')}`)
    return answer
  }
  return {
    async read<P extends Paper>(paper: P) {
      const {status, data} = await ask('GET', paper)
      return status === 404 ? undefined : (data as Papers[P])
    },
    async lay(paper, content) {
      await ask('POST', paper, content)
    },
  }
}

/** Whether a token still lives, by its accessor. */
export const isAlive = async (vault: Vault, accessor: string): Promise<boolean> =>
  (await vault.request({method: 'POST', path: 'auth/token/lookup-accessor', data: {accessor}, as: 'administrator'})).status === 200

/** Ends a token; one that has ended already stays so. Throws LKO-5002 where Vault refuses. */
export const revoked = async (vault: Vault, accessor: string): Promise<void> => {
  const {status, errors} = await vault.request({
    method: 'POST',
    path: 'auth/token/revoke-accessor',
    data: {accessor},
    as: 'administrator',
  })
  if (status >= 300 && (await isAlive(vault, accessor)))
    throw new LkeobsError('LKO-5002', `revoke a token at ${vault.address}: ${status} ${errors.join('; ')}`)
}
