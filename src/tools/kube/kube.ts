/** A cluster, as a kubeconfig names it. Without a kubeconfig: KUBECONFIG, or ~/.kube/config. */
export type KubeTarget = {readonly context: string; readonly kubeconfig?: string}

/** An object of the Kubernetes API. */
export type KubeObject = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
    readonly [key: string]: unknown
  }
  readonly [key: string]: unknown
}

export type Kind = {readonly apiVersion: string; readonly kind: string}
export type Ref = Kind & {readonly name: string; readonly namespace?: string}

/** Whom to talk to: a pod, or any ready pod with these labels. */
export type PodAddress = {readonly namespace: string; readonly port: number} & ({readonly pod: string} | {readonly labels: string})

/** A container that is added to a running pod, and stays as long as the pod: it is never removed, nor started again. */
export type Looker = {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  readonly image: string
  readonly command: readonly string[]
  /** What of its spec kubectl has no flag for. */
  readonly spec: Readonly<Record<string, unknown>>
}

/** A question to the cluster: may I? */
export type Access = {
  readonly verb: string
  /** The empty group is the core. */
  readonly group?: string
  readonly resource: string
  readonly subresource?: string
  readonly namespace?: string
}

/**
 * A Kubernetes cluster: read through its API, written with kubectl. Throws LKO-3101 (no such context),
 * LKO-3102 (no answer) and LKO-3103 (not permitted).
 */
export type Kube = {
  readonly target: KubeTarget
  /** `v1.37.2` */
  version(): Promise<string>
  /** By how much the API server's clock is ahead of this machine's, in ms; to about a second. */
  clockAhead(): Promise<number>
  /** Undefined where there is none, or no such kind. */
  read<T extends KubeObject>(ref: Ref): Promise<T | undefined>
  /** Empty where there is no such kind. */
  list<T extends KubeObject>(kind: Kind, where?: {readonly namespace?: string; readonly labels?: string}): Promise<readonly T[]>
  may(access: Access): Promise<boolean>
  /** The last lines of a container; empty where it has none. */
  log(at: {
    readonly namespace: string
    readonly pod: string
    readonly container?: string
    readonly previous?: true
    readonly lines: number
  }): Promise<readonly string[]>
  /** An address on this machine (`127.0.0.1:port`) that leads there until `end`; every connection finds a ready pod anew. */
  forward(to: PodAddress): Promise<string>
  /** Runs a command in a container and returns what it wrote. Throws LKO-4003 when it fails. */
  exec(at: {readonly namespace: string; readonly pod: string; readonly container?: string}, command: readonly string[]): Promise<string>
  /**
   * Applies objects server-side as field manager `lkeobs`. `file` is where `render` writes the same objects: what a dry run
   * prints. `force` takes fields from whoever has them. Throws LKO-3108 (not admitted) and LKO-3109 (a field is someone else's).
   */
  apply(objects: readonly KubeObject[], options: {readonly file: string; readonly force?: boolean}): Promise<void>
  /** Changes these fields of an object, or of its status, as field manager `lkeobs`, and none else. */
  patch(ref: Ref, fields: object, subresource?: 'status'): Promise<void>
  /** Adds an ephemeral container that the pod security level `restricted` admits. Throws LKO-3108 where it is not admitted. */
  debug(looker: Looker): Promise<void>
  remove(ref: Ref): Promise<void>
  /** Sets an annotation of every pod with these labels: what is mounted into it is brought up to date at once, not within a minute. */
  nudge(pods: {readonly namespace: string; readonly labels: string}, annotation: string): Promise<void>
}

export type OpenKube = (target: KubeTarget) => Kube

/** Clusters opened, one Kube for each target. */
export type Clusters = {
  readonly open: OpenKube
  /** Ends every forward and lets go of every connection, so that nothing keeps the process alive. */
  end(): Promise<void>
}
