import type {Fleet} from '../../clusters.ts'
import {signals} from '../../collector/config.ts'
import type {Outcome} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import type {PageWish} from './page.ts'
import {type Proof, prove} from './prove.ts'
import {proofText} from './text.ts'

/** What a proof comes to. Something lost, or never accepted, is not ok. */
export type Proven = {readonly ok: boolean; readonly proof?: Proof; readonly text: readonly string[]}

/** A plan that runs while traffic flows through every edge. */
export type Proving = {
  /** Names a moment of the run. */
  mark(what: string): void
  around(run: () => Promise<readonly Outcome[]>, tools: Pick<Tools, 'http'>): Promise<readonly Outcome[]>
  /** What it found, and the page of it in a file, where one is wished for. */
  proven(page: PageWish, files: Tools['files'], report: string | undefined): Promise<Proven>
}

const perSecond = 10

/** The plan alone. */
export const unproven: Proving = {mark: () => undefined, around: (run) => run(), proven: async () => ({ok: true, text: []})}

export const provingOf = ({hub, edges}: Fleet, tell: (line: string) => void): Proving => {
  let named: (what: string) => void = () => undefined
  let found: Proof | undefined
  return {
    mark: (what) => named(what),
    async around(run, {http}) {
      const {result, proof} = await prove({http, hub, edges, perSecond, tell}, async (mark) => {
        named = mark
        // what flowed is counted, whatever became of the run
        return run().then(
          (outcomes) => ({outcomes}),
          (error: unknown) => ({error}),
        )
      })
      found = proof
      if ('outcomes' in result) return result.outcomes
      throw result.error
    },
    async proven(page, files, report) {
      if (!found) return unproven.proven(page, files, report)
      const {lost, refused} = found
      if (report !== undefined) {
        const {proofPage} = await import('./page.ts')
        await files.write(report, proofPage(found, page), 0o644)
      }
      const ok = [lost, refused].every((count) => signals.every((signal) => count[signal] === 0))
      return {ok, proof: found, text: [proofText(found)]}
    },
  }
}
