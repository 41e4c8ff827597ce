import {createHash} from 'node:crypto'
import {gunzip} from 'node:zlib'
import {promisify} from 'node:util'
import {LkeobsError, messageOf} from '../errors.ts'
import type {Secret} from '../secret.ts'
import type {RawAnswer, RawRequest, SealStatus, Vault} from './vault.ts'

/** What a node says of its seal to anybody. */
export type NodeSeal = SealStatus & {
  /** Shares wanted, shares there are, shares given so far; 0 unless the seal is `shamir`. */
  readonly t?: number
  readonly n?: number
  readonly progress?: number
  readonly cluster_id?: string
}

/** What a node says to anybody: its seal, who leads, and the certificate it shows. */
export type NodeAnswer = {
  readonly seal: NodeSeal
  /** Left out while it is sealed, or nobody leads. */
  readonly leader?: {readonly isSelf: boolean; readonly address: string}
  readonly certificate: string
}

export type RaftServer = {readonly node_id: string; readonly leader: boolean; readonly voter: boolean}
export type Autopilot = {
  readonly healthy: boolean
  /** How many voters may be lost. */
  readonly failure_tolerance: number
  readonly leader: string
  readonly voters: readonly string[]
  readonly servers: Readonly<Record<string, {readonly healthy: boolean; readonly status: string}>>
}

const jsonOf = <T>({body}: RawAnswer): T | undefined => {
  try {
    return JSON.parse(body.toString()) as T
  } catch {
    return undefined
  }
}

/** What a node answers without a login; undefined where it does not. */
export const askNode = async (node: Vault): Promise<NodeAnswer | undefined> => {
  const said = await node.raw('sys/seal-status')
  const seal = said?.status === 200 ? jsonOf<NodeSeal>(said) : undefined
  if (!said || !seal) return undefined
  const leads = seal.sealed ? undefined : await node.raw('sys/leader')
  const leader = leads?.status === 200 ? jsonOf<{is_self: boolean; leader_address: string}>(leads) : undefined
  return {
    seal,
    certificate: said.certificate,
    ...(leader && leader.leader_address !== '' && {leader: {isSelf: leader.is_self, address: leader.leader_address}}),
  }
}

/** Who belongs to the Raft. Needs the administrator. */
export const raftServers = async (vault: Vault): Promise<readonly RaftServer[]> =>
  (await vault.read<{config: {servers: readonly RaftServer[]}}>('sys/storage/raft/configuration'))?.config.servers ?? []

/** How the Raft is. Needs the administrator. */
export const autopilot = (vault: Vault): Promise<Autopilot | undefined> => vault.read<Autopilot>('sys/storage/raft/autopilot/state')

const snapshotPath = 'sys/storage/raft/snapshot'
/** How long a node may be silent: until it has a snapshot ready, and until it has put one of so many bytes in the place of what it holds. */
const readyWithinMs = 120_000
const replacedWithinMs = (bytes: number): number => 60_000 + bytes / 1000

const errorsOf = (answer: RawAnswer): string =>
  jsonOf<{errors?: readonly string[]}>(answer)?.errors?.join('; ').replaceAll(/\s+/g, ' ').trim() || `status ${answer.status}`

/** The Raft's snapshot: encrypted by the barrier, as on disk. */
export const downloadSnapshot = async (vault: Vault): Promise<Uint8Array> => {
  const answer = await vault.raw(snapshotPath, {loggedIn: true, timeoutMs: readyWithinMs})
  if (!answer) throw new LkeobsError('LKO-5001', `${vault.address}: the snapshot broke off`)
  if (answer.status !== 200) throw new LkeobsError('LKO-5002', `read ${snapshotPath} at ${vault.address}: ${errorsOf(answer)}`)
  return answer.body
}

/**
 * Replaces all that the Raft holds. Not by force: so the node itself says whether its seal could open the snapshot, and
 * LKO-5202 is thrown before anything is replaced.
 */
