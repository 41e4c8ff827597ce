import {signals} from '../collector/config.ts'
import {dim, duration, grouped, mark, nextCommands, printable, table} from '../output.ts'
import type {Attention, QueueStatus} from './attention.ts'
import type {EdgeStatus, FleetStatus, Flow, Passage} from './fleet.ts'
import {addReasons, type Reasons, totalOf} from './queues.ts'

const flowMark = {sending: mark.so, idle: mark.skipped, unknown: mark.skipped} as const satisfies Record<Flow, string>
const attentionMark = {failed: mark.not, soon: mark.soon} as const satisfies Record<Attention['level'], string>

const passages = ({data}: EdgeStatus, collector: 'agent' | 'gateway'): readonly Passage[] =>
  signals.flatMap((signal) => data[signal][collector] ?? [])

const sumOf = (all: readonly (number | null)[]): string =>
  all.length === 0 || all.includes(null) ? '?' : grouped(all.reduce<number>((sum, items) => sum + (items ?? 0), 0))

const reasonsOf = (all: readonly Reasons[]): Reasons => all.reduce(addReasons, {})

const oldestText = (all: readonly Passage[]): string => {
  const ages = all.flatMap(({waiting, oldestSeconds}) => (waiting === 0 ? [] : [oldestSeconds]))
  if (all.length === 0 || ages.includes(null)) return '?'
  return ages.length === 0 ? '–' : duration(Math.max(...ages.map((age) => age ?? 0)) * 1000)
}

const edgeRow = (edge: EdgeStatus): readonly string[] => {
  const {name, ok, sending, freshSeconds, queued, certificate, problem} = edge
  const [agent, gateway] = [passages(edge, 'agent'), passages(edge, 'gateway')]
  const waiting = [...agent, ...gateway]
  const isHeard = freshSeconds !== undefined && freshSeconds < 60
  return [
    `${ok ? mark.so : mark.not} ${name}`,
    signals.map((signal) => (isHeard ? flowMark[sending[signal]] : mark.not)).join(' '),
    freshSeconds === undefined ? 'never' : duration(freshSeconds * 1000),
    sumOf(gateway.map(({accepted}) => accepted)),
    sumOf(gateway.map(({stored}) => stored)),
    gateway.length === 0 ? '?' : grouped(totalOf(reasonsOf(waiting.map(({takenOut}) => takenOut)))),
    waiting.length === 0 ? (queued === undefined ? '?' : grouped(queued)) : sumOf(waiting.map((one) => one.waiting)),
    oldestText(waiting),
    problem ? `unknown: ${problem.code}` : certificate === undefined ? 'none' : `${duration(certificate.leftSeconds * 1000)} (auto)`,
  ]
}

const percentText = (percent: number): string => `${percent > 0 && percent < 1 ? '<1' : Math.round(percent)}%`

/** `logs 12%, full in 3h00m`; where it does not grow, how long an outage it has room for. */
const queueText = ({signal, sink, percent, fullInSeconds, fullInWhen}: QueueStatus): string => {
  const when = fullInSeconds === null ? '' : duration(fullInSeconds * 1000)
  return [
    `${signal}${sink === '' ? '' : ` for ${sink}`} ${percentText(percent)}`,
    ...(fullInSeconds === null ? [] : [fullInWhen === 'growing' ? `full in ${when}` : `full in ${when} of an outage`]),
  ].join(', ')
}

const attentionLines = ({level, what, answer}: Attention): readonly string[] => [
  `${attentionMark[level]} ${what}`,
  ...(answer === undefined
    ? []
    : printable(answer.trim(), {lines: true})
        .split('\n')
        .map((line) => dim(`    ${line}`))),
]

const reasonsText = (reasons: Reasons): string =>
  totalOf(reasons) === 0
    ? '0'
    : Object.entries(reasons)
        .toSorted(([, one], [, other]) => other - one)
        .map(([reason, items]) => `${printable(reason)} ${grouped(items)}`)
        .join(', ')

const numberText = (items: number | null): string => (items === null ? '?' : grouped(items))

/** A row for each edge and signal: the agent on its way to the hub, then the gateway on its way to the store. */
const wideTable = (edges: readonly EdgeStatus[]): string => {
  const rows = edges.flatMap((edge) =>
    signals.flatMap((signal) =>
      (['agent', 'gateway'] as const).flatMap((collector) => {
        const passage = edge.data[signal][collector]
        if (!passage) return []
        return [
          [
            edge.name,
            signal,
            collector,
            numberText(passage.accepted),
            numberText(passage.stored),
            reasonsText(passage.repaired),
            reasonsText(passage.takenOut),
            reasonsText(passage.dropped),
            reasonsText(passage.refused),
            grouped(passage.waiting),
            oldestText([passage]),
          ],
        ]
      }),
    ),
  )
  return table(['edge', 'signal', 'at', 'accepted', 'passed on', 'repaired', 'taken out', 'dropped', 'refused', 'waiting', 'oldest'], rows)
}

/** One row for each edge, and one block for what needs attention. */
export const fleetStatusText = ({fleet, ok, lab, hub, edges, attention}: FleetStatus, {wide = false} = {}): string => {
  const parts = Object.entries(hub.components).map(
    ([component, state]) => `${component} ${state === 'ready' ? mark.so : `${mark.not} ${state}`}`,
  )
  const silent = edges.filter(({freshSeconds}) => freshSeconds === undefined || freshSeconds >= 60).length
  const stuck = edges.filter((edge) => !edge.ok).length - silent
  const isHubReady =
    Object.values(hub.components).every((state) => state === 'ready') &&
    attention.every(({level, collector}) => level !== 'failed' || collector !== 'gateway')
  const next = [
    ...(attention.some(({kind}) => kind === 'dead-letters') ? ['lkeobs dead-letters list'] : []),
    ...(ok
      ? ['lkeobs verify --all']
      : silent === 0 && attention.some(({level}) => level === 'failed')
        ? ['lkeobs status --wide', 'lkeobs doctor']
        : lab
          ? ['lkeobs lab status', 'lkeobs lab up']
          : ['lkeobs hub status', 'lkeobs doctor']),
  ]
  return [
    `fleet ${fleet}   hub ${isHubReady ? mark.so : mark.not}   edges ${edges.length}: ${edges.length - silent} sending, ${silent} silent${stuck > 0 ? `, ${stuck} not delivered` : ''}`,
    '',
    ...(edges.length > 0
      ? [table(['edge', 'm l t', 'fresh', 'accepted', 'stored', 'taken out', 'waiting', 'oldest', 'certificate'], edges.map(edgeRow))]
      : [dim('no edges')]),
    ...(wide && edges.length > 0
      ? [
          '',
          wideTable(edges),
          '',
          ...edges.flatMap(({name, queues}) => (queues.length > 0 ? [`queues of ${name}   ${queues.map(queueText).join('   ')}`] : [])),
        ]
      : []),
    `${hub.name}   ${parts.join('  ')}`,
    ...(hub.queues.length > 0 ? [`queues of ${hub.name}   ${hub.queues.map(queueText).join('   ')}`] : []),
    ...(attention.length > 0 ? ['', ...attention.flatMap(attentionLines)] : []),
    ...[{...hub, problem: undefined}, ...edges].flatMap(({name, vault: {open, reason}, problem}) =>
      reason === undefined ? [] : [`${open || problem ? mark.soon : mark.not} Vault of ${name}: ${reason}`],
    ),
    nextCommands(next),
  ].join('\n')
}
