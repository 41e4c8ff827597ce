import {z} from 'zod'
import {LkeobsError} from '../errors.ts'
import {type Destination, type DestinationInput, destinationSchema} from '../fleet/schema.ts'
import {nearest} from '../nearest.ts'
import {Secret} from '../secret.ts'
import type {Tools} from '../tools/index.ts'
import {kinds} from './index.ts'
import type {DestinationKind, KindFlag, Secrets} from './kind.ts'

/** What was typed after `dest add`, by the names of the flags. */
export type Typed = Readonly<Record<string, string | boolean | number | readonly string[] | undefined>>

/** The kind of that name. Throws LKO-7118 naming those there are. */
export const kindNamed = (name: string): DestinationKind => {
  const all = kinds.map((kind) => kind.name)
  const found = kinds.find((kind) => kind.name === name)
  if (found) return found
  throw new LkeobsError('LKO-7118', `There is no kind ${name}; the kinds are ${all.join(', ')}.`, {
    next: nearest(name, all).map((near) => `lkeobs dest add ${near} NAME`),
  })
}

const wrong = (what: string): LkeobsError => new LkeobsError('LKO-7118', what, {next: ['lkeobs dest add --help']})

/** The flags that belong to other kinds alone. */
const strangers = (kind: DestinationKind, typed: Typed): readonly string[] => {
  const flagsOf = ({flags, secrets}: DestinationKind) => [...Object.keys(flags), ...secrets.map(({name}) => `${name}-file`)]
  const own = flagsOf(kind)
  return kinds.flatMap(flagsOf).filter((flag) => typed[flag] !== undefined && !own.includes(flag))
}

const fileOf = async (file: string, flag: string, {files}: Pick<Tools, 'files'>): Promise<string> => {
  const text = await files.read(file === '-' ? '/dev/stdin' : file)
  if (text === undefined) throw wrong(`--${flag}: there is no ${file}.`)
  return text
}

/** The value of a setting; undefined where it is left out. */
const settingOf = async (flag: string, {value, asked, isFile}: KindFlag, typed: Typed, tools: Pick<Tools, 'ask' | 'files'>) => {
  const given = typed[flag]
  if (isFile) return typeof given === 'string' ? fileOf(given, flag, tools) : undefined
  if (given !== undefined || asked === undefined) return value === undefined ? given || undefined : given
  const told = await tools.ask.text(asked)
  if (told === undefined) throw wrong(`${asked}: nobody can be asked here. Give it with --${flag}.`)
  return told
}

/** `edge=edge-1` and `edge=edge-2` as one of both. */
const whereOf = (words: readonly string[]): Readonly<Record<string, readonly string[]>> => {
  const pairs = words.map((word) => {
    const [, key, value] = /^([^=]+)=(.+)$/.exec(word) ?? []
    if (key === undefined || value === undefined) throw wrong(`--where ${word}: expected KEY=VALUE, such as edge=edge-1.`)
    return {key, value}
  })
  return Object.fromEntries([...Map.groupBy(pairs, ({key}) => key)].map(([key, all]) => [key, all.map(({value}) => value)] as const))
}

const listOf = (given: Typed[string]): readonly string[] => (Array.isArray(given) ? (given as readonly string[]) : [])

/** The destination as the fleet file is to have it. Asks for what is needed and not given. Throws LKO-7118 where it is none. */
export const entryOf = async (
  kind: DestinationKind,
  name: string,
  typed: Typed,
  tools: Pick<Tools, 'ask' | 'files'>,
): Promise<{readonly input: DestinationInput; readonly destination: Destination}> => {
  const [stranger] = strangers(kind, typed)
  if (stranger !== undefined) throw wrong(`--${stranger} is not for ${kind.name}.`)
  const settings: Record<string, unknown> = {}
  for (const [flag, wish] of Object.entries(kind.flags)) {
    const value = await settingOf(flag, wish, typed, tools)
    if (value !== undefined) settings[wish.setting ?? flag] = value
  }
  const [signals, scrub, where] = [listOf(typed['signals']), listOf(typed['scrub']), whereOf(listOf(typed['where']))]
  const [maxAge, items] = [typed['max-age'], typed['queue-items']]
  const input = {
    name,
    [kind.name]: settings,
    ...(signals.length > 0 && {signals}),
    ...(Object.keys(where).length > 0 && {where}),
    ...(scrub.length > 0 && {scrub}),
    ...(maxAge !== undefined && {maxAge}),
    ...(items !== undefined && {queue: {items}}),
  } as DestinationInput
  const parsed = destinationSchema.safeParse(input)
  if (parsed.success) return {input, destination: parsed.data}
  throw wrong(
    z
      .prettifyError(parsed.error)
      .replaceAll('✖ ', '')
      .replaceAll(/\n +→ at (\S+)/g, ' ($1)'),
  )
}

/** The secrets that it needs: those given, those that are kept, and those that are typed unseen. */
export const secretsFor = async (
  kind: DestinationKind,
  destination: Destination,
  typed: Typed,
  kept: Secrets,
  tools: Pick<Tools, 'ask' | 'files'>,
): Promise<Secrets> => {
  const settings = (destination as Readonly<Record<string, unknown>>)[kind.name] as object
  const all: Record<string, Secret> = {}
  for (const {name, about, isFile} of kind.secrets.filter((secret) => kind.needs(settings).includes(secret.name))) {
    const flag = `${name}-file`
    const file = typed[flag]
    const known = kept[name]
    if (typeof file !== 'string' && known) all[name] = known
    else if (isFile) {
      if (typeof file !== 'string') throw wrong(`${kind.name} needs the ${about}: give it with --${flag}.`)
      all[name] = new Secret(await fileOf(file, flag, tools))
    } else {
      const variable = `LKEOBS_${flag}`.toUpperCase().replaceAll('-', '_')
      all[name] = await tools.ask.secret(`${about} of ${destination.name}`, {
        file: typeof file === 'string' ? file : undefined,
        flag: `--${flag}`,
        variable,
      })
    }
  }
  return all
}
