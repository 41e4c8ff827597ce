import type {Secret} from '../secret.ts'

/** An HTTP answer whose status is part of the answer, not an exception. */
export type Answer = {readonly status: number; readonly body: string}

export type PostOptions = {
  readonly timeoutMs?: number
  /** Shown as `Authorization: Bearer …`. */
  readonly token?: Secret
}

export type Http = {
  /** Undefined when nobody answers within the time (default 5 s). */
  get(url: string, timeoutMs?: number): Promise<Answer | undefined>
  /** Posts JSON. Undefined when nobody answers within the time. Never used to change the state of a fleet. */
  post(url: string, body: object, options?: PostOptions): Promise<Answer | undefined>
}

const ask = async (url: string, init: RequestInit, timeoutMs = 5000): Promise<Answer | undefined> => {
  try {
    const response = await fetch(url, {...init, signal: AbortSignal.timeout(timeoutMs)})
    return {status: response.status, body: await response.text()}
  } catch {
    return undefined
  }
}

export const createHttp = (): Http => ({
  get: (url, timeoutMs) => ask(url, {}, timeoutMs),
  post(url, body, {timeoutMs, token} = {}) {
    const headers = {'content-type': 'application/json', ...(token && {authorization: `Bearer ${token.reveal()}`})}
    return ask(url, {method: 'POST', headers, body: JSON.stringify(body)}, timeoutMs)
  },
})
