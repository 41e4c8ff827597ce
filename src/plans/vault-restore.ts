import {isDeepStrictEqual} from 'node:util'
import type {AskedShare} from '../ceremony/share.ts'
import type {Fleet} from '../clusters.ts'
import {LkeobsError, messageOf} from '../errors.ts'
import {type Drilled, drilled} from '../platforms/local/drill.ts'
import {stateFolderOf} from '../platforms/local/index.ts'
import type {Cluster} from '../platforms/platform.ts'
import type {Plan, Step, Task, Tell} from '../steps/step.ts'
import {until} from '../steps/wait.ts'
import type {Tools} from '../tools/index.ts'
import type {Vault} from '../tools/vault.ts'
import {autopilot, inspectSnapshot, raftServers, type SnapshotMeta, uploadSnapshot} from '../tools/vault-raft.ts'
import {checkOrigin, markerIn, type Note, noteFile, sharesText} from '../trust/drill.ts'
import {refounded} from './vault-refound.ts'
import {nobodyLeads, nodesNow, sealedByHolders, vaultUp} from './vault.ts'

/** A snapshot as it was found on disk: whole, and of the cluster it is to be restored into. */
export type Found = {readonly file: string; readonly bytes: Uint8Array; readonly meta: SnapshotMeta; readonly note?: Note}

/** Reads and checks a snapshot. Throws LKO-5201 or LKO-5203 before anything is started for it. */
export const foundSnapshot = async (file: string, fleet: string, cluster: string, {files}: Pick<Tools, 'files'>): Promise<Found> => {
  const bytes = await files.readBytes(file)
  if (bytes === undefined) throw new LkeobsError('LKO-5201', `${file} does not exist.`)
  const meta = await inspectSnapshot(file, bytes)
  const text = await files.read(noteFile(file))
  if (text === undefined) return {file, bytes, meta}
  const note = noteIn(text)
  if (note?.sha256 !== meta.sha256)
    throw new LkeobsError('LKO-5201', `${noteFile(file)} is about another file than ${file}: it names another sum.`)
  checkOrigin(note, {fleet, cluster}, file)
  return {file, bytes, meta, note}
}

const noteIn = (text: string): Note | undefined => {
  try {
    return JSON.parse(text) as Note
  } catch {
    return undefined
  }
}

type Restore = {
  readonly fleet: Fleet
  readonly cluster: Cluster
  readonly found: Found
  readonly tools: Tools
  /** Of a Vault that holders open: their shares, where they take part in the drill. */
  readonly shares?: AskedShare | undefined
  /** Gets what the drill has shown. */
  readonly seen: (drilled: Drilled) => void
}

/** The snapshot in a throw-away node. */
const drill = ({fleet: {file, hub}, cluster, found, tools, shares, seen}: Restore): Step => {
  const {note} = found
  let isDone = false
  const whole = cluster.seal !== 'shamir' || shares !== undefined
  return {
    title: `drill: ${found.file} restored into a throw-away node${whole ? ', opened, and its marker read back' : ', which its holders could open'}`,
    done: async () => (isDone ? true : 'not drilled yet'),
    async apply(tell) {
      if (tools.download.dry) return
      const shown = await drilled({cluster, hub, stateFolder: stateFolderOf(file.folder), tools, shares}, found.bytes, tell)
      if ('marker' in shown) {
        checkOrigin(shown.marker, {fleet: file.fleet.fleet, cluster: cluster.name}, found.file)
        if (note && note.id !== shown.marker.id)
          throw new LkeobsError('LKO-5205', `The marker in it is ${shown.marker.id}; the one that was written for it is ${note.id}.`)
      } else if (note?.shares && !isDeepStrictEqual(note.shares, shown.shares))
        throw new LkeobsError('LKO-5205', `${sharesText(shown.shares)} would open it; its note says ${sharesText(note.shares)}.`)
      isDone = true
      seen(shown)
    },
  }
}

export const vaultDrill = (restore: Restore): Plan => ({
  command: `vault restore ${restore.found.file} --drill`,
  title: `Drill with the snapshot of Vault on ${restore.cluster.name}.`,
  steps: [drill(restore)],
})

