import {createHash} from 'node:crypto'
import {createReadStream} from 'node:fs'
import {open, rm} from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import {messageOf} from '../errors.ts'

const answerMs = 5000
const stallMs = 30_000

/** Bytes so far, and of how many where the server says so. */
export type Progress = (bytes: number, total: number | undefined) => void

export type Download = {
  /** It only notes what it would fetch. */
  readonly dry: boolean
  /** Writes what the address answers to the file and returns its SHA-256 (undefined on a dry run). Throws a plain Error with the reason. */
  toFile(url: string, file: string, progress?: Progress): Promise<string | undefined>
}

/** An abort signal that fires when nothing has happened for a while. */
const watch = () => {
  const controller = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const expect = (ms: number, what: string) => {
    clearTimeout(timer)
    timer = setTimeout(() => controller.abort(new Error(`${what} within ${ms / 1000} s`)), ms)
  }
  return {signal: controller.signal, expect, stop: () => clearTimeout(timer)}
}

const reasonOf = (error: unknown): string => {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'its host name is not known here'
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error ? cause.message : messageOf(error) || code
}

/**
 * The answer to a GET, redirects followed, but never from TLS to none. Not fetch(): in Node 24 a server that ends a
 * connection while the reader is behind stops the whole process (an assertion in its HTTP parser).
 */
const answerOf = (url: string, signal: AbortSignal, redirects = 5): Promise<http.IncomingMessage> =>
  new Promise((resolve, reject) => {
    const {protocol} = new URL(url)
    const request = (protocol === 'https:' ? https : http).get(url, {signal}, (response) => {
      const {statusCode = 0, headers} = response
      if (statusCode === 200) return resolve(response)
      response.resume()
      const next = statusCode >= 300 && statusCode < 400 && headers.location ? new URL(headers.location, url) : undefined
      if (next === undefined || redirects === 0) return reject(new Error(`HTTP ${statusCode}`))
      if (protocol === 'https:' && next.protocol !== 'https:') return reject(new Error(`it leads to ${next.origin}, which is not TLS`))
      resolve(answerOf(next.href, signal, redirects - 1))
    })
    request.on('error', reject)
  })

const toFile: Download['toFile'] = async (url, file, progress) => {
  const {signal, expect, stop} = watch()
  try {
    expect(answerMs, 'no answer')
    const response = await answerOf(url, signal)
    const total = Number(response.headers['content-length']) || undefined
    const hash = createHash('sha256')
    await using handle = await open(file, 'w', 0o600)
    let bytes = 0
    expect(stallMs, 'no more data')
    for await (const chunk of response as AsyncIterable<Buffer>) {
      expect(stallMs, 'no more data')
      hash.update(chunk)
      await handle.writeFile(chunk)
      bytes += chunk.length
      progress?.(bytes, total)
    }
    return hash.digest('hex')
  } catch (error) {
    await rm(file, {force: true})
    throw new Error(`${url}: ${reasonOf(error)}`, {cause: error})
  } finally {
    stop()
  }
}

export const createDownload = (): Download => ({dry: false, toFile})

export const dryDownload = (record: (line: string) => void): Download => ({
  dry: true,
  async toFile(url, file) {
    record(`curl -fL -o ${file} ${url}`)
    return undefined
  },
})

export const sha256Of = async (file: string): Promise<string> => {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file, {highWaterMark: 1 << 20})) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
