import {LkeobsError, messageOf} from '../errors.ts'
import type {Cluster, HubCluster, VaultNode} from '../platforms/platform.ts'
import {askNode, type Autopilot, autopilot, type NodeAnswer, type RaftServer, raftServers} from '../tools/vault-raft.ts'
import {readCertificate} from '../tools/x509.ts'
import {logsInUnasked} from '../trust/admin.ts'
import {hasSealKey, sealTokenOf} from '../trust/seal.ts'
import {closedWords, hubSealFault} from './seals.ts'

export type VaultNodeStatus = {
  readonly name: string
  readonly state: 'leader' | 'standby' | 'sealed' | 'not initialised' | 'no answer'
  /** Of a seal of shares, while it is sealed. */
  readonly unsealing?: {readonly progress: number; readonly threshold: number}
  readonly version?: string
  /** Of the certificate it shows. */
  readonly certificateDaysLeft?: number
  /** Left out where the Raft could not be asked. */
  readonly raft?: {readonly voter: boolean; readonly healthy: boolean}
}

export type VaultStatus = {
  readonly cluster: string
  readonly ok: boolean
  /** As its nodes say; as the fleet file wishes while none answers. */
  readonly seal: string
  readonly nodes: readonly VaultNodeStatus[]
  readonly raft?: {readonly peers: number; readonly voters: number; readonly healthy: boolean; readonly failureTolerance: number}
  /** Of an edge that its hub unseals. */
  readonly sealedBy?: {
    readonly hub: string
    readonly answers: boolean
    readonly tokenDaysLeft?: number
    readonly tokenRenewed?: string
  }
  /** What is not well, in words. */
  readonly problems: readonly string[]
  /** What is well, and soon not. */
  readonly warnings: readonly string[]
  /** What could not be asked, and why. */
  readonly leftOut: readonly string[]
}

const dayMs = 86_400_000
const soonDays = 14

/** Whose administrator logs in, and whether that happens without anybody's being asked. */
type Asked = {readonly name: string; readonly isUnasked: boolean}

/** What needs a login, or why there is none; a Vault that is closed or silent has said so already. */
const asAdministrator = async <T>(
  of: Asked,
  what: string,
  work: () => Promise<T>,
): Promise<{readonly found: T} | {readonly leftOut: string}> => {
  if (!of.isUnasked) return {leftOut: `${what}: needs the password of the administrator on ${of.name} (--password-file)`}
  try {
    return {found: await work()}
  } catch (error) {
    const why = error instanceof LkeobsError && error.code === 'LKO-5002' ? 'the administrator cannot log in, or may not' : messageOf(error)
    return {leftOut: `${what}: ${why}`}
  }
}

const nodeStatus = (name: string, answer: NodeAnswer | undefined): VaultNodeStatus => {
  if (answer === undefined) return {name, state: 'no answer'}
  const {seal, leader, certificate} = answer
  const shown = readCertificate(certificate)
  const threshold = seal.t ?? 0
  return {
    name,
    state: seal.initialized ? (seal.sealed ? 'sealed' : leader?.isSelf ? 'leader' : 'standby') : 'not initialised',
    ...(seal.sealed && threshold > 0 && {unsealing: {progress: seal.progress ?? 0, threshold}}),
    version: seal.version,
    ...(shown && {certificateDaysLeft: Math.floor((Date.parse(shown.validTo) - Date.now()) / dayMs)}),
  }
}

/** The Raft as the administrator sees it, through a node that is open. */
const raftOf = async (of: Asked, nodes: readonly VaultNode[], states: readonly VaultNodeStatus[]) => {
  const open = ['leader', 'standby'].flatMap((state) => nodes.filter((_, index) => states[index]?.state === state))[0]
  if (!open) return {leftOut: 'peers and voters: no node is open'}
  return asAdministrator(of, 'peers and voters', async () => {
    const servers = await raftServers(open.admin)
    return {servers, health: await autopilot(open.admin)}
  })
}

type Unsealer = NonNullable<VaultStatus['sealedBy']> & {readonly fault?: string; readonly leftOut?: string}

/** What unseals an edge: whether it answers, and the token that the edge shows to it. */
const sealedBy = async (hub: HubCluster, of: Asked, edge: Cluster): Promise<Unsealer> => {
  const fault = await hubSealFault(hub)
  if (fault !== undefined) return {hub: hub.name, answers: false, fault}
  const asked = await asAdministrator(of, `seal token of ${edge.name}`, async () => ({
    hasKey: await hasSealKey(hub.vault, edge.name),
    token: await sealTokenOf(hub.vault, edge),
  }))
  if ('leftOut' in asked) return {hub: hub.name, answers: true, leftOut: asked.leftOut}
  const {hasKey, token} = asked.found
  if (!hasKey) return {hub: hub.name, answers: true, fault: "the hub's Vault, which unseals it, has lost its key"}
  if (typeof token === 'string') return {hub: hub.name, answers: true, fault: `its seal token: ${token}`}
  return {
    hub: hub.name,
    answers: true,
    tokenDaysLeft: Math.floor((token.ttl / 86_400) * 10) / 10,
    ...(token.last_renewal_time && {tokenRenewed: new Date(token.last_renewal_time * 1000).toISOString()}),
    // it is renewed at two thirds
    ...(token.ttl < (token.period ?? 0) / 4 && {fault: 'its seal token is not renewed'}),
  }
}

