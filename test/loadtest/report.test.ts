import {describe, expect, test} from 'vitest'
import {compare} from '../../src/loadtest/compare.ts'
import {flowOf} from '../../src/loadtest/report/flow.ts'
import {loadTestMarkdown} from '../../src/loadtest/report/markdown.ts'
import {loadTestPage} from '../../src/loadtest/report/page.ts'
import {figuresOf} from '../../src/loadtest/report/plots.ts'
import {loadTestText} from '../../src/loadtest/report/text.ts'
import type {Repetition} from '../../src/loadtest/result.ts'
import {madeRun} from './runs.ts'

const lossy = madeRun({lost: {logs: {where: 'otlp_http/loki', why: 'queue full', items: 1234}}})

/** Elements that are opened and not closed, or the other way round. */
const unbalanced = (page: string): readonly string[] => {
  const open: string[] = []
  const wrong: string[] = []
  const text = page.replaceAll(/<!doctype html>|<!\[CDATA\[[\s\S]*?\]\]>|<style>[\s\S]*?<\/style>/g, '')
  for (const [, closing, name = '', rest = ''] of text.matchAll(/<(\/?)([a-zA-Z][\w]*)([^<>]*)>/g)) {
    if (closing) {
      if (open.pop() !== name) wrong.push(`</${name}>`)
    } else if (!rest.endsWith('/') && name !== 'meta') open.push(name)
  }
  return [...wrong, ...open]
}

const repetitionOf = ({repetitions: [first]}: {readonly repetitions: readonly Repetition[]}): Repetition => {
  if (!first) throw new Error('there is no repetition')
  return first
}

