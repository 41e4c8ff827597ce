import {readdir, stat} from 'node:fs/promises'
import path from 'node:path'
import {rootCertificates} from 'node:tls'
import {LkeobsError, messageOf} from '../errors.ts'
import type {Program} from '../programs/catalogue.ts'
import {cacheFolder} from '../programs/cache.ts'
import {fromGoModule} from '../programs/gomodule.ts'
import type {Step, Tell} from '../steps/step.ts'
import {sha256Of} from '../tools/download.ts'
import type {Tools} from '../tools/index.ts'
import {withLock} from '../tools/lock.ts'
import {type Archive, readArchive, writeArchive} from './archive.ts'
import {digestOf, type Labels, type Platform, type PlatformName, platformOf} from './oci.ts'

export type BuildTools = Pick<Tools, 'shell' | 'files' | 'download'>

/** Bytes change where this changes: the layout of the layer, the configuration of the image. */
const layoutVersion = 1

/** The version that says which sources it was built from: `0.160.0+lkeobs.1f2e3d4c5b6a`. */
export const builtVersion = ({name, version, build}: Program): string => {
  if (build === undefined) throw new Error(`${name} is not built from sources of our own`)
  return `${version}+${build}`
}

/** A digest of everything a build of the program reads, and of how it is built. */
export const sourcesOf = (program: Program): string => digestOf(JSON.stringify([builtVersion(program), program.registry]))

/** Where programs for other machines are kept. */
const buildFolder = (program: Program, sources: string, platform: Platform): string =>
  path.join(cacheFolder(), `${program.name}-images`, sources.slice('sha256:'.length, 28), `${platform.os}-${platform.architecture}`)

type Built = {readonly file: string; readonly title: string; readonly step: Step}

const signOfLifeMs = 1000

/** The program for a platform, built here from its Go modules: never a copy on PATH, which may be another build. */
export const programBuilt = (program: Program, sources: string, name: PlatformName, tools: BuildTools): Built => {
  const platform = platformOf(name)
  const folder = buildFolder(program, sources, platform)
  const file = path.join(folder, program.binary)
  const note = path.join(folder, 'built.json')
  const isBuilt = async (): Promise<boolean> => {
    const text = await tools.files.read(note)
    if (text === undefined) return false
    const {bytes} = JSON.parse(text) as {bytes: number}
    return (await stat(file).catch(() => undefined))?.size === bytes
  }
  const build = async (tell: Tell) => {
    if (!('go' in program.registry) || (await isBuilt())) return
    const workspace = path.join(folder, 'making')
    await tools.files.remove(workspace)
    await tools.files.makeFolder(workspace)
    try {
      const made = await fromGoModule(program.registry.go, platform)(program, {tools, workspace, tell})
      if (made === undefined) return
      await tools.shell.run({file: 'mv', args: [made.file, file], mutates: true})
      await tools.files.write(note, JSON.stringify({sha256: await sha256Of(file), bytes: (await stat(file)).size}))
    } catch (error) {
      throw error instanceof LkeobsError && error.code !== 'LKO-4003'
        ? error
        : new LkeobsError('LKO-4002', `${program.name} ${program.version} for ${name} cannot be built: ${messageOf(error)}`, {
            next: ['go version', 'lkeobs images build'],
            cause: error,
          })
    } finally {
      await tools.files.remove(workspace)
    }
  }
  const title = `${program.name} ${builtVersion(program)} for ${name}`
  return {
    file,
    title,
    step: {
      title: `${title}: built from Go modules`,
      done: async () => ((await isBuilt()) ? true : 'not built from these sources'),
      async apply(tell) {
        let last = 'building from Go modules'
        const say: Tell = (line, how) => tell((last = line), how)
        const alive = setInterval(() => tell(last), signOfLifeMs)
        try {
          if (tools.download.dry) await build(say)
          else
            await withLock(path.join(folder, 'lock'), () => build(say), {onWait: (holder) => say(`another run is building it (${holder})`)})
        } finally {
          clearInterval(alive)
        }
      },
    },
  }
}

export type ImageWish = {
  readonly output: string
  readonly programs: readonly {readonly name: PlatformName; readonly file: string}[]
  /** Everything the programs are made from. */
  readonly sources: string
  /** `0.160.0+lkeobs.1f2e3d4c5b6a` */
  readonly version: string
}

const authorities = (): string => `${rootCertificates.join('\n')}\n`

const labelsOf = ({version}: ImageWish): Labels => ({
  'org.opencontainers.image.description': 'OpenTelemetry Collector with the components that lkeobs adds',
  'org.opencontainers.image.licenses': 'Apache-2.0',
  'org.opencontainers.image.title': 'otelcol',
  'org.opencontainers.image.version': version,
})

/** The archive with the image for all of these platforms. */
export const imageWritten = (wish: ImageWish, tools: BuildTools): Step => {
  const {output, programs, sources, version} = wish
  const labels = labelsOf(wish)
  const inputs = digestOf(JSON.stringify([layoutVersion, sources, programs.map(({name}) => name), labels, digestOf(authorities())]))
  const names = programs.map(({name}) => name).join(', ')
  return {
    title: `image ${output}: ${names}`,
    async done() {
      if (!(await tools.files.exists(output))) return 'there is no such file'
      const archive: Archive | undefined = await readArchive(output).catch(() => undefined)
      if (archive === undefined) return 'it is no whole image'
      return archive.inputs === inputs ? true : 'it was built from other sources, or for other platforms'
    },
    async apply(tell) {
      if (tools.download.dry) {
        await tools.files.write(output, '', 0o644)
        return
      }
      const folder = path.join(cacheFolder(), 'images')
      await withLock(
        path.join(folder, 'lock'),
        async () => {
          const workspace = path.join(folder, 'making')
          await tools.files.remove(workspace)
          await sweep(output, tools)
          try {
            tell('packing the layer')
            await writeArchive(
              output,
              {
                programs: programs.map(({name, file}) => ({platform: platformOf(name), file})),
                authorities: authorities(),
                labels,
                inputs,
                // a tag takes no plus
                version: version.replace(/\+.*$/, ''),
              },
              {files: tools.files, workspace},
            )
          } finally {
            await tools.files.remove(workspace)
          }
        },
        {onWait: (holder) => tell(`another run is writing an image (${holder})`)},
      )
    },
  }
}

/** What runs that were killed left beside the archive. */
const sweep = async (output: string, {files}: BuildTools): Promise<void> => {
  const folder = path.dirname(output)
  const stale = (await readdir(folder).catch(() => [])).filter(
    (name) => name.startsWith(`${path.basename(output)}.`) && /\.[0-9a-f]{8}\.tmp$/.test(name),
  )
  for (const name of stale) await files.remove(path.join(folder, name))
}