/**
 * One cluster's Vault: what its nodes say to anybody, and what its administrator may ask. Nobody types a password only to look:
 * where holders unseal it, the administrator asks when the password is in a file.
 */
export const vaultStatus = async (cluster: Cluster, hub: HubCluster, passwordFile?: string): Promise<VaultStatus> => {
  const asked = ({name, seal}: Cluster): Asked => ({name, isUnasked: logsInUnasked(seal, passwordFile)})
  const nodes = cluster.vaultNodes()
  const answers = await Promise.all(nodes.map(({vault}) => askNode(vault)))
  const seen = nodes.map(({name}, index) => nodeStatus(name, answers[index]))
  const [raft, unsealer] = await Promise.all([
    raftOf(asked(cluster), nodes, seen),
    cluster.seal === 'transit' ? sealedBy(hub, asked(hub), cluster) : Promise.resolve(undefined),
  ])
  const inRaft = 'found' in raft ? raft.found : undefined
  const states = seen.map((node): VaultNodeStatus => {
    const server = inRaft?.servers.find(({node_id: id}) => id === node.name)
    return server ? {...node, raft: {voter: server.voter, healthy: isHealthy(node, inRaft)}} : node
  })
  const voters = states.filter(({raft: own}) => own?.voter)
  const findings = findingsOf(states, inRaft, unsealer?.fault)
  return {
    cluster: cluster.name,
    ok: findings.problems.length === 0,
    seal: answers.find((answer) => answer !== undefined)?.seal.type ?? cluster.seal,
    nodes: states,
    ...(inRaft && {
      raft: {
        peers: inRaft.servers.length,
        voters: inRaft.servers.filter(({voter}) => voter).length,
        healthy: inRaft.health?.healthy ?? false,
        failureTolerance: spare(voters),
      },
    }),
    ...(unsealer && {sealedBy: shown(unsealer)}),
    ...findings,
    leftOut: [...('leftOut' in raft ? [raft.leftOut] : []), ...(unsealer?.leftOut === undefined ? [] : [unsealer.leftOut])],
  }
}

/** Autopilot takes seconds to see that a node is gone. */
const isHealthy = ({name, state}: VaultNodeStatus, raft: Raft | undefined): boolean =>
  state !== 'no answer' && raft?.health?.servers[name]?.healthy === true

/** How many more voters may fail. */
const spare = (voters: readonly VaultNodeStatus[]): number => {
  const quorum = Math.floor(voters.length / 2) + 1
  return Math.max(0, voters.filter(({raft}) => raft?.healthy).length - quorum)
}

const shown = ({hub, answers, tokenDaysLeft, tokenRenewed}: Unsealer) => ({
  hub,
  answers,
  ...(tokenDaysLeft !== undefined && {tokenDaysLeft}),
  ...(tokenRenewed !== undefined && {tokenRenewed}),
})

type Raft = {readonly servers: readonly RaftServer[]; readonly health: Autopilot | undefined}

const findingsOf = (nodes: readonly VaultNodeStatus[], raft: Raft | undefined, fault: string | undefined) => {
  const count = (state: VaultNodeStatus['state']) => nodes.filter((node) => node.state === state).length
  const [silent, sealed, bare] = [count('no answer'), count('sealed'), count('not initialised')]
  const closed = closedWords(sealed, silent, nodes.length)
  const ended = nodes.filter(({certificateDaysLeft: days}) => days !== undefined && days < 0)
  const ending = nodes.filter(({certificateDaysLeft: days}) => days !== undefined && days >= 0 && days < soonDays)
  const voteless = nodes.filter(({raft: own}) => own?.voter === false).map(({name}) => name)
  const absent = raft ? nodes.filter(({name}) => !raft.servers.some(({node_id: id}) => id === name)) : []
  return {
    problems: [
      ...(closed === '' ? [] : [fault === undefined ? closed : `${closed}: ${fault}`]),
      ...(closed === '' && fault !== undefined ? [`it would not open again: ${fault}`] : []),
      ...(bare > 0 ? [`${bare} of ${nodes.length} not initialised`] : []),
      ...(closed === '' && bare === 0 && count('leader') === 0 ? ['nobody leads'] : []),
      ...(voteless.length > 0 ? [`${voteless.join(', ')}: no vote yet; a node that joined gets it after ten seconds`] : []),
      ...(raft && voteless.length === 0 && raft.health?.healthy !== true ? ['autopilot says that the Raft is not healthy'] : []),
      ...absent.filter(({state}) => state !== 'no answer').map(({name}) => `${name} is not in the Raft`),
      ...ended.map(({name}) => `the certificate of ${name} is over`),
    ],
    warnings: ending.map(({name, certificateDaysLeft: days}) => `the certificate of ${name} ends in ${days} days`),
  }
}
