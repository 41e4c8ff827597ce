import path from 'node:path'
import {z} from 'zod'
import {signals} from '../collector/config.ts'
import {LkeobsError} from '../errors.ts'
import {readYaml} from '../fleet/yaml.ts'
import {readDuration} from '../output.ts'
import type {Files} from '../tools/files.ts'
import type {PerSignal} from './result.ts'

const perSecond = z.int().min(0).max(1_000_000)
const seconds = z
  .string()
  .refine((text) => (readDuration(text) ?? 0) > 0, 'expected a duration such as 90s, 5m or 2h')
  .transform((text) => readDuration(text) ?? 0)
const batch = z.int().min(1).max(8192)

const profileSchema = z.strictObject({
  /** Items a second over all edges together: data points, records, spans. */
  rates: z.strictObject({metrics: perSecond, logs: perSecond, traces: perSecond}),
  warmUp: seconds.prefault('15s'),
  window: seconds.prefault('1m'),
  repetitions: z.int().min(1).max(20).default(1),
  /** Items in a request of the generator. */
  batch: z.strictObject({metrics: batch.default(500), logs: batch.default(500), traces: batch.default(500)}).prefault({}),
  spansPerTrace: z.int().min(2).max(100).default(10),
  /** On every item. */
  attributes: z.record(z.string().min(1), z.string()).default({'deployment.environment.name': 'loadtest', 'http.route': '/api/orders'}),
})

/** What a load test sends. */
export type Profile = Omit<z.output<typeof profileSchema>, 'warmUp' | 'window' | 'rates' | 'batch'> & {
  readonly name: string
  readonly rates: PerSignal<number>
  readonly batch: PerSignal<number>
  readonly warmUpSeconds: number
  readonly windowSeconds: number
}

/** Those that have a name, as a file would say it. */
const profiles = {
  smoke: {rates: {metrics: 500, logs: 100, traces: 50}, warmUp: '3s', window: '10s'},
  baseline: {rates: {metrics: 10_000, logs: 2000, traces: 1000}},
  target: {rates: {metrics: 50_000, logs: 10_000, traces: 5000}, warmUp: '30s', window: '5m'},
  soak: {rates: {metrics: 10_000, logs: 2000, traces: 1000}, warmUp: '1m', window: '4h'},
} as const satisfies Record<string, z.input<typeof profileSchema>>

export const profileNames = Object.keys(profiles)

const profileOf = (name: string, {warmUp, window, ...rest}: z.output<typeof profileSchema>): Profile => {
  return {name, ...rest, warmUpSeconds: warmUp, windowSeconds: window}
}

/** The profile a text describes. Throws LKO-9010 with every problem in it. */
export const parseProfile = (text: string, file: string): Profile => {
  const wish = {schema: profileSchema, noun: 'a profile', expected: 'map with rates'}
  const result = readYaml<z.output<typeof profileSchema>>(text, file, wish)
  if ('problems' in result) throw new LkeobsError('LKO-9010', result.problems)
  const profile = profileOf(path.basename(file).replace(/\.ya?ml$/, ''), result.value)
  if (signals.some((signal) => profile.rates[signal] > 0)) return profile
  throw new LkeobsError('LKO-9010', `${file}: every rate is 0, so nothing would be sent.`)
}

/** A profile by its name or file. Throws LKO-9010. */
export const readProfile = async (named: string, files: Files): Promise<Profile> => {
  const known = Object.entries(profiles).find(([name]) => name === named)
  if (known) return profileOf(named, profileSchema.parse(known[1]))
  const text = await files.read(path.resolve(named))
  if (text !== undefined) return parseProfile(text, named)
  throw new LkeobsError('LKO-9010', `${named} is no profile (${profileNames.join(', ')}) and no file.`, {
    next: ['lkeobs loadtest run --profile baseline'],
  })
}

/** What the command line says otherwise; undefined leaves it as it is. */
export type Otherwise = {
  readonly 'rate-metrics': number | undefined
  readonly 'rate-logs': number | undefined
  readonly 'rate-traces': number | undefined
  readonly duration: string | undefined
  readonly repetitions: number | undefined
}

/** Throws LKO-9010. */
export const otherwise = (profile: Profile, flags: Otherwise): Profile => {
  const {metrics, logs, traces} = profile.rates
  const windowSeconds = flags.duration === undefined ? profile.windowSeconds : (readDuration(flags.duration) ?? 0)
  if (windowSeconds === 0) throw new LkeobsError('LKO-9010', `--duration ${flags.duration}: expected a duration such as 90s, 5m or 2h.`)
  return {
    ...profile,
    rates: {metrics: flags['rate-metrics'] ?? metrics, logs: flags['rate-logs'] ?? logs, traces: flags['rate-traces'] ?? traces},
    windowSeconds,
    repetitions: flags.repetitions ?? profile.repetitions,
  }
}

/** The same at a share of its rates. */
export const scaled = (profile: Profile, share: number): Profile => {
  const part = (rate: number) => Math.round(rate * share)
  const {metrics, logs, traces} = profile.rates
  return {...profile, rates: {metrics: part(metrics), logs: part(logs), traces: part(traces)}}
}
