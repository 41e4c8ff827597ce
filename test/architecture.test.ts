import {execFile} from 'node:child_process'
import {cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {promisify} from 'node:util'
import {expect, onTestFinished, test} from 'vitest'
import {homes} from '../oxlint.config.ts'

const root = path.resolve(import.meta.dirname, '..')

/** The messages oxlint has for a tree of these files, under our configuration: `file: message`. */
const lint = async (files: Readonly<Record<string, string>>): Promise<readonly string[]> => {
  const tree = mkdtempSync(path.join(tmpdir(), 'lkeobs-lint-'))
  onTestFinished(() => rmSync(tree, {recursive: true}))
  symlinkSync(path.join(root, 'node_modules'), path.join(tree, 'node_modules'))
  cpSync(path.join(root, 'oxlint.config.ts'), path.join(tree, 'oxlint.config.ts'))
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(tree, file)), {recursive: true})
    writeFileSync(path.join(tree, file), content)
  }
  const oxlint = path.join(root, 'node_modules/oxlint/bin/oxlint')
  const {stdout} = await promisify(execFile)(process.execPath, [oxlint, '--format', 'json', 'src', 'test'], {cwd: tree}).catch(
    (error: {stdout: string}) => error,
  )
  const {diagnostics} = JSON.parse(stdout) as {diagnostics: readonly {filename: string; message: string; help?: string; code: string}[]}
  return diagnostics
    .filter(({code}) => /no-restricted/.test(code))
    .map(({filename, message, help}) => `${filename}: ${message} ${help ?? ''}`)
}

const importing = (name: string) => `import * as it from '${name}'\nexport default it\n`
const fileAt = (place: string) => place.replace('**', 'some.ts')

test('an outside package imported away from its home is an error, at home it is not', async () => {
  const packages = Object.entries(homes)
  const away = packages.map(([name], index) => [`src/verify/away-${index}.ts`, importing(name)])
  const home = packages.flatMap(([name, places]) => places.map((place) => [fileAt(place), name] as const))
  const homeFiles = Object.groupBy(home, ([file]) => file)
  const found = await lint({
    ...Object.fromEntries(away),
    ...Object.fromEntries(
      Object.entries(homeFiles).map(([file, names]) => [file, (names ?? []).map(([, name]) => `export * from '${name}'`).join('\n')]),
    ),
    'test/empty.ts': 'export {}\n',
  })
  expect(new Set(found.map((line) => line.split(':')[0]))).toEqual(new Set(away.map(([file]) => file)))
})

test('a home opens its file to its own package alone', async () => {
  const found = await lint({
    'src/tools/shell.ts': importing('listr2'),
    'src/fleet/load.ts': importing('execa'),
    'test/empty.ts': 'export {}\n',
  })
  expect(found).toHaveLength(2)
})

test.for([
  ['src/tools/shell.ts', '../steps/run.ts'],
  ['src/tools/http.ts', '../plans/lab-up.ts'],
  ['src/tools/http.ts', '../components/loki.ts'],
  ['src/steps/process.ts', '../plans/lab-up.ts'],
  ['src/steps/run.ts', '../commands/status.ts'],
  ['src/plans/lab-up.ts', '../commands/lab/up.ts'],
  ['src/verify/canary.ts', '../commands/verify.ts'],
] as const)('%s may not import %s', async ([file, above]) => {
  const found = await lint({[file]: importing(above), 'test/empty.ts': 'export {}\n'})
  expect(found).toEqual([expect.stringContaining('arrows never turn back')])
})

test('arrows that skip a layer are fine', async () => {
  const found = await lint({
    'src/commands/status.ts': importing('../tools/http.ts'),
    'src/plans/lab-up.ts': importing('../steps/step.ts'),
    'src/steps/process.ts': importing('../tools/shell.ts'),
    'test/empty.ts': 'export {}\n',
  })
  expect(found).toEqual([])
})

test('modules are not replaced in tests', async () => {
  const found = await lint({'src/empty.ts': 'export {}\n', 'test/it.test.ts': `import {vi} from 'vitest'\nvi.mock('node:fs')\n`})
  expect(found).toEqual([expect.stringContaining('modules are not replaced')])
})

// no-restricted-imports does not look at import()
const packageOf = (name: string): string =>
  name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/')

test('import() of an outside package happens only in its home', () => {
  const strays = globSync('src/**/*.ts', {cwd: root}).flatMap((file) => {
    const names = [...readFileSync(path.join(root, file), 'utf8').matchAll(/\bimport\('([^']+)'\)/g)].map(([, name]) => name ?? '')
    const outside = names.filter((name) => !/^(node:|\.)/.test(name))
    return outside
      .filter((name) => !homes[packageOf(name)]?.some((place) => path.matchesGlob(file, place)))
      .map((name) => `${file}: ${name}`)
  })
  expect(strays).toEqual([])
})

test('every runtime dependency has a home', () => {
  const {dependencies} = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {dependencies: object}
  expect(new Set(Object.keys(dependencies))).toEqual(new Set(Object.keys(homes)))
})
