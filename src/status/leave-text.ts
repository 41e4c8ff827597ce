import path from 'node:path'
import type {Fleet} from '../clusters.ts'
import {count, mark, nextCommands} from '../output.ts'

const shownFile = ({file}: Fleet): string => path.relative(process.cwd(), file.file) || file.file

/** What is to be agreed to before an edge leaves. */
export const leaveQuestions = (
  {hub, file}: Fleet,
  edge: string,
  {reached, queued, abandon}: {readonly reached: boolean; readonly queued: number | undefined; readonly abandon: boolean},
): readonly string[] => {
  const first = abandon ? '' : ` after ${hub.name} has got all that its agent holds`
  const later = reached || hub.elsewhere ? '' : ` (${hub.name} cannot be told now: it goes on knowing ${edge})`
  const items = queued === undefined ? 'All' : count(queued, 'item')
  return [
    `Take ${edge} out of the fleet ${file.fleet.fleet}, and remove what lkeobs made on it${first}?${later}`,
    ...(abandon ? [`${items} in the queue of ${edge} will never arrive. Abandon the queue?`] : []),
  ]
}

export const leftText = (fleet: Fleet, edge: string, reached: boolean): string =>
  reached
    ? `${edge} has left: nothing of it is left on it, ${fleet.hub.name} no longer lets it in, and it is not in ${shownFile(fleet)}.\n${nextCommands(['lkeobs status'])}`
    : fleet.hub.elsewhere
      ? [
          `${edge} has left: ${fleet.hub.name} has all that it held, and nothing of it is left on it. It is not in ${shownFile(fleet)}.`,
          nextCommands([`lkeobs edge evict ${edge}          (on ${fleet.hub.name}, which still knows it)`]),
        ].join('\n')
      : [
          `Nothing of ${edge} is left on it.`,
          `${mark.not} ${fleet.hub.name} still knows it: its Vault does not answer, or is sealed. So it stays in ${shownFile(fleet)}.`,
          nextCommands([`lkeobs edge leave ${edge}          (again, when Vault of ${fleet.hub.name} answers)`]),
        ].join('\n')

export const nothingToLeave = (fleet: Fleet, edge: string): string =>
  `Nothing to do: there is no edge ${edge} in ${shownFile(fleet)}; the edges are ${fleet.edges.map(({name}) => name).join(', ') || 'none'}.`
