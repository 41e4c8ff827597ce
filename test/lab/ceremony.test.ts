import {randomBytes} from 'node:crypto'
import {readdirSync, readFileSync} from 'node:fs'
import {appendFile, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {Secret} from '../../src/secret.ts'
import {openVault} from '../../src/tools/vault.ts'
import {document, type Ended, eventually, lkeobs, lkeobsAloud, pidsOf, start} from './cli.ts'
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
const gone: Person[] = []
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

/** How OpenBao writes tokens: also those that only the command line ever saw. */
const anyToken = /\bs\.[A-Za-z0-9]{24}\b/

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
  for (const person of new Set([...people, ...gone, custodian, fay])) await person.gone()
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

const unseal = (person: Person, args: readonly string[] = [], file = inCeremony(`${person.name}.share.asc`)): Promise<Ended> =>
  cli(['vault', 'unseal', '--json', '--envelope', file, ...args], as(person))
const rootToken = async (): Promise<string> => {
  const token = await custodian.decrypt(await readFile(inCeremony('root-token.asc'), 'utf8'))
  secrets.push(token)
  return token
}

describe('unseal', () => {
  test('three holders at once, each typing once, unseal three nodes', async () => {
    for (const person of people) await shareIn(person)
    const all = await Promise.all([at(0), at(1), at(3)].map((person) => unseal(person, ['--wait'])))
    for (const ended of all) {
      expect(ended.code, ended.stdout).toBe(0)
      expect(document<Board>(ended)).toMatchObject({unsealed: true, leader: 'vault-0', peers: 3})
    }
  })

  test('what is unsealed already needs no share', async () => {
    const again = await unseal(at(2))
    expect(again.code, again.stdout).toBe(0)
    expect(document<Board>(again).code).toBe('LKO-5027')
  })
})

describe('the administrator', () => {
  test('cannot be made without a password or a root token, and nobody is asked', async () => {
    const none = await cli(['vault', 'init', '--json'])
    expect(codeOf(none)).toBe('LKO-5010')
    const wrong = await cli(['vault', 'init', '--json', '--root-token-file', '-'], admin(), 's.notatoken\n')
    expect(codeOf(wrong)).toBe('LKO-5019')
  })

  test('logs in with a password; the root token is revoked and refused', async () => {
    const ended = await cli(['vault', 'init', '--json', '--root-token-file', '-'], admin(), `${await rootToken()}\n`)
    expect(ended.code, ended.stdout).toBe(0)
    const transcript = await readFile(inCeremony('transcript.jsonl'), 'utf8')
    expect(transcript).toMatch(/"root token refused","api":"GET auth\/token\/lookup-self","status":403/)
    const again = await cli(['vault', 'init', '--json'], admin())
    expect(document<{steps: {title: string; state: string}[]}>(again).steps.filter(({state}) => state !== 'already so')).toEqual([])
  })

  test('is refused with another password', async () => {
    const ended = await cli(['vault', 'init', '--json', '--password-file', '-'], {}, 'another\n')
    expect(codeOf(ended)).toBe('LKO-5016')
  })
})

describe('the hub', () => {
  test('is made by the administrator, whose password comes through a pipe and is kept nowhere', async () => {
    expect(codeOf(await cli(['hub', 'init', '--json']))).toBe('LKO-5010')
    const made = await cli(['hub', 'init', '--json'], {LKEOBS_VAULT_PASSWORD_FILE: '/dev/stdin'}, `${password}\n`)
    expect(made.code, made.stdout).toBe(0)
  })
})

describe('rekey', () => {
  const part = (kind: string, person: Person, envelope = inCeremony(`${person.name}.share.asc`)) =>
    cli(['vault', kind, '--json', '--ticket', inCeremony(`${person.name}.ticket.asc`), '--envelope', envelope], as(person))

  test('swaps one holder: old shares agree, new ones are proven', async () => {
    const before = people
    people = [...before.slice(0, 4), fay]
    await heldFleet(folder, {holders: people, custodian, threshold: 3, ports})
    expect(codeOf(await cli(['vault', 'init', '--json'], admin()))).toBe('LKO-5017')
    const asked = await cli(['vault', 'rekey', '--json'], admin())
    expect(codeOf(asked), asked.stdout).toBe('LKO-5013')
    const {stdout} = await cli(['vault', 'answer', inCeremony('fay.challenge.asc')], as(fay))
    const begun = await cli(['vault', 'rekey', '--json', '--answer', '-'], admin(), stdout)
    expect(codeOf(begun), begun.stdout).toBe('LKO-5015')
    const [ada, , cem, , eve] = before
    if (!ada || !cem || !eve) throw new Error('nobody')
    const first = await part('rekey', ada)
    expect(first.code, first.stdout).toBe(0)
    expect(codeOf(await part('rekey', ada))).toBe('LKO-5024')
    expect((await part('rekey', eve)).code).toBe(0)
    const third = await part('rekey', cem)
    expect(document<{complete: boolean}>(third).complete, third.stdout).toBe(true)

    const renewed = await cli(['vault', 'rekey', '--json'], admin())
    expect(codeOf(renewed), renewed.stdout).toBe('LKO-5015')
    for (const person of [fay, ada, cem]) {
      const envelope = inCeremony(`next/${person.name}.share.asc`)
      await shareIn(person, envelope)
      const proven = await part('rekey', person, envelope)
      expect(proven.code, proven.stdout).toBe(0)
    }
    await writeFile(path.join(outside, 'old.share.asc'), await readFile(inCeremony('eve.share.asc')))
    await writeFile(path.join(outside, 'ada.old.share.asc'), await readFile(inCeremony('ada.share.asc')))
    const closed = await cli(['vault', 'rekey', '--json'], admin())
    expect(closed.code, closed.stdout).toBe(0)
    const again = await cli(['vault', 'rekey', '--json'], admin())
    expect(document<{steps: {state: string}[]}>(again).steps.filter(({state}) => state !== 'already so')).toEqual([])
    // who has left is not forgotten by the test: their share must be found nowhere either
    gone.push(eve)
    for (const person of people) await shareIn(person)
  })

  test('break glass: a root token for the custodian, and its end', async () => {
    expect(codeOf(await cli(['vault', 'generate-root', '--json'], admin()))).toBe('LKO-1005')
    const begun = await cli(['vault', 'generate-root', '--json', '--yes'], admin())
    expect(codeOf(begun), begun.stdout).toBe('LKO-5015')
    // an old share makes the three worth nothing, and nothing breaks
    expect((await part('generate-root', at(0))).code).toBe(0)
    expect((await part('generate-root', at(1))).code).toBe(0)
    const old = await gone[0]?.decrypt(await readFile(path.join(outside, 'old.share.asc'), 'utf8'))
    const ticket = ['--ticket', inCeremony('cem.ticket.asc')]
    expect(codeOf(await cli(['vault', 'generate-root', '--json', ...ticket, '--share-file', '-'], as(at(2)), `${old}\n`))).toBe('LKO-5023')
    for (const person of [at(4), at(1), at(3)]) {
      const given = await part('generate-root', person)
      expect(given.code, given.stdout).toBe(0)
    }
    const made = await cli(['vault', 'generate-root', '--json', '--yes'], admin())
    expect(made.code, made.stdout).toBe(0)
    const token = await rootToken()
    expect(token).toMatch(/^s\./)
    const closed = await cli(['vault', 'generate-root', '--json', '--close', '--root-token-file', '-'], admin(), `${token}\n`)
    expect(closed.code, closed.stdout).toBe(0)
    const refused = await cli(['vault', 'generate-root', '--json', '--close', '--root-token-file', '-'], admin(), `${token}\n`)
    expect(codeOf(refused)).toBe('LKO-5019')
  })

  test('an attempt can be cancelled, and its tickets end with it', async () => {
    expect(codeOf(await cli(['vault', 'generate-root', '--json', '--yes'], admin()))).toBe('LKO-5015')
    const ticket = path.join(outside, 'ada.ticket.asc')
    await writeFile(ticket, await readFile(inCeremony('ada.ticket.asc')))
    expect((await cli(['vault', 'generate-root', '--json', '--cancel'], admin())).code).toBe(0)
    const late = await cli(['vault', 'generate-root', '--json', '--ticket', ticket, '--envelope', inCeremony('ada.share.asc')], as(at(0)))
    expect(codeOf(late)).toBe('LKO-5031')
  })
})

describe('a node killed', () => {
  const board = async () => document<Board>(await cli(['vault', 'unseal', '--json', '--dry-run']))
  const node = async (name: string) => (await board()).nodes.find((one) => one.node === name)

  test('is unsealed again; old and wrong shares are refused and set the progress back', async () => {
    const {'vault-2': pid = 0} = await pidsOf(folder, 'hub')
    process.kill(pid, 'SIGKILL')
    // the run that starts it needs no password before it is unsealed
    expect(codeOf(await cli(['vault', 'init', '--json'], admin()))).toBe('LKO-5015')
    expect(await node('vault-2')).toMatchObject({state: 'sealed', progress: 0})

    const counted = await unseal(at(0))
    expect(document<Board>(counted).nodes[2]).toMatchObject({progress: 1})
    expect(codeOf(await unseal(at(0)))).toBe('LKO-5024')
    const nonce = (await node('vault-2'))?.nonce ?? ''
    expect(codeOf(await unseal(at(1), ['--nonce', 'ffff']))).toBe('LKO-5025')
    expect((await unseal(at(1), ['--nonce', nonce.slice(0, 6)])).code).toBe(0)
    const [eve] = gone
    if (!eve) throw new Error('nobody has left')
    const old = await unseal(eve, [], path.join(outside, 'old.share.asc'))
    expect(codeOf(old), old.stdout).toBe('LKO-5023')
    expect(await node('vault-2')).toMatchObject({state: 'sealed', progress: 0, nonce: ''})
    expect(codeOf(await unseal(at(1), ['--nonce', nonce.slice(0, 6)]))).toBe('LKO-5026')

    const typed = await cli(['vault', 'unseal', '--json', '--share-file', '-'], {}, 'not a share\n')
    expect(codeOf(typed)).toBe('LKO-5021')
    expect((await unseal(at(3))).code).toBe(0)
    const reset = await cli(['vault', 'unseal', '--json', '--reset'])
    expect(document<Board>(reset).nodes[2]).toMatchObject({progress: 0})
    // two at the same moment both count
    await Promise.all([unseal(at(0)), unseal(at(1))])
    expect(await node('vault-2')).toMatchObject({progress: 2})
    const share = await fay.decrypt(await readFile(inCeremony('fay.share.asc'), 'utf8'))
    const last = await cli(['vault', 'unseal', '--json', '--share-file', '-'], {}, `${share}\n`)
    expect(document<Board>(last)).toMatchObject({unsealed: true, peers: 3})
  })
})

describe('a snapshot', () => {
  type Drilled = {marker?: {id: string}; shares?: {threshold: number; of: number}; steps: {title: string; state: string}[]}
  const file = () => path.join(outside, 'hub.snap')
  const secret = randomBytes(12).toString('hex')
  const pending = () => path.join(folder, '.lkeobs/hub/restore.json')
  const nodeAt = (index: number) =>
    openVault({
      address: `https://127.0.0.1:${ports + 10 + 2 * index}`,
      ca: () => readFile(path.join(folder, '.lkeobs/hub/ca/ca.pem'), 'utf8'),
      login: {username: 'lkeobs', password: async () => new Secret(password)},
    })
  const restore = (args: readonly string[] = [], input?: string) =>
    cli(['vault', 'restore', file(), '--yes', '--json', ...args], admin(), input)
  /** Who opens it, one share a line. */
  const sharesOf = async (all: readonly Person[]) =>
    (await Promise.all(all.map((person) => shareIn(person)))).map((line) => `${line}\n`).join('')
  const changed = (ended: Ended) =>
    document<Drilled>(ended)
      .steps.filter(({state}) => state === 'done')
      .map(({title}) => title)

  test('is drilled as far as it goes without holders, and with them to its marker', async () => {
    await nodeAt(0).write('lkeobs/before', {secret})
    const taken = await cli(['vault', 'snapshot', '--out', file(), '--json'], admin())
    expect(taken.code, taken.stdout).toBe(0)
    const {note} = document<{note: {id: string; seal: string; shares: object}}>(taken)
    expect(note).toMatchObject({seal: 'shamir', shares: {threshold: 3, of: 5}})

    const alone = await cli(['vault', 'restore', file(), '--drill', '--json'])
    expect(alone.code, alone.stdout).toBe(0)
    expect(document<Drilled>(alone)).toMatchObject({shares: {threshold: 3, of: 5}})
    expect(document<Drilled>(alone).marker).toBeUndefined()

    const three = await restore(['--drill', '--share-file', '-'], await sharesOf([at(4), at(1), at(2)]))
    expect(three.code, three.stdout).toBe(0)
    expect(document<Drilled>(three).marker?.id).toBe(note.id)
    const old = await gone[0]?.decrypt(await readFile(path.join(outside, 'old.share.asc'), 'utf8'))
    const wrong = await restore(['--drill', '--share-file', '-'], `${await sharesOf([at(0), at(1)])}${old}\n`)
    expect(codeOf(wrong)).toBe('LKO-5023')
    expect(readdirSync(path.join(folder, '.lkeobs'))).not.toContain('drill')
  })

  test('replaces what holders have opened only by force', async () => {
    await nodeAt(0).write('lkeobs/before', {secret: 'later'})
    await cli(['vault', 'snapshot', '--out', path.join(outside, 'later.snap'), '--json'], admin())
    expect(codeOf(await restore())).toBe('LKO-5204')
    const forced = await restore(['--force'])
    expect(forced.code, forced.stdout).toBe(0)
    expect(await nodeAt(0).read('lkeobs/before')).toEqual({secret})
  })

  test('in fresh nodes it waits for the holders of then; killed before, nothing is removed but what was declared worthless', async () => {
    for (const [name, pid] of Object.entries(await pidsOf(folder, 'hub'))) {
      if (!name.startsWith('vault')) continue
      process.kill(pid, 'SIGKILL')
      await rm(path.join(folder, '.lkeobs/hub', name, 'data'), {recursive: true})
    }
    const {child, ended} = start(folder, ['vault', 'restore', file(), '--yes'], debug)
    await eventually('the first node is initialised', async () => (await nodeAt(0).sealStatus())?.initialized === true, 60_000)
    child.kill('SIGKILL')
    heard(await ended)
    expect(await nodeAt(0).sealStatus()).toMatchObject({n: 1})

    const declared = await readFile(pending(), 'utf8')
    await rm(pending())
    expect(codeOf(await restore())).toBe('LKO-5210')
    expect(await nodeAt(0).sealStatus()).toMatchObject({n: 1})
    await writeFile(pending(), declared)

    // nobody's password is needed before somebody can log in
    const waiting = await cli(['vault', 'restore', file(), '--yes', '--json'])
    expect(codeOf(waiting), waiting.stdout).toBe('LKO-5015')
    expect(document<Failure>(waiting).error.next).toContain('lkeobs vault unseal --wait --envelope NAME.share.asc')
    expect(filesBelow(path.join(folder, '.lkeobs/hub')).filter((one) => one.endsWith('restore.json'))).toEqual([])
    expect(await nodeAt(0).sealStatus()).toMatchObject({sealed: true, t: 3, n: 5})
    // whoever runs it again does no harm
    expect(codeOf(await cli(['vault', 'restore', file(), '--yes', '--json']))).toBe('LKO-5015')

    const all = await Promise.all([at(0), at(3), at(4)].map((person) => unseal(person, ['--wait'])))
    for (const one of all) expect(document<Board>(one), one.stdout).toMatchObject({unsealed: true, peers: 3})
    // who gave the last share may log in at once
    expect(await nodeAt(0).accepts()).toBe(true)
    const done = await restore()
    expect(done.code, done.stdout).toBe(0)
    expect(await nodeAt(0).read('lkeobs/before')).toEqual({secret})
    const again = await restore()
    expect(changed(again), again.stdout).toEqual([expect.stringMatching(/^drill: /)])
    expect((await cli(['hub', 'init', '--json'], admin())).code).toBe(0)
  }, 240_000)
})

describe('what is left behind', () => {
  test('the transcript holds; with one byte changed, a line removed or exchanged it names the line', async () => {
    const file = inCeremony('transcript.jsonl')
    const text = await readFile(file, 'utf8')
    const lines = text.trimEnd().split('\n')
    expect(document<{lines: number}>(await cli(['vault', 'ceremony', 'verify', file, '--json'])).lines).toBe(lines.length)
    const copy = path.join(outside, 'transcript.jsonl')
    const wrong = async (changed: readonly string[]) => {
      await writeFile(copy, `${changed.join('\n')}\n`)
      const ended = await cli(['vault', 'ceremony', 'verify', copy, '--json'])
      expect(ended.code).toBe(7)
      return document<Failure>(ended).error.message.split(':')[1]
    }
    const flipped = lines.map((line, index) => (index === 6 ? line.replace('step', 'stop') : line))
    expect(await wrong(flipped)).toBe('7')
    expect(await wrong(lines.toSpliced(4, 1))).toBe('5')
    expect(await wrong(lines.toSpliced(8, 2, lines[9] ?? '', lines[8] ?? ''))).toBe('9')

    const signed = await cli(['vault', 'ceremony', 'sign', file, '--as', 'witness', '--json'], as(at(0)))
    expect(signed.code, signed.stdout).toBe(0)
    const {signature} = document<{signature: string}>(signed)
    const key = path.join(folder, 'ada.asc')
    const checked = await cli(['vault', 'ceremony', 'verify', file, '--signature', signature, '--key', key, '--json'])
    expect(checked.code, checked.stdout).toBe(0)
    // cut off at its end it is a transcript still, and not the one that was signed
    await writeFile(copy, `${lines.slice(0, -1).join('\n')}\n`)
    expect(codeOf(await cli(['vault', 'ceremony', 'verify', copy, '--signature', signature, '--key', key, '--json']))).toBe('LKO-5029')
    const rendered = await cli(['vault', 'ceremony', 'render', file])
    expect(rendered.stdout).toContain('| 1 | ')
  })

  test('no share and no token: not in the state folder, not in what was said, not in the process table', async () => {
    const {texts, samples} = await table.stop()
    expect(samples).toBeGreaterThan(100)
    expect(secrets.length).toBeGreaterThan(20)
    const found = (where: string, text: string) =>
      [...secrets.filter((secret) => text.includes(secret)), ...(anyToken.exec(text) ?? [])].map(
        (secret) => `${where}: ${secret.slice(0, 6)}…`,
      )
    const inFiles = filesBelow(folder).flatMap((file) => found(file, readFileSync(file, 'latin1')))
    expect(inFiles).toEqual([])
    expect(said.flatMap((text, index) => found(`output ${index}`, text))).toEqual([])
    expect(texts.flatMap((text) => found(`process ${text.slice(0, 40)}`, text))).toEqual([])
  })
})

describe('an edge that it unseals', () => {
  type Found = {
    vaults: {cluster: string; problems: string[]; leftOut: string[]; raft?: {voters: number}; sealedBy?: {tokenDaysLeft?: number}}[]
  }
  const statusOf = async (args: readonly string[]) => document<Found>(await cli(['vault', 'status', '--json', ...args])).vaults
  const killed = async (cluster: string, isMeant: (name: string) => boolean) => {
    for (const [name, pid] of Object.entries(await pidsOf(folder, cluster))) if (isMeant(name)) process.kill(pid, 'SIGKILL')
  }

  test('joins with the password of its administrator; to look, nobody is asked', async () => {
    const edge = `{name: edge-1, platform: {local: {ports: ${ports + 40}}}, vault: {seal: transit}}`
    await appendFile(path.join(folder, 'lkeobs.yaml'), `edges: [${edge}]\n`)
    expect(codeOf(await cli(['edge', 'join', 'edge-1', '--json']))).toBe('LKO-5010')
    const joined = await cli(['edge', 'join', 'edge-1', '--json'], admin())
    expect(joined.code, joined.stdout).toBe(0)
    const needs = 'needs the password of the administrator on hub (--password-file)'
    const unasked = await statusOf([])
    expect(unasked).toMatchObject([
      {leftOut: [`peers and voters: ${needs}`]},
      {leftOut: [`seal token of edge-1: ${needs}`], raft: {voters: 1}},
    ])
    const [hub, below] = await statusOf(['--password-file', path.join(outside, 'password')])
    expect(hub).toMatchObject({leftOut: [], problems: [], raft: {voters: 3}})
    expect(below?.sealedBy?.tokenDaysLeft).toBeGreaterThan(29)
  })

  test('waits for the holders when both were killed, and says so', async () => {
    await killed('hub', (name) => name.startsWith('vault'))
    await killed('edge-1', (name) => name.startsWith('vault'))
    expect(codeOf(await cli(['vault', 'init', '--json'], admin()))).toBe('LKO-5015')
    expect(codeOf(await cli(['edge', 'join', 'edge-1', '--json'], admin()))).toBe('LKO-3007')
    const [below] = await statusOf(['edge-1'])
    expect(below?.problems).toEqual(["no answer: the hub's Vault, which unseals it, is sealed"])
    for (const index of [0, 1, 2]) expect((await unseal(at(index))).code).toBe(0)
    await eventually('one leads', async () => (await statusOf(['hub']))[0]?.problems.length === 0, 30_000)
    const joined = await cli(['edge', 'join', 'edge-1', '--json'], admin())
    expect(joined.code, joined.stdout).toBe(0)
    expect((await statusOf(['edge-1']))[0]).toMatchObject({problems: []})
  })
})

describe('killed', () => {
  let place: string
  const own = () => path.join(place, '.lkeobs/hub/ceremony')
  beforeAll(async () => {
    await lkeobs(folder, ['lab', 'down', '--yes'])
    place = await mkdtemp(path.join(tmpdir(), 'lkeobs-killed-'))
    await heldFleet(place, {holders: people.slice(0, 3), custodian, threshold: 2, ports: ports + 100})
  })
  afterAll(async () => {
    await lkeobs(place, ['lab', 'down', '--purge', '--yes'])
    await rm(place, {recursive: true, force: true})
  })

  /** A run that is killed as soon as it has done something; `undefined` when there was nothing left to do. */
  const killedAfterStep = async (args: readonly string[], input?: string): Promise<string | undefined | Ended> => {
    const {child, ended} = start(place, ['vault', 'init', ...args], {...admin(), NO_COLOR: '1'}, input)
    let done: string | undefined
    child.stderr.on('data', (chunk: Buffer) => {
      const line = chunk
        .toString()
        .split('\n')
        .find((text) => text.includes('✔') && !text.includes('already so'))
      if (line === undefined || done !== undefined) return
      done = line.slice(10).trim()
      child.kill('SIGKILL')
    })
    const end = await ended
    return end.signal === 'SIGKILL' ? done : end.code === 0 ? undefined : end
  }

  const succeed = ({code, stdout, stderr}: Ended): string => {
    if (code !== 0) throw new Error(stderr)
    return stdout
  }
  /** The part of those who are waited for. */
  const helped = async ({code, stderr}: Ended, answers: string[]): Promise<string> => {
    if (code !== 6) throw new Error(stderr)
    if (stderr.includes('LKO-5013')) {
      for (const person of [...people.slice(0, 3), custodian]) {
        const file = path.join(place, `${person.name}.answer`)
        await writeFile(
          file,
          succeed(await lkeobs(place, ['vault', 'answer', path.join(own(), `${person.name}.challenge.asc`)], as(person))),
        )
        answers.push('--answer', file)
      }
      return 'answered'
    }
    const given = people.slice(0, 2).map(async (person) => {
      const envelope = path.join(own(), `${person.name}.share.asc`)
      return succeed(await lkeobs(place, ['vault', 'unseal', '--wait', '--envelope', envelope], as(person)))
    })
    await Promise.all(given)
    return 'unsealed'
  }

  test('after each step of init, it goes on, and Vault is initialised once', async () => {
    const steps: string[] = []
    const answers: string[] = []
    for (let run = 0; run < 40; run += 1) {
      const token = steps.some((step) => step.includes('unsealed'))
        ? await custodian.decrypt(await readFile(path.join(own(), 'root-token.asc'), 'utf8'))
        : ''
      const end = await killedAfterStep([...answers, '--root-token-file', '-'], `${token}\n`)
      if (end === undefined) break
      if (typeof end === 'string') {
        steps.push(end)
        continue
      }
      steps.push(await helped(end, answers))
    }
    const transcript = await readFile(path.join(own(), 'transcript.jsonl'), 'utf8')
    expect(transcript.match(/is asked for 3 shares/g)).toHaveLength(1)
    expect(transcript).toContain('"root token refused"')
    expect(steps.length, steps.join('\n')).toBeGreaterThan(9)
    const last = await lkeobs(place, ['vault', 'init', '--json'], admin())
    expect(last.code, last.stdout).toBe(0)
    const verified = await lkeobs(place, ['vault', 'ceremony', 'verify', path.join(own(), 'transcript.jsonl')])
    expect(verified.code, verified.stderr).toBe(0)
  }, 400_000)
})
