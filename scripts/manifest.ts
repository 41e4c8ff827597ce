import {existsSync, globSync, renameSync, rmSync, writeFileSync} from 'node:fs'
import path from 'node:path'
import {Plugin} from '@oclif/core'
import {root} from './sources.ts'

// what was compiled from a source that is gone would still be found as a command
for (const file of globSync('dist/**/*.js', {cwd: root}))
  if (!existsSync(path.join(root, file.replace(/^dist/, 'src').replace(/\.js$/, '.ts')))) rmSync(path.join(root, file))

const plugin = new Plugin({root, type: 'core', ignoreManifest: true, errorOnManifestCreate: true, respectNoCacheDefault: true})
await plugin.load()
const manifest = path.join(root, 'oclif.manifest.json')
writeFileSync(`${manifest}.new`, `${JSON.stringify(plugin.manifest, undefined, 2)}\n`)
renameSync(`${manifest}.new`, manifest)
