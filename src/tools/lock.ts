import {link, mkdir, readFile, rename, rm, writeFile} from 'node:fs/promises'
import {createHash, randomBytes} from 'node:crypto'
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

/** Undefined when it went away meanwhile. */
const reading = (file: string): Promise<string | undefined> => readFile(file, 'utf8').catch(() => undefined)

/** The process that wrote it, while it lives. */
const writerOf = (content: string): string | undefined => {
  const [pid, ...started] = content.trim().split(' ')
  return pid && isAlive({pid: Number(pid), started: started.join(' ')}) ? `process ${pid}` : undefined
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
    if (await linked(own, file)) return undefined
    const seen = await reading(file)
    if (seen === undefined) return await take(file)
    return writerOf(seen) ?? (await takeOver(file, seen, own))
  } finally {
    await rm(own, {force: true})
  }
}

const linked = (own: string, file: string): Promise<boolean> =>
  link(own, file).then(
    () => true,
    () => false,
  )

/** One of those who find the same dead holder replaces its lock; the others ask again. */
const takeOver = async (file: string, seen: string, own: string): Promise<string | undefined> => {
  const turn = `${file}.${createHash('sha256').update(seen).digest('hex').slice(0, 8)}.turn`
  if (!(await linked(own, turn))) {
    const other = writerOf((await reading(turn)) ?? '')
    if (other === undefined) await rm(turn, {force: true})
    return other ?? take(file)
  }
  try {
    // whoever had the turn before may have replaced it: then it says something else now
    if ((await reading(file)) !== seen) return await take(file)
    await rename(own, file)
    return undefined
  } finally {
    await rm(turn, {force: true})
  }
}
