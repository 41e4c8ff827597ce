import {link, mkdir, readFile, rename, rm, writeFile} from 'node:fs/promises'
import {randomBytes} from 'node:crypto'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {LkeobsError, messageOf} from '../errors.ts'
import {isAlive, startOf} from './processes.ts'

type Options = {
  /** Given: wait for the holder, and call this while waiting. Otherwise the second run stops with LKO-3002. */
  readonly onWait?: (holder: string) => void
}

/** Runs `work` while holding the lock file. A lock whose process died is taken over. */
export const withLock = async <T>(file: string, work: () => Promise<T>, {onWait}: Options = {}): Promise<T> => {
  for (;;) {
    const holder = await take(file)
    if (holder === undefined) break
    if (!onWait) throw new LkeobsError('LKO-3002', `${holder} holds ${file}.`)
    onWait(holder)
    await sleep(250)
  }
  try {
    return await work()
  } finally {
    await rm(file, {force: true})
  }
}

/** Undefined when the lock is ours now, otherwise who holds it. */
const take = async (file: string): Promise<string | undefined> => {
  const own = `${file}.${randomBytes(4).toString('hex')}`
  try {
    await mkdir(path.dirname(file), {recursive: true, mode: 0o700})
    await writeFile(own, `${process.pid} ${startOf(process.pid) ?? ''}\n`, {mode: 0o600})
  } catch (error) {
    await rm(own, {force: true}).catch(() => undefined)
    throw new LkeobsError('LKO-3004', `${file} cannot be written: ${messageOf(error)}`, {next: [`df -h ${path.dirname(file)}`]})
  }
  try {
    // link() is the atomic "make it unless it is there", with its content already in it
    await link(own, file)
    return undefined
  } catch {
    const [pid, ...started] = (await readFile(file, 'utf8').catch(() => '')).trim().split(' ')
    if (pid && isAlive({pid: Number(pid), started: started.join(' ')})) return `process ${pid}`
    // the holder is gone: move its lock aside, and look again
    await rename(file, `${own}.stale`).catch(() => undefined)
    await rm(`${own}.stale`, {force: true})
    return take(file)
  } finally {
    await rm(own, {force: true})
  }
}
