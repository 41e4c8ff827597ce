import {LkeobsError} from '../errors.ts'
import {dim, table} from '../output.ts'
import type {VaultNode} from '../platforms/platform.ts'
import type {Secret} from '../secret.ts'
import {until} from '../steps/wait.ts'
import type {SealStatus} from '../tools/vault.ts'
import {type Taken, vaultSys} from '../tools/vault-sys.ts'
import type {Transcript} from './transcript.ts'

/** A node as every holder sees it. */
export type BoardNode = {
  readonly node: string
  readonly state: 'silent' | 'not initialised' | 'not joined' | 'sealed' | 'unsealed'
  readonly progress: number
  readonly threshold: number
  readonly shares: number
  readonly nonce: string
  readonly leader: boolean
}
export type Board = {
  readonly hub: string
  readonly nodes: readonly BoardNode[]
  /** The leader's own name among the nodes, or its address. */
  readonly leader?: string
  /** Nodes that follow the same leader, and it. */
  readonly peers: number
}

/** Nobody needs a login to see this. */
export const boardOf = async (hub: string, nodes: readonly VaultNode[]): Promise<Board> => {
  const seen = await Promise.all(
    nodes.map(async ({name, vault}) => {
      const seal = await vault.sealStatus()
      const leader =
        seal?.sealed === false
          ? await vaultSys(vault)
              .leader()
              .catch(() => undefined)
          : undefined
      return {name, seal, leader}
    }),
  )
  const anyInitialised = seen.some(({seal}) => seal?.initialized === true)
  const leading = seen.find(({leader}) => leader?.isSelf === true)
  return {
    hub,
    nodes: seen.map(({name, seal, leader}) => ({
      node: name,
      state: stateOf(seal, anyInitialised),
      progress: seal?.progress ?? 0,
      threshold: seal?.t ?? 0,
      shares: seal?.n ?? 0,
      nonce: seal?.nonce ?? '',
      leader: leader?.isSelf === true,
    })),
    ...(leading && {leader: leading.name}),
    peers: leading ? seen.filter(({leader}) => leader?.address === leading.leader?.address).length : 0,
  }
}

const stateOf = (seal: SealStatus | undefined, anyInitialised: boolean): BoardNode['state'] => {
  if (!seal) return 'silent'
  if (!seal.initialized) return anyInitialised ? 'not joined' : 'not initialised'
  return seal.sealed ? 'sealed' : 'unsealed'
}

const bar = ({state, progress, threshold}: BoardNode): string => {
  const full = state === 'unsealed' ? threshold : progress
  return threshold === 0 ? '' : `${'█'.repeat(full)}${'░'.repeat(Math.max(0, threshold - full))} ${full}/${threshold}`
}

const said: Readonly<Record<BoardNode['state'], (node: BoardNode) => string>> = {
  silent: () => 'does not answer',
  'not initialised': () => 'not initialised',
  'not joined': () => 'joins when the first node is unsealed',
  sealed: ({progress, threshold}) => (progress === 0 ? 'sealed' : `waiting for ${threshold - progress} more`),
  unsealed: ({leader}) => (leader ? 'unsealed, leader' : 'unsealed'),
}

export const boardText = ({hub, nodes, leader, peers}: Board): string => {
  const {threshold = 0, shares = 0} = nodes.find((node) => node.threshold > 0) ?? {}
  const scheme = threshold === 0 ? '' : `   ${threshold} shares of ${shares}`
  const rows = nodes.map((node) => [node.node, bar(node), said[node.state](node), node.nonce.slice(0, 8)])
  const raft = leader === undefined ? 'no leader' : `leader ${leader}, ${peers} of ${nodes.length} nodes follow it`
  return [`Vault ${hub} — unseal${scheme}`, '', table(['node', 'progress', 'state', 'nonce'], rows), '', dim(raft)].join('\n')
}

export const isOpen = ({nodes}: Board): boolean => nodes.every(({state}) => state === 'unsealed')

/** Enough of those that hold the data are open to choose who leads. */
const mayLead = ({nodes}: Board): boolean => {
  const holding = nodes.filter(({state}) => state !== 'not joined' && state !== 'not initialised')
  return holding.filter(({state}) => state === 'unsealed').length * 2 > holding.length
}

