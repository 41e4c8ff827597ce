import {stat} from 'node:fs/promises'
import {LkeobsError} from '../errors.ts'
import {createShell, type Shell} from '../tools/shell.ts'
import {type Installed, installed} from './cache.ts'
import {type Program, type ProgramName, programOf} from './catalogue.ts'
import {findOnPath} from './recognise.ts'

/** The program at its pinned version, or why there is none. What an earlier install settled on is taken unasked, since asking starts the program. */
export const locate = async (program: Program, shell: Shell): Promise<Installed | {readonly why: string}> => {
  const kept = await installed(program)
  if (kept) return kept
  const found = await findOnPath(program, shell)
  return 'why' in found ? found : {source: 'path', file: found.file, bytes: (await stat(found.file)).size}
}

/** The path of the program at its pinned version. */
export const programPath = async (name: ProgramName): Promise<string> => {
  const program = programOf(name)
  const place = await locate(program, createShell())
  if ('file' in place) return place.file
  throw new LkeobsError('LKO-4001', `${name} ${program.version} is not installed. On PATH: ${place.why}.`, {
    next: [`lkeobs tools install ${name}`],
  })
}
