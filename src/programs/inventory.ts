import {bytes, dim, mark, nextCommands, table} from '../output.ts'
import type {Shell} from '../tools/shell.ts'
import {programs} from './catalogue.ts'
import {locate} from './locate.ts'

export type Tool = {
  readonly name: string
  readonly version: string
  readonly for: string
  readonly about: string
  readonly source: 'path' | 'release' | 'registry' | 'missing'
  readonly path: string | null
  readonly bytes: number | null
}

/** Every pinned program and where it is. */
export const inventory = (shell: Shell): Promise<readonly Tool[]> =>
  Promise.all(
    programs().map(async (program) => {
      const place = await locate(program, shell)
      const {name, version, for: purpose, about} = program
      const where =
        'file' in place
          ? {source: place.source, path: place.file, bytes: place.bytes}
          : ({source: 'missing', path: null, bytes: null} as const)
      return {name, version, for: purpose, about, ...where}
    }),
  )

export const inventoryText = (tools: readonly Tool[]): string => {
  const rows = tools.map((tool) => [
    tool.source === 'missing' ? mark.not : mark.so,
    tool.name,
    tool.version,
    tool.source,
    tool.bytes === null ? dim('–') : bytes(tool.bytes),
    tool.path ?? dim('–'),
    `${tool.for}: ${tool.about}`,
  ])
  const missing = tools.some(({source}) => source === 'missing')
  return [
    table(['', 'program', 'version', 'source', 'size', 'path', 'for'], rows),
    ...(missing ? [nextCommands(['lkeobs tools install'])] : []),
  ].join('\n')
}
