import {signals} from '../../collector/config.ts'
import {duration} from '../../output.ts'
import {style} from '../../pages.ts'
import {escaped} from '../report.ts'
import type {Proof} from './prove.ts'
import {figureNames, figuresOf, gapsText, verdictOf} from './text.ts'
import {timelineSvg} from './timeline.ts'
import {together} from './tally.ts'

const ownStyle = `
dl{grid-template-columns:repeat(auto-fill,minmax(6.5rem,1fr))}
th,td{padding:.2rem 1.25rem .2rem 0;border-bottom:0}
th{color:var(--soft);font-weight:400;font-size:.85rem}
tr.first td{border-top:1px solid var(--line);padding-top:.4rem}
td.gaps{white-space:normal;min-width:8rem;width:99%}
.bad td.lost{color:var(--bad);font-weight:600}
svg{display:block;width:100%;min-width:40rem;height:auto}
svg text{fill:var(--soft);font:11px system-ui,sans-serif;paint-order:stroke;stroke:var(--ground);stroke-width:3px}
ol{padding-left:2rem;columns:14rem}
ul.bad{margin:.75rem 0 0;padding-left:1.25rem;color:var(--bad)}
`

const row = (cells: readonly string[], attributes = '') => `<tr${attributes}>${cells.join('')}</tr>`

const figuresTable = ({edges, lost}: Proof): string => {
  const isWhole = together(lost) === 0
  const header = [
    '<th>edge</th><th>signal</th>',
    ...figureNames.map((name) => `<th class="number">${name}</th>`),
    '<th class="number">most waiting</th>',
    `<th>${isWhole ? '' : 'which are lost'}</th>`,
  ]
  const rows = edges.flatMap((edge) =>
    signals.map((signal, index) =>
      row(
        [
          `<td>${index === 0 ? escaped(edge.edge) : ''}</td><td>${signal}</td>`,
          ...figuresOf(edge, signal).map((figure, at) => `<td class="number ${figureNames[at]}">${figure}</td>`),
          `<td class="number">${index === 0 ? (edge.queuePeak ?? 'unknown') : ''}</td>`,
          `<td class="gaps">${gapsText(edge.missing[signal])}</td>`,
        ],
        ` class="${[...(index === 0 ? ['first'] : []), ...(edge.lost[signal] > 0 ? ['bad'] : [])].join(' ')}"`,
      ),
    ),
  )
  return `<table><thead>${row(header)}</thead><tbody>\n${rows.join('\n')}\n</tbody></table>`
}

/** What else the page says: a title, figures of the work, and what of it failed. */
export type PageWish = {
  readonly title: string
  readonly figures?: Readonly<Record<string, string>>
  readonly failed?: readonly string[]
}

/** `2026-11-23 22:15:52` */
const time = (iso: string): string => iso.slice(0, 19).replace('T', ' ')

/** A proof as one HTML page that needs nothing but itself. */
export const proofPage = (proof: Proof, {title, figures = {}, failed = []}: PageWish): string => {
  const {run, startedAt, endedAt, perSecond, work, edges, marks, lost} = proof
  const facts = Object.entries({
    ...Object.fromEntries(figureNames.map((name) => [name, String(together(proof[name]))])),
    work: duration((work.to - work.from) * 1000),
    ...figures,
  })
  const moments = marks.map(({second, what}) => `<li>${escaped(what)} <span class="soft">${second.toFixed(1)} s</span></li>`)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escaped(`${title}: ${verdictOf(proof)}`)}</title>
<style>${style}${ownStyle}</style>
</head>
<body>
<p class="soft">${escaped(title)}</p>
<h1 class="${together(lost) === 0 ? 'good' : 'bad'}">${escaped(verdictOf(proof))}</h1>
<p class="soft">${escaped(`Run ${run}, ${time(startedAt)} to ${time(endedAt).slice(11)} UTC: ${perSecond} items a second and signal through ${edges.length === 1 ? (edges[0]?.edge ?? '') : `each of ${edges.length} edges`}. Each item was looked for by its id in the stores of the hub.`)}</p>
${failed.length > 0 ? `<ul class="bad">${failed.map((what) => `<li>${escaped(what)}</li>`).join('')}</ul>` : ''}
<dl>${facts.map(([name, value]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(value)}</dd></div>`).join('')}</dl>
<h2>Timeline</h2>
<div class="wide">${timelineSvg(proof)}</div>
<p class="soft">Shaded: the work. Red: when what is lost was made. A gap in what waits: an agent did not answer.</p>
${moments.length > 0 ? `<ol>${moments.join('')}</ol>` : ''}
<h2>Edges</h2>
<div class="wide">${figuresTable(proof)}</div>
<p class="soft">Sent: accepted by the agent. Stored and lost: found in the store of the hub, or not. Duplicated: found more than once. Refused: never accepted, so not sent.</p>
</body>
</html>
`
}
