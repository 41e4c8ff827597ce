import {duration, grouped} from '../../output.ts'
import {style} from '../../pages.ts'
import {escaped} from '../../verify/report.ts'
import type {Comparison} from '../compare.ts'
import type {LoadTest, Repetition} from '../result.ts'
import {flowSvg, plotSvg} from './drawing.ts'
import {flowOf} from './flow.ts'
import {type Figure, figuresOf} from './plots.ts'
import {
  balanceTable,
  comparisonTable,
  costTable,
  headline,
  hopsTable,
  kneeTable,
  sentSignals,
  signalsTable,
  type Table,
  wireTable,
} from './tables.ts'

const ownStyle = `
:root{--c1:#2f6fd0;--c2:#c2570c;--c3:#0b8074;--c4:#8446c6;--c5:#b5307c;--c6:#7a5c1e;--c7:#5b6b7b;--c8:#66750c}
@media (prefers-color-scheme:dark){:root{--c1:#6ca8f5;--c2:#f0a050;--c3:#3cc8b8;--c4:#b98af0;--c5:#f07ab8;--c6:#c9a765;--c7:#9aa8b6;--c8:#b3c24a}}
body{max-width:78rem}
ul.reasons{margin:.75rem 0 0;padding-left:1.25rem}
table{width:auto;min-width:min(100%,38rem)}
th,td{padding-right:1.5rem}
th:last-child,td:last-child{padding-right:0}
tr.bad td{color:var(--bad);font-weight:600}
svg{display:block;width:100%;height:auto}
.flow svg{min-width:52rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));gap:1.5rem 2rem;margin-top:.75rem}
figure{margin:0;min-width:0;break-inside:avoid}
figure svg{min-width:27rem}
figcaption{font-weight:600;font-size:.95rem}
figure table{width:100%;min-width:0;font-size:.85rem}
figure p{font-size:.85rem}
figure th{font-weight:400;color:var(--soft)}
figure th,figure td{padding:.1rem .75rem .1rem 0;border:0}
.key{width:1.5rem;min-width:1.5rem;height:.6rem;display:inline-block;margin-right:.4rem;vertical-align:baseline}
summary{cursor:pointer;margin:1rem 0;font-size:1.1rem;font-weight:600}
@media print{body{max-width:none;padding:0}.wide{overflow:visible}h2{break-after:avoid}tr{break-inside:avoid}.flow svg,figure svg{min-width:0}}
`

const tableOf = ({header, rows, numbers, bad}: Table): string => {
  const cells = (tag: 'td' | 'th', values: readonly string[]) =>
    values.map((value, column) => `<${tag}${column >= numbers ? ' class="number"' : ''}>${escaped(value)}</${tag}>`).join('')
  const body = rows.map((row, index) => `<tr${bad.includes(index) ? ' class="bad"' : ''}>${cells('td', row)}</tr>`)
  return `<div class="wide"><table><thead><tr>${cells('th', header)}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table></div>`
}

const section = (table: Table): string =>
  table.rows.length === 0 ? '' : `<h2>${escaped(table.title)}</h2>\n${tableOf(table)}\n<p class="soft">${escaped(table.note)}</p>`

/** How a line looks, beside its name. */
const key = (colour: string, isDashed: boolean, isDotted: boolean): string => {
  const line = `<line x1="0" x2="24" y1="5" y2="5" stroke="${colour}" stroke-width="3"${isDashed ? ' stroke-dasharray="6 4"' : ''}/>`
  return `<svg class="key" viewBox="0 0 24 10" aria-hidden="true">${isDotted ? `<circle cx="12" cy="5" r="4" fill="${colour}"/>` : line}</svg>`
}

const figureOf = ({plot, entries, note}: Figure): string => {
  const rows = entries.map(
    ({name, colour, isDashed, mean, most}) =>
      `<tr><td>${key(colour, isDashed, plot.isDotted)}${escaped(name)}</td><td class="number">${mean}</td><td class="number">${most}</td></tr>`,
  )
  return `<figure><figcaption>${escaped(plot.title)}</figcaption>
<div class="wide">${plotSvg(plot)}</div>
<div class="wide"><table><thead><tr><th></th><th class="number">mean</th><th class="number">most</th></tr></thead><tbody>${rows.join('')}</tbody></table></div>
${note === '' ? '' : `<p class="soft">${escaped(note)}</p>`}</figure>`
}

