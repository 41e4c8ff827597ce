import {randomBytes} from 'node:crypto'
import {chmod, type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat, statfs} from 'node:fs/promises'
import path from 'node:path'
import {LkeobsError, messageOf} from '../errors.ts'
import {bytes} from '../output.ts'
import {plain, Secret} from '../secret.ts'
import {withLock} from './lock.ts'

/** Files and folders. Every write replaces the file whole; nothing is ever half-written. */
export type Files = {
  /** The content, or undefined when there is no such file. */
  read(file: string): Promise<string | undefined>
  /** The same as it is, for what is no text. */
  readBytes(file: string): Promise<Uint8Array | undefined>
  exists(file: string): Promise<boolean>
  /** Names in a folder; empty when there is none. */
  list(folder: string): Promise<readonly string[]>
  /** Makes missing folders (0700). Default mode 0600. Throws LKO-3004 where the system refuses. */
  write(file: string, content: string | Uint8Array | Secret, mode?: number): Promise<void>
  /** The same for what is too large to be held in memory. */
  stream(file: string, chunks: AsyncIterable<Uint8Array>, mode?: number): Promise<void>
  /** Replaces the file by what is made of it, one process after another. */
  update(file: string, change: (content: string | undefined) => string): Promise<void>
  makeFolder(folder: string): Promise<void>
  /** How many bytes can still be written where this folder is, or would be. */
  free(folder: string): Promise<number>
  /** Removes a file or a whole folder; missing is fine. */
  remove(target: string): Promise<void>
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '')

const refused = (verb: string, target: string, error: unknown): LkeobsError =>
  new LkeobsError('LKO-3004', `${target} cannot be ${verb}: ${messageOf(error)}`, {
    next: [`df -h ${path.dirname(target)}`, `ls -ld ${path.dirname(target)}`],
    cause: error,
  })

/** Undefined where there is no such file; any other refusal is an error. */
const orMissing = async <T>(file: string, work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return undefined
    throw refused('read', file, error)
  }
}

const free = async (folder: string): Promise<number> => {
  const seen = await orMissing(folder, statfs(folder))
  if (seen) return seen.bavail * seen.bsize
  const above = path.dirname(folder)
  return above === folder ? 0 : free(above)
}

/** Writes beside the file, and puts it in its place when all of it is safely on the disk. */
const replaceFile = async (file: string, write: (handle: FileHandle) => Promise<void>, mode: number): Promise<void> => {
  const temporary = `${file}.${randomBytes(4).toString('hex')}.tmp`
  try {
    await mkdir(path.dirname(file), {recursive: true, mode: 0o700})
    const handle = await open(temporary, 'w', mode)
    try {
      await write(handle)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await chmod(temporary, mode)
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, {force: true}).catch(() => undefined)
    throw error instanceof LkeobsError ? error : refused('written', file, error)
  }
}

export const createFiles = (): Files => {
  const files: Files = {
    read: (file) => orMissing(file, readFile(file, 'utf8')),
    readBytes: (file) => orMissing(file, readFile(file)),
    exists: async (file) => (await orMissing(file, stat(file))) !== undefined,
    list: async (folder) => (await orMissing(folder, readdir(folder))) ?? [],
    write: (file, content, mode = 0o600) => replaceFile(file, (handle) => handle.writeFile(plain(content)), mode),
    stream: (file, chunks, mode = 0o600) => replaceFile(file, (handle) => handle.writeFile(chunks), mode),
    update: (file, change) =>
      withLock(`${file}.lock`, async () => files.write(file, change(await files.read(file))), {onWait: () => undefined}),
    async makeFolder(folder) {
      try {
        await mkdir(folder, {recursive: true, mode: 0o700})
      } catch (error) {
        throw refused('made', folder, error)
      }
    },
    free,
    async remove(target) {
      try {
        await rm(target, {recursive: true, force: true, maxRetries: 3})
      } catch (error) {
        throw refused('removed', target, error)
      }
    },
  }
  return files
}

/** Reads what is there and what this dry run would have written; writes nothing. */
export const dryFiles = (files: Files, record: (line: string) => void): Files => {
  const written = new Map<string, string | undefined>()
  const shown = (target: string) => path.relative(process.cwd(), target) || target
  return {
    read: async (file) => (written.has(file) ? written.get(file) : files.read(file)),
    readBytes: async (file) => {
      const text = written.get(file)
      if (!written.has(file)) return files.readBytes(file)
      return text === undefined ? undefined : Buffer.from(text)
    },
    exists: async (file) => (written.has(file) ? written.get(file) !== undefined : files.exists(file)),
    list: (folder) => files.list(folder),
    free: (folder) => files.free(folder),
    async write(file, content) {
      const text = Buffer.from(plain(content)).toString()
      written.set(file, text)
      record(`write ${shown(file)}   (${content instanceof Secret ? 'secret' : bytes(Buffer.byteLength(content))})`)
    },
    async stream(file) {
      record(`write ${shown(file)}`)
    },
    async update(file) {
      record(`add to ${shown(file)}`)
    },
    async makeFolder(folder) {
      record(`mkdir -p ${shown(folder)}`)
    },
    async remove(target) {
      written.set(target, undefined)
      record(`rm -rf ${shown(target)}`)
    },
  }
}
