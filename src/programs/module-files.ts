import {createHash} from 'node:crypto'
import {readdirSync, readFileSync} from 'node:fs'
import path from 'node:path'

/** The files of a Go module that a build reads, from its folder, sorted: no tests. */
export const moduleFiles = (folder: string): readonly string[] =>
  readdirSync(folder, {recursive: true, withFileTypes: true})
    .filter((entry) => entry.isFile() && /(^go\.(mod|sum)|\.go)$/.test(entry.name) && !entry.name.endsWith('_test.go'))
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .toSorted()

/** 12 hex digits that change with what a build of the module reads. */
export const sourcesDigest = (folder: string): string => {
  const hash = createHash('sha256')
  for (const file of moduleFiles(folder))
    hash
      .update(`${file}\0`)
      .update(readFileSync(path.join(folder, file)))
      .update('\0')
  return hash.digest('hex').slice(0, 12)
}
