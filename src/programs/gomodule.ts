import path from 'node:path'
import {type GoModule, programsFolder} from './catalogue.ts'
import {goFor} from './gotoolchain.ts'
import {moduleFiles} from './module-files.ts'
import type {Site, Way} from './way.ts'

const buildMs = 60 * 60_000

/** What the program is built for. */
export type Target = {readonly os: string; readonly architecture: string}

/** Builds the program from the Go module registry. Go's own build cache makes a second run go on where the first stopped. */
export const fromGoModule =
  (module: GoModule, target?: Target): Way =>
  async ({binary}, site) => {
    const {tools, workspace} = site
    const go = await goFor(module.needs, site)
    const file = path.join(workspace, binary)
    const flags = ['-v', ...(module.tags ? ['-tags', module.tags] : []), '-ldflags', `-s -w ${module.ldflags}`.trim()]
    if (module.wrapper === undefined) {
      await build(go, ['install', ...flags, module.package], {GOBIN: workspace, ...goTarget(target)}, site)
    } else {
      const copy = await copyOf(module.wrapper, site)
      const settings = {...goTarget(target), GOFLAGS: `${commonFlags} -mod=mod`, ...(module.sumdb && {GOSUMDB: module.sumdb})}
      await build(go, ['build', '-C', copy, ...flags, '-o', file, module.package], settings, site)
    }
    return tools.download.dry
      ? undefined
      : {source: 'registry', from: `${module.package}${module.wrapper === undefined ? '' : ` (programs/${module.wrapper}/go.mod)`}`, file}
  }

/** Of this machine unless given: an empty variable is none to Go. */
const goTarget = (target: Target | undefined) => ({GOOS: target?.os ?? '', GOARCH: target?.architecture ?? ''})

const commonFlags = '-buildvcs=false -trimpath'

/** The wrapper module, copied, since a build with -mod=mod may write its go.mod. */
const copyOf = async (wrapper: string, {tools: {files}, workspace}: Site): Promise<string> => {
  const copy = path.join(workspace, 'module')
  for (const name of moduleFiles(path.join(programsFolder, wrapper))) {
    const content = await files.read(path.join(programsFolder, wrapper, name))
    if (content !== undefined) await files.write(path.join(copy, name), content)
  }
  return copy
}

/** Runs go with settings of our own, so that every run finds the build cache of the others. */
const build = async (
  go: string,
  args: readonly string[],
  settings: Readonly<Record<string, string>>,
  {tools: {shell}, tell}: Site,
): Promise<void> => {
  let [fetched, compiled] = [0, 0]
  tell('building from Go modules')
  await shell.run({
    file: go,
    args,
    env: {CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOWORK: 'off', GOFLAGS: commonFlags, ...settings},
    timeoutMs: buildMs,
    mutates: true,
    onLine(line) {
      // with -v go names every module it fetches and every package it compiles
      if (line.startsWith('go: downloading')) tell(`building from Go modules: ${(fetched += 1)} modules fetched`)
      else if (/^[\w.~-]+(\/[\w.~-]+)*$/.test(line)) tell(`building from Go modules: ${(compiled += 1)} packages compiled`)
    },
  })
}
