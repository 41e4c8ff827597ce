import {Secret} from './secret.ts'

export type Fields = Readonly<Record<string, unknown>>

/** An object by its fields. A list is none, and neither is a Secret, which has no fields to be seen. */
export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Secret)

export const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value)
