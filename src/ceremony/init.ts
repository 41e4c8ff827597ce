import {LkeobsError} from '../errors.ts'
import type {Secret} from '../secret.ts'
import type {Step, Tell} from '../steps/step.ts'
import {armouredFor, isCiphertext} from '../tools/openpgp.ts'
import {vaultSys} from '../tools/vault-sys.ts'
import {adminPolicy, adminPolicyName, adminUsername} from '../trust/admin.ts'
import {type Ceremony, type Person, type Reply, replyFile, type Sealed} from './ceremony.ts'
import {sha256} from './transcript.ts'

export const envelopeOf = (name: string): string => `${name}.share.asc`
export const rootTokenFile = 'root-token.asc'
const rootFile = 'root.json'

type Root = {readonly accessor: string; readonly revoked?: string}

/** Given once, and asked for when it is first needed. */
export type AskedSecret = () => Promise<Secret>

/** What Vault did not encrypt must not come to the disk. */
const sealed = (base64: string, name: string): string => {
  if (isCiphertext(base64)) return base64
  throw new LkeobsError('LKO-5002', `sys/init: what Vault answered for ${name} is not encrypted; it was not kept.`)
}

/** A message as a file for one person. Throws where it is for somebody else. */
export const envelope = async ({name, key}: Person, message: string): Promise<string> => {
  const armoured = await armouredFor(key, message)
  if (armoured !== undefined) return armoured
  throw new LkeobsError('LKO-5002', `What Vault answered for ${name} is not encrypted to ${key.fingerprint}.`)
}

const names = (people: readonly {readonly name: string; readonly fingerprint: string}[]): string =>
  people
    .map(({name, fingerprint}) => `${name} ${fingerprint}`)
    .toSorted()
    .join('\n')

/** Whether the shares are in the hands that the fleet file names. */
export const isHeldAsWished = ({holders, threshold}: Ceremony, reply: Reply): boolean => {
  const wished = holders.map(({name, key}) => ({name, fingerprint: key.fingerprint}))
  return names(reply.shares) === names(wished) && reply.threshold === threshold
}

/** Throws LKO-5017 where the shares are in other hands than those of the fleet file. */
const heldBy = (ceremony: Ceremony, reply: Reply): void => {
  const wished = ceremony.holders
  if (isHeldAsWished(ceremony, reply)) return
  const have = `${reply.shares.map(({name}) => name).join(', ')} (${reply.threshold} of ${reply.shares.length})`
  const want = `${wished.map(({name}) => name).join(', ')} (${ceremony.threshold} of ${wished.length})`
  throw new LkeobsError('LKO-5017', `The shares are held by ${have}; the fleet file says ${want}.`, {next: ['lkeobs vault rekey']})
}

/** Vault is initialised, once, and its answer is on disk before anything else can fail. */
export const initialised = (ceremony: Ceremony, {startOver}: {readonly startOver: boolean}): Step => {
  const {hub, holders, custodian, threshold, tools, transcript, administrator, writeJson} = ceremony
  const isInitialised = async () => (await hub.vaultSeals()).some((seal) => seal?.initialized === true)
  const lost = (): LkeobsError =>
    new LkeobsError('LKO-5018', `Vault on ${hub.name} is initialised, and ${ceremony.shown(replyFile)} is not there.`, {
      next: ['lkeobs vault init --start-over'],
    })

  const beginAgain = async (tell: Tell): Promise<void> => {
    if (!startOver || !hub.vaultRemade) throw lost()
    await tools.ask.confirm(`Everything that Vault on ${hub.name} holds is removed. Was it never used?`, {mustAgree: true})
    await hub.vaultRemade(tell)
    await transcript.note({who: administrator, step: 'Vault removed: its shares were lost before it was used'})
  }

  return {
    title: `Vault on ${hub.name} initialised: ${holders.length} shares, ${threshold} of which open it`,
    patienceMs: 60_000,
    async done() {
      const reply = await ceremony.reply()
      if (reply) {
        heldBy(ceremony, reply)
        return (await isInitialised()) ? true : 'the shares are here, and Vault is not initialised: its data is gone'
      }
      return (await isInitialised()) ? 'it is, and its shares are not here' : 'not yet'
    },
    async apply(tell) {
      if ((await ceremony.reply()) !== undefined) throw lost()
      if (await isInitialised()) await beginAgain(tell)
      const [first] = hub.vaultNodes()
      if (!first) throw new Error('a Vault without nodes')
      await tools.files.makeFolder(ceremony.folder)
      const keys = holders.map(({key}) => key.binary)
      const fingerprints = Object.fromEntries([...holders, custodian].map(({name, key}) => [name, key.fingerprint]))
      await transcript.note({
        who: administrator,
        step: `Vault is asked for ${keys.length} shares, ${threshold} of which open it`,
        digests: fingerprints,
      })
      const answer = await vaultSys(first.vault).init({shares: holders.length, threshold, keys, rootTokenKey: custodian.key.binary})
      const shares = holders.map(({name, key}, index): Sealed => ({
        name,
        fingerprint: key.fingerprint,
        key: key.binary,
        message: sealed(answer.shares[index] ?? '', name),
      }))
      const rootToken = sealed(answer.rootToken, custodian.name)
      const reply: Reply = {threshold, shares, custodian: {name: custodian.name, fingerprint: custodian.key.fingerprint}, rootToken}
      await writeJson(replyFile, reply)
      const digests = Object.fromEntries(shares.map(({name, message}) => [name, sha256(message)]))
      const note = {who: administrator, node: first.name, api: 'POST sys/init', status: 200}
      await transcript.note({...note, step: 'Vault initialised', digests: {...digests, 'root token': sha256(rootToken)}})
    },
  }
}

