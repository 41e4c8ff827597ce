import {LkeobsError} from '../errors.ts'
import {programOf, type ProgramName} from '../programs/catalogue.ts'
import type {Tools} from '../tools/index.ts'
import {type Check, failed, ok} from './check.ts'

/** This machine, and the programs that the clusters are driven with from it. */
export type MachineSubject = {readonly programs: readonly ProgramName[]; readonly tools: Pick<Tools, 'program'>}

export const machineChecks: readonly Check<MachineSubject>[] = [
  {
    id: 'programs',
    about: 'the programs that drive the clusters are installed',
    of: 'machine',
    async run({programs, tools}) {
      const missing: LkeobsError[] = []
      const names: ProgramName[] = []
      for (const name of programs) {
        try {
          await tools.program(name)
        } catch (error) {
          if (!(error instanceof LkeobsError)) throw error
          missing.push(error)
          names.push(name)
        }
      }
      if (missing.length === 0) return ok(programs.map((name) => `${name} ${programOf(name).version}`).join(', '))
      return failed('LKO-4001', missing.map(({message}) => message).join('\n'), [`lkeobs tools install ${names.join(' ')}`])
    },
  },
]
