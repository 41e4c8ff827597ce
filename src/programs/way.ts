import type {Tell} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import type {Program} from './catalogue.ts'
import type {Taken} from './cache.ts'

export type Site = {
  readonly tools: Pick<Tools, 'shell' | 'files' | 'download'>
  /** A folder of this attempt's own. */
  readonly workspace: string
  readonly tell: Tell
}

/** A way to get a program. Throws with its reason where it does not lead there; undefined on a dry run, which has only noted what it would do. */
export type Way = (program: Program, site: Site) => Promise<Taken | undefined>
