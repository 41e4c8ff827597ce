import http from 'node:http'
import https from 'node:https'
import {setTimeout as sleep} from 'node:timers/promises'
import {LkeobsError} from '../../errors.ts'
import {answerMs, type Connection, connectionOf, noAnswerWithin} from './connection.ts'
import type {KubeTarget} from './kube.ts'
import {forbidden, reasonOf, silent} from './refusal.ts'
import {openSocket, type Socket} from './socket.ts'

const pausesMs = [100, 300, 900] as const

type Reply = {readonly status: number; readonly body: string; readonly retryAfterMs: number; readonly aheadMs: number}
type Status = {readonly status?: string; readonly message?: string}

/** What the API server says of a request, or of a command that ended. */
export const statusIn = (body: string): Status => {
  try {
    return JSON.parse(body) as Status
  } catch {
    return {}
  }
}

/** `?limit=500&labelSelector=…`, without what is not given. */
export const query = (words: Readonly<Record<string, string | number | boolean | undefined>>): string => {
  const given = Object.entries(words).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]]))
  return given.length === 0 ? '' : `?${new URLSearchParams(Object.fromEntries(given)).toString()}`
}

/** The API server of a context: requests, and sockets that lead into its pods. */
export const openApi = (target: KubeTarget) => {
  let connection: Promise<Connection> | undefined
  let agent: http.Agent | undefined
  const connected = () => (connection ??= connectionOf(target))
  const agentFor = ({server, proxy}: Connection, keepAlive: boolean): http.Agent => {
    if (proxy?.startsWith('socks')) throw silent(target, `its kubeconfig names the proxy ${proxy}, but only http proxies are spoken to`)
    const proxyEnv = proxy === undefined ? process.env : {HTTP_PROXY: proxy, HTTPS_PROXY: proxy}
    return server.startsWith('http:') ? new http.Agent({keepAlive, proxyEnv}) : new https.Agent({keepAlive, proxyEnv})
  }

  const once = async (method: string, at: string, body?: string): Promise<Reply> => {
    const to = await connected()
    const options = await to.options()
    agent ??= agentFor(to, true)
    const {request: send} = to.server.startsWith('http:') ? http : https
    const sent = Date.now()
    return new Promise((resolve, reject) => {
      const headers = {...options.headers, accept: 'application/json', ...(body !== undefined && {'content-type': 'application/json'})}
      const request = send(`${to.server}${at}`, {...options, agent, method, headers, timeout: answerMs}, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: Buffer.concat(chunks).toString(),
            retryAfterMs: Math.min(Number(response.headers['retry-after'] ?? 0) * 1000, 5000) || 0,
            // the header has whole seconds, and was written somewhere between question and answer
            aheadMs: Date.parse(response.headers.date ?? '') + 500 - (sent + Date.now()) / 2,
          }),
        )
      })
      const quiet = () => request.destroy(new Error(noAnswerWithin))
      // the option `timeout` alone does not count while the connection is being made
      const timer = setTimeout(quiet, answerMs)
      request.on('response', () => clearTimeout(timer))
      request.on('timeout', quiet)
      request.on('error', (error) => {
        clearTimeout(timer)
        reject(error)
      })
      request.end(body)
    })
  }

  /** Asks until there is an answer that stands: only what changes nothing may be asked this way. */
  const ask = async (method: string, at: string, body?: string): Promise<Reply> => {
    for (const pauseMs of [...pausesMs, undefined]) {
      try {
        const reply = await once(method, at, body)
        if (reply.status !== 429 && reply.status < 500) return reply
        if (pauseMs === undefined) throw silent(target, `${at}: HTTP ${reply.status} ${statusIn(reply.body).message ?? ''}`.trim())
        await sleep(Math.max(pauseMs, reply.retryAfterMs))
      } catch (error) {
        if (error instanceof LkeobsError) throw error
        const passing = error instanceof Error && 'code' in error && ['ECONNRESET', 'EPIPE'].includes(String(error.code))
        if (pauseMs === undefined || !passing) throw silent(target, `${(await connected()).server}: ${reasonOf(error)}`)
        await sleep(pauseMs)
      }
    }
    throw new Error('the last round returns or throws')
  }

  const judged = ({status, body}: Reply, at: string): string | undefined => {
    if (status === 404) return undefined
    if (status < 300) return body
    const said = statusIn(body).message ?? body.slice(0, 300)
    if (status === 401) throw forbidden(target, 'the cluster does not know the user of this context (401 Unauthorized)')
    if (status === 403) throw forbidden(target, said)
    throw new Error(`${target.context}: ${at}: ${status} ${said}`)
  }

  return {
    /** Throws where the kubeconfig does not have the context. */
    async reachable(): Promise<void> {
      await connected()
    },
    /** Undefined where there is none (404). */
    async get<T>(at: string): Promise<T | undefined> {
      const body = judged(await ask('GET', at), at)
      return body === undefined ? undefined : (JSON.parse(body) as T)
    },
    /** The bare answer, for what is not JSON or may be refused for a reason that is no mistake. */
    async text(at: string): Promise<string | undefined> {
      const reply = await ask('GET', at)
      return reply.status === 400 ? undefined : judged(reply, at)
    },
    async aheadMs(): Promise<number> {
      return (await ask('GET', '/version')).aheadMs
    },
    /** A question that the API wants as a POST: it changes nothing. */
    async question<T>(at: string, body: object): Promise<T> {
      return JSON.parse(judged(await ask('POST', at, JSON.stringify(body)), at) ?? '{}') as T
    },
    /** A WebSocket; `told` gets each message with its channel. */
    async socket(at: string, told: (channel: number, data: Buffer) => void): Promise<Socket> {
      const to = await connected()
      return openSocket(to.server, {...(await to.options()), agent: agentFor(to, false)}, at, told)
    },
    end() {
      agent?.destroy()
      agent = undefined
    },
  }
}

export type Api = ReturnType<typeof openApi>
