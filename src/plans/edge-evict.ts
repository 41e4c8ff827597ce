import type {Fleet} from '../clusters.ts'
import type {HubCluster} from '../platforms/platform.ts'
import type {Plan, Step} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {forgotten} from '../trust/bundle.ts'
import {folderOf, invitePolicyOf, joinPolicyOf} from '../trust/join.ts'
import {sealPolicyOf} from '../trust/seal.ts'
import {inviteRevoked} from './edge-invite.ts'
import {unlisted} from './edge-leave.ts'

/** An edge is shut out, whatever it does itself: nothing is asked of it, and nothing there is touched. */
export const edgeEvict = ({hub, file}: Fleet, edge: string, tools: Tools): Plan => ({
  command: `edge evict ${edge}`,
  title: `Edge ${edge} is evicted from ${hub.name}.`,
  steps: [
    // first: what is sent from here on is refused
    ...forgotten(hub, edge),
    uninvited(hub, edge),
    powerless(hub, edge),
    // last: as long as it is there, the command can be run again
    unlisted(file, edge, tools),
  ],
})

const uninvited = ({vault}: HubCluster, edge: string): Step => {
  const folder = folderOf(vault, edge)
  return {
    title: `no invite of ${edge}, and nothing that was answered to one`,
    done: async () =>
      (await Promise.all([folder.read('invite'), folder.read('answer')])).every((paper) => !paper) ? true : 'there is one',
    apply: () => inviteRevoked(vault, edge),
  }
}

/** Without a policy a token may do nothing, however many there are of it. */
const powerless = ({name, vault}: HubCluster, edge: string): Step => {
  const paths = [invitePolicyOf(edge), joinPolicyOf(edge), sealPolicyOf(edge)].map((policy) => `sys/policies/acl/${policy}`)
  return {
    title: `no token of ${edge} may do anything in Vault of ${name}: ask, join, or unseal`,
    done: async () =>
      (await Promise.all(paths.map((path) => vault.read(path)))).every((found) => found === undefined) ? true : 'some may',
    async apply() {
      for (const path of paths) await vault.remove(path)
    },
  }
}