/** Every open node knows who leads, so that whichever is asked can answer. */
const isFollowed = ({nodes, leader, peers}: Board): boolean =>
  leader !== undefined && peers >= nodes.filter(({state}) => state === 'unsealed').length

/** A share as it is typed: 33 bytes, mostly. Throws LKO-5021. */
export const checkShare = (share: Secret): void => {
  const text = share.reveal()
  if (/^([0-9a-f]{2}){17,}$/i.test(text) || (/^[A-Za-z0-9+/]{23,}={0,2}$/.test(text) && text.length % 4 === 0)) return
  throw new LkeobsError('LKO-5021', `It has ${text.length} characters, and is neither hexadecimal nor base64.`)
}

/** A node that has its last share needs a moment, and a follower asks the leader first. */
const opensWithinMs = 30_000

type Given = {readonly node: string; readonly taken: Taken | 'unsealed'; readonly nonce: string}

/** One share, to one node. */
const giveTo = async ({name, vault}: VaultNode, share: Secret, before: SealStatus): Promise<Given> => {
  const {taken, data} = await vaultSys(vault).unseal(share)
  const after = data as Partial<SealStatus>
  const nonce = after.nonce ?? before.nonce ?? ''
  if (taken !== 'counted') return {node: name, taken, nonce: before.nonce ?? ''}
  if (after.sealed === false) return {node: name, taken: 'unsealed', nonce: before.nonce ?? ''}
  if ((after.progress ?? 0) > 0)
    return {
      node: name,
      taken: after.nonce === before.nonce && (after.progress ?? 0) <= (before.progress ?? 0) ? 'duplicate' : 'counted',
      nonce,
    }
  // it was the last one: a follower now proves to the leader that it can be let in
  const open = await until(async () => ((await vault.sealStatus())?.sealed === false ? true : 'sealed'), {forMs: opensWithinMs})
  return {node: name, taken: open === true ? 'unsealed' : 'wrong', nonce: before.nonce ?? ''}
}

type Wish = {
  readonly hub: string
  readonly nodes: readonly VaultNode[]
  /** What the holder was told the attempt is called, or its beginning. */
  readonly nonce?: string | undefined
  /** For the transcript. */
  readonly who?: string
  readonly wait: boolean
  readonly waitMs?: number
  readonly transcript?: Transcript
  readonly show: (board: Board) => void
}

export type Unsealed = {readonly board: Board; readonly given: readonly Given[]}

const nodesOf = (given: readonly Given[], taken: Given['taken']): string =>
  given
    .filter((one) => one.taken === taken)
    .map(({node}) => node)
    .join(', ')

/** For the holder: what became of their share. */
export const givenText = (given: readonly Given[]): string => {
  const gave = given.filter(({taken}) => taken === 'counted' || taken === 'unsealed').map(({node}) => node)
  return gave.length === 0 ? 'Your share was given to no node.' : `Your share: given to ${gave.join(', ')}.`
}

/** What a holder must know before the share is given. Throws LKO-5028, LKO-5025, LKO-5026, LKO-5001. */
const checked = ({nodes}: Board, nonce: string | undefined): void => {
  if (nodes.every(({state}) => state === 'silent')) throw new LkeobsError('LKO-5001', 'No node of Vault answers.')
  if (nodes.every(({state}) => state === 'silent' || state === 'not initialised'))
    throw new LkeobsError('LKO-5028', 'No node of Vault holds anything.', {next: ['lkeobs vault init']})
  const sealed = nodes.filter(({state}) => state === 'sealed')
  if (nonce === undefined || sealed.length === 0 || sealed.some((node) => node.nonce.startsWith(nonce))) return
  const under = sealed.filter((node) => node.nonce !== '')
  if (under.length === 0) throw new LkeobsError('LKO-5026', `You were told ${nonce}; no attempt is under way.`)
  throw new LkeobsError('LKO-5025', `You were told ${nonce}; under way is ${under.map((node) => `${node.node} ${node.nonce}`).join(', ')}.`)
}

