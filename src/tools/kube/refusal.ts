import {LkeobsError, messageOf} from '../../errors.ts'
import type {KubeTarget} from './kube.ts'
import {kubectl} from './kubectl.ts'

/** No answer, or none that helps. */
export const silent = (target: KubeTarget, what: string): LkeobsError =>
  new LkeobsError('LKO-3102', `${target.context}: ${what}`, {next: [kubectl(target, 'get', '--raw', '/readyz')]})

/** Who may not do what, as the API server says it: it names user, verb and resource. */
export const forbidden = (target: KubeTarget, said: string): LkeobsError => {
  const [, verb = '', resource = '', group = '', , namespace] =
    /cannot (\S+) resource "([^"]+)" in API group "([^"]*)"( in the namespace "([^"]+)")?/.exec(said) ?? []
  const [name = '', subresource] = resource.split('/')
  const question =
    resource === ''
      ? ['whoami']
      : [
          'can-i',
          verb,
          group === '' ? name : `${name}.${group}`,
          ...(subresource === undefined ? [] : [`--subresource=${subresource}`]),
          ...(namespace === undefined ? [] : ['--namespace', namespace]),
        ]
  return new LkeobsError('LKO-3103', `${target.context}: ${said}`, {next: [kubectl(target, 'auth', ...question)]})
}

/** Why nothing came back. */
export const reasonOf = (error: unknown): string => {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'its host name is not known here'
  return messageOf(error) || code
}

type Conflict = {readonly manager: string; readonly fields: readonly string[]}

/** The conflicts of each object that kubectl or helm tells of, in their order: `conflict with "kubectl" using apps/v1: .spec.replicas`. */
const conflictsIn = (text: string): readonly (readonly Conflict[])[] =>
  text
    .split(/Apply failed with \d+ conflicts?: /)
    .slice(1)
    .map((part) =>
      [...part.matchAll(/conflicts? with "([^"]+)"[^:\n]*:((?: \.\S.*)|(?:\n- \..*)+)/g)].map(([, manager = '', fields = '']) => ({
        manager,
        fields: [...fields.matchAll(/(?:^|- ) ?(\..*)$/gm)].map(([, field = '']) => field),
      })),
    )

const conflicted = (text: string, candidates: readonly string[]): LkeobsError => {
  const conflicts = conflictsIn(text)
  // helm says which object it is, kubectl does not
  const told = [...text.matchAll(/applying object (\S+) \S+ Kind=(\w+): Apply failed/g)].map(([, name, kind]) => `${kind} ${name}`)
  const names = told.length > 0 ? told : candidates
  const ofAll = names.length === conflicts.length ? undefined : names.join(' or ')
  const lines = conflicts.flatMap((one, index) =>
    one.map(({manager, fields}) => `${ofAll ?? names[index] ?? ''}: ${fields.join(', ')} is applied by ${manager}`),
  )
  return new LkeobsError('LKO-3109', [...new Set(lines)].join('\n'))
}

const noise =
  /^(error: |Error: |Error from server( \([A-Za-z]+\))?: )|UPGRADE FAILED: |error validating .*: failed to download openapi: |; if you choose to ignore .*$/g
const terminating = /because it is being terminated/
// an admission plugin says "is forbidden" too; a missing permission names the user
const notAdmitted = /denied (the )?request|violates PodSecurity|exceeded quota|failed calling webhook|is forbidden: (?!User ")/
const notPermitted = /is forbidden: User "|provide credentials|Unauthorized|\(Forbidden\)/
const noContext = /context "?[^"]*"? does not exist/
const noAnswer =
  /Unable to connect to the server|cluster unreachable|connection refused|i\/o timeout|no such host|failed to verify certificate|handshake timeout|context deadline exceeded|no route to host|network is unreachable|connection reset by peer|Client\.Timeout/

/** What kubectl or helm was refused, in our words; undefined where it is something else. `names` are the objects it may be about. */
export const refusal = (target: KubeTarget, text: string, names: readonly string[]): LkeobsError | undefined => {
  const lines = text.split('\n').filter((line) => !/^(E\d{4} |level=)/.test(line))
  const saying = (pattern: RegExp) => [...new Set(lines.filter((line) => pattern.test(line)).map((line) => line.replaceAll(noise, '')))]
  if (/Apply failed with \d+ conflict/.test(text)) return conflicted(lines.join('\n'), names)
  const [held] = saying(terminating)
  if (held !== undefined) {
    const [, namespace = ''] = /in namespace (\S+) because/.exec(held) ?? []
    return new LkeobsError('LKO-3111', held, {next: [kubectl(target, 'get', 'namespace', namespace, '-o', 'yaml')]})
  }
  const refused = saying(notAdmitted)
  if (refused.length > 0) return new LkeobsError('LKO-3108', refused.join('\n'))
  const [may] = saying(notPermitted)
  if (may !== undefined) return forbidden(target, may)
  const [missing] = saying(noContext)
  if (missing !== undefined) return new LkeobsError('LKO-3101', missing)
  const [quiet] = saying(noAnswer)
  return quiet === undefined ? undefined : silent(target, quiet)
}
