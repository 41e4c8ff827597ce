import {imageOf} from '../../components/charts.ts'
import {leafAgentPaths, type Leaf} from '../../components/collector.ts'
import {leafFile} from '../../components/gateway.ts'
import {LkeobsError, orElse} from '../../errors.ts'
import type {Step} from '../../steps/step.ts'
import type {KubeObject} from '../../tools/kube/kube.ts'
import {connectionsIn} from '../../tools/ports.ts'
import type {Dialler, Hand} from '../platform.ts'
import {mounts, namespaceOf} from './names.ts'
import type {Site} from './site.ts'

/**
 * What is seen from inside a collector's pods. The collector's image has no shell, so it is seen from a container beside it:
 * that of the Vault agent where there is one, otherwise a container of ours that is added to the running pod. Both share the
 * pod's network and have its leaf mounted; neither sees the collector's memory.
 */
type ContainerStatus = {
  readonly name: string
  readonly state?: {readonly running?: object; readonly waiting?: {readonly reason?: string; readonly message?: string}}
}
type Pod = KubeObject & {
  readonly spec?: {readonly ephemeralContainers?: readonly {readonly name: string}[]}
  readonly status?: {readonly phase?: string; readonly ephemeralContainerStatuses?: readonly ContainerStatus[]}
}

/** The container of the Vault agent, as our values name it. */
const leafAgent = 'leaf-agent'
/** Ours. */
const looker = 'lkeobs-look'

/** The pods of a release that are not on their way out. */
const podsIn = async ({kube}: Site, component: string): Promise<readonly Pod[]> => {
  const pods = await kube.list<Pod>(
    {apiVersion: 'v1', kind: 'Pod'},
    {namespace: namespaceOf(component), labels: `app.kubernetes.io/instance=${component}`},
  )
  return pods.filter(
    ({metadata, status}) => metadata['deletionTimestamp'] === undefined && !/^(Failed|Succeeded)$/.test(status?.phase ?? ''),
  )
}

const lookersOf = ({status}: Pod): readonly ContainerStatus[] =>
  (status?.ephemeralContainerStatuses ?? []).filter(({name}) => name.startsWith(looker))
const isRunning = ({state}: ContainerStatus): boolean => state?.running !== undefined
const isWaiting = ({state}: ContainerStatus): boolean => state?.running === undefined && state?.waiting !== undefined

/** So many pods are looked into at once. */
const atOnce = 16

const eachOf = async <T, R>(all: readonly T[], work: (one: T) => Promise<R>): Promise<readonly R[]> => {
  const done: R[] = []
  for (let at = 0; at < all.length; at += atOnce) done.push(...(await Promise.all(all.slice(at, at + atOnce).map(work))))
  return done
}

/** What cannot become right by itself with an image. */
const notPulled = /^(ImagePullBackOff|ErrImageNeverPull|InvalidImageName)$/

/** Into every pod of the component can be looked. One that stands already is used again, since none is ever removed from its pod. */
export const lookersRun = (site: Site, component: string): Step => {
  const {kube, cluster} = site
  const {registry, repository, tag} = imageOf('openbao')
  const image = `${registry}/${repository}:${tag}`
  const lacking = async () => (await podsIn(site, component)).filter((pod) => !lookersOf(pod).some(isRunning))
  return {
    title: `a container to look from in every pod of the ${component} on ${cluster}`,
    patienceMs: 60_000,
    async done() {
      const [first, ...more] = await lacking()
      if (first === undefined) return true
      const reason = lookersOf(first).find(isWaiting)?.state?.waiting?.reason
      return `${first.metadata.name}${more.length > 0 ? ` and ${more.length} more` : ''}: ${reason ?? 'it has none'}`
    },
    async apply() {
      const without = (await lacking()).filter((pod) => !lookersOf(pod).some(isWaiting))
      await eachOf(without, ({metadata: {name: pod}, spec}) => {
        const earlier = (spec?.ephemeralContainers ?? []).filter(({name}) => name.startsWith(looker)).length
        return kube.debug({
          namespace: namespaceOf(component),
          pod,
          // a name is taken as long as there is the pod
          container: earlier === 0 ? looker : `${looker}-${earlier + 1}`,
          image,
          // the first process of a container ends by a signal only if it asks to: its pod would wait for it
          command: ['sh', '-c', 'trap "exit 0" TERM INT; while :; do sleep 3600 & wait $!; done'],
          spec: {
            // the image's own user, with the group that may read what is mounted
            securityContext: {runAsUser: 100, runAsGroup: 0, readOnlyRootFilesystem: true},
            volumeMounts: [{name: 'leaf', mountPath: mounts.leaf, readOnly: true}],
          },
        })
      })
    },
    async watch() {
      for (const pod of await lacking()) {
        const {reason = '', message = ''} = lookersOf(pod).find(isWaiting)?.state?.waiting ?? {}
        if (notPulled.test(reason))
          throw new LkeobsError(
            'LKO-3104',
            `Pod ${pod.metadata.name} cannot get ${image} for a container to look from: ${message || reason}`,
          )
      }
    },
  }
}

