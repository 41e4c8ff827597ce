import path from 'node:path'
import {LkeobsError} from '../errors.ts'
import {stateFolderOf} from '../platforms/local/index.ts'
import type {Cluster} from '../platforms/platform.ts'
import type {Step, Tell} from '../steps/step.ts'
import {until} from '../steps/wait.ts'
import type {Tools} from '../tools/index.ts'
import {isMakeshift, refoundedFrom} from '../trust/refound.ts'

/** Says, from before the first request, that the Vault of this cluster is worth nothing until the snapshot is in it. */
const pendingFile = 'restore.json'

const answersWithinMs = 120_000

type Wish = {
  readonly folder: string
  readonly cluster: Cluster
  readonly file: string
  readonly snapshot: Uint8Array
  readonly tools: Tools
}

/**
 * A Vault that holders open holds something: the snapshot, where it held nothing. Its first node takes it, closed by the shares of
 * then; the others join when holders have opened that.
 */
export const refounded = ({folder, cluster, file, snapshot, tools}: Wish): Step => {
  const {name} = cluster
  const pending = path.join(stateFolderOf(folder), name, pendingFile)

  const state = async (): Promise<true | string> => {
    const seals = await cluster.vaultSeals()
    if (seals.includes(undefined)) return 'not every node answers'
    if (seals.some(isMakeshift)) return 'what opens it is in no hands'
    return seals.some((seal) => seal?.initialized) ? true : 'it holds nothing'
  }
  const answering = async (tell: Tell) =>
    until(async () => ((await cluster.vaultSeals()).includes(undefined) ? 'not every node answers' : true), {forMs: answersWithinMs, tell})

  /** What a run that was killed has left; only what it had declared worthless is removed. */
  const removed = async (tell: Tell): Promise<void> => {
    const declared = await tools.files.exists(pending)
    if (!declared || !cluster.vaultRemade)
      throw new LkeobsError(
        'LKO-5210',
        `Vault of ${name} was initialised with a single share${declared ? '' : ', and no restore that was begun from here tells of it'}.`,
      )
    tell('removed: what a restore that was broken off had made', 'lasting')
    await cluster.vaultRemade(tell)
    await answering(tell)
  }
  /** What a node knows of its seal, and of whom it joins, is of its start. */
  const startedAnew = async (tell: Tell): Promise<void> => {
    const seals = await cluster.vaultSeals()
    for (const [index, node] of cluster.vaultNodes().entries()) if (isMakeshift(seals[index])) await cluster.vaultRestarted(node.name, tell)
    await answering(tell)
  }

  return {
    title: `${file} in Vault of ${name}, closed by the shares of then, unless it holds something`,
    patienceMs: answersWithinMs,
    done: state,
    async apply(tell) {
      if (tools.download.dry) return
      const isWorthless = async () =>
        (await cluster.vaultSeals()).every((seal) => seal !== undefined && (!seal.initialized || isMakeshift(seal)))
      if ((await state()) === 'not every node answers') return
      if (await isWorthless()) {
        if ((await cluster.vaultSeals()).some(isMakeshift)) await removed(tell)
        const [first] = cluster.vaultNodes()
        if (!first) throw new Error('a Vault without nodes')
        await tools.files.write(
          pending,
          `${JSON.stringify({kind: 'lkeobs/restore/v1', file, at: new Date().toISOString()}, undefined, 2)}\n`,
        )
        await refoundedFrom(first.vault, snapshot, `${first.name} of ${name}`)
      }
      await startedAnew(tell)
      await tools.files.remove(pending)
    },
  }
}
