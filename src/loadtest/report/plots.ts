import {signals} from '../../collector/config.ts'
import {bytes, duration, grouped} from '../../output.ts'
import type {Line, Repetition} from '../result.ts'
import type {Plot} from './drawing.ts'

/** What a line is called below its plot, and its figures within the window. */
type Entry = {readonly name: string; readonly colour: string; readonly isDashed: boolean; readonly mean: string; readonly most: string}

export type Figure = {readonly plot: Plot; readonly entries: readonly Entry[]; readonly note: string}

type Way = {
  readonly title: string
  readonly lines: readonly Line[]
  /** A figure, as the list below the plot writes it. */
  readonly written: (value: number) => string
  /** The same where there is little room. */
  readonly tick: (value: number) => string
  /** Of several values that fall together: their mean, or the most. */
  readonly together: 'mean' | 'most'
  readonly isDotted?: boolean
}

/** More moments than this cannot be told apart in a plot. */
const moments = 280
/** More lines than this cannot be told apart either. */
const colours = 8
/** More agents than this are drawn as one. */
export const agentsShown = 4

const mean = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0) / values.length
const most = (values: readonly number[]): number => Math.max(...values)
const known = (values: readonly (number | null)[]): readonly number[] => values.filter((value) => value !== null)

/** 50k, 1.5M */
const short = (value: number): string =>
  value >= 1e6
    ? `${Number((value / 1e6).toFixed(1))}M`
    : value >= 1000
      ? `${Number((value / 1000).toFixed(1))}k`
      : String(Number(value.toFixed(2)))

/** Without the signal at its end, which the title of the plot names. */
const ofSignal = (lines: readonly Line[], signal: string): readonly Line[] =>
  lines.filter(({name}) => name.endsWith(` ${signal}`)).map((line) => ({...line, name: line.name.slice(0, -signal.length - 1)}))

/** Many agents are one line, their sum: a moment in which one did not answer is a gap. */
const agentsTogether = (lines: readonly Line[]): readonly Line[] => {
  const isAgent = ({name}: Line) => /^(otelcol )?agent /.test(name)
  const groups = Map.groupBy(lines.filter(isAgent), ({name}) => signals.find((signal) => name.endsWith(` ${signal}`)) ?? '')
  if ([...groups.values()].every((agents) => agents.length <= agentsShown)) return lines
  const sums = [...groups].map(([signal, agents]) => ({
    name: `${agents.length} agents together ${signal}`.trimEnd(),
    values: (agents[0]?.values ?? []).map((_, index) => {
      const values = known(agents.map(({values: own}) => own[index] ?? null))
      return values.length < agents.length ? null : values.reduce((all, value) => all + value, 0)
    }),
  }))
  return [...sums, ...lines.filter((line) => !isAgent(line))]
}

const waysOf = ({timeline}: Repetition): readonly Way[] => {
  const items = {written: (value: number) => grouped(Math.round(value)), tick: short}
  return [
    ...signals.map((signal): Way => ({
      title: `${signal}, items a second`,
      lines: ofSignal(agentsTogether(timeline.rates), signal),
      ...items,
      together: 'mean',
    })),
    {title: 'latency, sent to queryable', lines: timeline.latency, written: duration, tick: duration, together: 'most', isDotted: true},
    {title: 'waiting in queues, items', lines: agentsTogether(timeline.queues), ...items, together: 'most'},
    {title: 'CPU, cores', lines: agentsTogether(timeline.cpu), written: (value) => value.toFixed(2), tick: short, together: 'mean'},
    {title: 'memory, resident', lines: timeline.memory, written: bytes, tick: bytes, together: 'most'},
  ]
}

/** Fewer, longer moments where there are more than can be drawn. A moment with a gap in it is a gap, unless there are dots. */
const drawn = (values: readonly (number | null)[], step: number, {together, isDotted}: Way): readonly (number | null)[] =>
  Array.from({length: Math.ceil(values.length / step)}, (_, index) => {
    const part = values.slice(index * step, (index + 1) * step)
    const there = known(part)
    if (there.length === 0 || (isDotted !== true && there.length < part.length)) return null
    return together === 'mean' ? mean(there) : most(there)
  })

/** Along the way: agents, the gateway, what is behind it, and at last what makes the load. */
const ranks = [/^(otelcol )?agent |^\d+ agents together/, /^(otelcol )?gateway /, /^(?!telemetrygen|lkeobs)/]
const rankOf = ({name}: Line): number => {
  const rank = ranks.findIndex((each) => each.test(name))
  return rank === -1 ? ranks.length : rank
}
const alongTheWay = (lines: readonly Line[]): readonly Line[] => lines.toSorted((a, b) => rankOf(a) - rankOf(b))

/** The lines that matter: those that are not always nothing, the greatest first where there are too many. */
const chosen = (
  lines: readonly Line[],
): {readonly shown: readonly Line[]; readonly rest: readonly Line[]; readonly none: readonly Line[]} => {
  const none = lines.filter(({values}) => known(values).every((value) => value === 0))
  const some = lines.filter((line) => !none.includes(line))
  const greatest = some
    .toSorted((a, b) => most(known(b.values)) - most(known(a.values)))
    .slice(0, some.length > colours ? colours - 1 : colours)
  return {shown: some.filter((line) => greatest.includes(line)), rest: some.filter((line) => !greatest.includes(line)), none}
}

/** The plots of a repetition; those of which nothing is known are left out. */
export const figuresOf = (repetition: Repetition): readonly Figure[] => {
  const {timeline, warmUpSeconds, windowSeconds, happenings} = repetition
  const step = Math.ceil(timeline.seconds.length / moments)
  const seconds = timeline.seconds.filter((_, index) => index % step === 0).map((second) => second - warmUpSeconds)
  const inWindow = (values: readonly (number | null)[]) =>
    known(
      values.filter((_, index) => {
        const second = (timeline.seconds[index] ?? 0) - warmUpSeconds
        return second >= 0 && second < windowSeconds
      }),
    )
  return waysOf(repetition).flatMap((way) => {
    const {shown, rest, none} = chosen(alongTheWay(way.lines))
    if (shown.length === 0) return []
    const looks = shown.map((line, index) => ({line, colour: `var(--c${index + 1})`, isDashed: index % 2 === 1}))
    const figure = (values: readonly number[], of: typeof mean) => (values.length === 0 ? 'not read' : way.written(of(values)))
    return [
      {
        plot: {
          title: way.title,
          seconds,
          lines: [
            ...rest.map((line) => ({...line, values: drawn(line.values, step, way), colour: 'var(--line)', isDashed: false})),
            ...looks.map(({line, colour, isDashed}) => ({...line, values: drawn(line.values, step, way), colour, isDashed})),
          ],
          window: {from: 0, to: windowSeconds},
          marks: happenings.map(({second}) => second - warmUpSeconds),
          tick: way.tick,
          isDotted: way.isDotted === true,
        },
        entries: looks.map(({line, colour, isDashed}) => {
          const values = inWindow(line.values)
          return {name: line.name, colour, isDashed, mean: figure(values, mean), most: figure(values, most)}
        }),
        note: [
          ...(rest.length > 0 ? [`grey: ${rest.map(({name}) => name).join(', ')}`] : []),
          ...(none.length > 0 ? [`nothing: ${none.map(({name}) => name).join(', ')}`] : []),
        ].join('; '),
      },
    ]
  })
}
