import {LkeobsError} from '../errors.ts'
import type {VaultNode} from '../platforms/platform.ts'
import {Secret} from '../secret.ts'
import {type Attempt, type Taken, type VaultSys, vaultSys} from '../tools/vault-sys.ts'
import {registry} from '../trust/register.ts'
import {isCiphertext} from '../tools/openpgp.ts'
import {checkShare} from './unseal.ts'

/** What several holders do together while Vault runs. */
export type Kind = 'rekey' | 'generate-root'

/** Lets one holder take part in one attempt: Vault asks for a token there, which may give shares and nothing else. */
export type Ticket = {
  readonly kind: 'lkeobs/ticket/v1'
  readonly attempt: Kind
  readonly hub: string
  readonly holder: string
  readonly nonce: string
  readonly token: string
}

/** What the last holder of an attempt leaves for the administrator: nobody else is told by Vault. */
export type Outcome = {readonly nonce: string; readonly by: string; readonly token?: string}
export const outcomePath = (attempt: Kind): string => `${registry}/ceremony/${attempt}`

export const holderPolicyName = 'lkeobs-holder'
const rotations = ['sys/rotate/root', 'sys/rekey']
const rootTokens = ['sys/generate-root-token', 'sys/generate-root']

/** Of either dialect: one that Vault does not know does no harm. */
export const holderPolicy = [
  ...rotations.flatMap((path) => [
    `path "${path}/init" {capabilities = ["read"]}`,
    `path "${path}/update" {capabilities = ["create", "update"]}`,
    `path "${path}/verify" {capabilities = ["read", "create", "update"]}`,
  ]),
  ...rootTokens.flatMap((path) => [
    `path "${path}/attempt" {capabilities = ["read"]}`,
    `path "${path}/update" {capabilities = ["create", "update"]}`,
  ]),
  `path "${registry}/ceremony/*" {capabilities = ["create", "update"]}`,
].join('\n')

/** What a decrypted ticket says. Throws LKO-5031 where it is none, or for something else. */
export const readTicket = (plain: Secret, attempt: Kind): Ticket => {
  let ticket: Partial<Ticket> = {}
  try {
    ticket = JSON.parse(plain.reveal()) as Partial<Ticket>
  } catch {
    // said below, without what it is
  }
  if (ticket.kind !== 'lkeobs/ticket/v1') throw new LkeobsError('LKO-5031', 'What was decrypted is not a ticket.')
  if (ticket.attempt !== attempt)
    throw new LkeobsError('LKO-5031', `The ticket is for ${ticket.attempt}.`, {next: [`lkeobs vault ${ticket.attempt}`]})
  return ticket as Ticket
}

export type Part = {
  readonly hub: string
  readonly attempt: Kind
  readonly holder: string
  readonly nonce: string
  /** `giving` shares that are held, or `proving` new ones. */
  readonly phase: 'giving' | 'proving'
  readonly progress: number
  readonly required: number
  readonly complete: boolean
}

const isDenied = (error: unknown): boolean => error instanceof LkeobsError && / 403 /.test(error.message)

const statusOf = async (sys: VaultSys, {attempt, holder}: Ticket, token: Secret): Promise<Attempt> => {
  try {
    return attempt === 'rekey' ? await sys.rotation(token) : await sys.rootToken(token)
  } catch (error) {
    if (isDenied(error))
      throw new LkeobsError('LKO-5031', `Vault does not accept the ticket of ${holder}: its time has passed, or the attempt was closed.`)
    throw error
  }
}

const refusals: Readonly<Partial<Record<Taken, (ticket: Ticket) => LkeobsError>>> = {
  denied: ({holder}) => new LkeobsError('LKO-5031', `Vault does not accept the ticket of ${holder}.`),
  duplicate: ({holder}) => new LkeobsError('LKO-5024', `The share of ${holder} counts already.`),
  wrong: ({attempt}) => new LkeobsError('LKO-5023', `The progress of ${attempt} is back to none.`),
  malformed: () => new LkeobsError('LKO-5021', 'Vault did not take it.'),
  foreign: ({nonce}) => new LkeobsError('LKO-5025', `The ticket is for ${nonce}.`),
  expired: ({nonce}) => new LkeobsError('LKO-5026', `The attempt ${nonce} is not under way.`),
}

/** An open node: any of them passes requests on to the leader. */
const openNode = async (nodes: readonly VaultNode[]): Promise<VaultNode> => {
  for (const node of nodes) if ((await node.vault.sealStatus())?.sealed === false) return node
  throw new LkeobsError('LKO-5015', 'No node of Vault is unsealed.', {next: ['lkeobs vault unseal --wait']})
}

/** The attempt as it is, without giving anything. */
export const partBefore = async (nodes: readonly VaultNode[], ticket: Ticket): Promise<Part> => {
  const {attempt, hub, holder, nonce} = ticket
  const status = await statusOf(vaultSys((await openNode(nodes)).vault), ticket, new Secret(ticket.token))
  const phase = status.verificationNonce === undefined ? 'giving' : 'proving'
  return {hub, attempt, holder, nonce, phase, complete: false, progress: status.progress ?? 0, required: status.required ?? 0}
}

/** A holder's part in an attempt. What is yielded at the end is handed to `keep` before anything else. */
export const takePart = async (
  nodes: readonly VaultNode[],
  ticket: Ticket,
  share: Secret,
  keep: (name: string, base64: string) => Promise<void>,
): Promise<Part> => {
  checkShare(share)
  const {attempt, hub, holder, nonce} = ticket
  const {vault} = await openNode(nodes)
  const sys = vaultSys(vault)
  const token = new Secret(ticket.token)
  const status = await statusOf(sys, ticket, token)
  if (!status.started) throw new LkeobsError('LKO-5026', `The attempt ${nonce} is not under way.`)
  if (status.nonce !== nonce) throw new LkeobsError('LKO-5025', `The ticket is for ${nonce}; under way is ${status.nonce}.`)
  const proof = status.verificationNonce
  const phase = proof === undefined ? 'giving' : 'proving'
  const {taken, data} = await (attempt === 'generate-root'
    ? sys.giveToRootToken(share, nonce, token)
    : proof === undefined
      ? sys.giveToRotation(share, nonce, token)
      : sys.prove(share, proof, token))
  const refusal = refusals[taken]
  if (refusal) throw refusal(ticket)
  const complete = taken === 'complete'
  const encoded = data['encoded_token']
  if (complete && attempt === 'generate-root' && typeof encoded === 'string') await keep('root-token', encoded)
  if (complete && (attempt === 'generate-root' || phase === 'proving')) {
    const outcome: Outcome = {nonce, by: holder, ...(typeof encoded === 'string' && isCiphertext(encoded) && {token: encoded})}
    const path = outcomePath(attempt)
    const {status: answered, errors} = await vault.request({method: 'POST', path, data: outcome, as: token})
    if (answered >= 300) throw new LkeobsError('LKO-5002', `${path}: ${answered} ${errors.join('; ')}`)
  }
  const required = status.required ?? 0
  const before = phase === 'giving' ? (status.progress ?? 0) + 1 : undefined
  const now = Number(data['progress'] ?? before ?? 0)
  return {
    hub,
    attempt,
    holder,
    nonce,
    phase,
    complete,
    required: Number(data['t'] ?? required),
    progress: complete ? Number(data['t'] ?? required) : now,
  }
}
