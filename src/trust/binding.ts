import {LkeobsError} from '../errors.ts'
import type {Cluster, EdgeCluster, HubCluster} from '../platforms/platform.ts'
import type {Step} from '../steps/step.ts'
import {kubectl} from '../tools/kube/kubectl.ts'
import {bindingOf} from './register.ts'

type Bound = {readonly uid: string}

const uidOf = async ({uid}: Pick<Cluster, 'uid'>): Promise<string> => (await uid()) ?? ''

/** The name means this cluster from now on. */
export const bound = (hub: HubCluster, edge: Pick<Cluster, 'name' | 'uid'>): Step => ({
  title: `${hub.name} knows which cluster ${edge.name} is`,
  async done() {
    const known = await hub.vault.read<Bound>(bindingOf(edge.name))
    if (known === undefined) return 'not yet'
    return known.uid === (await uidOf(edge)) ? true : 'it knows another one'
  },
  apply: async () => void (await hub.vault.write(bindingOf(edge.name), {uid: await uidOf(edge)})),
})

/**
 * Throws LKO-3116 where the name of an edge was bound to another cluster. Asks the hub, whose memory is there wherever the
 * command runs; one that does not answer, or was never asked to remember, refuses nobody.
 */
export const checkBound = async (hub: HubCluster, {name, uid, site}: EdgeCluster): Promise<void> => {
  const now = await uid()
  // on this machine a folder that is gone is made anew in its place
  if (now === undefined || (await hub.vault.sealStatus())?.sealed !== false) return
  const known = await hub.vault.read<Bound>(bindingOf(name))
  if (known === undefined || known.uid === now) return
  const where = site ? `the context ${site.kube.target.context} leads to` : 'its state folder is of'
  throw new LkeobsError('LKO-3116', `${name} is the cluster ${known.uid}; ${where} ${now}.`, {
    next: [
      ...(site ? [kubectl(site.kube.target, 'get', 'namespace', 'kube-system', '-o', 'jsonpath={.metadata.uid}')] : []),
      `lkeobs edge join ${name} --rebind          (where the cluster was made anew, and the old one is gone)`,
    ],
  })
}
