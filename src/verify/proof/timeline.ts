import {signals} from '../../collector/config.ts'
import {escaped} from '../report.ts'
import type {Mark, Moment, Proof} from './prove.ts'

const width = 960
const left = 56
const right = 12
const band = 110
const tops = {sent: 48, queue: 48 + band + 30} as const
const bottom = tops.queue + band
const height = bottom + 24

const titles = {sent: 'sent each second', queue: 'waiting in the agents'} as const

const most = (values: readonly (number | null)[]): number => values.reduce<number>((top, value) => Math.max(top, value ?? 0), 1)

/** Fewer, longer moments where there are more than can be drawn: the mean of what was sent, the most of what waited. */
const drawn = (timeline: readonly Moment[]): readonly Moment[] => {
  const step = Math.ceil(timeline.length / 480)
  return timeline
    .filter(({second}) => second % step === 0)
    .map(({second}) => {
      const part = timeline.slice(second, second + step)
      const queues = part.map(({queue}) => queue)
      return {
        second,
        sent: Math.round(part.reduce((sum, {sent}) => sum + sent, 0) / part.length),
        queue: queues.includes(null) ? null : Math.max(...queues.map((queue) => queue ?? 0)),
      }
    })
}

/** 1, 2 or 5 times a power of ten: about eight of them in the whole. */
const tickOf = (seconds: number): number => {
  const power = 10 ** Math.floor(Math.log10(Math.max(seconds / 8, 1)))
  return [1, 2, 5, 10].map((factor) => factor * power).find((tick) => tick >= seconds / 8) ?? power
}

/** What was sent and what waited over time, what is lost, and the moments the work named, as numbers of the list below it. */
export const timelineSvg = ({timeline, work, marks, edges}: Proof): string => {
  const moments = drawn(timeline)
  const seconds = Math.max(timeline.length, 1)
  const x = (second: number) => Math.round((left + (second / seconds) * (width - left - right)) * 10) / 10
  const highest = {sent: most(moments.map(({sent}) => sent)), queue: most(moments.map(({queue}) => queue))}
  const y = (of: 'sent' | 'queue', value: number) => Math.round((tops[of] + band - (value / highest[of]) * band) * 10) / 10

  // an agent that did not answer leaves a gap
  const lines = (of: 'sent' | 'queue'): string => {
    let isOpen = false
    return moments
      .map(({second, [of]: value}) => {
        const command = value === null ? '' : `${isOpen ? 'L' : 'M'}${x(second + 0.5)} ${y(of, value)}`
        isOpen = value !== null
        return command
      })
      .join('')
  }
  const axis = (of: 'sent' | 'queue') => [
    `<line x1="${left}" x2="${width - right}" y1="${tops[of] + band}" y2="${tops[of] + band}" stroke="var(--line)"/>`,
    `<text x="${left - 6}" y="${tops[of] + 4}" text-anchor="end">${highest[of]}</text>`,
    `<text x="${left - 6}" y="${tops[of] + band + 4}" text-anchor="end">0</text>`,
    `<path d="${lines(of)}" fill="none" stroke="var(--${of})" stroke-width="1.5" stroke-linejoin="round"/>`,
  ]
  const tick = tickOf(seconds)
  const ticks = Array.from({length: Math.floor(seconds / tick) + 1}, (_, index) => index * tick)
  const gaps = edges.flatMap(({edge, missing}) => signals.flatMap((signal) => missing[signal].map((gap) => ({edge, signal, ...gap}))))
  let numberedTo = 0
  const moment = ({second, what}: Mark, index: number) => {
    const line = `<line x1="${x(second)}" x2="${x(second)}" y1="${tops.sent - 26}" y2="${bottom}" stroke="var(--soft)" stroke-dasharray="2 3"/>`
    // of those close together the first has its number
    const number = x(second) < numberedTo ? '' : `<text x="${x(second)}" y="${tops.sent - 32}" text-anchor="middle">${index + 1}</text>`
    if (number !== '') numberedTo = x(second) + 14
    return `<g><title>${escaped(what)}</title>${line}${number}</g>`
  }
  return [
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="items sent and waiting over time">`,
    `<rect x="${x(work.from)}" y="${tops.sent}" width="${Math.max(x(work.to) - x(work.from), 1)}" height="${bottom - tops.sent}" fill="var(--work)"><title>the work</title></rect>`,
    ...axis('sent'),
    ...axis('queue'),
    ...ticks.map((second) => `<text x="${x(second)}" y="${bottom + 16}" text-anchor="middle">${second} s</text>`),
    ...gaps.map(
      ({edge, signal, first, last, second}) =>
        `<circle cx="${x(second)}" cy="${tops.sent + band}" r="4" fill="var(--bad)"><title>${escaped(`lost: ${signal} of ${edge}, ${first} to ${last}`)}</title></circle>`,
    ),
    ...marks.map(moment),
    // above the lines of the moments
    ...(['sent', 'queue'] as const).map((of) => `<text x="${left}" y="${tops[of] - 8}">${titles[of]}</text>`),
    '</svg>',
  ].join('\n')
}
