import type {PodAddress} from '../../tools/kube/kube.ts'
import type {Sighting} from '../platform.ts'
import {valueIn} from './authority.ts'
import type {Site} from './site.ts'

type Kind = Sighting['kind']

/** What a Secret holds, and whoever mounts it finds within 90 s. */
export const held = (site: Site, kind: Kind, namespace: string, secret: string, key: string): Sighting => ({
  kind,
  seen: 'mounted',
  at: `Secret ${namespace}/${secret}`,
  read: () => valueIn(site, namespace, secret, key),
})

/** What a pod shows whoever connects to it. */
export const served = ({kube, tools}: Site, kind: Kind, to: PodAddress & {readonly pod: string}): Sighting => ({
  kind,
  seen: 'served',
  at: `pod ${to.namespace}/${to.pod}`,
  which: to.pod,
  read: async () => tools.tls.served(await kube.forward(to)),
})

/** What a pod keeps to itself. */
export const inPod = (
  kind: Kind,
  {namespace, pod}: {readonly namespace: string; readonly pod: string},
  read: () => Promise<string>,
): Sighting => ({kind, seen: 'mounted', at: `pod ${namespace}/${pod}`, which: pod, read})
