#!/usr/bin/env node
import {spawn} from 'node:child_process'
import {existsSync, realpathSync} from 'node:fs'
import module from 'node:module'
import {fileURLToPath} from 'node:url'

const [major, minor] = process.versions.node.split('.').map(Number)
if (major > 24 || (major === 24 && minor >= 15)) {
  // `lkeobs … | head`: whoever reads has seen enough
  process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1))
  process.once('SIGINT', () => {
    // the live screen hides the cursor
    if (process.stderr.isTTY) process.stderr.write('\u001B[?25h')
    process.stderr.write('\nCancelled; run the same command again: it goes on from there.\n')
    process.exit(130)
  })
  module.enableCompileCache()
  const {execute} = await import('@oclif/core/execute')
  await execute({dir: import.meta.url})
} else onNewerNode()

/** The npm package `node` brings a Node of its own; without one, says what is missing. Plain enough for Node 16 to parse. */
function onNewerNode() {
  const here = realpathSync(process.execPath)
  const newer = ['../node_modules/node/bin/node', '../../node/bin/node']
    .map((place) => fileURLToPath(new URL(place, import.meta.url)))
    .find((file) => existsSync(file) && realpathSync(file) !== here)
  if (newer === undefined) {
    console.error(`lkeobs needs Node 24.15 or newer; this is ${process.version}.`)
    console.error(
      'Get it from https://nodejs.org, with a version manager (nvm install 24, fnm install 24), or beside lkeobs with npm install node@24.',
    )
    process.exit(4)
  }
  const child = spawn(newer, process.argv.slice(1), {stdio: 'inherit'})
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    for (const each of signals) process.removeAllListeners(each)
    process.kill(process.pid, signal)
  })
}
