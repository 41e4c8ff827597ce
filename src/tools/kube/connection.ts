import {readFile} from 'node:fs/promises'
import type http from 'node:http'
import type https from 'node:https'
import path from 'node:path'
import {LkeobsError, messageOf} from '../../errors.ts'
import type {KubeTarget} from './kube.ts'
import {type At, contextOf, type UserEntry} from './kubeconfig.ts'

/** How long an answer is waited for. */
export const answerMs = 10_000
export const noAnswerWithin = `no answer within ${answerMs / 1000} s`

type Options = Omit<https.RequestOptions, 'headers'> & {headers?: http.OutgoingHttpHeaders}

/** The way to an API server. */
export type Connection = {
  readonly server: string
  readonly proxy: string | undefined
  /** Whom to trust, and who we are: asked for before each request, because tokens run out. */
  options(): Promise<Options>
}

/** Programs and sign-in services that give credentials. */
const signIn = async (name: string, user: UserEntry): Promise<((options: Options) => Promise<void>) | undefined> => {
  const {exec, 'auth-provider': provider} = user
  if (exec) {
    const {ExecAuth} = await import('@kubernetes/client-node/dist/exec_auth.js')
    const auth = new ExecAuth()
    // some programs ask for it, and the library leaves it out
    const info = {name: 'KUBERNETES_EXEC_INFO', value: JSON.stringify({...exec, kind: 'ExecCredential', spec: {interactive: false}})}
    return (options) => auth.applyAuthentication({name, exec: {...exec, env: [info, ...(exec.env ?? [])]}}, options)
  }
  if (provider === undefined) return undefined
  if (provider.name !== 'oidc') throw new LkeobsError('LKO-3103', `user ${name}: the auth-provider ${provider.name} is not supported.`)
  const {OpenIDConnectAuth} = await import('@kubernetes/client-node/dist/oidc_auth.js')
  const auth = new OpenIDConnectAuth()
  return (options) => auth.applyAuthentication({name, authProvider: provider}, options)
}

/** The connection that a context stands for. Throws LKO-3101, and LKO-3103 where there are no credentials. */
export const connectionOf = async (target: KubeTarget): Promise<Connection> => {
  const {server, cluster, userName, user} = await contextOf(target)
  const pem = async (at: At<unknown> | undefined, file: string | undefined, data: string | undefined) => {
    if (data) return Buffer.from(data, 'base64')
    if (!file || at === undefined) return undefined
    try {
      return await readFile(path.resolve(at.folder, file))
    } catch (error) {
      throw new LkeobsError('LKO-3101', `context ${target.context}: ${messageOf(error)}`)
    }
  }
  const how = cluster.entry
  const who = user?.entry ?? {}
  const [ca, cert, key, authenticate] = await Promise.all([
    pem(cluster, how['certificate-authority'], how['certificate-authority-data']),
    pem(user, who['client-certificate'], who['client-certificate-data']),
    pem(user, who['client-key'], who['client-key-data']),
    signIn(userName ?? '', who),
  ])
  const fixed: Options = {
    ...(ca && {ca}),
    ...(cert && {cert}),
    ...(key && {key}),
    ...(how['tls-server-name'] !== undefined && {servername: how['tls-server-name']}),
    ...(how['insecure-skip-tls-verify'] === true && {rejectUnauthorized: false}),
    ...(who.username !== undefined && {auth: `${who.username}:${who.password ?? ''}`}),
  }
  const headers = {
    ...(who.as !== undefined && {'impersonate-user': who.as}),
    ...(who['as-uid'] !== undefined && {'impersonate-uid': who['as-uid']}),
    ...(who['as-groups'] !== undefined && {'impersonate-group': [...who['as-groups']]}),
  }
  return {
    server: server.replace(/\/$/, ''),
    proxy: how['proxy-url'],
    async options() {
      const options: Options = {...fixed, headers: {...headers}}
      try {
        await authenticate?.(options)
      } catch (error) {
        throw new LkeobsError('LKO-3103', `user ${userName}: the kubeconfig gives no credentials: ${messageOf(error)}`)
      }
      const token = who.token ?? (await pem(user, who.tokenFile, undefined))?.toString().trim()
      return token === undefined ? options : {...options, headers: {...options.headers, authorization: `Bearer ${token}`}}
    },
  }
}
