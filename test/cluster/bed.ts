import {mkdtemp, readFile, writeFile} from 'node:fs/promises'
import {homedir, tmpdir} from 'node:os'
import path from 'node:path'
import {stringify} from 'yaml'
import {programPath} from '../../src/programs/locate.ts'
import {createShell} from '../../src/tools/shell.ts'

export type ClusterName = 'hub' | 'edge'

const env = (name: string): string | undefined => process.env[name] || undefined

/** A folder of packaged charts. */
export const charts = env('LKEOBS_CHARTS')

/** Why the clusters cannot be had; undefined where they can. */
export const missing =
  process.platform !== 'linux' || process.getuid?.() !== 0
    ? 'the clusters need root on Linux'
    : charts === undefined
      ? 'LKEOBS_CHARTS names no folder of packaged charts'
      : undefined

const state = path.join(
  env('LKEOBS_CLUSTER_STATE') ?? path.join(env('XDG_STATE_HOME') ?? path.join(homedir(), '.local/state'), 'lkeobs-cluster'),
)

/** Files of the bed, as test/cluster/README.md lists them. */
export const files = {
  audit: (cluster: ClusterName): string => path.join(state, cluster, 'audit.log'),
  admin: (cluster: ClusterName): string => path.join(state, `${cluster}.kubeconfig`),
  limited: (cluster: ClusterName): string => path.join(state, `${cluster}.limited.kubeconfig`),
  /** The node's own rights: what asks with them looks like no person in the audit log. */
  node: (cluster: ClusterName): string => path.join(state, cluster, 'rootfs/etc/kubernetes/node.conf'),
  /** `load` passes over an archive that it has noted here. */
  loaded: (cluster: ClusterName, image: string): string => path.join(state, cluster, 'loaded', `${image}.tar`),
  image: (name: string): string => path.join(state, 'images', `${name}.tar`),
} as const

const shell = createShell()

/** Images of programs built beside, which `up` loads; what runs has none of our variables. */
const scriptEnv = Object.fromEntries(
  ['LKEOBS_CLUSTER_STATE', 'LKEOBS_CLUSTER_BIN', 'LKEOBS_CLUSTER_IMAGES'].flatMap((name) => {
    const value = env(name)
    return value === undefined ? [] : [[name, path.resolve(value)]]
  }),
)

/** A script of this folder. */
export const script = (name: string, ...args: readonly string[]): Promise<string> =>
  shell.run({file: path.join(import.meta.dirname, name), args, env: scriptEnv})

/** A command inside a node. */
export const inNode = (cluster: ClusterName, ...command: readonly string[]): Promise<string> => script('in', cluster, ...command)

/** kubectl, as nobody in particular. */
export const kubectl = async (cluster: ClusterName, args: readonly string[], input?: string): Promise<string> =>
  shell.run({
    file: await programPath('kubectl'),
    args: ['--kubeconfig', files.node(cluster), ...args],
    ...(input !== undefined && {input}),
  })

/** kubectl as a person types it, who may have an editor. */
export const byHand = async (
  cluster: ClusterName,
  args: readonly string[],
  {input, editor}: {input?: string; editor?: string} = {},
): Promise<string> =>
  shell.run({
    file: await programPath('kubectl'),
    args: ['--kubeconfig', files.admin(cluster), ...args],
    ...(input !== undefined && {input}),
    ...(editor !== undefined && {env: {KUBE_EDITOR: editor}}),
  })

export const helm = async (cluster: ClusterName, ...args: readonly string[]): Promise<string> =>
  shell.run({file: await programPath('helm'), args: ['--kubeconfig', files.admin(cluster), ...args]})

/** A line that a command has told a person to type. */
export const typedLine = async (line: string): Promise<string> => {
  const programs = await Promise.all((['kubectl', 'helm'] as const).map(programPath))
  return shell.run({
    file: 'sh',
    args: ['-c', line],
    env: {PATH: [...programs.map((program) => path.dirname(program)), env('PATH')].join(':')},
  })
}

/** What kubectl gets, as an object. */
export const get = async <T>(cluster: ClusterName, ...args: readonly string[]): Promise<T> =>
  JSON.parse(await kubectl(cluster, ['get', ...args, '-o', 'json'])) as T

