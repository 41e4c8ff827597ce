import {readdirSync, readFileSync} from 'node:fs'
import {mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {document, type Ended, lkeobs, lkeobsAloud, pidsOf, start} from './cli.ts'
import {heldFleet, type Person, personWith, processTable} from './people.ts'

type Failure = {error: {code: string; exit: number; message: string; next: string[]}}
type Board = {
  unsealed: boolean
  code?: string
  leader?: string
  peers: number
  nodes: {node: string; state: string; progress: number; nonce: string}[]
}

const ports = 22_300
const password = 'correct horse battery staple'
const debug = {DEBUG: '*', LKEOBS_DEBUG: '1'}

let folder: string
let outside: string
let people: Person[]
let custodian: Person
let fay: Person
/** Everything that any command said. */
const said: string[] = []
/** What must be found nowhere. */
const secrets: string[] = [password]
let table: ReturnType<typeof processTable>

const inCeremony = (name: string) => path.join(folder, '.lkeobs/hub/ceremony', name)
const at = (index: number): Person => people[index] ?? custodian

const heard = (ended: Ended): Ended => {
  said.push(ended.stdout, ended.stderr)
  return ended
}
const cli = async (args: readonly string[], env: NodeJS.ProcessEnv = {}, input?: string): Promise<Ended> =>
  heard(await start(folder, args, {...debug, ...env}, input).ended)
const as = ({home}: Person): NodeJS.ProcessEnv => ({GNUPGHOME: home})
const codeOf = (ended: Ended): string => document<Failure>(ended).error.code
const admin = () => ({LKEOBS_VAULT_PASSWORD_FILE: path.join(outside, 'password')})

/** A holder's own words are secret from then on. */
const shareIn = async (person: Person, file = inCeremony(`${person.name}.share.asc`)): Promise<string> => {
  const share = (await person.decrypt(await readFile(file, 'utf8'))).trim()
  secrets.push(share, Buffer.from(share, 'hex').toString('base64'))
  return share
}

const filesBelow = (place: string): readonly string[] =>
  readdirSync(place, {recursive: true, withFileTypes: true}).flatMap((entry) =>
    entry.isFile() ? [path.join(entry.parentPath, entry.name)] : [],
  )

beforeAll(async () => {
  const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
  if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  folder = await mkdtemp(path.join(tmpdir(), 'lkeobs-held-'))
  outside = await mkdtemp(path.join(tmpdir(), 'lkeobs-outside-'))
  people = await Promise.all(
    ['ada', 'bea', 'cem', 'dan', 'eve'].map((name, index) => personWith(name, index === 4 ? 'default' : undefined)),
  )
  custodian = await personWith('kay')
  fay = await personWith('fay')
  await heldFleet(folder, {holders: people, custodian, threshold: 3, ports})
  await writeFile(path.join(outside, 'password'), `${password}\n`)
  table = processTable()
})

afterAll(async () => {
  await table.stop()
  await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])
  for (const person of [...people, custodian, fay]) await person.gone()
  for (const place of [folder, outside]) await rm(place, {recursive: true, force: true})
})

describe('init', () => {
  test('names who has to answer, and answers of all let Vault be initialised once', async () => {
    const first = await cli(['vault', 'init', '--json'])
    expect(first.code, first.stdout).toBe(6)
    expect(codeOf(first)).toBe('LKO-5013')
    expect(document<Failure>(first).error.message).toContain('ada, bea, cem, dan, eve, kay')

    const answers = path.join(outside, 'answers')
    for (const person of [...people, custodian]) {
      const answered = await cli(['vault', 'answer', inCeremony(`${person.name}.challenge.asc`)], as(person))
      expect(answered.code, answered.stderr.slice(-2000)).toBe(0)
      await writeFile(`${answers}-${person.name}`, answered.stdout)
    }
    const wrong = await cli(['vault', 'init', '--json', '--answer', '-'], {}, 'lkeobs-answer:ada:0000\n')
    expect(codeOf(wrong)).toBe('LKO-5014')
    const some = await cli(['vault', 'init', '--json', '--answer', `${answers}-ada`, '--answer', `${answers}-kay`])
    expect(document<Failure>(some).error.message).toMatch(/yet of bea, cem, dan, eve/)

    const all = await cli(['vault', 'init', '--json', ...people.flatMap(({name}) => ['--answer', `${answers}-${name}`])])
    expect(codeOf(all), all.stdout).toBe('LKO-5015')
    const again = await cli(['vault', 'init', '--json'])
    expect(codeOf(again)).toBe('LKO-5015')
    const transcript = await readFile(inCeremony('transcript.jsonl'), 'utf8')
    expect(transcript.match(/POST sys\/init/g)).toHaveLength(1)
  })
})
