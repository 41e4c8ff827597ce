import {existsSync, readFileSync} from 'node:fs'
import path from 'node:path'
import {describe, expect, test} from 'vitest'
import {programs, programsFolder, programsNamed} from '../../src/programs/catalogue.ts'
import {checksumOf} from '../../src/programs/release.ts'

const wrappers = programs().flatMap(({name, registry}) => ('go' in registry && registry.go.wrapper ? [[name, registry.go] as const] : []))

test('there are programs to build through a wrapper module', () => {
  expect(wrappers.map(([name]) => name)).toEqual(['loki', 'tempo', 'otelcol', 'prometheus'])
})

test.for(wrappers)('the wrapper module of %s is here, with its checksums, and needs the Go the catalogue names', ([, {wrapper, needs}]) => {
  const folder = path.join(programsFolder, wrapper ?? '')
  expect(existsSync(path.join(folder, 'go.sum'))).toBe(true)
  expect(/^go (.+)$/m.exec(readFileSync(path.join(folder, 'go.mod'), 'utf8'))?.[1]).toBe(needs)
})

describe.for(programs().map((program) => [program.name, program] as const))('%s', ([, {asks, release, registry, version}]) => {
  test('has every placeholder filled in', () => {
    expect(JSON.stringify({asks, release, registry})).not.toMatch(/[{](version|build|sources|os|arch)[}]/)
  })

  test('is recognised by its version, and has it in what is fetched or built', () => {
    const built = 'go' in registry ? registry.go.package + registry.go.ldflags : version
    for (const text of [`${asks.prints}${asks.contains}`, release ? release.folder + release.file : version, built])
      expect(text).toContain(version)
  })

  test('can be had in a second way besides PATH that fixes the version', () => {
    const pinned = 'wheel' in registry || registry.go.wrapper !== undefined || /@v\d/.test(registry.go.package)
    expect(pinned).toBe(true)
  })
})

test('all but those that have none, and the one of our own, have a release', () => {
  expect(
    programs()
      .filter(({release}) => !release)
      .map(({name}) => name),
  ).toEqual(['otelcol', 'telemetrygen'])
})

test('a person names programs, or what they are for, or nothing for all', () => {
  expect(programsNamed(['kubectl', 'loadtest']).map(({name}) => name)).toEqual(['telemetrygen', 'kubectl'])
  expect(programsNamed([])).toHaveLength(programs().length)
  expect(() => programsNamed(['kubectl', 'vim'])).toThrow(
    expect.objectContaining({code: 'LKO-4004', message: expect.stringMatching(/^vim: expected loki,/)}),
  )
})

test.for([
  ['a list', `${'a'.repeat(64)}  other.zip\n${'B'.repeat(64)}  it.zip\n`, 'b'.repeat(64)],
  ['a list of binary files in the same folder', `${'b'.repeat(64)} *./it.zip\n`, 'b'.repeat(64)],
  ['a hash alone', `${'b'.repeat(64)}\n`, 'b'.repeat(64)],
] as const)('a checksum is read from %s', ([, list, hash]) => {
  expect(checksumOf(list, 'it.zip')).toBe(hash)
})

test.for([
  ['a longer name', `${'a'.repeat(64)}  an-it.zip\n`],
  ['two bare hashes', `${'a'.repeat(64)}\n${'b'.repeat(64)}\n`],
  ['a page of HTML', '<html>\n'],
] as const)('a checksum is not read from %s', ([, list]) => {
  expect(() => checksumOf(list, 'it.zip')).toThrow('does not list it.zip')
})
