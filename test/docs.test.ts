import {readFileSync} from 'node:fs'
import path from 'node:path'
import {expect, test} from 'vitest'
import {pages} from '../scripts/docs.ts'
import {root} from '../scripts/sources.ts'

test('the derived pages are up to date (npm run docs)', async () => {
  for (const [file, text] of Object.entries(await pages())) expect(readFileSync(path.join(root, file), 'utf8'), file).toBe(text)
})
