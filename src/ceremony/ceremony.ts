import path from 'node:path'
import {userInfo} from 'node:os'
import {LkeobsError} from '../errors.ts'
import type {FleetFile} from '../fleet/load.ts'
import type {Holder} from '../fleet/holders.ts'
import {stateFolderOf} from '../platforms/local/index.ts'
import type {HubCluster} from '../platforms/platform.ts'
import {type PublicKey, readPublicKey} from '../tools/openpgp.ts'
import type {Tools} from '../tools/index.ts'
import {vaultSys} from '../tools/vault-sys.ts'
import {type Transcript, transcriptIn} from './transcript.ts'

/** Somebody with a key of their own. */
export type Person = {readonly name: string; readonly key: PublicKey}

/** A share, as Vault gave it: base64 of a message to the holder's key, which is kept for when the holder is replaced. */
export type Sealed = {readonly name: string; readonly fingerprint: string; readonly key: string; readonly message: string}

/** Vault's one irreversible answer: who holds what, all of it ciphertext. */
export type Reply = {
  readonly threshold: number
  readonly shares: readonly Sealed[]
  readonly custodian: {readonly name: string; readonly fingerprint: string}
  /** Left out once it is of no use. */
  readonly rootToken?: string
}

/** A ceremony of the hub's Vault: who takes part, and the folder where what they hand each other lies. */
export type Ceremony = {
  readonly fleet: string
  readonly hub: HubCluster
  readonly tools: Tools
  readonly folder: string
  file(name: string): string
  /** As a person types it, from here. */
  shown(name: string): string
  readonly threshold: number
  readonly holders: readonly Person[]
  readonly custodian: Person
  readonly transcript: Transcript
  /** Whoever runs this, for the transcript. */
  readonly administrator: string
  readonly sys: ReturnType<typeof vaultSys>
  reply(): Promise<Reply | undefined>
  json<T>(name: string): Promise<T | undefined>
  writeJson(name: string, content: object): Promise<void>
}

export const replyFile = 'reply.json'
export const transcriptFile = 'transcript.jsonl'

export const ceremonyFolder = (fleetFolder: string, hub: string): string => path.join(stateFolderOf(fleetFolder), hub, 'ceremony')

/** The keys of these people. Throws LKO-5011 with all that is wrong with any of them. */
const peopleOf = async (people: readonly Holder[], folder: string, {files}: Pick<Tools, 'files'>): Promise<readonly Person[]> => {
  const problems: string[] = []
  const found: Person[] = []
  for (const {name, key: file} of people) {
    const text = await files.read(path.resolve(folder, file))
    const key = text === undefined ? 'there is no such file' : await readPublicKey(text)
    const twin = typeof key === 'string' ? undefined : found.find((other) => other.key.fingerprint === key.fingerprint)
    if (typeof key === 'string') problems.push(`${name} (${file}): ${key}.`)
    else if (twin) problems.push(`${name} (${file}): it is the key of ${twin.name}, ${key.fingerprint}.`)
    else found.push({name, key})
  }
  if (problems.length > 0) throw new LkeobsError('LKO-5011', problems.join('\n'))
  return found
}

const whoRuns = (): string => {
  try {
    return userInfo().username
  } catch {
    return 'unknown'
  }
}

/** The ceremony of the fleet's hub. Throws LKO-5012 where its Vault has another seal, LKO-5011 where a key cannot be used. */
export const openCeremony = async ({fleet, folder: home}: FleetFile, hub: HubCluster, tools: Tools): Promise<Ceremony> => {
  const {seal, holders = [], threshold = 0, custodian} = fleet.hub.vault
  if (seal !== 'shamir' || !custodian) throw new LkeobsError('LKO-5012', `The seal of Vault on ${hub.name} is ${seal}.`)
  const people = await peopleOf([...holders, custodian], home, tools)
  const keeper = people.at(-1)
  if (!keeper) throw new Error('a ceremony without a custodian')
  const folder = ceremonyFolder(home, hub.name)
  const file = (name: string) => path.join(folder, name)
  const json = async <T>(name: string): Promise<T | undefined> => {
    const text = await tools.files.read(file(name))
    return text === undefined ? undefined : (JSON.parse(text) as T)
  }
  const administrator = `administrator ${whoRuns()}`
  return {
    fleet: fleet.fleet,
    hub,
    tools,
    folder,
    file,
    shown: (name) => path.relative(process.cwd(), file(name)) || file(name),
    threshold,
    holders: people.slice(0, -1),
    custodian: keeper,
    transcript: transcriptIn(file(transcriptFile), tools.files),
    administrator,
    sys: vaultSys(hub.vault),
    json,
    reply: () => json<Reply>(replyFile),
    writeJson: (name, content) => tools.files.write(file(name), `${JSON.stringify(content, undefined, 2)}\n`),
  }
}
