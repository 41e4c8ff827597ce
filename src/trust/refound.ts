import {LkeobsError} from '../errors.ts'
import {until} from '../steps/wait.ts'
import type {SealStatus, Vault} from '../tools/vault.ts'
import {forceSnapshot} from '../tools/vault-raft.ts'
import {vaultSys} from '../tools/vault-sys.ts'

const leadsWithinMs = 30_000

/** Initialised with one share, which nobody has: holders are three at least. */
export const isMakeshift = (seal: SealStatus | undefined): boolean => seal?.initialized === true && seal.type === 'shamir' && seal.n === 1

/**
 * A snapshot in a node that shares open and that was never initialised. Only an open node takes one, so it is given a share and a
 * root token first. Both are in the memory of this process alone, and the snapshot ends both: the node closes, and what opens
 * it, once it is started anew, are the shares of the Vault that the snapshot was taken from.
 */
export const refoundedFrom = async (node: Vault, snapshot: Uint8Array, name: string): Promise<void> => {
  const sys = vaultSys(node)
  const {share, token} = await sys.initAlone()
  await sys.unseal(share)
  const leads = async () => ((await sys.leader())?.isSelf === true ? true : 'it does not lead yet')
  const led = await until(leads, {forMs: leadsWithinMs})
  if (led !== true) throw new LkeobsError('LKO-5001', `${name}: ${led}.`)
  await forceSnapshot(node, snapshot, token, name)
  const closed = await until(async () => ((await node.sealStatus())?.sealed === true ? true : 'open'), {forMs: leadsWithinMs})
  if (closed !== true) throw new LkeobsError('LKO-5002', `${name} took the snapshot, and is still open with another key.`)
}