const happeningsOf = ({happenings, warmUpSeconds}: Repetition): string =>
  happenings.length === 0
    ? ''
    : `<ol>${happenings.map(({second, what}) => `<li>${escaped(what)} <span class="soft">${Math.round(second - warmUpSeconds)} s</span></li>`).join('')}</ol>`

const plotsOf = (repetition: Repetition): string =>
  `${happeningsOf(repetition)}<div class="plots">\n${figuresOf(repetition).map(figureOf).join('\n')}\n</div>`

/** The repetition in which most happened is open, the others are folded. */
const repetitionsOf = ({repetitions, knee}: LoadTest): string => {
  if (repetitions.length === 1) return repetitions.map(plotsOf).join('')
  const weight = ({signals, happenings}: Repetition) =>
    Object.values(signals).reduce((all, {lost}) => all + (lost ?? 1), 0) + happenings.length
  const heaviest = repetitions.toSorted((a, b) => weight(b) - weight(a))[0]
  return repetitions
    .map(
      (repetition, index) =>
        `<details${repetition === heaviest ? ' open' : ''}><summary>${knee ? `${knee.steps[index]?.percent} %` : `Repetition ${index + 1}`}</summary>${plotsOf(repetition)}</details>`,
    )
    .join('\n')
}

/** The figures that are looked for first. */
const keyFigures = (run: LoadTest): readonly (readonly [string, string])[] => {
  const sent = sentSignals(run)
  const all = (of: 'generated' | 'stored' | 'lost' | 'unexplained') => {
    const values = sent.map((signal) => run.signals[signal][of])
    return values.includes(null) ? 'not known' : grouped(values.reduce<number>((sum, value) => sum + (value ?? 0), 0))
  }
  const slowest = Math.max(...sent.map((signal) => run.signals[signal].latencyMs.p99 ?? Number.NaN))
  const drains = run.repetitions.map(({drainSeconds}) => drainSeconds)
  return [
    ['generated', all('generated')],
    ['stored', all('stored')],
    ['lost', all('lost')],
    ['unexplained', all('unexplained')],
    ['p99, slowest signal', Number.isFinite(slowest) ? duration(slowest) : 'not known'],
    [
      'at rest after',
      drains.includes(null) || drains.length === 0 ? 'never' : duration(Math.max(...drains.map((seconds) => seconds ?? 0)) * 1000),
    ],
  ]
}

const classes = {pass: 'good', fail: 'bad', inconclusive: 'unsure'} as const
const titles = {pass: 'Pass', fail: 'Fail', inconclusive: 'Inconclusive'} as const

/** A load test as one HTML page that needs nothing but itself. */
export const loadTestPage = (run: LoadTest, comparison?: Comparison): string => {
  const {verdict, fingerprint, profile, startedAt, fleet} = run
  const {machine, versions, configuration} = fingerprint
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  const printed = `${machine.processor}, ${machine.cores} cores. ${programs.join(', ')}. Configuration ${configuration.slice(0, 8)}, profile ${fingerprint.profile.slice(0, 8)}.`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escaped(`Load test ${run.run}: ${verdict.result}`)}</title>
<style>${style}${ownStyle}</style>
</head>
<body>
<p class="soft">${escaped(`Load test: ${headline(run).join(' · ')}`)}</p>
<h1 class="${classes[verdict.result]}">${titles[verdict.result]}</h1>
<ul class="reasons">${verdict.reasons.map((reason) => `<li>${escaped(reason)}</li>`).join('')}</ul>
<dl>${keyFigures(run)
    .map(([name, value]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`)
    .join('')}</dl>
${section(run.knee ? kneeTable(run) : signalsTable(run))}
<h2>Where the items went</h2>
<div class="wide flow">${run.repetitions.length === 0 ? '' : flowSvg(flowOf(run))}</div>
${tableOf(balanceTable(run))}
<p class="soft">${escaped(balanceTable(run).note)}</p>
<h2>Over time</h2>
<p class="soft">${escaped(`Shaded: the window of ${duration(profile.windowSeconds * 1000)}, in which everything is counted; before it the warm-up, after it the drain. A gap: a series did not answer.`)}</p>
${repetitionsOf(run)}
${section(costTable(run))}
${section(wireTable(run))}
${section(hopsTable(run))}
${comparison ? section(comparisonTable(comparison)) : ''}
<h2>What was run</h2>
<p class="soft">${escaped(`Fleet ${fleet}, begun ${startedAt}. ${printed}`)}</p>
</body>
</html>
`
}
