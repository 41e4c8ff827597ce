import path from 'node:path'
import {LkeobsError} from '../errors.ts'
import type {FleetFile} from '../fleet/load.ts'
import type {HubElsewhere} from '../fleet/schema.ts'
import type {Tools} from '../tools/index.ts'
import {pinOf} from '../trust/invite.ts'
import {pinnedCa} from '../trust/pinned.ts'
import {stateFolderOf} from './local/index.ts'
import type {HubCluster} from './platform.ts'

/** Where the root CA of a hub that is looked after elsewhere is kept once it was found by its pin. */
export const hubCaKept = (fleetFolder: string, hub: string): string => path.join(stateFolderOf(fleetFolder), hub, 'ca.pem')

/**
 * A hub that is looked after elsewhere, as its edges know it: what they dial, its Vault, and its root CA. Nothing there can be
 * seen or changed from here; whoever tries learns so (LKO-6009).
 */
export const openHubElsewhere = (file: FleetFile, there: HubElsewhere, tools: Tools): HubCluster => {
  const {name, endpoint} = file.fleet.hub
  const away = (): never => {
    throw new LkeobsError('LKO-6009', `The hub ${name} is looked after elsewhere; ${path.basename(file.file)} knows only where it is.`)
  }
  const awayLater = async () => away()
  const address = `https://${there.vault}`
  const {serverName} = there
  let found: Promise<string> | undefined
  const rootCa = (): Promise<string> =>
    (found ??= tools.files
      .read(hubCaKept(file.folder, name))
      .then((kept) => (kept !== undefined && pinOf(kept) === there.pin ? kept : pinnedCa(tools, there, name))))
  return {
    name,
    role: 'hub',
    elsewhere: true,
    programs: [],
    checked: async () => undefined,
    prepared: () => [],
    tidied: () => [],
    rootCa,
    hasRootCa: () => [],
    signCa: awayLater,
    read: async () => undefined,
    hand: awayLater,
    vault: tools.vault({address, ca: rootCa, ...(serverName !== undefined && {serverName})}),
    vaultRuns: () => [],
    vaultReplicas: 0,
    vaultNodes: () => [],
    seal: 'static',
    vaultSeals: async () => [],
    vaultRestarted: awayLater,
    leaf: awayLater,
    leafDelivered: () => [],
    leavesNow: async () => [],
    inspect: async () => [],
    log: async () => [],
    counters: async () => undefined,
    queueAdmins: async () => [],
    endpoint: async () => endpoint ?? away(),
    served: awayLater,
    stores: awayLater,
    sealsAt: {address, ...(serverName !== undefined && {serverName})},
    storesRun: () => [],
    gatewayRuns: () => [],
    exporters: awayLater,
    door: awayLater,
    destinationGone: () => [],
    knock: awayLater,
    uid: awayLater,
    certificates: () => [],
    renewedBy: {leaf: 'its own fleet'},
  }
}
