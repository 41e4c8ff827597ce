import {readFileSync} from 'node:fs'
import path from 'node:path'

export const root = path.resolve(import.meta.dirname, '..')

const pjson = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
pjson.oclif.commands = './src/commands'
pjson.oclif.hooks = {command_not_found: './src/hooks/command-not-found.ts'}

/** Where oclif finds the commands before they are built. */
export const sources = {root, pjson, ignoreManifest: true}
