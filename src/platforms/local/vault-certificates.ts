import type {Step} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import {shownByVault} from '../../trust/rotation.ts'
import type {Cluster} from '../platform.ts'
import {serverFile} from './authority.ts'
import type {Machine} from './index.ts'

type VaultCertificates = NonNullable<Cluster['vaultCertificates']>

/** What a node of Vault is called by those who dial it. */
export const serverNames = ({place}: Machine, node: string): readonly string[] => ['localhost', place(node).host]

/** A node of OpenBao reads its certificate again on SIGHUP. */
export const vaultCertificatesOf = (machine: Machine, nodes: readonly string[], {tls}: Pick<Tools, 'tls'>): VaultCertificates => ({
  async renewed() {
    for (const node of nodes) await machine.serverCertificateRenewed(node, serverNames(machine, node))
  },
  now: (node) => machine.read(node, serverFile),
  shown: (node) => tls.served(machine.place(node).address('api')).catch(() => undefined),
  reloaded: (node) => machine.reloaded(node),
})

/** A node that runs shows no certificate but the one in its hands; one that does not run begins with it. */
export const shownWhereItRuns = (cluster: string, node: string, certificates: VaultCertificates): Step => {
  const step = shownByVault(cluster, node, certificates)
  return {
    ...step,
    title: `no certificate shown by ${node} on ${cluster} but the one in its hands`,
    done: async () => ((await certificates.shown(node)) === undefined ? true : step.done()),
  }
}
