import {setTimeout as sleep} from 'node:timers/promises'
import type {DataLab} from '../support/data-lab.ts'

const victims = [
  ['hub', 'gateway'],
  ['edge-1', 'agent'],
  ['hub', 'loki'],
  ['hub', 'gateway'],
  ['hub', 'tempo'],
  ['edge-1', 'agent'],
  ['hub', 'prometheus'],
  ['hub', 'gateway'],
  ['edge-1', 'agent'],
  ['hub', 'gateway'],
] as const

type Wish = {
  /** Components that are killed; ten kills in any case. */
  readonly only?: readonly string[]
  /** They are started as they were, and not by `lab up`, which mends what else was changed. */
  readonly asItWas?: boolean
}

/** Kills -9 ten times while some work is done, each time another process, and brings it back; ends when both are over. */
export const killingAround = async (lab: DataLab, work: () => Promise<void>, {only, asItWas}: Wish = {}): Promise<readonly string[]> => {
  const killed: string[] = []
  const wanted = victims.filter(([, component]) => only?.includes(component) ?? true)
  const killing = async () => {
    for (let at = 0; at < victims.length; at++) {
      const [cluster, component] = wanted[at % wanted.length] ?? victims[0]
      await sleep(500 + Math.random() * 3000)
      const away = () => sleep(Math.random() * 2000)
      if (asItWas) await lab.restart(cluster, component, away)
      else {
        await lab.kill(cluster, component)
        await away()
        await lab.inTurn(() => lab.done('lab', 'up'))
      }
      killed.push(`${component} of ${cluster}`)
    }
  }
  await Promise.all([work(), killing()])
  return killed
}
