import {createHash} from 'node:crypto'
import {createReadStream} from 'node:fs'
import {open, rm} from 'node:fs/promises'
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

/** fetch() says only "fetch failed"; the reason is its cause. */
const reasonOf = (error: unknown): string => {
  const cause = error instanceof Error ? error.cause : undefined
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'its host name is not known here'
  return cause instanceof Error ? cause.message || code : messageOf(error)
}

const toFile: Download['toFile'] = async (url, file, progress) => {
  const {signal, expect, stop} = watch()
  try {
    expect(answerMs, 'no answer')
    const response = await fetch(url, {signal})
    if (!response.ok || !response.body) throw new Error(`HTTP ${response.status}`)
    const total = Number(response.headers.get('content-length')) || undefined
    const hash = createHash('sha256')
    await using handle = await open(file, 'w', 0o600)
    let bytes = 0
    expect(stallMs, 'no more data')
    for await (const chunk of response.body) {
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
