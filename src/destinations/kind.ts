import type {z} from 'zod'
import type {Settings, Signal} from '../collector/config.ts'
import type {Secret} from '../secret.ts'
import type {Wire} from '../tools/wire.ts'

/** Something that a destination asks for and that stands in no file: kept in the hub's Vault, given to the gateway in its environment. */
export type SecretWish = {
  /** Its field in Vault, and its flag: `token` is asked for with --token-file. */
  readonly name: string
  /** `token of the HTTP Event Collector` */
  readonly about: string
  /** It has several lines, so it comes from a file and is typed by nobody. */
  readonly isFile?: true
}

/** Secrets by their names. */
export type Secrets = Readonly<Record<string, Secret>>

/** A flag of `dest add`, and the setting of the same name in the fleet file. */
export type KindFlag = {
  readonly about: string
  /** Left out for a switch. */
  readonly value?: string
  /** Asked for on a terminal where it is not given. */
  readonly asked?: string
  /** The setting, where it is called otherwise than the flag. */
  readonly setting?: string
  /** The setting is what is in the file that the flag names. */
  readonly isFile?: true
}

/** What a destination becomes in the gateway's configuration. */
export type Rendered = {
  /** The type of its exporter, by its name in the collector's documentation. */
  readonly exporter: string
  readonly settings: Settings
  /** Attributes of telemetry that its exporter would take for settings: nobody who sends may give it any. */
  readonly obeys?: readonly string[]
  /** What its queue does otherwise than the others: how large its batches are. */
  readonly batch?: Settings
  /** Settings of its exporter behind a durable queue, which make one request of one batch. */
  readonly sizes?: Settings
  /** Where what is counted about traces becomes metrics of the same destination: the type of a connector. */
  readonly connector?: string
}

export type Probed = {
  /** What it answered, in a few words. */
  readonly said: string
  readonly latencyMs: number
  /** The time by its own clock, in ms since 1970, where it told one. */
  readonly clockMs?: number
}

export type ProbeOf<Own> = {
  readonly name: string
  readonly settings: Own
  readonly secrets: Secrets
  readonly signals: readonly Signal[]
}

type Definition<Own extends object> = {
  /** Its key in the fleet file, and the word after `dest add`. */
  readonly name: string
  /** What it is, for the schema and the manual. */
  readonly about: string
  /** What it can take, and what it takes unless the fleet file says otherwise. */
  readonly signals: readonly Signal[]
  readonly usual: readonly Signal[]
  readonly schema: z.ZodType<Own>
  readonly flags: Readonly<Record<string, KindFlag>>
  /** All that may be asked for. */
  readonly secrets: readonly SecretWish[]
  /** Which of them these settings need. */
  needs(settings: Own): readonly string[]
  /** `secret` stands for one of them where the collector reads its environment. */
  rendered(settings: Own, secret: (name: string) => string): Rendered
  /** Where it is, for a person. */
  at(settings: Own): string
  /** `host:port` that shows a certificate; undefined where none is shown. */
  tlsAt(settings: Own): string | undefined
  /** Sends a little and reads the answer. Throws an LKO-71xx that says what is wrong. */
  probe(given: ProbeOf<Own>, wire: Wire): Promise<Probed>
}

/** A kind of destination. One file each: schema, flags, exporter, probe, and the manual derive from it. */
export type DestinationKind = Definition<object>

/** The kind as the table has it, where the settings are those that its own schema has let through. */
export const kind = <Own extends object>(definition: Definition<Own>): DestinationKind => definition
