type Context = {
  readonly runAsNonRoot?: boolean
  readonly runAsUser?: number
  readonly seccompProfile?: {readonly type?: string}
  readonly privileged?: boolean
  readonly allowPrivilegeEscalation?: boolean
  readonly readOnlyRootFilesystem?: boolean
  readonly capabilities?: {readonly add?: readonly string[]; readonly drop?: readonly string[]}
  readonly procMount?: string
  readonly sysctls?: readonly object[]
}

export type Container = {
  readonly name: string
  readonly image: string
  readonly imagePullPolicy?: string
  readonly securityContext?: Context
  readonly ports?: readonly {readonly containerPort: number; readonly hostPort?: number}[]
  readonly resources?: {readonly requests?: Readonly<Record<string, string>>; readonly limits?: Readonly<Record<string, string>>}
}

export type PodSpec = {
  readonly hostNetwork?: boolean
  readonly hostPID?: boolean
  readonly hostIPC?: boolean
  readonly securityContext?: Context
  readonly volumes?: readonly {readonly name: string}[]
  readonly containers: readonly Container[]
  readonly initContainers?: readonly Container[]
}

const volumeKinds = new Set(['configMap', 'csi', 'downwardAPI', 'emptyDir', 'ephemeral', 'persistentVolumeClaim', 'projected', 'secret'])

export const containersOf = (pod: PodSpec): readonly Container[] => [...(pod.initContainers ?? []), ...pod.containers]

const forContainer = (pod: PodSpec, {securityContext: own = {}, ports = []}: Container): readonly string[] => {
  const shared = pod.securityContext ?? {}
  const seccomp = own.seccompProfile?.type ?? shared.seccompProfile?.type
  const added = (own.capabilities?.add ?? []).filter((one) => one !== 'NET_BIND_SERVICE')
  return [
    own.privileged === true && 'privileged',
    own.allowPrivilegeEscalation !== false && 'allowPrivilegeEscalation',
    !own.capabilities?.drop?.includes('ALL') && 'capabilities are kept',
    added.length > 0 && `capabilities ${added.join(', ')}`,
    (own.runAsNonRoot ?? shared.runAsNonRoot) !== true && 'runAsNonRoot is not set',
    (own.runAsUser ?? shared.runAsUser) === 0 && 'runs as root',
    seccomp !== 'RuntimeDefault' && seccomp !== 'Localhost' && 'no seccomp profile',
    own.procMount !== undefined && own.procMount !== 'Default' && 'procMount',
    ports.some(({hostPort = 0}) => hostPort !== 0) && 'a host port',
  ].filter((one) => one !== false)
}

/** What of a pod the pod security standard `restricted` does not admit. */
export const notRestricted = (pod: PodSpec): readonly string[] => [
  ...(['hostNetwork', 'hostPID', 'hostIPC'] as const).filter((key) => pod[key] === true),
  ...((pod.securityContext?.sysctls ?? []).length > 0 ? ['sysctls'] : []),
  ...(pod.volumes ?? []).flatMap(({name, ...source}) =>
    Object.keys(source)
      .filter((kind) => !volumeKinds.has(kind))
      .map((kind) => `volume ${name}: ${kind}`),
  ),
  ...containersOf(pod).flatMap((container) => forContainer(pod, container).map((found) => `${container.name}: ${found}`)),
]
