import {createHash, randomBytes, timingSafeEqual} from 'node:crypto'
import {stat} from 'node:fs/promises'
import path from 'node:path'
import {LkeobsError} from '../errors.ts'
import {Secret} from '../secret.ts'
import type {Step} from '../steps/step.ts'
import {encryptTo} from '../tools/openpgp.ts'
import type {Files} from '../tools/files.ts'
import type {Ceremony, Person} from './ceremony.ts'
import {sha256} from './transcript.ts'

/** What is encrypted to a person: something random, and what it is for. */
export type Challenge = {
  readonly kind: 'lkeobs/challenge/v1'
  readonly fleet: string
  readonly hub: string
  readonly name: string
  readonly fingerprint: string
  readonly random: string
}

/** Shows that the challenge was read, and not what it said. */
export const answerOf = ({fleet, hub, name, fingerprint, random}: Challenge): string => {
  const digest = createHash('sha256').update(['lkeobs answer', fleet, hub, name, fingerprint, random].join('\n')).digest('hex')
  return `lkeobs-answer:${name}:${digest}`
}

/** What a decrypted challenge says. Throws LKO-5014 where it is none. */
export const readChallenge = (plain: Secret): Challenge => {
  try {
    const found = JSON.parse(plain.reveal()) as Challenge
    if (found.kind === 'lkeobs/challenge/v1') return found
  } catch {
    // said below, without what it is
  }
  throw new LkeobsError('LKO-5014', 'What was decrypted is not a challenge.')
}

/** What is kept of a challenge: whose, and the digest of the answer to it. */
type Asked = Readonly<Record<string, {readonly fingerprint: string; readonly expects: string; readonly answer?: string}>>

const challengesFile = 'challenges.json'
const challengeOf = (name: string): string => `${name}.challenge.asc`

const same = (one: string, other: string): boolean => one.length === other.length && timingSafeEqual(Buffer.from(one), Buffer.from(other))

const asked = async ({json}: Ceremony): Promise<Asked> => (await json<Asked>(challengesFile)) ?? {}

/** Who has not shown yet that they can read what is encrypted to them. */
const unanswered = async (ceremony: Ceremony, people: readonly Person[]): Promise<readonly Person[]> => {
  const all = await asked(ceremony)
  return people.filter(({name, key}) => {
    const one = all[name]
    return !one?.answer || one.fingerprint !== key.fingerprint || !same(sha256(one.answer), one.expects)
  })
}

/** Every person has a challenge for the key they have now, in a file of their own. */
export const challenged = (ceremony: Ceremony, people: () => Promise<readonly Person[]>): Step => {
  const {tools, file, fleet, hub, transcript, administrator} = ceremony
  const lacking = async (): Promise<readonly Person[]> => {
    const all = await asked(ceremony)
    const missing = await Promise.all(
      (await unanswered(ceremony, await people())).map(async (person) => {
        const isThere =
          all[person.name]?.fingerprint === person.key.fingerprint && (await tools.files.exists(file(challengeOf(person.name))))
        return isThere ? [] : [person]
      }),
    )
    return missing.flat()
  }
  return {
    title: 'a challenge for everybody who is to decrypt',
    async done() {
      const missing = await lacking()
      return missing.length === 0 ? true : `none for ${missing.map(({name}) => name).join(', ')}`
    },
    async apply() {
      for (const {name, key} of await lacking()) {
        const {fingerprint} = key
        const random = randomBytes(32).toString('hex')
        const challenge: Challenge = {kind: 'lkeobs/challenge/v1', fleet, hub: hub.name, name, fingerprint, random}
        const armoured = await encryptTo(key, new Secret(JSON.stringify(challenge)))
        // the file first: a digest without it would have to be asked anew
        await tools.files.write(file(challengeOf(name)), armoured)
        await ceremony.writeJson(challengesFile, {...(await asked(ceremony)), [name]: {fingerprint, expects: sha256(answerOf(challenge))}})
        const digests = {key: fingerprint, challenge: sha256(armoured)}
        await transcript.note({who: administrator, step: `challenge written for ${name}`, digests})
      }
    },
  }
}

/** The lines in these files and folders; `-` is stdin, read once. */
const linesIn = async (files: Files, sources: readonly string[], stdin: () => Promise<string>): Promise<readonly string[]> => {
  const texts: string[] = []
  for (const source of sources) {
    if (source === '-') texts.push(await stdin())
    else if (
      await stat(source).then(
        (found) => found.isDirectory(),
        () => false,
      )
    )
      for (const name of await files.list(source))
        texts.push(name.endsWith('.answer') ? ((await files.read(path.join(source, name))) ?? '') : '')
    else {
      const text = await files.read(source)
      if (text === undefined) throw new LkeobsError('LKO-5014', `There is no file ${source}.`)
      texts.push(text)
    }
  }
  return texts.flatMap((text) => text.split('\n').map((line) => line.trim())).filter((line) => line.startsWith('lkeobs-answer:'))
}

/** Everybody has answered; the answers that are given are taken, and whoever is missing is named. */
export const answered = (
  ceremony: Ceremony,
  people: () => Promise<readonly Person[]>,
  {sources, stdin}: {readonly sources: readonly string[]; readonly stdin: () => Promise<string>},
): Step => {
  const {transcript, administrator, shown} = ceremony
  return {
    title: 'everybody has decrypted their challenge',
    async done() {
      const missing = await unanswered(ceremony, await people())
      return missing.length === 0 ? true : `no answer of ${missing.map(({name}) => name).join(', ')}`
    },
    async apply() {
      for (const line of await linesIn(ceremony.tools.files, sources, stdin)) {
        const [, name = ''] = line.split(':')
        const all = await asked(ceremony)
        const one = all[name]
        if (!one) throw new LkeobsError('LKO-5014', `${name} has no challenge in this ceremony.`)
        if (!same(sha256(line), one.expects)) throw new LkeobsError('LKO-5014', `The answer of ${name} is of another challenge.`)
        if (one.answer === line) continue
        await ceremony.writeJson(challengesFile, {...all, [name]: {...one, answer: line}})
        await transcript.note({who: name, step: 'challenge answered', digests: {key: one.fingerprint, answer: one.expects}})
      }
      const missing = await unanswered(ceremony, await people())
      if (missing.length === 0) return
      const next = missing.map(({name}) => `lkeobs vault answer ${shown(challengeOf(name))}          (${name}, on their own machine)`)
      await transcript.note({who: administrator, step: `waiting for the answers of ${missing.map(({name}) => name).join(', ')}`})
      throw new LkeobsError(
        'LKO-5013',
        `${missing.length === 1 ? 'No answer' : 'No answers'} yet of ${missing.map(({name}) => name).join(', ')}.`,
        {
          next,
        },
      )
    },
  }
}
