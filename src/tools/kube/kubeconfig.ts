import {readFile} from 'node:fs/promises'
import {homedir} from 'node:os'
import path from 'node:path'
import {LkeobsError, messageOf} from '../../errors.ts'
import {nearest} from '../../nearest.ts'
import type {KubeTarget} from './kube.ts'

type Named<K extends string, T> = {readonly name: string} & {readonly [key in K]?: T}
export type ClusterEntry = {
  readonly server?: string
  readonly 'certificate-authority'?: string
  readonly 'certificate-authority-data'?: string
  readonly 'insecure-skip-tls-verify'?: boolean
  readonly 'tls-server-name'?: string
  readonly 'proxy-url'?: string
}
export type UserEntry = {
  readonly token?: string
  readonly tokenFile?: string
  readonly 'client-certificate'?: string
  readonly 'client-certificate-data'?: string
  readonly 'client-key'?: string
  readonly 'client-key-data'?: string
  readonly username?: string
  readonly password?: string
  readonly as?: string
  readonly 'as-uid'?: string
  readonly 'as-groups'?: readonly string[]
  readonly exec?: {readonly apiVersion?: string; readonly command: string; readonly env?: readonly {name: string; value: string}[] | null}
  readonly 'auth-provider'?: {readonly name: string}
}
type Kubeconfig = {
  readonly contexts?: readonly Named<'context', {readonly cluster: string; readonly user?: string}>[]
  readonly clusters?: readonly Named<'cluster', ClusterEntry>[]
  readonly users?: readonly Named<'user', UserEntry>[]
}

/** Where kubectl looks, too. */
const kubeconfigsOf = ({kubeconfig}: KubeTarget): readonly string[] => {
  if (kubeconfig !== undefined) return [kubeconfig]
  const named = (process.env['KUBECONFIG'] ?? '').split(path.delimiter).filter(Boolean)
  return named.length > 0 ? named : [path.join(homedir(), '.kube', 'config')]
}

const readKubeconfig = async (file: string): Promise<{readonly config: Kubeconfig; readonly folder: string} | undefined> => {
  try {
    const [text, {parse}] = await Promise.all([readFile(file, 'utf8'), import('yaml')])
    return {config: (parse(text) ?? {}) as Kubeconfig, folder: path.dirname(path.resolve(file))}
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new LkeobsError('LKO-3101', `${file}: ${notYaml(error) ?? messageOf(error)}`)
  }
}

/** Where it is no YAML; the parser's own words would show what stands there, which may be a key or a token. */
const notYaml = (error: unknown): string | undefined => {
  if (!(error instanceof Error) || error.name !== 'YAMLParseError') return undefined
  const [start] = 'linePos' in error && Array.isArray(error.linePos) ? (error.linePos as {readonly line: number}[]) : []
  return `not YAML${start ? ` at line ${start.line}` : ''}`
}

/** An entry of a kubeconfig, and the folder its paths start from. */
export type At<T> = {readonly entry: T; readonly folder: string}

/** A context, as the kubeconfigs say it. */
export type Context = {
  readonly server: string
  readonly cluster: At<ClusterEntry>
  readonly userName: string | undefined
  readonly user: At<UserEntry> | undefined
}

/** As with kubectl the first file that has a name counts, and one that is missing is passed over. Throws LKO-3101. */
export const contextOf = async (target: KubeTarget): Promise<Context> => {
  const files = kubeconfigsOf(target)
  const read = (await Promise.all(files.map(readKubeconfig))).filter((found) => found !== undefined)
  const all = read.flatMap(({config}) => config.contexts ?? [])
  const context = all.find(({name}) => name === target.context)?.context
  if (context === undefined) {
    const names = [...new Set(all.map(({name}) => name))]
    const [near] = nearest(target.context, names)
    const meant = near === undefined ? '' : ` Did you mean ${near}?`
    const there = read.length === 0 ? 'there is no such file' : `its contexts: ${names.join(', ') || 'none'}`
    throw new LkeobsError('LKO-3101', `${target.context} is not a context of ${files.join(', ')} (${there}).${meant}`)
  }
  const first = <T>(pick: (config: Kubeconfig) => T | undefined): At<T> | undefined => {
    for (const {config, folder} of read) {
      const entry = pick(config)
      if (entry !== undefined) return {entry, folder}
    }
    return undefined
  }
  const cluster = first(({clusters}) => clusters?.find(({name}) => name === context.cluster)?.cluster)
  const user = first(({users}) => users?.find(({name}) => name === context.user)?.user)
  const server = cluster?.entry.server
  if (cluster === undefined || server === undefined)
    throw new LkeobsError('LKO-3101', `context ${target.context}: ${files.join(', ')} has no cluster ${context.cluster}.`)
  return {server, cluster, userName: context.user, user}
}
