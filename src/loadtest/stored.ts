import path from 'node:path'
import {LkeobsError} from '../errors.ts'
import type {Files} from '../tools/files.ts'
import {differences, type Measured} from './compare.ts'
import type {LoadTest} from './result.ts'

/** The document of a run: what `loadtest run --json` answers, and what is kept. */
export const loadTestSchema = 'lkeobs/loadtest/v1'

/** Runs that are kept beside the fleet file. */
export type StoredRuns = {
  /** Where a run's document is, or would be. */
  fileOf(run: string): string
  save(run: LoadTest): Promise<void>
  /** A run by its name, or by a file; the newest unless named. Throws LKO-9001. */
  read(named?: string): Promise<LoadTest>
  /** All, the newest first. */
  list(): Promise<readonly LoadTest[]>
  /** The newest earlier run that is alike and passed. */
  baselineFor(run: Measured): Promise<LoadTest | undefined>
}

const parsed = (text: string): LoadTest | undefined => {
  try {
    const document = JSON.parse(text) as {schema?: string}
    return document?.schema === loadTestSchema ? (document as unknown as LoadTest) : undefined
  } catch {
    return undefined
  }
}

/** The runs in the folder `.lkeobs/loadtests` beside this fleet file. */
export const storedRuns = (files: Files, fleetFile: string): StoredRuns => {
  const folder = path.join(path.dirname(fleetFile), '.lkeobs', 'loadtests')
  const fileOf = (run: string) => path.join(folder, `${run}.json`)
  const readFile = async (file: string) => parsed((await files.read(file)) ?? '')
  const list = async () => {
    const names = (await files.list(folder)).filter((name) => name.endsWith('.json'))
    const runs = await Promise.all(names.map((name) => readFile(path.join(folder, name))))
    return runs.filter((run) => run !== undefined).toSorted((a, b) => b.startedAt.localeCompare(a.startedAt))
  }
  return {
    fileOf,
    save: (run) => files.write(fileOf(run.run), `${JSON.stringify({schema: loadTestSchema, ...run})}\n`, 0o644),
    list,
    async read(named) {
      const file = named === undefined || /[/.]/.test(named) ? named : fileOf(named)
      const run = file === undefined ? (await list())[0] : await readFile(file)
      if (run) return run
      const isThere = file !== undefined && (await files.exists(file))
      const what = file === undefined ? `${folder} holds no load test.` : `${file} is not ${isThere ? 'a load test' : 'there'}.`
      throw new LkeobsError('LKO-9001', what, {next: ['lkeobs loadtest list']})
    },
    async baselineFor(run) {
      const runs = await list()
      return runs.find(
        (other) =>
          other.startedAt < run.startedAt && !other.partial && other.verdict.result === 'pass' && differences(other, run).length === 0,
      )
    },
  }
}