/** What Vault answered, in files that can be handed over. */
export const envelopesWritten = (ceremony: Ceremony): Step => {
  const {tools, file, holders, custodian, transcript, administrator} = ceremony
  const wished = async (): Promise<ReadonlyMap<string, string>> => {
    const {shares = [], rootToken} = (await ceremony.reply()) ?? {}
    const all = new Map<string, string>()
    for (const {name, fingerprint, message} of shares) {
      const holder = holders.find(({key}) => key.fingerprint === fingerprint)
      if (holder) all.set(envelopeOf(name), await envelope(holder, message))
    }
    if (rootToken !== undefined) all.set(rootTokenFile, await envelope(custodian, rootToken))
    return all
  }
  return {
    title: "an envelope for each holder, and the custodian's",
    async done() {
      const all = await wished()
      if (all.size === 0) return 'there is nothing to put in'
      for (const [name, message] of all) if ((await tools.files.read(file(name))) !== message) return `no ${name}`
      return true
    },
    async apply() {
      for (const [name, message] of await wished()) {
        if ((await tools.files.read(file(name))) === message) continue
        await tools.files.write(file(name), message)
        await transcript.note({who: administrator, step: `${name} written`, digests: {envelope: sha256(message)}})
      }
    },
  }
}

/** Holders unseal every node; they do it themselves, each on their own machine. */
export const unsealedByHolders = (ceremony: Ceremony, {wait}: {readonly wait: boolean}): Step => {
  const {hub, transcript, administrator, shown} = ceremony
  const done = async (): Promise<true | string> => {
    const seals = await hub.vaultSeals()
    const open = seals.filter((seal) => seal?.sealed === false).length
    return open === seals.length ? true : `${open} of ${seals.length} nodes unsealed`
  }
  return {
    title: `Vault on ${hub.name} unsealed by its holders`,
    patienceMs: wait ? 3_600_000 : 1000,
    done,
    async apply(tell) {
      const shares = (await ceremony.reply())?.shares ?? []
      const next = shares.map(({name}) => `lkeobs vault unseal --wait --envelope ${shown(envelopeOf(name))}          (${name})`)
      if (wait) return next.forEach((line) => tell(line, 'lasting'))
      await transcript.note({who: administrator, step: 'waiting for holders to unseal'})
      const {threshold} = ceremony
      throw new LkeobsError('LKO-5015', `${String(await done())}; any ${threshold} of these ${shares.length} holders open them.`, {next})
    },
  }
}

/** The request with the root token that the custodian gave. Throws LKO-5019 where it is none. */
const rootOf = async (ceremony: Ceremony, rootToken: AskedSecret): Promise<Secret> => {
  const token = await rootToken()
  const {status, accessor, policies} = await ceremony.sys.lookupSelf(token)
  if (status !== 200 || !policies.includes('root')) throw new LkeobsError('LKO-5019', `Vault on ${ceremony.hub.name} answers ${status}.`)
  // before anything is done with it: that it is gone in the end is asked by this name
  const known = await ceremony.json<Root>(rootFile)
  if (known?.accessor !== accessor) await ceremony.writeJson(rootFile, {accessor})
  return token
}

