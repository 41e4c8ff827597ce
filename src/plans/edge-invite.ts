import type {Fleet} from '../clusters.ts'
import {LkeobsError} from '../errors.ts'
import {addEdge} from '../fleet/edit.ts'
import {parseFleet} from '../fleet/load.ts'
import type {HubCluster} from '../platforms/platform.ts'
import {Secret} from '../secret.ts'
import type {Plan, Step} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import type {Vault} from '../tools/vault.ts'
import {type Invite, pinOf} from '../trust/invite.ts'
import {folderOf, invitePolicy, invitePolicyOf, revoked} from '../trust/join.ts'
import {mounted, written} from '../trust/pki.ts'
import {entryOf, registry} from '../trust/register.ts'
import {sealsMounted} from '../trust/seal.ts'

export type InviteWish = {readonly edge: string; readonly seal: 'static' | 'transit'; readonly ttlSeconds: number}

/** Throws LKO-6006 where an edge cannot be invited, LKO-6010 where it could not reach the hub's Vault. Only reads. */
export const checkInvitable = async ({file, hub}: Fleet, name: string): Promise<void> => {
  const listed = file.fleet.edges.find((edge) => edge.name === name)
  if (name === hub.name) throw new LkeobsError('LKO-6006', `${name} is the hub itself.`)
  if (listed && !listed.platform.elsewhere)
    throw new LkeobsError('LKO-6006', `${name} is looked after here: the fleet file has the means to join it.`, {
      next: [`lkeobs edge join ${name}`],
    })
  if (!hub.sealsAt)
    throw new LkeobsError('LKO-6010', `The fleet file does not say where edges reach the Vault of ${hub.name} (hub.vault.endpoint).`)
  if ((await entryOf(hub.vault, name)).issuer === undefined) return
  throw new LkeobsError('LKO-6006', `${name} has joined.`, {next: ['lkeobs edge list', `lkeobs edge evict ${name}`]})
}

/** An edge that is looked after elsewhere is invited. `given` gets the invite, which is kept nowhere. */
export const edgeInvite = (fleet: Fleet, wish: InviteWish, tools: Tools, given: (invite: Invite) => void): Plan => {
  const {hub, file} = fleet
  const {edge, seal} = wish
  return {
    command: `edge invite ${edge}`,
    title: `Edge ${edge} is invited to ${hub.name}.`,
    steps: [
      listed(fleet, wish, tools),
      mounted(hub.vault, 'register of edges', registry, 'kv'),
      rootBesideIssuer(hub),
      ...sealsMounted(hub, [{seal}]),
      written(hub.vault, `what who has the invite may do: ask once as ${edge}`, `sys/policies/acl/${invitePolicyOf(edge)}`, {
        policy: invitePolicy(edge),
      }),
      made(hub, file.fleet.fleet, wish, given),
    ],
  }
}

/** An invite that was given out is worth nothing any more. */
export const edgeUninvited = ({hub}: Fleet, edge: string): Plan => ({
  command: `edge invite ${edge} --revoke`,
  title: `The invite for ${edge} ends.`,
  steps: [
    {
      title: `no invite for ${edge}`,
      done: async () => ((await folderOf(hub.vault, edge).read('invite')) === undefined ? true : 'there is one'),
      apply: async () => inviteRevoked(hub.vault, edge),
    },
  ],
})

const listed = ({file}: Fleet, {edge, seal}: InviteWish, {files}: Tools): Step => {
  const find = async () => {
    const text = (await files.read(file.file)) ?? ''
    return {text, found: parseFleet(text, file.file).edges.find(({name}) => name === edge)}
  }
  return {
    title: `${edge} in the fleet file, looked after elsewhere`,
    done: async () => ((await find()).found ? true : 'not there'),
    async apply() {
      const {text} = await find()
      const vault = seal === 'static' ? {} : {vault: {seal}}
      await files.write(file.file, addEdge(text, {name: edge, platform: {elsewhere: {}}, ...vault}), 0o644)
    },
  }
}

/** Who has only a pin fetches the root CA there, and knows it by that. Its key is not there. */
const rootBesideIssuer = ({vault, rootCa}: HubCluster): Step => ({
  title: 'root CA where who knows its pin can fetch it',
  async done() {
    const chain = (await vault.read<{ca_chain?: readonly string[]}>('pki_edge/issuer/default'))?.ca_chain ?? []
    const pin = pinOf(await rootCa())
    return chain.some((pem) => pinOf(pem) === pin) ? true : 'not there'
  },
  apply: async () => void (await vault.write('pki_edge/issuers/import/cert', {pem_bundle: await rootCa()})),
})

const made = (hub: HubCluster, fleet: string, {edge, seal, ttlSeconds}: InviteWish, given: (invite: Invite) => void): Step => {
  const folder = folderOf(hub.vault, edge)
  let isMade = false
  return {
    title: `invite for ${edge}, which ends by itself`,
    done: async () => (isMade ? true : 'not made yet'),
    async apply(tell) {
      const earlier = await folder.read('invite')
      if (earlier) tell('an earlier invite is revoked by this one', 'lasting')
      await inviteRevoked(hub.vault, edge)
      const {client_token: token, accessor} = await hub.vault.write<{client_token: string; accessor: string}>('auth/token/create-orphan', {
        policies: [invitePolicyOf(edge)],
        ttl: `${ttlSeconds}s`,
        explicit_max_ttl: `${ttlSeconds}s`,
        renewable: false,
        no_default_policy: true,
        display_name: `invite-${edge}`,
      })
      const expires = Math.floor(Date.now() / 1000) + ttlSeconds
      await folder.lay('invite', {expires, accessor, seal})
      const {address = '', serverName} = hub.sealsAt ?? {}
      given({
        fleet,
        hub: hub.name,
        edge,
        endpoint: await hub.endpoint(),
        vault: address.replace('https://', ''),
        ...(serverName !== undefined && {serverName}),
        pin: pinOf(await hub.rootCa()),
        seal,
        expires,
        token: new Secret(token),
      })
      isMade = true
    },
  }
}

/** Nobody can go on with an invite, nor with what was answered to it. An invite that is over already is none the less so. */
export const inviteRevoked = async (vault: Vault, edge: string): Promise<void> => {
  const folder = folderOf(vault, edge)
  for (const paper of ['invite', 'answer'] as const) {
    const accessor = (await folder.read(paper))?.accessor
    if (accessor !== undefined) await revoked(vault, accessor)
  }
  await folder.clear()
}
