import type {Fleet} from '../clusters.ts'
import {counted, type Signal, signals} from '../collector/config.ts'
import {dim, duration, mark, nextCommands, table} from '../output.ts'
import type {HubCluster, Stores} from '../platforms/platform.ts'
import type {Http} from '../tools/http.ts'
import {queryPrometheus} from '../tools/stores.ts'
import {wordsOf} from '../trust/invite.ts'
import {folderOf, joins} from '../trust/join.ts'
import {edgesKnown, entryOf} from '../trust/register.ts'

/** An invite that was given out, and how far it has led. */
export type InviteSeen = {
  readonly edge: string
  readonly state: 'open' | 'expired' | 'asking' | 'accepted' | 'joined'
  readonly expires: string
  /** Of the edge that asks with it. */
  readonly words?: string
}

const inviteOf = async (hub: HubCluster, edge: string): Promise<InviteSeen | undefined> => {
  const folder = folderOf(hub.vault, edge)
  const [invite, request, accepted, known] = await Promise.all([
    folder.read('invite'),
    folder.read('request'),
    folder.read('accepted'),
    entryOf(hub.vault, edge),
  ])
  if (!invite) return undefined
  const ended = invite.expires * 1000 < Date.now()
  const state = known.issuer !== undefined ? 'joined' : accepted ? 'accepted' : request ? 'asking' : ended ? 'expired' : 'open'
  return {
    edge,
    state,
    expires: new Date(invite.expires * 1000).toISOString(),
    ...(request && {words: await wordsOf(hub, edge, request)}),
  }
}

export const invitesOf = async (hub: HubCluster): Promise<readonly InviteSeen[]> => {
  const names = (await hub.vault.list(joins)).map((name) => name.replace(/\/$/, '')).toSorted()
  return (await Promise.all(names.map((name) => inviteOf(hub, name)))).filter((invite) => invite !== undefined)
}

const lifeOf = ({state, expires}: InviteSeen): string => {
  const left = Date.parse(expires) - Date.now()
  if (state === 'joined') return 'used'
  return left > 0 ? `${duration(left)} left` : `ended ${expires}`
}

export const invitesText = (invites: readonly InviteSeen[]): string =>
  invites.length === 0
    ? dim('no invites')
    : table(
        ['edge', 'invite', 'holds', 'words'],
        invites.map((invite) => [invite.edge, invite.state, lifeOf(invite), invite.words ?? '']),
      )

/** How far an edge has come, as its hub sees it. */
export type EdgeSeen = {
  readonly name: string
  readonly state: 'listed' | 'invited' | 'asking' | 'accepted' | 'joined' | 'sending'
  readonly expires?: string
  readonly words?: string
  /** How long ago the newest of each signal left the edge, in seconds; null where there was none within the hour. */
  readonly freshSeconds: Readonly<Record<Signal, number | null>>
}

/** An agent reports every 10 s; one that was not heard for this long is silent. */
const silentSeconds = 60

const freshOf = async (http: Http, {prometheus}: Stores, edge: string): Promise<EdgeSeen['freshSeconds']> => {
  const ages = await Promise.all(
    signals.map(async (signal) => {
      const sent = `otelcol_exporter_sent_${counted[signal]}_total{lkeobs_edge="${edge}",exporter="otlp_grpc/hub"}`
      const grew = `max(max_over_time((timestamp(${sent}) and increase(${sent}[45s]) > 0)[1h:15s]))`
      const age = (await queryPrometheus(http, prometheus, `time() - ${grew}`))?.[0]?.value
      return [signal, age === undefined ? null : Math.max(0, Math.round(age))] as const
    }),
  )
  return Object.fromEntries(ages) as EdgeSeen['freshSeconds']
}

/** Those whose issuer the hub knows: it may have a key of one before that. */
const lettingIn = async ({vault}: HubCluster): Promise<readonly string[]> => {
  const names = await edgesKnown(vault)
  const entries = await Promise.all(names.map((name) => entryOf(vault, name)))
  return names.filter((_, at) => entries[at]?.issuer !== undefined)
}

/** The edges of the fleet file, those the hub has let in, and those it has invited. */
export const edgesOf = async (http: Http, {file, hub}: Fleet): Promise<readonly EdgeSeen[]> => {
  const [stores, known, invites] = await Promise.all([hub.stores(), lettingIn(hub), invitesOf(hub)])
  const names = new Set([...file.fleet.edges.map(({name}) => name), ...known, ...invites.map(({edge}) => edge)])
  return Promise.all(
    [...names].toSorted().map(async (name): Promise<EdgeSeen> => {
      const freshSeconds = await freshOf(http, stores, name)
      const invite = invites.find(({edge}) => edge === name)
      const ages = Object.values(freshSeconds).filter((age) => age !== null)
      if (known.includes(name)) return {name, state: Math.min(...ages) < silentSeconds ? 'sending' : 'joined', freshSeconds}
      if (!invite) return {name, state: 'listed', freshSeconds}
      const {state, expires, words} = invite
      const far = state === 'asking' || state === 'accepted' ? state : 'invited'
      return {name, state: far, expires, ...(words !== undefined && {words}), freshSeconds}
    }),
  )
}

const remarkOf = ({name, state, expires, words}: EdgeSeen): string => {
  if (state === 'asking') return `words ${words}   lkeobs edge accept ${name}`
  if (state !== 'invited' || expires === undefined) return ''
  const left = Date.parse(expires) - Date.now()
  return left > 0 ? `invite holds ${duration(left)}` : 'invite has ended'
}

const marks: Readonly<Record<EdgeSeen['state'], string>> = {
  listed: mark.skipped,
  invited: mark.skipped,
  asking: mark.soon,
  accepted: mark.soon,
  joined: mark.not,
  sending: mark.so,
}

export const edgesText = (edges: readonly EdgeSeen[]): string => {
  if (edges.length === 0) return `${dim('no edges')}\n${nextCommands(['lkeobs edge invite NAME'])}`
  const rows = edges.map((edge) => [
    `${marks[edge.state]} ${edge.name}`,
    edge.state,
    ...signals.map((signal) => {
      const age = edge.freshSeconds[signal]
      return age === null ? '–' : duration(age * 1000)
    }),
    remarkOf(edge),
  ])
  return table(['edge', 'state', ...signals, ''], rows)
}