/** An administrator who logs in with a password, and with no help of the root token. */
export const administratorProven = (
  ceremony: Ceremony,
  secrets: {readonly rootToken: AskedSecret; readonly password: AskedSecret},
): Step => {
  const {hub, tools, transcript, administrator} = ceremony
  return {
    title: `administrator of Vault on ${hub.name} logs in with a password`,
    async done() {
      if (await hub.vault.accepts()) return true
      if ((await ceremony.json<Root>(rootFile))?.revoked !== undefined)
        throw new LkeobsError('LKO-5016', `Vault on ${hub.name} refused the password of ${adminUsername}.`)
      return 'there is none, or the password is another'
    },
    async apply() {
      const as = await rootOf(ceremony, secrets.rootToken)
      const write = async (path: string, data: Readonly<Record<string, unknown>>): Promise<void> => {
        const {status, errors} = await hub.vault.request({method: 'POST', path, data, as})
        await transcript.note({who: administrator, step: 'administrator made', api: `POST ${path}`, status})
        const isThere = path === 'sys/auth/userpass' && errors.some((text) => text.includes('already in use'))
        if (status >= 300 && !isThere) throw new LkeobsError('LKO-5002', `${path} on ${hub.name}: ${status} ${errors.join('; ')}`)
      }
      await write('sys/auth/userpass', {type: 'userpass'})
      await write(`sys/policies/acl/${adminPolicyName}`, {policy: adminPolicy})
      const password = await secrets.password()
      await tools.ask.again('The same password again')
      await write(`auth/userpass/users/${adminUsername}`, {password, token_policies: [adminPolicyName], token_ttl: '15m'})
    },
  }
}

type RaftConfiguration = {readonly config: {readonly servers: readonly {readonly voter: boolean}[]}}

/** All nodes keep the data together, and each has its vote. */
export const joined = ({hub, transcript, administrator}: Ceremony): Step => ({
  title: `${hub.vaultReplicas} of ${hub.vaultReplicas} nodes of Vault on ${hub.name} vote`,
  patienceMs: 60_000,
  async done() {
    const servers = (await hub.vault.read<RaftConfiguration>('sys/storage/raft/configuration'))?.config.servers ?? []
    const voters = servers.filter(({voter}) => voter).length
    return voters === hub.vaultReplicas ? true : `${voters} of ${hub.vaultReplicas} nodes vote`
  },
  // each joins by itself once it is unsealed
  apply: () => transcript.note({who: administrator, step: 'waiting for every node to vote', api: 'GET sys/storage/raft/configuration'}),
})

/** Two audit devices: Vault stops answering when the only one cannot be written. */
export const audited = ({hub}: Ceremony): Step => ({
  title: `two audit devices on Vault of ${hub.name}`,
  async done() {
    const devices = Object.keys((await hub.vault.read('sys/audit')) ?? {}).length
    return devices >= 2 ? true : `${devices} of 2`
  },
  // they are declared in the configuration of every node, which Vault reads when it is unsealed
  apply: async () => undefined,
})

/** The root token is revoked, and Vault refuses it; with `again`, one that was made since. */
export const rootRevoked = (ceremony: Ceremony, rootToken: AskedSecret, {again = false} = {}): Step => {
  const {hub, sys, transcript, administrator} = ceremony
  let isDone = false
  return {
    title: 'root token revoked, and refused',
    async done() {
      if (again) return isDone ? true : 'not yet'
      const root = await ceremony.json<Root>(rootFile)
      if (!root) return 'it was never shown to Vault'
      if (await sys.lives(root.accessor)) return 'it is still accepted'
      return root.revoked === undefined ? 'its end is not written down' : true
    },
    async apply() {
      const root = await ceremony.json<Root>(rootFile)
      const as = {accessor: root?.accessor ?? ''}
      if (!again && root && !(await sys.lives(root.accessor))) {
        // killed after it was revoked: that it lives no longer is what the administrator is told
        await transcript.note({
          who: administrator,
          step: 'root token is gone',
          api: 'POST auth/token/lookup-accessor',
          status: 403,
          digests: as,
        })
        return ceremony.writeJson(rootFile, {...root, revoked: new Date().toISOString()})
      }
      const token = await rootOf(ceremony, rootToken)
      const digests = {accessor: (await ceremony.json<Root>(rootFile))?.accessor ?? ''}
      const revoked = await sys.revokeSelf(token)
      await transcript.note({who: administrator, step: 'root token revoked', api: 'POST auth/token/revoke-self', status: revoked, digests})
      const {status} = await sys.lookupSelf(token)
      await transcript.note({who: administrator, step: 'root token refused', api: 'GET auth/token/lookup-self', status, digests})
      if (status !== 403) throw new LkeobsError('LKO-5020', `Vault on ${hub.name} answered ${status} to the revoked root token.`)
      await ceremony.writeJson(rootFile, {...digests, revoked: new Date().toISOString()})
      isDone = true
    },
  }
}
