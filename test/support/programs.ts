import {mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {onTestFinished, vi} from 'vitest'
import {programs} from '../../src/programs/catalogue.ts'

/** A cache that says of every pinned program that it is installed; none of them is. Gone after the test. */
export const everyProgramInstalled = (): void => {
  const cache = mkdtempSync(path.join(tmpdir(), 'lkeobs-cache-'))
  const {size: bytes} = statSync(process.execPath)
  for (const {name, version, build, asks} of programs()) {
    const folder = path.join(cache, 'lkeobs/programs', name, build === undefined ? version : `${version}+${build}`)
    mkdirSync(folder, {recursive: true})
    writeFileSync(
      path.join(folder, 'source.json'),
      JSON.stringify({source: 'path', from: process.execPath, bytes, contains: asks.contains}),
    )
  }
  vi.stubEnv('XDG_CACHE_HOME', cache)
  onTestFinished(() => {
    vi.unstubAllEnvs()
    rmSync(cache, {recursive: true})
  })
}