export const uploadSnapshot = async (leader: Vault, snapshot: Uint8Array, name = leader.address): Promise<void> => {
  const why = await sent(leader, snapshotPath, snapshot, {loggedIn: true}, name)
  if (why === undefined) return
  if (/different (autoseal key|set of unseal keys)|verify hash/.test(why))
    throw new LkeobsError('LKO-5202', `${name} cannot open it: its seal is another than that of the Vault it was taken from.`)
  throw new LkeobsError('LKO-5002', `write ${snapshotPath} at ${name}: ${why}`)
}

/** The same whatever opens the snapshot: only where what the node holds is worth nothing. */
export const forceSnapshot = async (leader: Vault, snapshot: Uint8Array, as: Secret, name = leader.address): Promise<void> => {
  const path = `${snapshotPath}-force`
  const why = await sent(leader, path, snapshot, {as}, name)
  if (why !== undefined) throw new LkeobsError('LKO-5002', `write ${path} at ${name}: ${why}`)
}

/** Undefined when it was taken, otherwise why it was not. */
const sent = async (
  leader: Vault,
  path: string,
  snapshot: Uint8Array,
  login: Pick<RawRequest, 'loggedIn' | 'as'>,
  name: string,
): Promise<string | undefined> => {
  const answer = await leader.raw(path, {method: 'POST', body: snapshot, ...login, timeoutMs: replacedWithinMs(snapshot.length)})
  if (!answer) throw new LkeobsError('LKO-5001', `${name}: the restore broke off`)
  return answer.status < 300 ? undefined : errorsOf(answer)
}

/** What can be read of a snapshot by anybody. */
export type SnapshotMeta = {
  readonly sha256: string
  readonly bytes: number
  /** How far the Raft was. */
  readonly index: number
  readonly term: number
  readonly nodes: readonly string[]
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

const block = 512

/** The files of a tar (ustar); throws where it is cut off. */
const untar = (tar: Buffer): ReadonlyMap<string, Buffer> => {
  const files = new Map<string, Buffer>()
  for (let at = 0; at + block <= tar.length && tar[at] !== 0;) {
    const text = (from: number, length: number) =>
      tar
        .subarray(at + from, at + from + length)
        .toString('latin1')
        .replace(/\0.*$/s, '')
    const size = Number.parseInt(text(124, 12).trim(), 8)
    const content = tar.subarray(at + block, at + block + size)
    if (!(size >= 0) || content.length !== size) throw new Error('it ends too early')
    files.set(text(0, 100), content)
    at += block + Math.ceil(size / block) * block
  }
  return files
}

/** Reads a snapshot and checks every file in it against its sums. Throws LKO-5201 where it is not whole. */
export const inspectSnapshot = async (name: string, snapshot: Uint8Array): Promise<SnapshotMeta> => {
  const damaged = (why: string, cause?: unknown) => new LkeobsError('LKO-5201', `${name}: ${why}.`, {cause})
  let files: ReadonlyMap<string, Buffer>
  try {
    files = untar(await promisify(gunzip)(snapshot))
  } catch (error) {
    throw damaged(`it cannot be unpacked (${messageOf(error)})`, error)
  }
  for (const wanted of ['meta.json', 'state.bin', 'SHA256SUMS', 'SHA256SUMS.sealed'])
    if (!files.has(wanted)) throw damaged(`${wanted} is missing in it`)
  for (const line of files.get('SHA256SUMS')?.toString().trim().split('\n') ?? []) {
    const [sum, of = ''] = line.split(/\s+/)
    const content = files.get(of)
    if (!content || sha256(content) !== sum) throw damaged(`${of || 'a file'} in it does not match its sum`)
  }
  type Meta = {Index: number; Term: number; Size: number; Configuration?: {Servers?: readonly {ID: string}[]}}
  const meta = JSON.parse(files.get('meta.json')?.toString() ?? '{}') as Meta
  if (meta.Size !== files.get('state.bin')?.length) throw damaged('state.bin in it has another size than it should')
  return {
    sha256: sha256(snapshot),
    bytes: snapshot.length,
    index: meta.Index,
    term: meta.Term,
    nodes: (meta.Configuration?.Servers ?? []).map(({ID}) => ID).toSorted(),
  }
}
