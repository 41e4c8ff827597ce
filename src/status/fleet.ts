import type {Fleet} from '../clusters.ts'
import {counted, type Signal, signals} from '../collector/config.ts'
import {orElse} from '../errors.ts'
import {dim, duration, mark, nextCommands, table} from '../output.ts'
import type {EdgeCluster, Hand, Stores} from '../platforms/platform.ts'
import type {Http} from '../tools/http.ts'
import {queryPrometheus} from '../tools/stores.ts'
import {readCertificate} from '../tools/x509.ts'
import {hubSealFault, openness, type Openness} from './seals.ts'

/** `sending`: items of it left the agent within five minutes; `idle`: none did; `unknown`: the agent has not reported its counters. */
type Flow = 'sending' | 'idle' | 'unknown'

export type EdgeStatus = {
  readonly name: string
  readonly ok: boolean
  readonly sending: Readonly<Record<Signal, Flow>>
  /** Age of the newest sample the hub has from it. */
  readonly freshSeconds?: number
  /** Items that wait in the agent's queue. */
  readonly queued?: number
  /** Of its Vault, which renews the certificate. */
  readonly vault: Openness
  readonly certificate?: {readonly expires: string; readonly leftSeconds: number}
  /** Why the edge's cluster could not be asked; what the hub has from it stands all the same. */
  readonly problem?: {readonly code: string; readonly message: string}
}

export type FleetStatus = {
  readonly fleet: string
  readonly ok: boolean
  /** All of it runs on this machine. */
  readonly lab: boolean
  readonly hub: {readonly name: string; readonly components: Readonly<Record<string, string>>; readonly vault: Openness}
  readonly edges: readonly EdgeStatus[]
}

/** An agent reports every 10 s; one that was not heard for this long is silent. */
const silentSeconds = 60

/** The fleet as its hub sees it. */
export const fleetStatus = async (http: Http, {file, hub, edges}: Fleet): Promise<FleetStatus> => {
  const stores = await hub.stores()
  const [fault, own] = await Promise.all([hubSealFault(hub), openness(hub)])
  const [states, ...seen] = await Promise.all([hub.inspect(), ...edges.map((edge) => edgeStatus(http, stores, edge, fault))])
  // who keeps the leaf fresh is seen by the leaf
  const components = states.filter(({component}) => component !== 'leaf').map(({component, state}) => [component, state] as const)
  return {
    fleet: file.fleet.fleet,
    lab: [hub, ...edges].every(({processes}) => processes !== undefined),
    ok:
      components.every(([, state]) => state === 'ready') &&
      own.open &&
      seen.every(({ok, vault, problem}) => ok && (vault.open || problem !== undefined)),
    hub: {name: hub.name, components: Object.fromEntries(components), vault: own},
    edges: seen,
  }
}

const edgeStatus = async (http: Http, stores: Stores, edge: EdgeCluster, fault: string | undefined): Promise<EdgeStatus> => {
  const {name, leavesNow} = edge
  const ask = async (query: string) => (await queryPrometheus(http, stores.prometheus, query))?.[0]?.value
  const heard = `{__name__=~"otelcol_exporter_queue_size|lkeobs_canary",lkeobs_edge="${name}"}`
  const of = `{lkeobs_edge="${name}",exporter="otlp_grpc/hub"}`
  const [vault, freshSeconds, queued, leaf, ...flows] = await Promise.all([
    openness(edge, fault),
    ask(`time() - (max(timestamp(${heard})) or max(max_over_time(timestamp(${heard})[1h:15s])))`),
    ask(`sum(otelcol_exporter_queue_size${of})`),
    orElse<{leaves?: readonly Hand[]; problem?: EdgeStatus['problem']}>(
      leavesNow().then((leaves) => ({leaves})),
      ({code, message}) => ({problem: {code, message}}),
    ),
    ...signals.map(async (signal): Promise<Flow> => {
      const sent = await ask(`sum(increase(otelcol_exporter_sent_${counted[signal]}_total${of}[5m]))`)
      return sent === undefined ? 'unknown' : sent > 0 ? 'sending' : 'idle'
    }),
  ])
  // of several the one that ends first
  const [certificate] = (leaf.leaves ?? [])
    .flatMap((hand) => readCertificate(hand.leaf ?? '') ?? [])
    .toSorted((a, b) => Date.parse(a.validTo) - Date.parse(b.validTo))
  return {
    name,
    ok: freshSeconds !== undefined && freshSeconds < silentSeconds,
    // where the cluster cannot be asked, nothing is known of its Vault
    vault: leaf.problem ? {open: false, reason: `unknown: ${leaf.problem.code}`} : vault,
    sending: Object.fromEntries(signals.map((signal, index) => [signal, flows[index] ?? 'unknown'])) as Record<Signal, Flow>,
    ...(freshSeconds !== undefined && {freshSeconds}),
    ...(queued !== undefined && {queued}),
    ...(leaf.problem && {problem: leaf.problem}),
    ...(certificate && {
      certificate: {
        expires: new Date(certificate.validTo).toISOString(),
        leftSeconds: Math.round((Date.parse(certificate.validTo) - Date.now()) / 1000),
      },
    }),
  }
}

const flowMark = {sending: mark.so, idle: mark.skipped, unknown: mark.skipped} as const satisfies Record<Flow, string>

export const fleetStatusText = ({fleet, ok, lab, hub, edges}: FleetStatus): string => {
  const rows = edges.map(({name, ok: heard, sending, freshSeconds, queued, certificate, problem}) => [
    `${heard ? mark.so : mark.not} ${name}`,
    signals.map((signal) => (heard ? flowMark[sending[signal]] : mark.not)).join(' '),
    freshSeconds === undefined ? 'never' : duration(freshSeconds * 1000),
    queued === undefined ? '?' : String(queued),
    problem ? `unknown: ${problem.code}` : certificate === undefined ? 'none' : `${duration(certificate.leftSeconds * 1000)} (auto)`,
  ])
  const parts = Object.entries(hub.components).map(
    ([component, state]) => `${component} ${state === 'ready' ? mark.so : `${mark.not} ${state}`}`,
  )
  const sending = edges.filter((edge) => edge.ok).length
  return [
    `fleet ${fleet}   hub ${Object.values(hub.components).every((state) => state === 'ready') ? mark.so : mark.not}   edges ${edges.length}: ${sending} sending, ${edges.length - sending} silent`,
    '',
    ...(rows.length > 0 ? [table(['edge', 'm l t', 'fresh', 'queued', 'certificate'], rows)] : [dim('no edges')]),
    `${hub.name}   ${parts.join('  ')}`,
    ...[{...hub, problem: undefined}, ...edges].flatMap(({name, vault: {open, reason}, problem}) =>
      reason === undefined ? [] : [`${open || problem ? mark.soon : mark.not} Vault of ${name}: ${reason}`],
    ),
    nextCommands(ok ? ['lkeobs verify --all'] : lab ? ['lkeobs lab status', 'lkeobs lab up'] : ['lkeobs hub status', 'lkeobs doctor']),
  ].join('\n')
}
