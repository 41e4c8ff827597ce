import {programsNamed} from '../programs/catalogue.ts'
import {programInstalled} from '../programs/install.ts'
import type {Group, Plan} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'

/** The named programs (all of them without a name; `lab` for those of a lab) at their pinned versions. Two at once: a build takes every core it gets. */
export const programsInstalled = (names: readonly string[], tools: Pick<Tools, 'shell' | 'files' | 'download'>): Group => ({
  title: 'Programs at their pinned versions',
  independent: 'LKO-4002',
  concurrency: 2,
  steps: programsNamed(names).map((program) => programInstalled(program, tools)),
})

export const toolsInstall = (names: readonly string[], tools: Pick<Tools, 'shell' | 'files' | 'download'>): Plan => ({
  command: ['tools install', ...names].join(' '),
  title: 'Installs the external programs at their pinned versions.',
  steps: [programsInstalled(names, tools)],
})
