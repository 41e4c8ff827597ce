import {type Document, LineCounter, isAlias, isMap, isNode, isScalar, isSeq, parseDocument, visit} from 'yaml'
import {z} from 'zod'
import {nearest} from '../nearest.ts'

type Path = readonly PropertyKey[]
/** What a file is to say; `noun` and `expected` are how its problems call it and what it holds. */
type Wish<T> = {readonly schema: z.ZodType<T>; readonly noun: string; readonly expected: string}
type Problem = {readonly offset: number; readonly text: string}

const shownKey = (key: PropertyKey): string => (/^[\w-]+$/.test(String(key)) ? String(key) : JSON.stringify(String(key)))
const shownPath = (keys: Path): string => (keys.length === 0 ? '' : `${keys.map(shownKey).join('.')}: `)

const shownValue = (value: unknown): string => {
  if (value === null) return 'nothing'
  if (Array.isArray(value)) return 'list'
  if (typeof value === 'object') return 'map'
  const text = JSON.stringify(value) ?? ''
  return `${typeof value} ${typeof value === 'number' ? value : text.length > 60 ? `${text.slice(0, 60)}…"` : text}`
}

const unrecognized = (key: string, valid: readonly string[]): string => {
  const [near] = key.length > 40 ? [] : nearest(key, valid)
  return `Unrecognized key: ${JSON.stringify(key)}${near === undefined ? `; valid here: ${valid.join(', ')}` : `; did you mean "${near}"?`}`
}

const nouns: Readonly<Record<string, string>> = {object: 'map', array: 'list', int: 'whole number'}

/** zod's issue in the words of the file. Unknown keys come as one line each, since each has its own place. */
const wording = (issue: z.core.$ZodRawIssue): string | undefined => {
  const [found, got] = issue.input === undefined ? ['missing; ', ''] : ['', `, got ${shownValue(issue.input)}`]
  switch (issue.code) {
    case 'invalid_type':
      return `${found}expected ${nouns[issue.expected] ?? issue.expected}${got}`
    case 'invalid_value':
      return `${found}expected ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}${got}`
    case 'too_small':
      return `expected at least ${issue.minimum}${got}`
    case 'too_big':
      return `expected at most ${issue.maximum}${got}`
    case 'unrecognized_keys':
      return issue.keys.map((key) => unrecognized(key, issue.inst instanceof z.ZodObject ? Object.keys(issue.inst.shape) : [])).join('\n')
    default:
      return undefined
  }
}

/** Where a value and its key begin. A value that is not there begins where its map does. */
const placeOf = (document: Document, keys: Path): {readonly key: number; readonly value: number} => {
  let node: unknown = document.contents
  let place = {key: 0, value: document.contents?.range?.[0] ?? 0}
  for (const step of keys) {
    const target = isAlias(node) ? node.resolve(document) : node
    const pair = isMap(target) ? target.items.findLast(({key}) => isScalar(key) && key.value === step) : undefined
    node = isSeq(target) ? target.items[Number(step)] : pair?.value
    const [key, value = key] = [pair?.key, node].map((at) => (isNode(at) ? at.range?.[0] : undefined))
    if (value === undefined) return place
    place = {key: key ?? value, value}
  }
  return place
}

const syntaxProblems = (document: Document.Parsed, text: string, noun: string): readonly Problem[] => {
  const problems = [...document.errors, ...document.warnings].map(({code, message, pos: [offset]}) => {
    if (code === 'DUPLICATE_KEY')
      return {offset, text: `Duplicate key: ${JSON.stringify(/[^\s:,}"']+/.exec(text.slice(offset))?.[0] ?? '')}`}
    return {offset, text: code === 'MULTIPLE_DOCS' ? `A second document begins here; ${noun} is one document` : message}
  })
  visit(document, {
    Alias: (_, alias) => {
      if (!alias.resolve(document))
        problems.push({offset: alias.range?.[0] ?? 0, text: `Unresolved alias: no anchor &${alias.source} stands before it`})
    },
  })
  return problems
}

const schemaProblems = (document: Document.Parsed, {issues}: z.ZodError, lineOf: (offset: number) => number): readonly Problem[] =>
  issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      const lines = issue.message.split('\n')
      return issue.keys.map((key, at) => ({
        offset: placeOf(document, [...issue.path, key]).key,
        text: `${shownPath([...issue.path, key])}${lines[at]}`,
      }))
    }
    const other: unknown = issue.code === 'custom' ? issue.params?.['other'] : undefined
    const where = Array.isArray(other) ? ` (line ${lineOf(placeOf(document, other).value)})` : ''
    return [{offset: placeOf(document, issue.path).value, text: `${shownPath(issue.path)}${issue.message}${where}`}]
  })

/** The value of one YAML document, or everything that is wrong with the text. */
const understood = <T>(text: string, lines: LineCounter, {schema, noun, expected}: Wish<T>): {readonly value: T} | readonly Problem[] => {
  // Whoever decoded the bytes put this character where they were not UTF-8.
  const broken = text.indexOf('\uFFFD')
  const document = parseDocument(text, {lineCounter: lines, prettyErrors: false, stringKeys: true, logLevel: 'error'})
  if (broken !== -1) return [{offset: broken, text: 'The file is not UTF-8 here'}]
  const syntax = syntaxProblems(document, text, noun)
  const lineOf = (offset: number) => lines.linePos(offset).line
  // After a syntax error the rest, even of its line, is a guess; after a mere duplicate key it is not.
  if (syntax.length > document.errors.filter(({code}) => code === 'DUPLICATE_KEY').length)
    return [...new Map(syntax.toReversed().map((problem) => [lineOf(problem.offset), problem])).values()]
  if (document.contents === null) return [{offset: 0, text: `The file is empty; expected ${expected}`}]
  // No limit on aliases: each becomes the object of its anchor, so nothing grows.
  const result = schema.safeParse(document.toJS({maxAliasCount: -1}), {error: wording})
  if (result.success) return syntax.length === 0 ? {value: result.data} : syntax
  return [...syntax, ...schemaProblems(document, result.error, lineOf)]
}

/** The value of a text that a person wrote, or a line for each of its problems, in the order in which they stand there. */
export const readYaml = <T>(text: string, shownName: string, wish: Wish<T>): {readonly value: T} | {readonly problems: string} => {
  const lines = new LineCounter()
  const result = understood(text.replace(/^\uFEFF/, ''), lines, wish)
  if ('value' in result) return result
  const shown = result
    .toSorted((one, other) => one.offset - other.offset)
    .map((problem) => {
      const {line, col} = lines.linePos(problem.offset)
      return `${shownName}:${line}:${col} ${problem.text}`
    })
  return {problems: [...new Set(shown)].join('\n')}
}
