import {inspect} from 'node:util'

/** A value that must not be seen: it prints as `[redacted]` wherever it is printed, logged or serialised. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The value itself. Call it only where the bytes leave for the one place that may have them. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '[redacted]'
  }

  toJSON(): string {
    return '[redacted]'
  }

  [inspect.custom](): string {
    return '[redacted]'
  }
}

/** The value itself of what may be a Secret; as with `reveal`, only where the bytes leave. */
export const plain = <T>(value: T): Exclude<T, Secret> | string =>
  value instanceof Secret ? value.reveal() : (value as Exclude<T, Secret>)

/** JSON, which is YAML as well, with its Secrets revealed: for the body of a request or the stdin of a program, and nothing else. */
export const revealed = (value: unknown): string =>
  JSON.stringify(value, function (this: Record<string, unknown>, key, made: unknown) {
    const original = this[key]
    return original instanceof Secret ? original.reveal() : made
  })

export const secretsIn = (value: unknown): readonly string[] => {
  if (value instanceof Secret) return [value.reveal()]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(secretsIn) : []
}
