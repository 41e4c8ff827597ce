import https from 'node:https'

import type {Secret} from '../secret.ts'

/** An HTTP answer whose status is part of the answer, not an exception. */
export type Answer = {readonly status: number; readonly body: string}

export type PostOptions = {
  readonly timeoutMs?: number
  /** Shown as `Authorization: Bearer …`. */
  readonly token?: Secret | undefined
}

export type Http = {
  /** Undefined when nobody answers within the time (default 5 s). */
  get(url: string, timeoutMs?: number, token?: Secret): Promise<Answer | undefined>
  /** Posts JSON. Undefined when nobody answers within the time. It changes nothing of a fleet but its dead letters. */
  post(url: string, body: object, options?: PostOptions): Promise<Answer | undefined>
}

const unverifiedMs = 10_000
// a chain of certificates has a few thousand
const mostBytes = 1_000_000

/**
 * The body of what anybody may read, from a server that proves nothing by its certificate: for what proves itself, and nothing
 * else. Undefined when nobody answers with 200.
 */
export const getUnverified = (url: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    const request = https.get(url, {agent: false, rejectUnauthorized: false, timeout: unverifiedMs}, (response) => {
      const chunks: Buffer[] = []
      let length = 0
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        length += chunk.length
        if (length > mostBytes) request.destroy(new Error('too long'))
      })
      response.on('error', () => resolve(undefined))
      response.on('end', () => resolve(response.statusCode === 200 ? Buffer.concat(chunks).toString() : undefined))
    })
    request.on('timeout', () => request.destroy(new Error('no answer')))
    request.on('error', () => resolve(undefined))
  })

const ask = async (url: string, init: RequestInit, timeoutMs = 5000): Promise<Answer | undefined> => {
  try {
    const response = await fetch(url, {...init, signal: AbortSignal.timeout(timeoutMs)})
    return {status: response.status, body: await response.text()}
  } catch {
    return undefined
  }
}

const shown = (token: Secret | undefined): Record<string, string> => (token ? {authorization: `Bearer ${token.reveal()}`} : {})

export const createHttp = (): Http => ({
  get: (url, timeoutMs, token) => ask(url, {headers: shown(token)}, timeoutMs),
  post(url, body, {timeoutMs, token} = {}) {
    const headers = {'content-type': 'application/json', ...shown(token)}
    return ask(url, {method: 'POST', headers, body: JSON.stringify(body)}, timeoutMs)
  },
})
