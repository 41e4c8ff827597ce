import type {Settings} from './config.ts'

/** What stands in the place of what was taken out. */
const mask = '[scrubbed]'

/** What can be scrubbed by its name. Each is an RE2 expression of what is taken out. */
const scrubPatterns = {
  email: String.raw`[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}`,
  ipv4: String.raw`\b((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)\b`,
  // 13 to 19 digits, in groups or not, beginning as the large issuers do
  card: String.raw`\b[3-6]\d{3}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}\b|\b3[47]\d{2}[ -]?\d{6}[ -]?\d{5}\b`,
  bearer: String.raw`(?i)\bbearer\s+[A-Za-z0-9._~+/=-]+`,
} as const satisfies Readonly<Record<string, string>>

const isPattern = (word: string): word is keyof typeof scrubPatterns => word in scrubPatterns

/** One thing to scrub: `email`, `key:user.id` (an attribute, whatever its value), or `/expression/`. */
const parsed = (word: string): {readonly pattern: string} | {readonly key: string} | undefined => {
  if (isPattern(word)) return {pattern: scrubPatterns[word]}
  const [, key] = /^key:(\S+)$/.exec(word) ?? []
  if (key !== undefined) return {key}
  const [, pattern] = /^\/(.+)\/$/.exec(word) ?? []
  return pattern === undefined ? undefined : {pattern}
}

/** Why this cannot be scrubbed, or undefined where it can. */
export const scrubProblem = (word: string): string | undefined => {
  const wish = parsed(word)
  if (wish === undefined)
    return `expected ${Object.keys(scrubPatterns).join(', ')}, key:ATTRIBUTE or /EXPRESSION/, got ${JSON.stringify(word)}`
  if ('key' in wish || isPattern(word)) return undefined
  // the collector's expressions never look around or back
  if (/\(\?(=|!|<=|<!)|\\[1-9]/.test(wish.pattern)) return `expected an expression of RE2, which does not look around or back, got ${word}`
  try {
    return new RegExp(wish.pattern.replace(/^\(\?[ims]+\)/, '')).test('')
      ? `expected an expression that does not match nothing, got ${word}`
      : undefined
  } catch {
    return `expected a regular expression between slashes, got ${word}`
  }
}

/** The values that text may stand in, by the kind of item they are of. */
const texts = {
  metric_statements: {maps: ['resource.attributes', 'scope.attributes', 'datapoint.attributes'], strings: []},
  log_statements: {maps: ['resource.attributes', 'scope.attributes', 'log.attributes'], strings: ['log.body']},
  trace_statements: {
    maps: ['resource.attributes', 'scope.attributes', 'span.attributes', 'spanevent.attributes'],
    strings: ['span.name', 'span.status.message', 'spanevent.name'],
  },
} as const

/**
 * Takes what must not be sent on out of attributes, bodies and names. What it cannot look at it does not let through: an error
 * stops the batch.
 */
export const scrub = (words: readonly string[]): Settings => {
  const wishes = words.flatMap((word) => parsed(word) ?? [])
  const patterns = wishes.flatMap((wish) => ('pattern' in wish ? [JSON.stringify(wish.pattern)] : []))
  const keys = wishes.flatMap((wish) => ('key' in wish ? [JSON.stringify(wish.key)] : []))
  const shown = JSON.stringify(mask)
  const statementsOf = ({maps, strings}: (typeof texts)[keyof typeof texts]): readonly string[] => [
    ...maps.flatMap((map) => [
      ...keys.map((key) => `delete_key(${map}, ${key})`),
      ...patterns.map((pattern) => `replace_all_patterns(${map}, "value", ${pattern}, ${shown})`),
    ]),
    ...strings.flatMap((text) =>
      patterns.flatMap((pattern) => [
        `replace_pattern(${text}, ${pattern}, ${shown})${text === 'log.body' ? ' where IsString(log.body)' : ''}`,
        ...(text === 'log.body' ? [`replace_all_patterns(${text}, "value", ${pattern}, ${shown}) where IsMap(log.body)`] : []),
      ]),
    ),
    ...(maps.some((map) => map === 'log.attributes') ? keys.map((key) => `delete_key(log.body, ${key}) where IsMap(log.body)`) : []),
  ]
  return {
    error_mode: 'propagate',
    ...Object.fromEntries(
      Object.entries(texts).map(([signal, places]) => [signal, statementsOf(places).map((statement) => ({statements: [statement]}))]),
    ),
  }
}