describe('the page', () => {
  test.for([
    ['of a run that passed', loadTestPage(madeRun())],
    ['of one that lost something', loadTestPage(lossy)],
    ['of one whose gateway was killed', loadTestPage(madeRun({gatewayKilledAt: 40}))],
    [
      'of one with many edges and repetitions',
      loadTestPage(madeRun({edges: Array.from({length: 12}, (_, at) => `edge-${at}`), repetitions: 2})),
    ],
    ['of one that measured nothing', loadTestPage({...madeRun({partial: true}), repetitions: []})],
  ] as const)('%s is well-formed and needs nothing but itself', ([, page]) => {
    expect(unbalanced(page)).toEqual([])
    expect(page).not.toMatch(/<script|<link|<img|<iframe|@import|url\(\s*["']?(?!#)/i)
    // names of namespaces are no references
    expect(page.replaceAll(/ xmlns(:\w+)?="[^"]*"/g, '')).not.toMatch(/https?:/)
    expect(page).not.toMatch(/NaN|undefined|Infinity/)
  })

  test('says the verdict first, with number and place, and shows the flow with its branch', () => {
    const page = loadTestPage(lossy)
    expect(page).toContain('<h1 class="bad">Fail</h1>')
    expect(page).toContain('<li>logs: 1,234 of 1,200,000 lost at otlp_http/loki: queue full</li>')
    expect(page.indexOf('<h1')).toBeLessThan(page.indexOf('<svg'))
    expect(page).toMatch(/<text[^>]*>1,234 logs<\/text>/)
  })

  test('has a plot of everything that was measured over time', () => {
    const titles = [...loadTestPage(madeRun()).matchAll(/<figcaption>([^<]*)</g)].map(([, title]) => title)
    expect(titles).toEqual([
      'metrics, items a second',
      'logs, items a second',
      'traces, items a second',
      'latency, sent to queryable',
      'waiting in queues, items',
      'CPU, cores',
      'memory, resident',
    ])
  })

  test('escapes what others have named', () => {
    const page = loadTestPage(madeRun({edges: ['<b>&"edge'], run: '<i>'}))
    expect(page).not.toContain('<b>')
    expect(page).not.toContain('<i>')
    expect(unbalanced(page)).toEqual([])
  })

  test('shows what it was compared with', () => {
    const page = loadTestPage(madeRun(), compare(madeRun({run: 'before'}), madeRun({seed: 3})))
    expect(page).toContain('<h2>Against before</h2>')
  })
})

describe('the plots', () => {
  test('a gap is a gap, and what happened is marked', () => {
    const [metrics] = figuresOf(repetitionOf(madeRun({gatewayKilledAt: 40})))
    const gateway = metrics?.plot.lines.find(({name}) => name === 'gateway hub')
    const at = (second: number) => gateway?.values[metrics?.plot.seconds.indexOf(second) ?? -1]
    expect(metrics?.plot.marks).toEqual([40, 50])
    expect([at(39), at(40), at(49), at(50)].map((value) => value === null)).toEqual([false, true, true, false])
  })

  test('a long run is drawn in fewer moments, and a gap is still seen', () => {
    const [metrics] = figuresOf(repetitionOf(madeRun({windowSeconds: 3600, gatewayKilledAt: 1000})))
    expect(metrics?.plot.seconds.length).toBeLessThanOrEqual(280)
    expect(metrics?.plot.lines.find(({name}) => name === 'gateway hub')?.values).toContain(null)
  })

  test('many agents are one line, of all of them', () => {
    const figures = figuresOf(repetitionOf(madeRun({edges: Array.from({length: 12}, (_, at) => `edge-${at}`)})))
    expect(figures[0]?.entries.map(({name}) => name)).toEqual(['12 agents together', 'gateway hub', 'otlp_http/prometheus'])
    expect(Number(figures[0]?.entries[0]?.mean.replace(',', ''))).toBeGreaterThan(49_000)
  })
})

test('the flow carries as much as was counted', () => {
  const {bands} = flowOf(lossy)
  const between = (from: string, to: string) => bands.filter((band) => band.from === from && band.to === to).map(({items}) => items)
  expect(between('generators', 'agent edge-1')).toEqual([6_000_000, 1_200_000, 600_000])
  expect(between('otlp_http/loki', 'logs stored')).toEqual([1_198_766])
  expect(bands.filter(({colour}) => colour === 'var(--bad)')).toMatchObject([{from: 'otlp_http/loki', items: 1234}])
})

test('a hop whose counter could not be read is not taken for nothing', () => {
  const run = madeRun()
  const repetitions = run.repetitions.map((repetition) => ({
    ...repetition,
    hops: repetition.hops.map((hop) => (hop.hop === 'agent' ? {...hop, sent: null} : hop)),
  }))
  expect(flowOf({...run, repetitions}).bands.find(({from}) => from === 'agent edge-1')?.items).toBe(6_000_000)
  expect(loadTestPage({...run, repetitions})).toContain('not read')
})

test('the terminal shows verdict, signals and cost', () => {
  const lines = loadTestText(lossy).split('\n')
  expect(lines[0]).toMatch(/FAIL.*baseline {2}edge-1 → hub {2}2m00s {2}local, 2 cores {2}run 4b1f09ce/)
  expect(lines[1]).toBe('  logs: 1,234 of 1,200,000 lost at otlp_http/loki: queue full')
  expect(lines.find((line) => line.startsWith('logs '))?.split(/ +/)).toEqual([
    'logs',
    '10,000/s',
    '10,000/s',
    '9,990/s',
    '1,234',
    '411ms',
    '1.2s',
  ])
  expect(lines.find((line) => line.startsWith('loki '))).toMatch(/hub +0\.12 +0\.\d\d +11\.\d ms +\d+ MB/)
})

test('the summary for a pull request', () => {
  const [head] = loadTestMarkdown(lossy).split('<details>')
  expect(head).toMatchInlineSnapshot(`
    "### Load test: fail

    baseline · edge-1 → hub · 2m00s · local, 2 cores · run 4b1f09ce

    - logs: 1,234 of 1,200,000 lost at otlp\\_http/loki: queue full

    | signal | offered | generated | stored | lost | p50 | p99 |
    | --- | ---: | ---: | ---: | ---: | ---: | ---: |
    | metrics | 50,000/s | 50,000/s | 50,000/s | 0 | 911ms | 2.7s |
    | **logs** | **10,000/s** | **10,000/s** | **9,990/s** | **1,234** | **411ms** | **1.2s** |
    | traces | 5,000/s | 5,000/s | 5,000/s | 0 | 1.6s | 4.2s |

    "
  `)
})

test('a name in the summary stays in its cell', () => {
  const markdown = loadTestMarkdown(madeRun({edges: ['a|b <img>']}))
  expect(markdown).toContain(String.raw`a\|b \<img\>`)
})
