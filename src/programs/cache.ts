import {randomBytes} from 'node:crypto'
import {chmod, open, readdir, readFile, rename, rm, stat} from 'node:fs/promises'
import {homedir} from 'node:os'
import path from 'node:path'
import {LkeobsError, messageOf} from '../errors.ts'
import {sha256Of} from '../tools/download.ts'
import type {Files} from '../tools/files.ts'
import type {Program} from './catalogue.ts'

export type Source = 'path' | 'release' | 'registry'

/** What stands in source.json, beside the program. */
type Note = {
  readonly source: Source
  /** The path, address or package it came from. */
  readonly from: string
  readonly sha256: string
  readonly bytes: number
  readonly installedAt: string
  /** What it was seen to contain: a build of the same version may lack what a later catalogue asks for. */
  readonly contains?: string | undefined
}

export type Installed = {readonly source: Source; readonly file: string; readonly bytes: number}
/** A program one of the ways has made; on PATH it stays where it is. */
export type Taken = {readonly source: Source; readonly from: string; readonly file: string}

/** Where programs are kept, for all fleets of this user. */
export const cacheFolder = (): string => path.join(process.env['XDG_CACHE_HOME'] || path.join(homedir(), '.cache'), 'lkeobs', 'programs')
export const folderOf = (program: Program): string => path.join(cacheFolder(), program.name)
/** A build of our own sources has a folder of its own: a process that runs another build is started anew. */
const versionFolder = (program: Program): string =>
  path.join(folderOf(program), program.build === undefined ? program.version : `${program.version}+${program.build}`)

const marker = '.making-'

/** The program as an earlier run left it, unless it was removed or cut short since. Reads no more than a few bytes. */
export const installed = async (program: Program): Promise<Installed | undefined> => {
  try {
    const folder = versionFolder(program)
    const {source, from, bytes, contains} = JSON.parse(await readFile(path.join(folder, 'source.json'), 'utf8')) as Note
    const file = source === 'path' ? from : path.join(folder, program.binary)
    const found = await stat(file)
    return contains === program.asks.contains && found.size === bytes && (found.mode & 0o111) !== 0 ? {source, file, bytes} : undefined
  } catch {
    return undefined
  }
}

/** A folder to make the program in. Those of runs that died are removed: the caller holds the program's lock. */
export const freshWorkspace = async (program: Program, files: Files): Promise<string> => {
  const stale = (await files.list(folderOf(program))).filter((name) => name.startsWith(marker))
  for (const name of stale) await files.remove(path.join(folderOf(program), name))
  const workspace = path.join(folderOf(program), `${marker}${randomBytes(4).toString('hex')}`)
  await files.makeFolder(workspace)
  return workspace
}

/** Puts the program in its place in one move, with the note of where it came from. */
export const adopt = async (program: Program, taken: Taken, workspace: string, files: Files): Promise<void> => {
  const {source, from, file} = taken
  const ready = path.join(workspace, 'ready')
  const note: Note = {
    source,
    from,
    sha256: await sha256Of(file),
    bytes: (await stat(file)).size,
    installedAt: new Date().toISOString(),
    contains: program.asks.contains,
  }
  await files.write(path.join(ready, 'source.json'), `${JSON.stringify(note, undefined, 2)}\n`)
  try {
    if (source !== 'path') await settle(file, path.join(ready, program.binary))
    // a damaged one may stand there; nothing else writes here while the lock is held
    await rm(versionFolder(program), {recursive: true, force: true})
    await rename(ready, versionFolder(program))
  } catch (error) {
    throw new LkeobsError('LKO-3004', `${versionFolder(program)} cannot be written: ${messageOf(error)}`, {
      next: [`df -h ${cacheFolder()}`],
      cause: error,
    })
  }
}

/** Moves the file, executable and safely on the disk. */
const settle = async (file: string, target: string): Promise<void> => {
  await chmod(file, 0o755)
  await using handle = await open(file)
  await handle.sync()
  await rename(file, target)
}

/** The file below the folder whose path ends with the given one, at the start of a name. */
export const findBelow = async (folder: string, ending: string): Promise<string> => {
  const all = await readdir(folder, {recursive: true})
  const found = all.find((file) => file === ending || file.endsWith(`/${ending}`))
  if (found === undefined) throw new Error(`there is no ${ending} in the archive`)
  return path.join(folder, found)
}
