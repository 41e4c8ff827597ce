import type {CollectorBuild} from '../collector/build.ts'
import {goRuntime} from '../collector/durable.ts'
import {imageReferenceOf} from '../images/reference.ts'
import {mounts, ports, secretOf} from '../platforms/kubernetes/names.ts'
import {renderValues} from '../templates.ts'
import {imageOf} from './charts.ts'
import {forTpl} from './values.ts'

/** Who a collector is: its image's own user, or root. */
export const collectorUser = {own: 10_001, root: 0} as const

/** Where a collector's leaf comes from: a Secret that someone else keeps fresh, or `bao agent` beside it. */
export type Leaf = 'secret' | 'sidecar'

/** The ConfigMap with a leaf agent's configuration, as `agent.json`. */
export const leafAgentConfigMap = (component: string): string => `${component}-leaf-agent`

/** Where `bao agent` in a collector's pod finds what its configuration names. */
export const leafAgentPaths = {
  config: '/etc/lkeobs/leaf-agent',
  /** Who it is to Vault: a token of its service account, for nobody but Vault. */
  token: '/var/run/secrets/lkeobs/token',
  ca: '/etc/lkeobs/vault-ca/ca.crt',
} as const

/** Whom the token of a leaf agent is for. */
export const leafAudience = 'vault'

/** What a pod is told to mount. */
export type Mounts = {
  readonly extraVolumes: readonly object[]
  readonly extraVolumeMounts: readonly object[]
  readonly initContainers?: readonly object[]
}

const folderOf = (file: string) => file.slice(0, file.lastIndexOf('/'))

/** Files handed to a component by a Secret, as a folder: files in a folder change when the Secret does. */
export const handed = (component: string, file: string, at: string): Mounts => ({
  extraVolumes: [{name: secretOf('', file).slice(1), secret: {secretName: secretOf(component, file), defaultMode: 0o440}}],
  extraVolumeMounts: [{name: secretOf('', file).slice(1), mountPath: at, readOnly: true}],
})

/**
 * `bao agent` for as long as the pod lives, started before the collector and waited for until there is a leaf. It runs as the
 * collector's user, who alone may read the leaf; the leaf is in memory.
 */
const leafAgent = (component: string, user: number): Mounts => {
  const {registry, repository, tag} = imageOf('openbao')
  return {
    extraVolumes: [
      {name: 'leaf', emptyDir: {medium: 'Memory', sizeLimit: '1Mi'}},
      {name: 'leaf-agent', configMap: {name: leafAgentConfigMap(component)}},
      {name: 'vault-ca', secret: {secretName: secretOf(component, 'vault-ca.crt'), defaultMode: 0o440}},
      {
        name: 'leaf-token',
        projected: {sources: [{serviceAccountToken: {audience: leafAudience, expirationSeconds: 3600, path: 'token'}}]},
      },
    ],
    extraVolumeMounts: [{name: 'leaf', mountPath: mounts.leaf, readOnly: true}],
    initContainers: [
      {
        name: 'leaf-agent',
        image: `${registry}/${repository}:${tag}`,
        imagePullPolicy: 'IfNotPresent',
        restartPolicy: 'Always',
        command: ['bao', 'agent', `-config=${leafAgentPaths.config}/agent.json`],
        startupProbe: {exec: {command: ['test', '-s', `${mounts.leaf}/leaf.pem`]}, periodSeconds: 2, failureThreshold: 300},
        resources: {requests: {cpu: '10m', memory: '48Mi'}, limits: {memory: '192Mi'}},
        securityContext: {
          runAsUser: user,
          runAsGroup: user,
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: {drop: ['ALL']},
        },
        volumeMounts: [
          {name: 'leaf', mountPath: mounts.leaf},
          {name: 'leaf-agent', mountPath: leafAgentPaths.config, readOnly: true},
          {name: 'vault-ca', mountPath: folderOf(leafAgentPaths.ca), readOnly: true},
          {name: 'leaf-token', mountPath: folderOf(leafAgentPaths.token), readOnly: true},
        ],
      },
    ],
  }
}

/** The leaf at `mounts.leaf`, wherever it comes from. */
export const leafMounts = (component: string, leaf: Leaf, user: number): Mounts =>
  leaf === 'secret' ? handed(component, 'leaf.pem', mounts.leaf) : leafAgent(component, user)

/** Everything a pod mounts, as the chart is told. */
export const mounted = (...all: readonly Mounts[]) => ({
  extraVolumes: forTpl(all.flatMap((one) => one.extraVolumes)),
  extraVolumeMounts: forTpl(all.flatMap((one) => one.extraVolumeMounts)),
  initContainers: forTpl(all.flatMap((one) => one.initContainers ?? [])),
})

const open = (port: number) => ({enabled: true, containerPort: port, servicePort: port, hostPort: 0, protocol: 'TCP'})
const closed = {enabled: false}

/** The image that a collector runs from, and its program in it. */
export type CollectorImage = {
  readonly repository: string
  readonly tag?: string
  readonly digest?: string
  readonly program: string
  /** The Secret with which nodes pull it; none where the registry asks nobody. */
  readonly pullSecret?: string | undefined
}

/** The image of a build: the publisher's at its pinned version, or the one that the fleet file names by its digest. */
export const collectorImage = (build: CollectorBuild, image: string | undefined, pullSecret?: string): CollectorImage => {
  if (build === 'upstream' || image === undefined) {
    const {registry, repository, tag} = imageOf('opentelemetry-collector')
    return {repository: `${registry}/${repository}`, tag, program: 'otelcol-contrib'}
  }
  const {host = '', path = '', digest} = imageReferenceOf(image) ?? {}
  return {repository: `${host}/${path}`, ...(digest !== undefined && {digest}), program: 'otelcol', pullSecret}
}

/** What every collector has. */
export const collectorValues = (collector: {
  readonly name: string
  readonly image: CollectorImage
  readonly config: object
  /** Beside its configuration. */
  readonly args?: readonly string[]
  /** Variables of its own. */
  readonly envs?: readonly object[]
  /** Whether its Service takes OTLP from workloads. */
  readonly takesOtlp: boolean
  /** Whether it is given a token for the API server. */
  readonly speaksToKubernetes: boolean
  /** Whether it fetches a leaf: its service account is made before the release. */
  readonly hasLeaf: boolean
}): Record<string, unknown> => {
  const {program, pullSecret, ...image} = collector.image
  const values = renderValues('collector.yaml', {
    name: collector.name,
    image: {...image, pullPolicy: 'IfNotPresent'},
    program,
    args: forTpl(collector.args ?? []),
    config: forTpl(collector.config),
    envs: [...Object.entries(goRuntime).map(([name, value]) => ({name, value})), ...(collector.envs ?? [])],
    otlp: collector.takesOtlp ? open(ports.otlpGrpc) : closed,
    otlpHttp: collector.takesOtlp ? open(ports.otlpHttp) : closed,
    otlpCluster: collector.takesOtlp ? open(ports.otlpCluster) : closed,
    counters: ports.counters,
    health: ports.health,
    speaksToKubernetes: collector.speaksToKubernetes,
    ownAccount: !collector.hasLeaf,
  })
  return pullSecret === undefined ? values : {...values, imagePullSecrets: [{name: pullSecret}]}
}
