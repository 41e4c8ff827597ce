import {randomBytes} from 'node:crypto'
import {LkeobsError} from '../errors.ts'
import type {Cluster} from '../platforms/platform.ts'
import {Secret} from '../secret.ts'
import type {Step, Task} from '../steps/step.ts'
import {until} from '../steps/wait.ts'
import {askNode} from '../tools/vault-raft.ts'
import {adminPasswordFile, sealKeyFile} from '../trust/admin.ts'

const selfInitialisesWithinMs = 30_000
const leadsWithinMs = 30_000
const lockedOut = 'its administrator cannot log in'

/**
 * A cluster's Vault: TLS, Raft, unsealed by its own key, one administrator. One that holders open does not found itself;
 * `founded` may give it something to hold before they are called.
 */
export const vaultUp = (cluster: Cluster, founded: readonly Task[] = []): readonly Task[] => {
  if (cluster.seal === 'shamir') return [...cluster.hasRootCa(), ...cluster.vaultRuns(), ...founded, unsealedByOthers(cluster)]
  const {name, processes} = cluster
  const where = processes ? '(in a file beside its data: this is a lab)' : '(in a Secret)'
  return [
    ...cluster.hasRootCa(),
    ...(cluster.seal === 'static' ? [secretFile(cluster, `seal key of Vault on ${name} ${where}`, sealKeyFile, 32)] : []),
    secretFile(cluster, `password of Vault's administrator on ${name}`, adminPasswordFile, 24),
    ...cluster.vaultRuns(),
    unsealed(cluster),
  ]
}

const secretFile = (cluster: Cluster, title: string, file: string, byteLength: number): Step => ({
  title,
  done: async () => ((await cluster.read('vault', file)) === undefined ? 'there is none' : true),
  apply: () => cluster.hand('vault', file, new Secret(randomBytes(byteLength).toString('hex'))),
})

/** Holders unseal it, and an administrator logs in: nothing that a plan could do by itself. */
const unsealedByOthers = (cluster: Cluster): Step => ({
  title: `Vault on ${cluster.name} unsealed by its holders`,
  async done() {
    const seals = await cluster.vaultSeals()
    const open = seals.filter((seal) => seal?.sealed === false).length
    if (open < seals.length) return `${open} of ${seals.length} nodes unsealed`
    // opened a moment ago, they have yet to agree on one
    if ((await nodesNow(cluster)).leader === undefined) return 'nobody leads yet'
    return (await cluster.vault.accepts()) ? true : lockedOut
  },
  async apply(tell) {
    const seals = await cluster.vaultSeals()
    if (!seals.some((seal) => seal?.initialized === true))
      throw new LkeobsError('LKO-5028', `Vault on ${cluster.name} holds nothing.`, {next: ['lkeobs vault init']})
    if (seals.some((seal) => seal?.sealed !== false)) throw sealedByHolders(cluster)
    const leads = async () => ((await nodesNow(cluster)).leader === undefined ? 'nobody leads yet' : true)
    if ((await until(leads, {forMs: leadsWithinMs, tell})) !== true) throw nobodyLeads(cluster, seals.length)
    if (!(await cluster.vault.accepts()))
      throw new LkeobsError('LKO-5016', `Vault on ${cluster.name} refused the password.`, {next: ['lkeobs vault init']})
  },
})

export const sealedByHolders = ({name}: Cluster): LkeobsError =>
  new LkeobsError('LKO-5015', `Vault on ${name} is sealed.`, {next: ['lkeobs vault unseal --wait --envelope NAME.share.asc']})

type RaftConfiguration = {readonly config: {readonly servers: readonly object[]}}

const unsealed = (cluster: Cluster): Step => {
  const {name, vault, vaultReplicas: count} = cluster

  const open = async (): Promise<true | string> => {
    const ready = (await cluster.vaultSeals()).filter((seal) => seal?.sealed === false).length
    if (ready < count) return `${ready} of ${count} nodes unsealed`
    // all started anew, they have yet to agree on one; until then no login is a refusal
    if ((await nodesNow(cluster)).leader === undefined) return 'nobody leads yet'
    if (!(await vault.accepts())) return lockedOut
    // a node that joined gets its vote ten seconds later, which nobody has to wait for
    const joined = (await vault.read<RaftConfiguration>('sys/storage/raft/configuration'))?.config.servers.length ?? 0
    return joined === count ? true : `${joined} of ${count} nodes joined`
  }

  return {
    title: `Vault on ${name}: ${count} of ${count} nodes unsealed by ${cluster.seal === 'static' ? 'the static key' : 'the hub'}`,
    done: open,
    async apply(tell) {
      if ((await cluster.vaultSeals()).every((seal) => seal === undefined)) return
      const seen = await until(open, {forMs: selfInitialisesWithinMs, tell})
      if (seen !== lockedOut || !cluster.vaultRemade) return
      // stopped while it initialised itself, or its password file was removed: nobody will ever log in. What a lab's Vault
      // holds, the steps that follow make again
      tell('made anew: nobody could log in', 'lasting')
      await cluster.vaultRemade(tell)
    },
    patienceMs: selfInitialisesWithinMs,
  }
}

/** The nodes that are open, and the one that leads. Opened anew each time: a token of before is none of what was restored. */
export const nodesNow = async (cluster: Cluster) => {
  const nodes = cluster.vaultNodes()
  const answers = await Promise.all(nodes.map(({vault}) => askNode(vault)))
  return {
    all: nodes.length,
    open: answers.filter((answer) => answer?.seal.sealed === false).length,
    leader: nodes[answers.findIndex((answer) => answer?.leader?.isSelf)]?.admin,
  }
}

export const nobodyLeads = ({name}: Cluster, nodes: number): LkeobsError =>
  new LkeobsError('LKO-5001', `${name}: none of ${nodes} nodes leads.`, {next: [`lkeobs vault status ${name}`]})
