import {LkeobsError} from '../errors.ts'
import {Secret} from '../secret.ts'
import type {Step} from '../steps/step.ts'
import {type Attempt, type RotationWish} from '../tools/vault-sys.ts'
import {encryptTo, isCiphertext, keptPublicKey} from '../tools/openpgp.ts'
import {registry} from '../trust/register.ts'
import {mounted, written} from '../trust/pki.ts'
import {type Ceremony, type Person, type Reply, replyFile, type Sealed} from './ceremony.ts'
import {envelope, envelopeOf, isHeldAsWished, rootTokenFile} from './init.ts'
import {holderPolicy, holderPolicyName, type Kind, type Outcome, outcomePath, type Ticket} from './ticket.ts'
import {sha256} from './transcript.ts'

/** An attempt that was begun from here. */
type Open = {
  readonly attempt: Kind
  readonly nonce: string
  readonly until: string
  /** By holder: the accessor of the token in their ticket. */
  readonly tickets: Readonly<Record<string, string>>
}

const openFile = 'attempt.json'
const nextFile = 'next-reply.json'
const nextFolder = 'next'
const ticketOf = (name: string): string => `${name}.ticket.asc`

export type AttemptWish = {
  readonly attempt: Kind
  readonly minutes: number
  readonly wait: boolean
  /** New shares although the holders are those of the fleet file. */
  readonly fresh: boolean
}

