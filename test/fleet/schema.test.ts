import {readFileSync} from 'node:fs'
import {describe, expect, test} from 'vitest'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {parseFleet} from '../../src/fleet/load.ts'
import {fleetJsonSchema} from '../../src/fleet/schema.ts'

type Node = Readonly<Record<string, unknown>>

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Every schema in the document, each with its path. */
const schemas = (node: Node, at = ''): readonly (readonly [string, Node])[] => [
  [at, node],
  ...(isNode(node['properties']) ? Object.entries(node['properties']) : []).flatMap(([key, value]) =>
    isNode(value) ? schemas(value, `${at}.${key}`) : [],
  ),
  ...(isNode(node['items']) ? schemas(node['items'], `${at}[]`) : []),
]

describe('the JSON Schema', () => {
  const schema = fleetJsonSchema()
  const all = schemas(schema)

  test('names its dialect and itself', () => {
    expect(schema).toMatchObject({$schema: 'http://json-schema.org/draft-07/schema#', title: 'lkeobs fleet file', type: 'object'})
    expect(all.map(([at]) => at)).toContain('.edges[].platform.local.ports')
  })

  test.for(all)('%s is described, and takes no other keys', ([at, node]) => {
    expect(node['description']).toMatch(/\.$/)
    // a map from any name to a text is one on purpose
    const {additionalProperties: others, type} = node
    expect(others).toBe(/\.(annotations|where)$/.test(at) ? others : type === 'object' ? false : undefined)
  })

  test('what has a default may be left out', () => {
    expect(schema.required).toEqual(['apiVersion', 'fleet', 'hub'])
    expect(schema).toMatchObject({properties: {hub: {required: ['name', 'platform']}}})
  })

  test('its patterns are such as every editor reads, and hold for the lab', () => {
    const patterns = Object.fromEntries(all.flatMap(([at, {pattern}]) => (typeof pattern === 'string' ? [[at, new RegExp(pattern)]] : [])))
    const {hub} = parseFleet(newLabFleet({edges: 1}), 'x')
    expect(patterns['.hub.name']?.test(hub.name)).toBe(true)
    expect(patterns['.hub.endpoint']?.test(hub.endpoint ?? '')).toBe(true)
    expect(patterns['.hub.endpoint']?.test('hub.example')).toBe(false)
    expect(patterns['.edges[].logs[]']?.test('/var/log/ä/*.log')).toBe(true)
    expect(patterns['.edges[].logs[]']?.test('var/log')).toBe(false)
  })
})

test('the example in docs/fleet-file.md is a fleet', () => {
  const page = readFileSync(new URL('../../docs/fleet-file.md', import.meta.url), 'utf8')
  const example = /```yaml\n(.*?)```/s.exec(page)?.[1] ?? ''
  expect(parseFleet(example, 'docs/fleet-file.md').edges).toHaveLength(2)
})
