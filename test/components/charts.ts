import {execFileSync} from 'node:child_process'
import {existsSync, readFileSync} from 'node:fs'
import path from 'node:path'
import {parse} from 'yaml'
import {z} from 'zod'
import {chartOf} from '../../src/components/charts.ts'
import type {ChartName} from '../../src/components/release.ts'

/** Data of the charts, each in its folder, beside the repository. */
const unpacked = path.resolve(import.meta.dirname, '../../../shared/charts')
/** A folder with the charts as they are published. */
export const packaged = process.env['LKEOBS_CHARTS'] || undefined

export const packageOf = (name: ChartName): string => path.join(packaged ?? '', `${name}-${chartOf(name).version}.tgz`)

const read = (name: ChartName, file: string): string | undefined => {
  if (packaged !== undefined) {
    try {
      return execFileSync('tar', ['-xzOf', packageOf(name), `${name}/${file}`], {encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore']})
    } catch {
      return undefined
    }
  }
  const place = path.join(unpacked, name, file)
  return existsSync(place) ? readFileSync(place, 'utf8') : undefined
}

/** Why nothing is known of the charts; undefined where something is. */
export const unknownCharts =
  packaged === undefined && !existsSync(unpacked) ? `LKEOBS_CHARTS is not set, and there is no ${unpacked}` : undefined

export const defaultsOf = (name: ChartName): Readonly<Record<string, unknown>> => {
  const text = read(name, 'values.yaml')
  if (text === undefined) throw new Error(`there is no values.yaml of ${name} ${chartOf(name).version}`)
  return parse(text) as Record<string, unknown>
}

type Json = Parameters<typeof z.fromJSONSchema>[0]

/** A schema with every reference replaced by what it refers to. */
const inlined = (schema: object): Json => {
  const at = (reference: string): unknown => {
    const words = reference
      .slice('#/'.length)
      .split('/')
      .map((word) => decodeURIComponent(word).replaceAll('~1', '/').replaceAll('~0', '~'))
    return words.reduce<unknown>((node, word) => (node as Record<string, unknown> | undefined)?.[word], schema)
  }
  const walk = (node: unknown, above: readonly string[]): unknown => {
    if (Array.isArray(node)) return node.map((item) => walk(item, above))
    if (typeof node !== 'object' || node === null) return node
    const {$ref: reference, $defs: _, definitions: __, ...rest} = node as Readonly<Record<string, unknown>>
    if (typeof reference !== 'string') return Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, walk(value, above)]))
    // what refers to itself is anything
    if (above.includes(reference)) return {}
    const target = at(reference)
    if (target === undefined) throw new Error(`the schema refers to ${reference}, which is not there`)
    return walk(target, [...above, reference])
  }
  return walk(schema, []) as Json
}

export const schemaOf = (name: ChartName): z.ZodType | undefined => {
  const text = read(name, 'values.schema.json')
  return text === undefined ? undefined : z.fromJSONSchema(inlined(JSON.parse(text) as object))
}

export const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** As helm puts ours over theirs: null takes a value away. */
export const merged = (theirs: unknown, ours: unknown): unknown => {
  if (!isMap(ours)) return ours
  const result: Record<string, unknown> = isMap(theirs) ? {...theirs} : {}
  for (const [key, value] of Object.entries(ours)) {
    if (value === null) delete result[key]
    else result[key] = merged(result[key], value)
  }
  return result
}
