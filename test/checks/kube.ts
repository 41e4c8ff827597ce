import {LkeobsError} from '../../src/errors.ts'
import type {Access, Kube, KubeObject, Ref} from '../../src/tools/kube/kube.ts'

type Given = {
  readonly objects?: readonly KubeObject[]
  readonly version?: string
  readonly aheadMs?: number
  readonly may?: (access: Access) => boolean
  /** Kinds that the user may not look at. */
  readonly hidden?: readonly string[]
  /** What every question is answered with instead. */
  readonly error?: LkeobsError
}

const selects = (selector: string, labels: Readonly<Record<string, string>> = {}): boolean =>
  selector
    .split(',')
    .filter((term) => term !== '' && !term.includes('!='))
    .every((term) => labels[term.split('=')[0] ?? ''] === term.split('=')[1])

/** A cluster that has these objects, and only answers. */
export const kubeOf = ({objects = [], version = 'v1.37.2', aheadMs = 0, may = () => true, hidden = [], error}: Given): Kube => {
  const allowed = (kind: string): void => {
    if (error) throw error
    if (hidden.includes(kind)) throw new LkeobsError('LKO-3103', `here: cannot list ${kind}`)
  }
  const nobody = async (): Promise<never> => {
    throw new Error('a check only reads')
  }
  return {
    target: {context: 'here'},
    async version() {
      allowed('')
      return version
    },
    async clockAhead() {
      allowed('')
      return aheadMs
    },
    async read<T extends KubeObject>({kind, name, namespace}: Ref) {
      allowed(kind)
      return objects.find((object) => object.kind === kind && object.metadata.name === name && object.metadata.namespace === namespace) as
        | T
        | undefined
    },
    async list<T extends KubeObject>({kind}: {kind: string}, {namespace, labels = ''}: {namespace?: string; labels?: string} = {}) {
      allowed(kind)
      return objects.filter(
        (object) =>
          object.kind === kind &&
          (namespace === undefined || object.metadata.namespace === namespace) &&
          selects(labels, object.metadata.labels),
      ) as unknown as readonly T[]
    },
    may: async (access) => may(access),
    log: nobody,
    forward: nobody,
    exec: nobody,
    apply: nobody,
    patch: nobody,
    debug: nobody,
    remove: nobody,
    nudge: nobody,
  }
}

type Extra = Readonly<Record<string, unknown>>

export const object = (apiVersion: string, kind: string, name: string, extra: Extra = {}, metadata: Extra = {}): KubeObject => ({
  apiVersion,
  kind,
  metadata: {name, ...metadata},
  ...extra,
})
