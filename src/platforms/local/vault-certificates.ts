import type {Tools} from '../../tools/index.ts'
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
