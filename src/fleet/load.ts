import path from 'node:path'
import {LkeobsError, messageOf} from '../errors.ts'
import type {Files} from '../tools/files.ts'
import {type Fleet, fleetSchema} from './schema.ts'
import {readYaml} from './yaml.ts'

export type FleetFile = {
  readonly fleet: Fleet
  /** Absolute. */
  readonly file: string
  /** The folder the file lies in, absolute. */
  readonly folder: string
  readonly text: string
}

/** The fleet a text describes; LKO-1002 with every problem in it, in the order of the lines. */
export const parseFleet = (text: string, shownName: string): Fleet => {
  const wish = {schema: fleetSchema, noun: 'a fleet file', expected: 'map with apiVersion, fleet, hub and edges'}
  const result = readYaml(text, shownName, wish)
  if ('value' in result) return result.value
  throw new LkeobsError('LKO-1002', result.problems, {next: ['lkeobs schema']})
}

const readOrRefuse = async (file: string, shownName: string, files: Files): Promise<string | undefined> => {
  try {
    return await files.read(file)
  } catch (error) {
    const why = messageOf(error).includes('EISDIR') ? 'is a folder, not a file.' : `cannot be read: ${messageOf(error)}`
    throw new LkeobsError('LKO-1002', `${shownName} ${why}`, {next: [`ls -ld ${shownName}`], cause: error})
  }
}

export const loadFleet = async (file: string, files: Files): Promise<FleetFile> => {
  const absolute = path.resolve(file)
  const fromHere = path.relative('', absolute)
  const shownName = path.isAbsolute(file) && !fromHere.startsWith('..') ? fromHere : file
  const text = await readOrRefuse(absolute, shownName, files)
  if (text === undefined) throw new LkeobsError('LKO-1001', `There is no ${shownName}.`, {next: ['lkeobs lab up']})
  return {fleet: parseFleet(text, shownName), file: absolute, folder: path.dirname(absolute), text}
}
