import {bold, count, dim, duration, mark, nextCommands, table} from '../output.ts'
import type {HubCluster} from '../platforms/platform.ts'
import type {Drilled} from '../platforms/local/drill.ts'
import {sharesText} from '../trust/drill.ts'
import type {VaultNodeStatus, VaultStatus} from './vault.ts'

const sealWords: Readonly<Record<string, string>> = {
  static: 'sealed by a key in its hands',
  transit: 'sealed by the hub',
  shamir: 'sealed by shares of key holders',
}

const stateOf = ({state, unsealing}: VaultNodeStatus): string =>
  unsealing ? `${state}, ${unsealing.progress} of ${unsealing.threshold} shares given` : state

const rowOf = (node: VaultNodeStatus): readonly string[] => {
  const {name, state, raft, certificateDaysLeft: days, version} = node
  return [
    `${state === 'leader' || state === 'standby' ? mark.so : mark.not} ${name}`,
    stateOf(node),
    raft ? `${raft.voter ? 'voter' : 'no vote yet'}, ${raft.healthy ? 'healthy' : 'not healthy'}` : '',
    days === undefined ? '' : days < 0 ? 'over' : `${days}d`,
    version ?? '',
  ]
}

const clusterText = ({cluster, ok, seal, nodes, raft, sealedBy, problems, warnings, leftOut}: VaultStatus): string => {
  const open = nodes.filter(({state}) => state === 'leader' || state === 'standby').length
  const members = raft ? `   ${count(raft.voters, 'voter')}, ${raft.failureTolerance} may fail` : ''
  const renewed = sealedBy?.tokenRenewed
  return [
    `Vault of ${bold(cluster)} ${ok ? mark.so : mark.not}   ${open} of ${count(nodes.length, 'node')} open${members}   ${sealWords[seal] ?? seal}`,
    '',
    table(['node', 'state', 'raft', 'certificate', 'version'], nodes.map(rowOf)),
    ...(sealedBy?.tokenDaysLeft === undefined
      ? []
      : [
          `${mark.so} ${sealedBy.hub} unseals it; its seal token has ${Math.floor(sealedBy.tokenDaysLeft)} days left${renewed === undefined ? '' : `, renewed ${duration(Date.now() - Date.parse(renewed))} ago`}`,
        ]),
    ...problems.map((problem) => `${mark.not} ${problem}`),
    ...warnings.map((warning) => `${mark.soon} ${warning}`),
    ...leftOut.map((what) => dim(`${mark.skipped} ${what}`)),
  ].join('\n')
}

type Hub = Pick<HubCluster, 'name' | 'seal'>

/** What to type next, for the clusters that are not well. */
const nextOf = (all: readonly VaultStatus[], hub: Hub): readonly string[] => {
  const ill = all.filter(({ok}) => !ok)
  if (ill.length === 0) return ['lkeobs vault snapshot --out FILE']
  const own = ill.find(({cluster}) => cluster === hub.name)
  if (hub.seal === 'shamir' && own?.nodes.some(({state}) => state === 'sealed'))
    return ['lkeobs vault unseal --wait --envelope NAME.share.asc          (each holder, on their own machine)']
  if (hub.seal === 'shamir' && own?.nodes.some(({state}) => state === 'not initialised')) return ['lkeobs vault init']
  // edges open by themselves, or with a run, when the hub does
  if (ill.some(({cluster, sealedBy}) => cluster === hub.name || sealedBy?.answers === false))
    return ['lkeobs hub init          (starts what does not run)']
  return ill.map(({cluster}) => `lkeobs edge join ${cluster}`)
}

export const vaultStatusText = (all: readonly VaultStatus[], hub: Hub): string =>
  [all.map(clusterText).join('\n\n'), nextCommands(nextOf(all, hub))].join('\n')

type Restored = {readonly file: string; readonly cluster: string; readonly isHub: boolean; readonly isDrill: boolean}

/** What a drill has shown, and what it has not. */
const drilledText = (file: string, seen: Drilled | undefined): string => {
  if (seen && 'shares' in seen)
    return `${file} is whole, and was restored into a throw-away node, which ${sharesText(seen.shares)} would open. No holder took part: that theirs do, and what is in it, is not shown.`
  const {at} = seen?.marker ?? {}
  const marker = at === undefined ? 'its marker' : `the marker of ${at}, ${duration(Date.now() - Date.parse(at))} old,`
  return `${file} can be restored: ${marker} was read back from it.`
}

/** What a restore or its drill came to. */
export const restoredText = ({file, cluster, isHub, isDrill}: Restored, seen: Drilled | undefined): string => {
  const drilled = drilledText(file, seen)
  if (isDrill)
    return seen && 'shares' in seen
      ? [drilled, nextCommands([`lkeobs vault restore ${file} ${cluster} --drill --holders`])].join('\n')
      : drilled
  const next = isHub ? 'lkeobs hub init          (brings the rest up to it)' : `lkeobs edge join ${cluster}`
  return [drilled, `Vault of ${cluster} is what it was then.`, nextCommands([next])].join('\n')
}