/** Throws for what a share came to that is no progress, once it was given to every node that takes it. */
const judged = (given: readonly Given[]): void => {
  if (given.some(({taken}) => taken === 'wrong'))
    throw new LkeobsError('LKO-5023', `On ${nodesOf(given, 'wrong')} the progress is back to none.`)
  if (given.some(({taken}) => taken === 'malformed')) throw new LkeobsError('LKO-5021', `${nodesOf(given, 'malformed')} did not take it.`)
  if (given.length > 0 && given.every(({taken}) => taken === 'duplicate'))
    throw new LkeobsError('LKO-5024', `${nodesOf(given, 'duplicate')}: the progress is as it was.`)
}

/** A share to every sealed node; with `wait`, to those that can take it only later, too, until all are unsealed. */
export const unseal = async (share: () => Promise<Secret>, wish: Wish): Promise<Unsealed> => {
  const {hub, nodes, nonce, wait, show, who = 'a holder', transcript, waitMs = 3_600_000} = wish
  const given = new Map<string, Given>()
  let board = await boardOf(hub, nodes)
  show(board)
  checked(board, nonce)
  if (isOpen(board)) return {board, given: []}
  const own = await share()
  checkShare(own)

  const give = async (): Promise<void> => {
    const taking = nodes.filter(({name}) => !given.has(name) && board.nodes.some(({node, state}) => node === name && state === 'sealed'))
    const results = await Promise.all(
      taking.map(async (node) => {
        const before = await node.vault.sealStatus()
        return before === undefined || !before.sealed ? undefined : giveTo(node, own, before)
      }),
    )
    for (const result of results.filter((one) => one !== undefined)) {
      given.set(result.node, result)
      const digests = {...(result.nonce !== '' && {nonce: result.nonce})}
      const status = ['wrong', 'malformed'].includes(result.taken) ? 400 : 200
      await transcript?.note({
        who,
        step: `share given: ${result.taken}`,
        node: result.node,
        api: 'POST sys/unseal',
        status,
        digests,
      })
    }
    if (results.some((one) => one !== undefined)) {
      board = await boardOf(hub, nodes)
      show(board)
      judged([...given.values()])
    }
  }
  /** Whoever gave the last share may log in as soon as they are told so. */
  const settled = async (): Promise<Unsealed> => {
    if ([...given.values()].some(({taken}) => taken === 'unsealed') && mayLead(board)) {
      await until(
        async () => {
          board = await boardOf(hub, nodes)
          return isFollowed(board) ? true : 'nobody leads yet'
        },
        {forMs: opensWithinMs},
      )
      show(board)
    }
    return {board, given: [...given.values()]}
  }
  await give()
  if (!wait) return settled()

  const goneSince = new Map<string, number>()
  await until(
    async () => {
      const now = await boardOf(hub, nodes)
      if (JSON.stringify(now) !== JSON.stringify(board)) show(now)
      board = now
      if (isOpen(board)) return true
      for (const node of board.nodes) {
        const mine = given.get(node.node)
        const isGone = mine?.taken === 'counted' && node.state === 'sealed' && node.nonce !== mine.nonce
        if (!isGone) {
          goneSince.delete(node.node)
          continue
        }
        // a follower that has its last share says nothing of it while it asks the leader
        const since = goneSince.get(node.node) ?? Date.now()
        goneSince.set(node.node, since)
        if (Date.now() - since > opensWithinMs)
          throw new LkeobsError('LKO-5026', `The attempt ${mine.nonce.slice(0, 8)} on ${node.node} ended, and it is sealed.`)
      }
      await give()
      return 'sealed'
    },
    {forMs: waitMs},
  )
  return settled()
}

/** Forgets the shares that were given so far. */
export const reset = async (hub: string, nodes: readonly VaultNode[], transcript?: Transcript): Promise<Board> => {
  const before = await boardOf(hub, nodes)
  for (const {name, vault} of nodes) {
    const node = before.nodes.find((one) => one.node === name)
    if (node?.state !== 'sealed') continue
    await vaultSys(vault).reset()
    await transcript?.note({who: 'a holder', step: 'progress reset', node: name, api: 'POST sys/unseal', status: 200})
  }
  return boardOf(hub, nodes)
}
