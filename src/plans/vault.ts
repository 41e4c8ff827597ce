import {randomBytes} from 'node:crypto'
import {adminPasswordFile, type Cluster, sealKeyFile} from '../clusters.ts'
import {Secret} from '../secret.ts'
import type {Step, Task} from '../steps/step.ts'
import {until} from '../steps/wait.ts'
import type {Tools} from '../tools/index.ts'

const selfInitialisesWithinMs = 20_000
const lockedOut = 'its administrator cannot log in'

/** A cluster's Vault: TLS, Raft, unsealed by its own key, one administrator. */
export const vaultUp = (cluster: Cluster, tools: Tools): readonly Task[] => {
  const {name, platform, vaultNodes} = cluster
  const nodes = vaultNodes.map((node) => platform.runs(node))
  return [
    platform.hasRootCa(),
    secretFile(cluster, `seal key of Vault on ${name} (in a file beside its data: this is a lab)`, sealKeyFile, 32),
    secretFile(cluster, `password of Vault's administrator on ${name}`, adminPasswordFile, 24),
    ...vaultNodes.map((node) => platform.hasServerCertificate(node.name, ['localhost', platform.place(node.name).host])),
    // all at once: a node that starts after the first has initialised itself waits out a retry before it joins
    {title: `Vault nodes on ${name}`, concurrency: nodes.length, steps: nodes},
    unsealed(cluster, nodes, tools),
  ]
}

const secretFile = ({platform}: Cluster, title: string, file: string, byteLength: number): Step => ({
  title,
  done: async () => ((await platform.read('vault', file)) === undefined ? 'there is none' : true),
  apply: () => platform.hand('vault', file, new Secret(randomBytes(byteLength).toString('hex'))),
})

type RaftConfiguration = {readonly config: {readonly servers: readonly object[]}}

const unsealed = (cluster: Cluster, nodes: readonly Step[], tools: Tools): Step => {
  const {name, platform, vault, vaultNodes} = cluster
  const {length: count} = vaultNodes

  const seals = () =>
    Promise.all(
      vaultNodes.map(({name: node}) =>
        tools.vault({address: `https://${platform.place(node).address('api')}`, ca: platform.rootCa}).sealStatus(),
      ),
    )

  const open = async (): Promise<true | string> => {
    const ready = (await seals()).filter((seal) => seal?.sealed === false).length
    if (ready < count) return `${ready} of ${count} nodes unsealed`
    if (!(await vault.accepts())) return lockedOut
    // a node that joined gets its vote ten seconds later, which nobody has to wait for
    const joined = (await vault.read<RaftConfiguration>('sys/storage/raft/configuration'))?.config.servers.length ?? 0
    return joined === count ? true : `${joined} of ${count} nodes joined`
  }

  return {
    title: `Vault on ${name}: ${count} of ${count} nodes unsealed by the static key`,
    done: open,
    async apply(tell) {
      if ((await seals()).every((seal) => seal === undefined)) return
      const seen = await until(open, {forMs: selfInitialisesWithinMs, tell})
      if (seen !== lockedOut) return
      // stopped while it initialised itself, or its password file was removed: nobody will ever log in. What a lab's Vault
      // holds, the steps that follow make again
      tell('made anew: nobody could log in', 'lasting')
      for (const node of vaultNodes) {
        await platform.stopped(node.name, '').apply(tell)
        await tools.files.remove(platform.place(node.name).file('data'))
      }
      await Promise.all(nodes.map((node) => node.apply(tell)))
    },
    patienceMs: selfInitialisesWithinMs,
  }
}