export const apply = (cluster: ClusterName, ...objects: readonly object[]): Promise<string> =>
  kubectl(
    cluster,
    ['apply', '--server-side', '--force-conflicts', '-f', '-'],
    objects.map((object) => JSON.stringify(object)).join('\n---\n'),
  )

/** A value of a Secret, decoded. */
export const secretValue = async (cluster: ClusterName, namespace: string, name: string, key: string): Promise<string | undefined> => {
  const {data} = await get<{data?: Record<string, string>}>(cluster, 'secret', name, '-n', namespace)
  const value = data?.[key]
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString()
}

/** Whose images the clusters have, and so what can run there. */
export type Parts = {readonly certManager: boolean; readonly secretsOperator: boolean; readonly instrumentation: boolean}

export const partsOf = async (cluster: ClusterName): Promise<Parts> => {
  const images = await inNode(cluster, 'ctr', '-n', 'k8s.io', 'images', 'ls', '-q')
  const has = (...names: readonly string[]) => names.every((name) => images.includes(`/${name}:`))
  return {
    certManager: has('cert-manager-controller', 'cert-manager-webhook', 'cert-manager-cainjector'),
    secretsOperator: has('vault-secrets-operator', 'kube-rbac-proxy'),
    instrumentation: has('opentelemetry-operator'),
  }
}

type Kubernetes = Readonly<Record<string, unknown>>
export type FleetText = {
  readonly apiVersion: string
  readonly fleet: string
  readonly hub: {readonly name: string; readonly platform: {readonly kubernetes: Kubernetes}; readonly vault: object}
  readonly edges: readonly {readonly name: string; readonly platform: {readonly kubernetes: Kubernetes}}[]
}

/** The fleet of both clusters, with what their images allow. */
export const fleetOf = ({certManager, secretsOperator, instrumentation}: Parts): FleetText => ({
  apiVersion: 'lkeobs/v1',
  fleet: 'acme',
  hub: {
    name: 'hub',
    platform: {
      kubernetes: {
        context: 'hub',
        kubeconfig: files.admin('hub'),
        grafana: false,
        certManager,
        secretsOperator,
        stores: {size: '2Gi'},
        gateway: {queue: '1Gi'},
      },
    },
    vault: {replicas: 3},
  },
  edges: [
    {
      name: 'edge-1',
      platform: {kubernetes: {context: 'edge', kubeconfig: files.admin('edge'), certManager, secretsOperator, instrumentation}},
    },
  ],
})

/** A new folder with that fleet. */
export const fleetFolder = async (fleet: FleetText): Promise<string> => {
  const folder = await mkdtemp(path.join(tmpdir(), 'lkeobs-cluster-'))
  await writeFile(path.join(folder, 'lkeobs.yaml'), stringify(fleet))
  return folder
}

/** The fleet with other words for the platform of one of its clusters, in a file beside the fleet's own. */
export const variant = async (folder: string, fleet: FleetText, name: ClusterName, words: Kubernetes): Promise<string> => {
  const changed = <T extends {readonly platform: {readonly kubernetes: Kubernetes}}>(cluster: T): T => ({
    ...cluster,
    platform: {kubernetes: {...cluster.platform.kubernetes, ...words}},
  })
  const file = path.join(folder, 'variant.yaml')
  await writeFile(
    file,
    stringify(name === 'hub' ? {...fleet, hub: changed(fleet.hub)} : {...fleet, edges: fleet.edges.map((edge) => changed(edge))}),
  )
  return file
}

type Pod = {
  readonly metadata: {readonly name: string; readonly deletionTimestamp?: string}
  readonly status: {readonly conditions?: readonly {readonly type: string; readonly status: string}[]}
}

/** The pods of a release, and whether they are ready. */
export const podsOf = async (
  cluster: ClusterName,
  namespace: string,
  release: string,
): Promise<readonly {readonly name: string; readonly ready: boolean}[]> => {
  const {items} = await get<{items: Pod[]}>(cluster, 'pods', '-n', namespace, '-l', `app.kubernetes.io/instance=${release}`)
  return items
    .filter(({metadata}) => metadata.deletionTimestamp === undefined)
    .map(({metadata, status}) => ({
      name: metadata.name,
      ready: (status.conditions ?? []).some((condition) => condition.type === 'Ready' && condition.status === 'True'),
    }))
}

export const textOf = (file: string): Promise<string> => readFile(file, 'utf8')
