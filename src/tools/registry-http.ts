import http from 'node:http'
import https from 'node:https'
import {Readable} from 'node:stream'
import {plain, type Secret} from '../secret.ts'
import {type Fault, faultOf} from './wire.ts'

export type RegistryRequest = {
  readonly method: 'HEAD' | 'GET' | 'POST' | 'PUT'
  readonly url: string
  readonly headers?: Readonly<Record<string, string | Secret>>
  /** What is sent, read when it is: a layer is not held in memory. */
  readonly body?: {readonly size: number; read(): AsyncIterable<Uint8Array>}
  /** PEM of the CAs that verify the server; those of this machine unless given. */
  readonly ca?: string | undefined
  /** It changes the registry: a dry run prints it instead. */
  readonly mutates?: true
  /** Called with the bytes of the body sent so far. */
  readonly onSent?: (bytes: number) => void
}

export type RegistryReply = {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** HTTP with bodies that are streamed. Follows no redirect, so that credentials go nowhere else. */
export type RegistryHttp = {send(request: RegistryRequest): Promise<RegistryReply | Fault>}

/** Nothing sent and nothing answered for so long. */
const stallMs = 60_000
/** Errors, tokens and documents are small. */
const mostBytes = 4 << 20

const send: RegistryHttp['send'] = ({method, url, headers = {}, body, ca, onSent}) =>
  new Promise((resolve) => {
    const isTls = url.startsWith('https:')
    let request: http.ClientRequest | undefined
    let isSettled = false
    let timer: NodeJS.Timeout | undefined
    const settle = (reply: RegistryReply | Fault) => {
      isSettled = true
      clearTimeout(timer)
      resolve(reply)
    }
    const failed = (error: unknown) => {
      if (isSettled) return
      settle(faultOf(error, isTls))
      request?.destroy()
    }
    const expect = () => {
      clearTimeout(timer)
      timer = setTimeout(() => failed(new Error(`no answer within ${stallMs / 1000} s`)), stallMs)
    }
    const answered = (response: http.IncomingMessage) => {
      const chunks: Buffer[] = []
      let length = 0
      response.on('data', (chunk: Buffer) => {
        expect()
        length += chunk.length
        if (length <= mostBytes) chunks.push(chunk)
      })
      response.on('error', failed)
      response.on('end', () => {
        if (isSettled) return
        settle({
          status: response.statusCode ?? 0,
          headers: Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)])),
          body: Buffer.concat(chunks).toString(),
        })
        // an answer may come before all has been sent: the rest is not wanted
        request?.destroy()
      })
    }
    try {
      expect()
      const options = {
        method,
        agent: false as const,
        headers: {
          ...Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, plain(value)])),
          ...((body !== undefined || method === 'POST' || method === 'PUT') && {'content-length': body?.size ?? 0}),
        },
      }
      request = isTls ? https.request(url, {...options, ...(ca !== undefined && {ca})}, answered) : http.request(url, options, answered)
      request.on('error', failed)
      if (body === undefined) {
        request.end()
        return
      }
      let sent = 0
      const counted = async function* () {
        for await (const chunk of body.read()) {
          if (isSettled) return
          expect()
          yield chunk
          onSent?.((sent += chunk.length))
        }
      }
      Readable.from(counted(), {objectMode: false}).on('error', failed).pipe(request)
    } catch (error) {
      // an address, a certificate or a header that Node cannot read
      failed(error)
    }
  })

export const createRegistryHttp = (): RegistryHttp => ({send})

/** Reads; what would change the registry is recorded, and said to have been taken. */
export const dryRegistryHttp = (real: RegistryHttp, record: (line: string) => void): RegistryHttp => ({
  async send(request) {
    if (!request.mutates) return real.send(request)
    record(`curl -X ${request.method} ${request.url}`)
    return {status: request.method === 'POST' ? 202 : 201, headers: {location: request.url}, body: ''}
  },
})
