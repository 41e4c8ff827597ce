import {expect, test} from 'vitest'
import {LkeobsError} from '../../src/errors.ts'
import {addEdge, newLabFleet, withLabEdges} from '../../src/fleet/edit.ts'
import {parseFleet} from '../../src/fleet/load.ts'

const pieces = [
  ...'[]{}:,#&*!|>\'"%@`-?\t\n \\~\0\uFFFD\uFEFF0'.split(''),
  '\r\n',
  '\n---\n',
  '\n...\n',
  '*a',
  '&a ',
  '<<: *a\n',
  '!!binary ',
  '!!set ',
  '!x ',
  'null',
  '.nan',
  '.inf',
  '1e999',
  '__proto__: ',
  'constructor: ',
  '? ',
  '|-\n',
  '- ',
  'edges: []\n',
  'name: hub\n',
  '%YAML 1.1\n---\n',
  '%TAG ! x\n',
]

/** The same numbers in [0, 1) for the same seed, so that a failure can be seen again. */
const numbersFrom = (seed: number) => {
  let state = seed
  return (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const mutated = (text: string, random: () => number): string => {
  const below = (limit: number) => Math.floor(random() * limit)
  const from = below(text.length)
  const length = below(12)
  const piece = pieces[below(pieces.length)] ?? ''
  const elsewhere = below(text.length)
  const edits = [
    () => text.slice(0, from) + piece + text.slice(from),
    () => text.slice(0, from) + piece + text.slice(from + length),
    () => text.slice(0, from) + text.slice(from + length),
    () => text.slice(0, from) + text.slice(elsewhere, elsewhere + 4 * length) + text.slice(from),
    () => text.slice(0, from),
  ]
  return edits[below(edits.length - (random() < 0.9 ? 1 : 0))]?.() ?? text
}

const place = /^lkeobs\.yaml:[1-9]\d*:[1-9]\d* \S/

/** Whether the text was a fleet; anything thrown but a listed problem fails the test. */
const tried = (work: () => void, what: string): boolean => {
  try {
    work()
    return true
  } catch (error) {
    if (!(error instanceof LkeobsError)) throw new Error(`threw for ${JSON.stringify(what)}`, {cause: error})
    for (const line of error.message.split('\n')) expect(line, what).toMatch(place)
    return false
  }
}

test('whatever happens to a file, its problems are listed', () => {
  const random = numbersFrom(7)
  const start = newLabFleet({edges: 3})
  const texts = Array.from({length: 150}, () =>
    Array.from({length: 1 + Math.floor(random() * 3)}).reduce<string>((text) => mutated(text, random), start),
  )
  const fleets = texts.filter((text) => tried(() => parseFleet(text, 'lkeobs.yaml'), text))
  expect(fleets.length).toBeGreaterThan(15)
  expect(fleets.length).toBeLessThan(texts.length - 30)
  for (const text of fleets) {
    const {edges} = parseFleet(text, 'lkeobs.yaml')
    const grown = withLabEdges(text, edges.length + 2)
    expect(parseFleet(grown, 'lkeobs.yaml').edges.slice(0, edges.length), text).toEqual(edges)
    expect(parseFleet(grown, 'lkeobs.yaml').edges, text).toHaveLength(edges.length + 2)
    expect(addEdge(text, {name: 'added', platform: {local: {ports: 60_000}}})).toContain('added')
  }
})

test.for([
  ['deep', '['.repeat(20_000)],
  ['deep maps', '{a: '.repeat(5000)],
  [
    'aliases of aliases',
    `a: &a [x]\n${Array.from({length: 30}, (_, at) => `b${at}: &b${at} [${`*${at === 0 ? 'a' : `b${at - 1}`},`.repeat(9)}]`).join('\n')}`,
  ],
  ['an alias within its anchor', 'hub: &hub {name: hub, platform: *hub}\nedges: &edges [*edges]'],
  ['a long key', `${'k'.repeat(100_000)}: 1`],
  ['binary', '\0\u0001\uFFFD\uFFFD'],
] as const)('%s', ([, text]) => {
  expect(tried(() => parseFleet(text, 'lkeobs.yaml'), text.slice(0, 100))).toBe(false)
})
