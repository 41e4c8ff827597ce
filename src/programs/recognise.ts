import {constants, createReadStream} from 'node:fs'
import {access} from 'node:fs/promises'
import path from 'node:path'
import {messageOf} from '../errors.ts'
import type {Shell} from '../tools/shell.ts'
import type {Program} from './catalogue.ts'

const versionTimeoutMs = 5000

/** `true` when the file is this program at the pinned version, otherwise what it says of itself. */
export const recognise = async (program: Program, file: string, shell: Shell): Promise<true | string> => {
  const {args, prints, contains} = program.asks
  let printed: string
  try {
    printed = await shell.run({file, args, timeoutMs: versionTimeoutMs})
  } catch (error) {
    return `does not run: ${messageOf(error).split('\n').slice(1, 4).join(' ')}`
  }
  // 3.7.8 is not 3.7.80
  if (!printed.includes(prints) || /^\d/.test(printed.split(prints)[1] ?? '')) return `says ${JSON.stringify(printed.split('\n')[0])}`
  return contains === undefined || (await includes(file, contains)) ? true : 'is another build or version'
}

/** Whether the text stands anywhere in the file; read in pieces, since these files are large. */
const includes = async (file: string, text: string): Promise<boolean> => {
  let tail = Buffer.alloc(0)
  for await (const chunk of createReadStream(file, {highWaterMark: 1 << 20})) {
    const piece = Buffer.concat([tail, chunk as Buffer])
    if (piece.includes(text)) return true
    tail = piece.subarray(-text.length)
  }
  return false
}

const isExecutable = (file: string): Promise<boolean> =>
  access(file, constants.X_OK).then(
    () => true,
    () => false,
  )

/** The executables on PATH under one of the program's names, in the order of PATH. */
const candidates = async (program: Program): Promise<readonly string[]> => {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter((folder) => path.isAbsolute(folder))
  const files = folders.flatMap((folder) => (program.onPath ?? [program.binary]).map((name) => path.join(folder, name)))
  const there = await Promise.all(files.map(isExecutable))
  return [...new Set(files.filter((_, index) => there[index]))]
}

/** The first on PATH that is the right version, or why none is. */
export const findOnPath = async (program: Program, shell: Shell): Promise<{readonly file: string} | {readonly why: string}> => {
  const files = await candidates(program)
  const verdicts = await Promise.all(files.map((file) => recognise(program, file, shell)))
  const right = files[verdicts.indexOf(true)]
  if (right !== undefined) return {file: right}
  return {why: files.length === 0 ? 'not there' : files.map((file, index) => `${file} ${verdicts[index]}`).join('; ')}
}
