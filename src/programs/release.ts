import path from 'node:path'
import {bytes} from '../output.ts'
import type {Shell} from '../tools/shell.ts'
import {findBelow} from './cache.ts'
import type {Way} from './way.ts'

/** The address itself, or the same file on the mirror: MIRROR/host/path. */
const addressOf = (url: string): string => {
  const mirror = process.env['LKEOBS_RELEASE_MIRROR']
  return mirror ? url.replace(/^https:\//, mirror.replace(/\/+$/, '')) : url
}

/** The SHA-256 of the file in a publisher's list: `HASH  NAME`, `HASH *./NAME`, or the hash alone. */
export const checksumOf = (list: string, file: string): string => {
  const lines = list
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
  const line =
    lines.find(([, name]) => name !== undefined && path.basename(name.replace(/^\*/, '')) === file) ??
    (lines.length === 1 && lines[0]?.length === 1 ? lines[0] : undefined)
  const hash = line?.[0]?.toLowerCase()
  if (hash === undefined || !/^[0-9a-f]{64}$/.test(hash)) throw new Error(`the publisher's checksum file does not list ${file}`)
  return hash
}

/** The publisher's release, verified against the publisher's checksum file. */
export const fromRelease: Way = async ({release}, {tools: {download, files, shell}, workspace, tell}) => {
  if (!release) throw new Error('its publisher offers no file for download')
  const address = addressOf(`${release.folder}/${release.file}`)
  const archive = path.join(workspace, release.file)
  const list = path.join(workspace, 'checksums')
  tell('release: asking')
  await download.toFile(addressOf(`${release.folder}/${release.checksums}`), list)
  const expected = download.dry ? undefined : checksumOf((await files.read(list)) ?? '', release.file)
  const got = await download.toFile(address, archive, (some, total) =>
    tell(`release: ${total === undefined ? bytes(some) : `${bytes(some)} of ${bytes(total)}`}`),
  )
  if (got !== expected) {
    await files.remove(archive)
    const reason = `${address}: its SHA-256 is ${got}, its publisher lists ${expected}; it was discarded`
    // whichever way comes next may work: somebody should look at this all the same
    tell(reason, 'lasting')
    throw new Error(reason)
  }
  if (release.member === undefined) return download.dry ? undefined : {source: 'release', from: address, file: archive}
  const unpacked = path.join(workspace, 'unpacked')
  await files.makeFolder(unpacked)
  tell('release: unpacking')
  await unpack(archive, unpacked, shell)
  return download.dry ? undefined : {source: 'release', from: address, file: await findBelow(unpacked, release.member)}
}

/** tar is everywhere; for a zip there is unzip, or Python. */
const unpack = async (archive: string, folder: string, shell: Shell): Promise<void> => {
  if (!archive.endsWith('.zip')) return void (await shell.run({file: 'tar', args: ['-xzf', archive, '-C', folder], mutates: true}))
  try {
    await shell.run({file: 'unzip', args: ['-q', '-o', archive, '-d', folder], mutates: true})
  } catch {
    await shell.run({file: 'python3', args: ['-m', 'zipfile', '-e', archive, folder], mutates: true})
  }
}
