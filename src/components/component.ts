import type {Environment} from '../destinations/secrets.ts'
import type {ProgramName} from '../programs/catalogue.ts'
import type {Tools} from '../tools/index.ts'

/** A program of the fleet, described so that a platform can run it. */
export type Component = {
  /** Unique on its cluster: `gateway`, `vault-1`. */
  readonly name: string
  /** As a person calls it. */
  readonly title: string
  readonly program: ProgramName
  readonly args: readonly string[]
  /** Its configuration, by file name; a change restarts it. Nothing secret. */
  readonly files: Readonly<Record<string, string>>
  /** Files handed to it that it reads only when it starts: a change restarts it too. */
  readonly restartOn?: readonly string[]
  /** Variables of its environment; a change restarts it. Nothing secret. */
  readonly variables?: Readonly<Record<string, string>>
  /** What it is told beside its files, and nowhere else: another version restarts it. */
  readonly environment?: () => Promise<Environment>
  /** What its log says when its very first start was cut off, and the folder of its own to remove before it starts anew. */
  readonly cutOff?: {readonly says: string; readonly remove: string}
  /** Where a person opens it in a browser or points a program to. */
  readonly url?: string
  /** `true` when it does its work, otherwise what is not so yet. */
  ready(tools: Pick<Tools, 'http' | 'files' | 'vault'>): Promise<true | string>
}

/** Ready when the URL answers 200. */
export const answers =
  (url: string) =>
  async ({http}: Pick<Tools, 'http'>): Promise<true | string> => {
    const answer = await http.get(url, 2000)
    if (answer?.status === 200) return true
    return answer === undefined ? 'not answering yet' : `not ready: ${answer.body.trim().split('\n')[0]?.slice(0, 80) ?? answer.status}`
  }