/** The snapshot in the cluster's own nodes, once a throw-away node has shown that it can be restored. */
export const vaultRestore = (restore: Restore, force: boolean): Plan => {
  const {cluster, found} = restore
  let wanted = found.note?.id
  const seen = (shown: Drilled) => {
    if ('marker' in shown) wanted = shown.marker.id
    if (wanted === undefined)
      throw new LkeobsError(
        'LKO-5208',
        `${noteFile(found.file)} is not there, and without holders nobody can read in ${found.file} what it is.`,
        {
          next: [`lkeobs vault restore ${found.file} --holders`],
        },
      )
    restore.seen(shown)
  }
  const {file} = found
  const {folder} = restore.fleet.file
  const steps: readonly Task[] = [
    drill({...restore, seen}),
    ...cluster.prepared(),
    ...vaultUp(cluster, [refounded({folder, cluster, file, snapshot: found.bytes, tools: restore.tools})]),
    {
      title: `Vault of ${cluster.name} is new, or has that marker already, or is replaced on purpose`,
      async done() {
        if (force || (await markerIn(cluster.vault))?.id === wanted) return true
        const held = await heldBy(cluster.vault)
        if (held.length === 0) return true
        throw new LkeobsError('LKO-5204', `Vault of ${cluster.name} has ${held.join(', ')}.`, {
          next: [`lkeobs vault snapshot ${cluster.name} --out FILE`],
        })
      },
      apply: async () => undefined,
    },
    restored(cluster, found, () => wanted, force),
  ]
  return {command: `vault restore ${file}`, title: `Vault of ${cluster.name} becomes what it was in ${file}.`, steps}
}

/** What somebody put into a Vault: the engines beyond those that every Vault is founded with. */
const heldBy = async (vault: Vault): Promise<readonly string[]> => {
  const founded = new Set(['cubbyhole/', 'identity/', 'sys/'])
  return Object.keys((await vault.read<Record<string, object>>('sys/mounts')) ?? {}).filter((mount) => !founded.has(mount))
}

const steadyWithinMs = 60_000
const opensWithinMs = 15_000
const settlesWithinMs = 180_000

/**
 * Every node has the snapshot, is open and has its vote. The marker tells that it was restored, so a run that was killed goes
 * on here; by force it is restored whatever is there, for what came after the snapshot has the same marker.
 */
const restored = (cluster: Cluster, {file, bytes}: Found, wanted: () => string | undefined, force: boolean): Step => {
  let isDue = force

  /** All nodes are open, vote, and keep up with the one that leads. */
  const steady = async (): Promise<true | string> => {
    const {all, open, leader} = await nodesNow(cluster)
    if (!leader) return 'nobody leads'
    if (open < all) return `${open} of ${all} nodes open`
    const voters = (await raftServers(leader)).filter(({voter}) => voter).length
    if (voters < all) return `${voters} of ${all} nodes have a vote`
    return (await autopilot(leader))?.healthy === true ? true : 'autopilot waits for the nodes to be steady'
  }
  const isThere = async () => {
    const {leader} = await nodesNow(cluster)
    return leader !== undefined && (await markerIn(leader))?.id === wanted()
  }
  /** A token of before is none of what was restored, and for a moment nobody leads. */
  const said = async (ask: () => Promise<true | string>) => ask().catch(messageOf)

  return {
    title: `${file} restored into Vault of ${cluster.name}, all nodes open and voting`,
    done: () =>
      said(async () => {
        if (isDue) return 'to be replaced'
        return (await isThere()) ? steady() : 'it holds something else'
      }),
    async apply(tell) {
      if (isDue || !(await isThere())) {
        // a node that has only just joined may be given the data before it is ready for the key that opens it
        const seen = await settled(cluster, () => said(steady), steadyWithinMs, tell)
        const {all, leader} = await nodesNow(cluster)
        if (!leader) throw nobodyLeads(cluster, all)
        if (seen !== true) tell(`restored although ${seen}`, 'lasting')
        await uploadSnapshot(leader, bytes)
        isDue = false
      }
      await settled(cluster, () => said(steady), settlesWithinMs, tell)
    },
  }
}

/**
 * Waits until it is so. A node that was given the restored data before the key it is encrypted by cannot read it, and stays
 * closed or silent, sometimes only a while after it was open: started anew, it takes the key from that data.
 */
const settled = async (cluster: Cluster, steady: () => Promise<true | string>, forMs: number, tell: Tell): Promise<true | string> => {
  const since = new Map<string, number>()
  const restarts = new Map<string, number>()
  return until(
    async () => {
      const seen = await steady()
      if (seen === true) return true
      const closed = await closedNodes(cluster)
      for (const node of since.keys()) if (!closed.includes(node)) since.delete(node)
      for (const node of closed) {
        const at = since.get(node) ?? Date.now()
        since.set(node, at)
        const times = restarts.get(node) ?? 0
        // started anew, it may be given the data once more; and a pod takes longer to start
        if (Date.now() - at < opensWithinMs * 2 ** times) continue
        restarts.set(node, times + 1)
        since.delete(node)
        tell(`${node} started anew: it was closed`, 'lasting')
        await cluster.vaultRestarted(node, tell)
      }
      if (restarts.size > 0 && cluster.seal === 'shamir') throw sealedByHolders(cluster)
      return seen
    },
    {forMs, tell},
  )
}

const closedNodes = async (cluster: Cluster): Promise<readonly string[]> => {
  const seals = await cluster.vaultSeals()
  return cluster.vaultNodes().flatMap(({name}, index) => (seals[index]?.sealed === false ? [] : [name]))
}
