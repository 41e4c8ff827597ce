import type https from 'node:https'
import {PassThrough} from 'node:stream'
import {LkeobsError} from '../../errors.ts'
import {answerMs, noAnswerWithin} from './connection.ts'

/** The part of a WebSocket (package ws) that is used here. */
export type Socket = {
  send(data: Buffer, sent: () => void): void
  pause(): void
  resume(): void
  terminate(): void
  addEventListener(event: 'close', told: () => void): void
}

/** Opens a WebSocket of the API server; `told` gets each message with its channel. */
export const openSocket = async (
  server: string,
  options: https.RequestOptions,
  at: string,
  told: (channel: number, data: Buffer) => void,
): Promise<Socket> => {
  const {WebSocketHandler} = await import('@kubernetes/client-node/dist/web-socket-handler.js')
  const control = new AbortController()
  const all = {...options, signal: control.signal, perMessageDeflate: false}
  type Handler = ConstructorParameters<typeof WebSocketHandler>
  // of a KubeConfig, whose module takes half a second to load, it only asks this
  const config = {
    getCurrentCluster: () => ({server}),
    applyToHTTPSOptions: async (given: object) => void Object.assign(given, all),
  } as unknown as Handler[0]
  // it would close those of this process
  const streams = {stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough()}
  const timer = setTimeout(() => control.abort(), answerMs)
  try {
    const socket: unknown = await new WebSocketHandler(config, undefined, streams).connect(at, null, (channel, data) => {
      told(channel, data)
      return true
    })
    return socket as Socket
  } catch (error) {
    if (error instanceof LkeobsError) throw error
    // it rejects with the event, not the error
    const {message} = error as {readonly message: string}
    throw new Error(control.signal.aborted ? noAnswerWithin : message.replace('Unexpected server response: ', 'HTTP '), {cause: error})
  } finally {
    clearTimeout(timer)
  }
}