/** The certificate, not its key; then every connection. */
const look = `sed '/END CERTIFICATE/q' ${mounts.leaf}/${leafFile}; cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || :`
const endOfLeaf = '-----END CERTIFICATE-----'

/** What a command in a pod says; undefined where the pod has gone meanwhile, or does not answer. */
const said = (site: Site, component: string, pod: string, container: string, command: readonly string[]): Promise<string | undefined> =>
  orElse<string | undefined>(site.kube.exec({namespace: namespaceOf(component), pod, container}, command), (error) => {
    if (error.code !== 'LKO-4003') throw error
    return undefined
  })

/** The pods of a component as they dial this port. One into which cannot be looked has neither leaf nor connection. */
export const diallersOf = async (site: Site, component: string, leaf: Leaf, port: number): Promise<readonly Dialler[]> =>
  eachOf(await podsIn(site, component), async (one) => {
    const pod = one.metadata.name
    const container = leaf === 'sidecar' ? leafAgent : lookersOf(one).find(isRunning)?.name
    const text = container && (await said(site, component, pod, container, ['sh', '-c', look]))
    if (!text) return {pod, leaf: undefined, connections: []}
    const [pem = '', table = ''] = text.split(endOfLeaf)
    return {
      pod,
      leaf: `${pem}${endOfLeaf}\n`,
      connections: connectionsIn(table, port).map((connection) => `${pod}:${connection.port}`),
    }
  })

/** The leaf that the Vault agent in a pod keeps: the certificate, not its key. */
export const leafInPod = (site: Site, component: string, pod: string): Promise<string> =>
  site.kube.exec({namespace: namespaceOf(component), pod, container: leafAgent}, [
    'sed',
    '/END CERTIFICATE/q',
    `${mounts.leaf}/${leafFile}`,
  ])

/** That of each pod. */
export const leavesInPods = async (site: Site, component: string): Promise<readonly Hand[]> =>
  eachOf(await podsIn(site, component), async ({metadata: {name: pod}}) => ({
    pod,
    leaf: await orElse<string | undefined>(leafInPod(site, component, pod), (error) => {
      if (error.code !== 'LKO-4003') throw error
      return undefined
    }),
  }))

/**
 * A second Vault agent, for once, with the configuration of the first: it asks for a leaf as that does, and puts it in the
 * place of the old one in one move. The first finds it there when it would renew, and keeps it. The key never leaves the pod.
 */
const another = `set -e
umask 077
next=${mounts.leaf}/next-$$
trap 'rm -f "$next.json" "$next.pem"' EXIT
sed "s#${mounts.leaf}/${leafFile}#$next.pem#" ${leafAgentPaths.config}/agent.json > "$next.json"
timeout 60 bao agent -config="$next.json" -exit-after-auth
mv "$next.pem" ${mounts.leaf}/${leafFile}`

/** Another leaf for each pod, asked for in it. */
export const leavesRenewedInPods = async (site: Site, component: string): Promise<void> => {
  await eachOf(await podsIn(site, component), ({metadata: {name: pod}}) =>
    site.kube.exec({namespace: namespaceOf(component), pod, container: leafAgent}, ['sh', '-c', another]),
  )
}
