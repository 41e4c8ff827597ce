import {LkeobsError} from '../../../errors.ts'
import type {KubeObject, KubeTarget, Ref} from '../../../tools/kube/kube.ts'
import {kubectl, resourceOf} from '../../../tools/kube/kubectl.ts'
import {type Difference, drift} from './drift.ts'
import {isOfThisWish} from './mark.ts'
import {isByHand, type Owner} from './owners.ts'

export type Verdict =
  | {readonly state: 'same'}
  | {readonly state: 'different'; readonly differences: readonly Difference[]; readonly byHand: boolean}
  | {readonly state: 'foreign'; readonly difference: Difference}

/**
 * Whether a live object is as wished, and if not, whether it is ours to mend. `own` are the managers that are us; `recorded` is a
 * wish that is known to have been applied.
 */
export const judge = (wish: KubeObject, live: KubeObject, own: readonly string[], {recorded = false} = {}): Verdict => {
  const differences = drift(wish, live).filter(({owners}) => !(isOfThisWish(wish, live) && areOurApplied(owners, own)))
  if (differences.length === 0) return {state: 'same'}
  for (const one of differences) {
    const owner = one.owners.find((some) => !own.includes(some.manager) && !isByHand(some))
    if (owner) return {state: 'foreign', difference: {...one, owner}}
  }
  // what was taken away, or scaled to 0, has no owner; where this very wish was applied somebody must have done it since
  const byHand = differences.some(({owners}) => owners.some(isByHand) || (owners.length === 0 && (recorded || isOfThisWish(wish, live))))
  return {state: 'different', differences, byHand}
}

/**
 * Whoever changes a field takes it over. One that is still ours alone, under the mark of this very wish, was changed
 * while it was admitted (by a policy, or to another spelling), and would be again.
 */
const areOurApplied = (owners: readonly Owner[], own: readonly string[]): boolean =>
  owners.length > 0 && owners.every(({manager, operation}) => own.includes(manager) && operation === 'Apply')

/** LKO-3109: a field that is someone else's. */
export const conflictError = (ref: Ref, {path, wished, found, owner}: Difference, target?: KubeTarget): LkeobsError => {
  const whose = owner ? `${owner.manager} (${owner.operation}${owner.time === undefined ? '' : `, ${owner.time}`})` : 'someone else'
  const where = ref.namespace === undefined ? [] : ['-n', ref.namespace]
  const args = [...where, 'get', resourceOf(ref), ref.name, '-o', 'yaml', '--show-managed-fields']
  return new LkeobsError(
    'LKO-3109',
    `${path} of ${ref.kind} ${ref.namespace === undefined ? '' : `${ref.namespace}/`}${ref.name} is ${short(found)}, set by ${whose}; wished for is ${short(wished)}.`,
    {next: [target ? kubectl(target, ...args) : ['kubectl', ...args].join(' ')]},
  )
}

const short = (value: unknown): string => {
  if (value === undefined) return 'absent'
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.length > 120 ? `${text.slice(0, 119)}…` : text
}
