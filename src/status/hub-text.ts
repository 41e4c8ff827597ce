import {bold, count, dim, duration, mark, nextCommands, table} from '../output.ts'
import {type Certificate, endCells, nameOf} from './certificate.ts'
import type {HubImage, HubStatus} from './hub.ts'

const shortDigest = (digest: string): string => digest.replace(/^(sha256:.{12}).*/, '$1')

const marks = {valid: mark.so, soon: mark.soon, expired: mark.not, unknown: mark.skipped} as const

const certificateRow = (certificate: Certificate): readonly string[] => {
  const {state, subject, renewedBy, why} = certificate
  return [`${marks[state]} ${nameOf(certificate)}`, subject ?? dim(why ?? ''), ...endCells(certificate), renewedBy]
}

const imageRow = ({image, digest, pods, components, mixed}: HubImage): readonly string[] => [
  `${mixed ? mark.soon : mark.so} ${image}`,
  shortDigest(digest),
  String(pods),
  components.join(', '),
]

/** A table, unless there is nothing to put into it. */
const section = (header: readonly string[], rows: readonly (readonly string[])[]): readonly string[] =>
  rows.length === 0 ? [] : ['', table(header, rows)]

const componentSection = ({platform, components, releases}: HubStatus): readonly string[] => {
  if (platform === 'local')
    return section(
      ['component', 'state', 'pid', 'up'],
      components.map(({component, state, pid, upMs}) => [
        `${state === 'ready' ? mark.so : mark.not} ${component}`,
        state,
        String(pid ?? ''),
        upMs === undefined ? '' : duration(upMs),
      ]),
    )
  const rows = components.map(({component, state, ready = 0, wanted = 0}) => {
    const release = releases.find(({name}) => name === component)
    const isSo = state === 'ready' && (release === undefined || release.state === 'deployed')
    const installed = release
      ? [`${release.chart} ${release.chartVersion}`, release.appVersion ?? '', String(release.revision), release.state]
      : []
    return [`${isSo ? mark.so : mark.not} ${component}`, `${ready}/${wanted}`, state, ...installed]
  })
  return section(['component', 'pods', 'state', 'chart', 'its app', 'revision', 'release'], rows)
}

const nextOf = ({ok, components, images, certificates}: HubStatus): readonly string[] => {
  if (components.every(({state}) => /^not (installed|running)$/.test(state))) return ['lkeobs doctor --hub', 'lkeobs hub init']
  const isDue = images.some(({mixed}) => mixed) || certificates.some(({state}) => state === 'soon' || state === 'expired')
  return ok && !isDue ? ['lkeobs status'] : ['lkeobs doctor --hub', 'lkeobs hub init          (puts right what is not so)']
}

/** The whole state on one screen. */
export const hubStatusText = (status: HubStatus): string => {
  const {fleet, hub, ok, platform, endpoint, components, images, endpoints, certificates, volumes} = status
  const ready = components.filter(({state}) => state === 'ready').length
  const dialled = endpoint === undefined ? `${mark.not} no address that edges could dial` : `edges dial ${endpoint}`
  return [
    `hub ${bold(hub)} of ${fleet} ${ok ? mark.so : mark.not}   ${ready} of ${count(components.length, 'component')} ready   ${dialled}`,
    ...componentSection(status),
    ...section(['image', 'digest that runs', 'pods', 'of'], images.map(imageRow)),
    ...section(
      [platform === 'local' ? 'process' : 'Service', 'type', 'address', 'ports'],
      endpoints.map(({name, type, addresses, ports}) => [
        `${addresses.length > 0 ? mark.so : mark.not} ${name}`,
        type,
        addresses.join(', ') || 'none yet',
        ports.join(', '),
      ]),
    ),
    ...section(['certificate', 'subject', 'ends (UTC)', 'left', 'renewed by'], certificates.map(certificateRow)),
    ...section(
      ['volume', 'size', 'class', 'state'],
      volumes.map(({claim, size, class: name, bound}) => [
        `${bound ? mark.so : mark.not} ${claim}`,
        size,
        name,
        bound ? 'bound' : 'waits for a volume',
      ]),
    ),
    '',
    nextCommands(nextOf(status)),
  ].join('\n')
}