/** The steps of an attempt; made once for a run. */
export const attemptOf = (ceremony: Ceremony, {attempt, minutes, wait, fresh}: AttemptWish) => {
  const {hub, sys, tools, holders, custodian, threshold, file, shown, json, writeJson, transcript, administrator} = ceremony
  const {vault} = hub
  let isClosed = false

  const open = async (): Promise<Open | undefined> => {
    const found = await json<Open>(openFile)
    if (found && found.attempt !== attempt)
      throw new LkeobsError('LKO-5030', `${found.attempt} is under way.`, {next: [`lkeobs vault ${found.attempt}`]})
    return found
  }
  const reply = async (): Promise<Reply> => {
    const found = await ceremony.reply()
    if (found) return found
    throw new LkeobsError('LKO-5018', `${shown(replyFile)} is not there.`, {next: ['lkeobs vault init']})
  }
  /** Whether there is anything to do. */
  const isNeeded = async (): Promise<boolean> => {
    if (isClosed) return false
    if ((await open()) !== undefined || attempt === 'generate-root') return true
    return fresh || !isHeldAsWished(ceremony, await reply())
  }
  const status = (): Promise<Attempt> => (attempt === 'rekey' ? sys.rotation() : sys.rootToken())
  const outcome = async (nonce: string): Promise<Outcome | undefined> => {
    const found = await vault.read<Outcome>(outcomePath(attempt))
    return found?.nonce === nonce ? found : undefined
  }
  const whenNeeded = (step: Step): Step => ({...step, done: async () => ((await isNeeded()) ? step.done() : true)})
  const note = (step: string, more: Partial<Parameters<typeof transcript.note>[0]> = {}) =>
    transcript.note({who: administrator, step, ...more})

  /** Nobody can take part any more. */
  const shut = async (): Promise<void> => {
    const found = await open()
    if (!found) return
    for (const accessor of Object.values(found.tickets)) await sys.revokeAccessor(accessor)
    for (const name of Object.keys(found.tickets)) await tools.files.remove(file(ticketOf(name)))
    await tools.files.remove(file(nextFile))
    await tools.files.remove(file(nextFolder))
    await tools.files.remove(file(openFile))
  }
  /** Ends whatever is under way, whoever began it. */
  const cancelled = async (): Promise<void> => {
    const under = await status()
    if (under.started) await (attempt === 'rekey' ? sys.cancelRotation(under.nonce ?? '') : sys.cancelRootToken(under.nonce ?? ''))
    if (attempt === 'rekey') await sys.removeRotationBackup()
    await shut()
    await note(`${attempt} cancelled`, {...(under.nonce !== undefined && {digests: {nonce: under.nonce}})})
  }

  const begun: Step = {
    title: `${attempt} under way`,
    async done() {
      const found = await open()
      if (found && (await outcome(found.nonce))) return true
      const under = await status()
      if (found && Date.parse(found.until) < Date.now()) {
        await cancelled()
        throw new LkeobsError('LKO-5026', `The time of the attempt ${found.nonce} passed at ${found.until}; it was cancelled.`, {
          next: [`lkeobs vault ${attempt}`],
        })
      }
      if (found && !under.started)
        throw new LkeobsError('LKO-5026', `Vault has forgotten the attempt ${found.nonce}: the node that led was restarted or sealed.`, {
          next: [`lkeobs vault ${attempt} --cancel`],
        })
      if (under.started && under.nonce !== found?.nonce)
        throw new LkeobsError('LKO-5030', `Under way is ${under.nonce}, which was not begun from here.`, {
          next: [`lkeobs vault ${attempt} --cancel`],
        })
      return found ? true : 'not yet'
    },
    async apply() {
      const wish: RotationWish = {shares: holders.length, threshold, keys: holders.map(({key}) => key.binary)}
      const {nonce = ''} = attempt === 'rekey' ? await sys.startRotation(wish) : await sys.startRootToken(custodian.key.binary)
      const until = new Date(Date.now() + minutes * 60_000).toISOString()
      await writeJson(openFile, {attempt, nonce, until, tickets: {}} satisfies Open)
      await note(`${attempt} begun`, {digests: {nonce}, status: 200})
    },
  }

  /** Those who hold a share, and those who are to. */
  const taking = async (): Promise<readonly Person[]> => {
    const held = await Promise.all(
      (await reply()).shares.map(async ({name, key}) => {
        const usable = await keptPublicKey(key)
        return typeof usable === 'string' ? [] : [{name, key: usable}]
      }),
    )
    const all = [...held.flat(), ...(attempt === 'rekey' ? holders : [])]
    return [...new Map(all.map((person) => [person.name, person])).values()]
  }

  const ticketed: Step = {
    title: 'a ticket for everybody who may take part',
    async done() {
      const {tickets = {}} = (await open()) ?? {}
      const missing = (await taking()).filter(({name}) => tickets[name] === undefined)
      return missing.length === 0 ? true : `none for ${missing.map(({name}) => name).join(', ')}`
    },
    async apply() {
      for (const {name, key} of await taking()) {
        const found = await open()
        if (!found || found.tickets[name] !== undefined) continue
        const data = {
          policies: [holderPolicyName],
          no_default_policy: true,
          ttl: `${minutes}m`,
          explicit_max_ttl: `${minutes}m`,
          renewable: false,
          display_name: `holder-${name}`,
        }
        const path = 'auth/token/create-orphan'
        const answer = await vault.request({method: 'POST', path, data, as: 'administrator'})
        if (answer.status >= 300) throw new LkeobsError('LKO-5002', `${path}: ${answer.status} ${answer.errors.join('; ')}`)
        const {client_token: token, accessor} = answer.data as {client_token: string; accessor: string}
        // that it is to be revoked is on disk before anybody can use it
        await writeJson(openFile, {...found, tickets: {...found.tickets, [name]: accessor}})
        const ticket: Ticket = {kind: 'lkeobs/ticket/v1', attempt, hub: hub.name, holder: name, nonce: found.nonce, token}
        const armoured = await encryptTo(key, new Secret(JSON.stringify(ticket)))
        await tools.files.write(file(ticketOf(name)), armoured)
        await note(`ticket written for ${name}`, {
          api: `POST ${path}`,
          status: answer.status,
          digests: {accessor, ticket: sha256(armoured)},
        })
      }
    },
  }

  const waiting = (title: string, people: () => Promise<readonly string[]>, folder: string, done: () => Promise<true | string>): Step => ({
    title,
    patienceMs: wait ? minutes * 60_000 : 1000,
    done,
    async apply(tell) {
      const next = (await people()).map(
        (name) =>
          `lkeobs vault ${attempt} --ticket ${shown(ticketOf(name))} --envelope ${shown(`${folder}${envelopeOf(name)}`)}          (${name})`,
      )
      if (wait) return next.forEach((line) => tell(line, 'lasting'))
      await note(`waiting: ${title}`)
      throw new LkeobsError('LKO-5015', `${title}: ${String(await done())}, until ${(await open())?.until}.`, {next})
    },
  })

  const given = waiting(
    attempt === 'rekey' ? 'those who hold shares agree' : 'holders agree',
    async () => (await reply()).shares.map(({name}) => name),
    '',
    async () => {
      const found = await open()
      if (found && (await outcome(found.nonce))) return true
      const {verificationNonce, progress = 0, required = 0} = await status()
      return verificationNonce === undefined ? `${progress} of ${required} shares given` : true
    },
  )

  const next = (): Promise<(Reply & {readonly nonce: string}) | undefined> => json(nextFile)
  const renewed: Step = {
    title: 'an envelope with the new share for each holder',
    async done() {
      const found = await next()
      if (found === undefined || found.nonce !== (await open())?.nonce) return 'not yet'
      for (const {name} of found.shares)
        if (!(await tools.files.exists(file(`${nextFolder}/${envelopeOf(name)}`)))) return `none for ${name}`
      return true
    },
    async apply() {
      const {nonce = ''} = (await open()) ?? {}
      const backup = await sys.rotationBackup()
      if (backup.nonce !== nonce) throw new LkeobsError('LKO-5030', `The new shares in Vault are of ${backup.nonce}, not of ${nonce}.`)
      const shares = holders.map(({name, key}): Sealed => {
        const message = backup.keys[key.fingerprint.toLowerCase()]?.[0] ?? ''
        if (!isCiphertext(message)) throw new LkeobsError('LKO-5002', `What Vault keeps for ${name} is not encrypted; it was not taken.`)
        return {name, fingerprint: key.fingerprint, key: key.binary, message}
      })
      const {custodian: keeper} = await reply()
      await writeJson(nextFile, {nonce, threshold, shares, custodian: keeper})
      for (const [index, person] of holders.entries()) {
        const armoured = await envelope(person, shares[index]?.message ?? '')
        await tools.files.write(file(`${nextFolder}/${envelopeOf(person.name)}`), armoured)
        await note(`new envelope for ${person.name}`, {digests: {envelope: sha256(armoured)}})
      }
    },
  }

  const proven = waiting(
    'holders prove their new shares',
    async () => holders.map(({name}) => name),
    `${nextFolder}/`,
    async () => {
      const found = await open()
      if (found && (await outcome(found.nonce))) return true
      const {progress = 0} = await sys.proof()
      return `${progress} of ${threshold} new shares proven`
    },
  )

  const rekeyed: Step = {
    title: 'the new shares open Vault, the old ones are refused',
    async done() {
      return (await open()) === undefined && isHeldAsWished(ceremony, await reply()) ? true : 'not closed yet'
    },
    async apply() {
      const found = await next()
      const before = await reply()
      if (found) {
        const {nonce, ...renewedReply} = found
        for (const {name} of before.shares)
          if (!found.shares.some((share) => share.name === name)) await tools.files.remove(file(envelopeOf(name)))
        for (const person of holders) {
          const own = found.shares.find(({name}) => name === person.name)
          if (own) await tools.files.write(file(envelopeOf(person.name)), await envelope(person, own.message))
        }
        await writeJson(replyFile, renewedReply)
        await note('shares exchanged', {
          digests: {nonce, ...Object.fromEntries(found.shares.map(({name, fingerprint}) => [name, fingerprint]))},
        })
      }
      await sys.removeRotationBackup()
      await shut()
      isClosed = true
    },
  }

  const tokenMade: Step = {
    title: `root token in an envelope for ${custodian.name}`,
    async done() {
      return (await open()) === undefined ? true : 'not written yet'
    },
    async apply() {
      const {nonce = ''} = (await open()) ?? {}
      const {token = '', by = ''} = (await outcome(nonce)) ?? {}
      const armoured = await envelope(custodian, token)
      await tools.files.write(file(rootTokenFile), armoured)
      await note('root token made', {digests: {nonce, envelope: sha256(armoured), 'last share by': by}})
      await shut()
      isClosed = true
    },
  }

  const login: Step = {
    title: `administrator of Vault on ${hub.name} logs in`,
    async done() {
      if (await vault.accepts()) return true
      throw new LkeobsError('LKO-5016', `Vault on ${hub.name} refused the password.`)
    },
    apply: async () => undefined,
  }
  const prepared: readonly Step[] = [
    mounted(vault, 'register of edges and ceremonies', registry, 'kv'),
    written(vault, 'policy of holders: they may give shares, nothing else', `sys/policies/acl/${holderPolicyName}`, {policy: holderPolicy}),
  ]
  const later = attempt === 'rekey' ? [renewed, proven, rekeyed] : [tokenMade]
  return {
    /** New among the holders: they have not shown that they can decrypt. */
    async newcomers(): Promise<readonly Person[]> {
      const {shares} = await reply()
      return (await isNeeded()) ? holders.filter(({key}) => !shares.some(({fingerprint}) => fingerprint === key.fingerprint)) : []
    },
    login,
    steps: [...prepared, begun, ticketed, given, ...later].map(whenNeeded),
    cancelled,
  }
}
