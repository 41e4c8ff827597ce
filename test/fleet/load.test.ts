import {mkdir, mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {expect, onTestFinished, test} from 'vitest'
import {LkeobsError} from '../../src/errors.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {loadFleet, parseFleet} from '../../src/fleet/load.ts'
import {createFiles, type Files} from '../../src/tools/files.ts'

const good = newLabFleet({edges: 2})

const folder = async (): Promise<string> => {
  const made = await mkdtemp(path.join(tmpdir(), 'lkeobs-fleet-'))
  onTestFinished(() => rm(made, {recursive: true}))
  return made
}

test('loading says where the file lies', async () => {
  const made = await folder()
  const file = path.join(made, 'lkeobs.yaml')
  await writeFile(file, good)
  const loaded = await loadFleet(file, createFiles())
  expect(loaded).toEqual({fleet: parseFleet(good, file), file, folder: made, text: good})
  expect((await loadFleet(path.relative('', file), createFiles())).file).toBe(file)
})

const failure = async (file: string, files: Files = createFiles()) => {
  const error: unknown = await loadFleet(file, files).catch((thrown: unknown) => thrown)
  if (!(error instanceof LkeobsError)) throw new Error('no LkeobsError')
  return {code: error.code, message: error.message, exit: error.oclif.exit, next: error.next[0]}
}

test('there is no file', async () => {
  expect(await failure('no/such/lkeobs.yaml')).toEqual({
    code: 'LKO-1001',
    message: 'There is no no/such/lkeobs.yaml.',
    exit: 3,
    next: 'lkeobs lab up',
  })
})

test('a folder is not a fleet file', async () => {
  const made = path.join(await folder(), 'lkeobs.yaml')
  await mkdir(made)
  const {code, message, exit} = await failure(made)
  expect({code, exit}).toEqual({code: 'LKO-1002', exit: 3})
  expect(message).toBe(`${made} is a folder, not a file.`)
})

test('a file that may not be read', async () => {
  const denied = {...createFiles(), read: () => Promise.reject(new Error('EACCES: permission denied'))}
  const {code, message, exit} = await failure('lkeobs.yaml', denied)
  expect({code, exit}).toEqual({code: 'LKO-1002', exit: 3})
  expect(message).toBe('lkeobs.yaml cannot be read: EACCES: permission denied')
})

test('problems are shown at the name the file was given by', async () => {
  const file = path.join(await folder(), 'lkeobs.yaml')
  await writeFile(file, '- a')
  expect((await failure(path.relative('', file))).message).toBe(`${path.relative('', file)}:1:1 expected map, got list`)
})
