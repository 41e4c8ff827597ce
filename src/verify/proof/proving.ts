import type {Fleet} from '../../clusters.ts'
import type {Outcome} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import {type Proof, prove} from './prove.ts'
import {proofText} from './text.ts'

/** A plan that runs while traffic flows through every edge. */
export type Proving = {
  /** Names a moment of the run. */
  mark(what: string): void
  around(run: () => Promise<readonly Outcome[]>, tools: Pick<Tools, 'http'>): Promise<readonly Outcome[]>
  /** Undefined before it has run. */
  proof(): Proof | undefined
}

const perSecond = 10

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
      tell(proofText(proof))
      throw result.error
    },
    proof: () => found,
  }
}
