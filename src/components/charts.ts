import {readFileSync} from 'node:fs'
import {parse} from 'yaml'
import {z} from 'zod'
import {versionOf} from '../programs/catalogue.ts'
import {chartNames, type ChartName} from './release.ts'

const text = z.string().min(1)

const Entry = z.strictObject({
  about: text,
  repository: z.url({protocol: /^(https|oci)$/}),
  version: text,
  image: z
    .string()
    .regex(/^[^:]+:[^:]+$/)
    .optional(),
})

const Charts = z.record(z.enum(chartNames), Entry)

/** A chart, pinned, and where it is published. */
export type Chart = {readonly name: ChartName; readonly about: string; readonly repository: string; readonly version: string}

/** An image in the parts that charts ask for: `registry/repository:tag`. */
export type Image = {readonly registry: string; readonly repository: string; readonly tag: string}

let charts: z.infer<typeof Charts> | undefined
const read = () => (charts ??= Charts.parse(parse(readFileSync(new URL('../../charts.yaml', import.meta.url), 'utf8'))))

/** Every pinned chart, in the order of `charts.yaml`. */
export const allCharts = (): readonly Chart[] =>
  Object.entries(read()).map(([name, {about, repository, version}]) => ({name: name as ChartName, about, repository, version}))

export const chartOf = (name: ChartName): Chart => {
  const {about, repository, version} = read()[name]
  return {name, about, repository, version}
}

/** The image that runs in place of the one the chart names. */
export const imageOf = (name: ChartName): Image => {
  const {image} = read()[name]
  if (image === undefined) throw new Error(`charts.yaml pins no image for ${name}`)
  const filled = image.replace(/\{(\w+)\}/g, (_, program: string) => {
    const version = versionOf(program)
    if (version === undefined) throw new Error(`charts.yaml: the image of ${name} names ${program}, which is not in programs.yaml`)
    return version
  })
  const {registry, repository, tag} = /^(?<registry>[^/]+)\/(?<repository>[^:]+):(?<tag>.+)$/.exec(filled)?.groups ?? {}
  if (registry === undefined || repository === undefined || tag === undefined) {
    throw new Error(`charts.yaml: ${filled} is not registry/repository:tag`)
  }
  return {registry, repository, tag}
}
