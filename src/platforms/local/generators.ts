import {messageOf} from '../../errors.ts'
import type {Tools} from '../../tools/index.ts'
import {typed} from '../../tools/shell.ts'
import {type Generated, type Load, readTelemetrygen, telemetrygenArgs} from '../../tools/telemetrygen.ts'
import type {Generators} from '../platform.ts'

/** Generators as processes of this machine. They end by themselves, each after its time. */
export const generatorProcesses = ({shell, program}: Pick<Tools, 'shell' | 'program'>, otlpGrpc: string): Generators => {
  const numbers = ({processes}: Load) => Array.from({length: processes}, (_, number) => number)
  return {
    otlpGrpc,
    shiftSeconds: 5,
    agents: async () => 1,
    ready: async () => void (await program('telemetrygen')),
    async run(load, {over, onStart}) {
      const file = await program('telemetrygen')
      const one = async (number: number): Promise<Generated> => {
        const lines: string[] = []
        const onLine = (line: string) => {
          if (/ generated\t|exporter failed/.test(line)) lines.push(line)
        }
        try {
          await shell.run({file, args: telemetrygenArgs(load, number), onLine, onStart, signal: over})
          return readTelemetrygen(lines, load)
        } catch (error) {
          const {unsent, complaint} = readTelemetrygen(lines, load)
          return {made: undefined, unsent, complaint: complaint ?? (over.aborted ? undefined : messageOf(error).split('\n').at(-1))}
        }
      }
      return Promise.all(numbers(load).map(one))
    },
    cleared: async () => undefined,
    typed: (load) => numbers(load).map((number) => typed({file: 'telemetrygen', args: telemetrygenArgs(load, number)})),
  }
}
