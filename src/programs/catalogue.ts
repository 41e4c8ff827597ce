import {readFileSync} from 'node:fs'
import {fileURLToPath} from 'node:url'
import {parse} from 'yaml'
import {z} from 'zod'
import {LkeobsError} from '../errors.ts'
import {sourcesDigest} from './module-files.ts'

const programNames = ['loki', 'tempo', 'otelcol', 'prometheus', 'helm', 'telemetrygen', 'openbao', 'kubectl'] as const
const purposes = ['lab', 'kubernetes', 'loadtest'] as const

export type ProgramName = (typeof programNames)[number]

const text = z.string().min(1)

const Release = z.strictObject({folder: z.url({protocol: /^https$/}), file: text, checksums: text, member: text.optional()})
const GoModule = z.strictObject({
  needs: text,
  package: text,
  wrapper: text.optional(),
  tags: text.optional(),
  ldflags: text.default(''),
  sumdb: z.literal('off').optional(),
})
const Wheel = z.strictObject({name: text, member: text})

const Entry = z.strictObject({
  version: text,
  build: text.optional(),
  about: text,
  for: z.enum(purposes),
  binary: text,
  onPath: z.array(text).optional(),
  asks: z.strictObject({args: z.array(text), prints: text, contains: text.optional()}),
  release: Release.optional(),
  image: text.optional(),
  registry: z.union([z.strictObject({go: GoModule}), z.strictObject({wheel: Wheel})]),
})

const Catalogue = z.strictObject({
  go: z.strictObject({wheel: text, version: text, member: text}),
  programs: z.record(z.enum(programNames), Entry),
})

export type Release = z.infer<typeof Release>
export type GoModule = z.infer<typeof GoModule>
export type Wheel = z.infer<typeof Wheel>
export type Program = z.infer<typeof Entry> & {readonly name: ProgramName}

/** Where programs.yaml and the wrapper modules lie, beside the sources and beside the built package alike. */
export const programsFolder = fileURLToPath(new URL('../../programs/', import.meta.url))

const machine = {os: process.platform, arch: process.arch === 'x64' ? 'amd64' : process.arch}

type Words = {readonly [name: string]: string | undefined}

/** Fills {name} in every text of the value; a name that is not known stays as it is. */
const fill = (value: unknown, words: Words): unknown => {
  if (typeof value === 'string') return value.replace(/\{(\w+)\}/g, (whole, word: string) => words[word] ?? whole)
  if (Array.isArray(value)) return value.map((item) => fill(item, words))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fill(item, words)]))
}

const digests = new Map<string, string>()
/** The digest of a wrapper module's sources: read once in a run, and only by who wants to know. */
const sourcesOf = (wrapper: string): string => {
  const known = digests.get(wrapper) ?? sourcesDigest(`${programsFolder}${wrapper}`)
  digests.set(wrapper, known)
  return known
}

let catalogue: z.infer<typeof Catalogue> | undefined
const read = () => (catalogue ??= Catalogue.parse(parse(readFileSync(`${programsFolder}programs.yaml`, 'utf8'))))

const filled = (name: string, entry: z.infer<typeof Entry>): Program => {
  const {version, build, registry} = entry
  const words = {...machine, version}
  if (build === undefined) return fill({...entry, name}, words) as Program
  const sources = 'go' in registry && registry.go.wrapper !== undefined ? sourcesOf(registry.go.wrapper) : undefined
  return fill({...entry, name}, {...words, sources, build: fill(build, {sources}) as string}) as Program
}

/** Every pinned program with its version and this machine filled in, the longest to build first. */
export const programs = (): readonly Program[] => Object.entries(read().programs).map(([name, entry]) => filled(name, entry))

/** The pinned version of a program; undefined where there is no such program. */
export const versionOf = (name: string): string | undefined => Object.entries(read().programs).find(([one]) => one === name)?.[1].version

/** The Go toolchain to fetch where there is none. */
export const goToolchain = () => read().go

export const programOf = (name: ProgramName): Program => {
  const entry = read().programs[name]
  if (!entry) throw new Error(`${name} is not in programs.yaml`)
  return filled(name, entry)
}

/** The programs a person names: by their own name, by what they are for, or all of them. */
export const programsNamed = (words: readonly string[]): readonly Program[] => {
  const all = programs()
  const known = (word: string) => all.some(({name, for: purpose}) => word === name || word === purpose)
  const unknown = words.filter((word) => !known(word))
  if (unknown.length > 0) {
    throw new LkeobsError(
      'LKO-4004',
      `${unknown.join(', ')}: expected ${programNames.join(', ')}, or what they are for: ${purposes.join(', ')}.`,
      {next: ['lkeobs tools list']},
    )
  }
  return words.length === 0 ? all : all.filter(({name, for: purpose}) => words.includes(name) || words.includes(purpose))
}
