import type {Signal} from '../../collector/config.ts'
import {grouped} from '../../output.ts'
import type {Measured} from '../compare.ts'
import type {Hop} from '../result.ts'
import {hopName} from '../verdict.ts'
import type {Flow} from './drawing.ts'
import {agentsShown} from './plots.ts'
import {sentSignals} from './tables.ts'

const colours = {metrics: 'var(--c1)', logs: 'var(--c2)', traces: 'var(--c3)'} as const satisfies Record<Signal, string>

const lossColour = 'var(--bad)'

type Band = Flow['bands'][number]
type Node = Flow['nodes'][number]

/** Counted over all repetitions; undefined where no repetition could read it. */
const sumOf = (hops: readonly Hop[], counter: 'accepted' | 'sent'): number | undefined => {
  const values = hops.map((hop) => hop[counter]).filter((value) => typeof value === 'number')
  return values.length === 0 ? undefined : values.reduce((all, value) => all + value, 0)
}

const stores = ['prometheus', 'loki', 'tempo']

/** generators → agents → gateway → exporters → stored, and where something is missing a branch with its number. */
export const flowOf = (run: Measured): Flow => {
  const hops = run.repetitions.flatMap((repetition) => repetition.hops)
  const isOneAgent = run.edges.length > agentsShown
  const placeOf = (hop: Hop) => (hop.hop === 'agent' && isOneAgent ? `${run.edges.length} agents` : hopName(hop))
  const nodes = new Map<string, Node>()
  const bands: Band[] = []
  const node = (id: string, label = id, colour = 'var(--soft)') => {
    nodes.set(id, {id, label, colour, isLoss: colour === lossColour})
    return id
  }
  const band = (from: string, to: string, items: number, colour: string) => {
    if (items > 0) bands.push({from, to, items, colour})
  }
  const total = sentSignals(run).reduce((all, signal) => all + run.signals[signal].generated, 0)
  const generators = node('generators', `generators\n${grouped(total)}`)
  for (const signal of sentSignals(run)) {
    const {generated, stored, explained, unexplained} = run.signals[signal]
    const colour = colours[signal]
    const groups = (kind: Hop['hop']) => [
      ...Map.groupBy(
        hops.filter((hop) => hop.hop === kind && hop.signal === signal),
        placeOf,
      ),
    ]
    const gateways = groups('gateway').map(([place]) => node(place))
    const gateway = gateways[0] ?? node('gateway')
    const agents = groups('agent')
    for (const [place, counted] of agents) {
      const share = generated / agents.length
      band(generators, node(place), sumOf(counted, 'accepted') ?? share, colour)
      band(place, gateway, sumOf(counted, 'sent') ?? share, colour)
    }
    if (agents.length === 0) band(generators, gateway, generated, colour)
    const away = [
      ...explained.filter(({items}) => items > 0),
      ...((unexplained ?? 0) > 0 ? [{where: '', why: 'unexplained', items: unexplained ?? 0}] : []),
    ]
    const exporters = groups('exporter')
    let last = gateway
    for (const [place, counted] of exporters) {
      const isStore = stores.some((store) => place.endsWith(store))
      const missing = away.filter(({where}) => where === place).reduce((all, {items}) => all + items, 0)
      band(gateway, node(place), (sumOf(counted, 'sent') ?? stored ?? generated) + missing, colour)
      if (isStore) last = place
    }
    if (stored === null) band(last, node(`${signal} unknown`, `${signal}\nnot counted in the store`), generated, 'var(--soft)')
    else band(last, node(`${signal} stored`, `${grouped(stored)}\n${signal} stored`, colour), stored, colour)
    for (const {where, why, items} of away) {
      const agent = isOneAgent && where.startsWith('agent ') ? `${run.edges.length} agents` : where
      const from = nodes.has(agent) ? agent : last
      band(from, node(`${signal} ${where} ${why}`, `${grouped(items)} ${signal}\n${why}`, lossColour), items, lossColour)
    }
  }
  const used = new Set(bands.flatMap(({from, to}) => [from, to]))
  return {title: 'Where the items went', nodes: [...nodes.values()].filter(({id}) => used.has(id)), bands: merged(bands)}
}

/** Repetitions lose at the same place more than once. */
const merged = (bands: readonly Band[]): readonly Band[] =>
  [...Map.groupBy(bands, ({from, to, colour}) => `${from}\n${to}\n${colour}`).values()].flatMap((same) => {
    const [first] = same
    return first ? [{...first, items: same.reduce((all, {items}) => all + items, 0)}] : []
  })
