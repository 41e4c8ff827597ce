import {copyFile, readdir, readFile, rename, rm, stat, truncate} from 'node:fs/promises'
import path from 'node:path'

/** A log file may grow to this, in bytes, before it is set aside; so many older ones are kept beside it. */
const limit = 20e6
const olderOnes = 3

const sizeOf = async (log: string): Promise<number> => (await stat(log).catch(() => undefined))?.size ?? 0

const makeRoom = async (log: string): Promise<void> => {
  for (let age = olderOnes; age > 1; age--) await rename(`${log}.${age - 1}`, `${log}.${age}`).catch(() => undefined)
}

/** Moves a log that nobody writes any more to `.1`, and the older ones on. */
export const setAside = async (log: string): Promise<void> => {
  if ((await sizeOf(log)) === 0) return
  await makeRoom(log)
  await rename(log, `${log}.1`)
}

/** The same for a log that a program has open: it appends, so its file may be copied and cut short under it. */
export const cutShort = async (log: string): Promise<void> => {
  await makeRoom(log)
  // on a full disk there is no room for a copy, and room is what is wanted
  await copyFile(log, `${log}.1`).catch(() => rm(`${log}.1`, {force: true}))
  await truncate(log)
}

/** The log files of a folder that have grown beyond the limit. */
export const overgrown = async (folder: string): Promise<readonly string[]> => {
  const names = await readdir(folder).catch((): string[] => [])
  const logs = names.filter((name) => name.endsWith('.log')).map((name) => path.join(folder, name))
  const sizes = await Promise.all(logs.map(sizeOf))
  return logs.filter((_, index) => (sizes[index] ?? 0) > limit)
}

export const tail = async (log: string, lines: number): Promise<readonly string[]> => {
  const text = await readFile(log, 'utf8').catch(() => '')
  return text.trimEnd().split('\n').slice(-lines)
}
