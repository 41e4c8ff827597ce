import {typed} from '../shell.ts'
import type {Kind, KubeTarget, Looker, Ref} from './kube.ts'

const flag = (target: KubeTarget): readonly string[] => (target.kubeconfig === undefined ? [] : ['--kubeconfig', target.kubeconfig])
/** What every call says: which cluster. */
export const kubectlArgs = (target: KubeTarget): readonly string[] => ['--context', target.context, ...flag(target)]
/** A call of kubectl, as a person would type it. */
export const kubectl = (target: KubeTarget, ...words: readonly string[]): string =>
  typed({file: 'kubectl', args: [...kubectlArgs(target), ...words]})

/** As kubectl takes it: `statefulset`, `certificate.cert-manager.io`. */
export const resourceOf = ({apiVersion, kind}: Kind): string => {
  const [group = '', version] = apiVersion.split('/')
  return version !== undefined && group.includes('.') ? `${kind.toLowerCase()}.${group}` : kind.toLowerCase()
}

export const applyArgs = (force: boolean | undefined, file: string): readonly string[] => [
  'apply',
  '--server-side',
  '--field-manager=lkeobs',
  ...(force === true ? ['--force-conflicts'] : []),
  '-f',
  file,
]

export const nudgeArgs = (
  {namespace, labels}: {readonly namespace: string; readonly labels: string},
  annotation: string,
): readonly string[] => ['annotate', 'pods', '--namespace', namespace, '--selector', labels, '--overwrite', annotation]

export const patchArgs = (ref: Ref, fields: object, subresource?: 'status'): readonly string[] => [
  'patch',
  resourceOf(ref),
  ref.name,
  ...(ref.namespace === undefined ? [] : ['--namespace', ref.namespace]),
  ...(subresource === undefined ? [] : [`--subresource=${subresource}`]),
  '--type=merge',
  '--field-manager=lkeobs',
  '--patch',
  JSON.stringify(fields),
]

/** `file` has what of the container's spec there is no flag for. */
export const debugArgs = ({namespace, pod, container, image, command}: Looker, file: string): readonly string[] => [
  'debug',
  pod,
  '--namespace',
  namespace,
  `--container=${container}`,
  `--image=${image}`,
  '--image-pull-policy=IfNotPresent',
  '--profile=restricted',
  `--custom=${file}`,
  '--attach=false',
  '--quiet',
  '--',
  ...command,
]

export const removeArgs = (ref: Ref): readonly string[] => [
  'delete',
  resourceOf(ref),
  ref.name,
  ...(ref.namespace === undefined ? [] : ['--namespace', ref.namespace]),
  '--wait=false',
  '--ignore-not-found',
]

/** The writes, as a person would type them. */
export const lines = {
  apply: (target: KubeTarget, {file, force}: {readonly file: string; readonly force?: boolean}): string =>
    kubectl(target, ...applyArgs(force, file)),
  patch: (target: KubeTarget, ...what: Parameters<typeof patchArgs>): string => kubectl(target, ...patchArgs(...what)),
  debug: (target: KubeTarget, looker: Looker): string =>
    `${kubectl(target, ...debugArgs(looker, '/dev/stdin'))} <<<'${JSON.stringify(looker.spec)}'`,
  remove: (target: KubeTarget, ref: Ref): string => kubectl(target, ...removeArgs(ref)),
  nudge: (target: KubeTarget, pods: {readonly namespace: string; readonly labels: string}, annotation: string): string =>
    kubectl(target, ...nudgeArgs(pods, annotation)),
}
