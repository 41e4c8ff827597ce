import {createHash} from 'node:crypto'
import {gzipSync} from 'node:zlib'
import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {expect, onTestFinished, test} from 'vitest'
import {foundSnapshot} from '../../src/plans/vault-restore.ts'
import {createFiles} from '../../src/tools/files.ts'

const entry = (name: string, content: string): Buffer => {
  const block = Buffer.alloc(512)
  block.write(name, 0)
  block.write(content.length.toString(8).padStart(11, '0'), 124)
  const body = Buffer.alloc(Math.ceil(content.length / 512) * 512)
  body.write(content)
  return Buffer.concat([block, body])
}
const sum = (of: string | Uint8Array) => createHash('sha256').update(of).digest('hex')
const meta = '{"Index":1,"Term":1,"Size":5}'
const snapshot = gzipSync(
  Buffer.concat([
    entry('meta.json', meta),
    entry('state.bin', 'state'),
    entry('SHA256SUMS', `${sum(meta)}  meta.json\n${sum('state')}  state.bin\n`),
    entry('SHA256SUMS.sealed', 'sealed'),
    Buffer.alloc(1024),
  ]),
)
const note = {fleet: 'acme', cluster: 'hub', id: 'marker', sha256: sum(snapshot)}

const found = async (beside?: object | string) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'lkeobs-snapshot-'))
  onTestFinished(() => rm(folder, {recursive: true}))
  const file = path.join(folder, 'hub.snap')
  await writeFile(file, snapshot)
  if (beside !== undefined) await writeFile(`${file}.json`, typeof beside === 'string' ? beside : JSON.stringify(beside))
  return foundSnapshot(file, 'acme', 'hub', {files: createFiles()})
}

test('a snapshot with its note, and one whose note was lost', async () => {
  expect(await found(note)).toMatchObject({note: {id: 'marker'}, meta: {index: 1}})
  expect((await found()).note).toBeUndefined()
})

test.each([
  ['of another cluster', {...note, cluster: 'edge-1'}, 'LKO-5203', /is of edge-1 of the fleet acme, not of hub/],
  ['of another fleet', {...note, fleet: 'other'}, 'LKO-5203', /of the fleet other/],
  ['about another file', {...note, sha256: 'another'}, 'LKO-5201', /names another sum/],
  ['no note', 'not JSON', 'LKO-5201', /names another sum/],
])('a note that is %s ends the restore before anything is started', async (_what, beside, code, message) => {
  await expect(found(beside)).rejects.toMatchObject({code, message: expect.stringMatching(message) as unknown})
})

test('a file that is not there', async () => {
  const missing = foundSnapshot('/nowhere/hub.snap', 'acme', 'hub', {files: createFiles()})
  await expect(missing).rejects.toMatchObject({code: 'LKO-5201', message: '/nowhere/hub.snap does not exist.'})
})
