import {homedir} from 'node:os'
import path from 'node:path'
import {LkeobsError, messageOf} from '../errors.ts'
import {Secret} from '../secret.ts'
import type {Tools} from '../tools/index.ts'
import type {Repository} from './reference.ts'

/** Who pushes: a name with a password, or a refresh token that a login left. */
export type Credentials =
  | {readonly kind: 'password'; readonly username: string; readonly password: Secret; readonly from: string}
  | {readonly kind: 'refresh-token'; readonly token: Secret; readonly from: string}

type DockerConfig = {
  readonly auths?: Readonly<
    Record<string, {readonly auth?: string; readonly username?: string; readonly password?: string; readonly identitytoken?: string}>
  >
  readonly credHelpers?: Readonly<Record<string, string>>
  readonly credsStore?: string
}

/** What Docker calls the host when it stores credentials for it. */
const keysOf = (host: string): readonly string[] =>
  host === 'docker.io'
    ? ['https://index.docker.io/v1/', 'index.docker.io', 'docker.io', 'registry-1.docker.io']
    : [host, `https://${host}`, `https://${host}/v1/`, `https://${host}/v2/`]

const dockerConfigFile = (): string => path.join(process.env['DOCKER_CONFIG'] || path.join(homedir(), '.docker'), 'config.json')

/** Docker's own mark for a refresh token in the place of a name. */
const tokenUser = '<token>'

const credentialsOf = (username: string, secret: string, from: string): Credentials =>
  username === tokenUser
    ? {kind: 'refresh-token', token: new Secret(secret), from}
    : {kind: 'password', username, password: new Secret(secret), from}

const fromHelper = async (helper: string, host: string, {shell}: Pick<Tools, 'shell'>): Promise<Credentials | undefined> => {
  const program = `docker-credential-${helper}`
  for (const key of host === 'docker.io' ? keysOf(host).slice(0, 1) : [host]) {
    let printed: string
    try {
      printed = await shell.run({file: program, args: ['get'], input: key, secretOutput: true, timeoutMs: 30_000})
    } catch (error) {
      // a helper that has none ends with an error as well, and says so on stdout, which is not shown
      if (/could not be started|ENOENT|did not end within/.test(messageOf(error)))
        throw new LkeobsError('LKO-4103', `${program} for ${host} cannot be run: ${messageOf(error).split('\n').at(1) ?? ''}.`, {
          next: [`docker login ${host}`],
        })
      return undefined
    }
    try {
      const {Username = '', Secret: secret = ''} = JSON.parse(printed) as {Username?: string; Secret?: string}
      if (secret !== '') return credentialsOf(Username, secret, program)
    } catch {
      // its output is secret: it is not repeated
      throw new LkeobsError('LKO-4103', `${program} printed no JSON for ${host}.`, {next: [`docker login ${host}`]})
    }
  }
  return undefined
}

/** What `docker login` left for this registry; undefined where there is nothing. */
export const storedCredentials = async ({host}: Repository, tools: Pick<Tools, 'files' | 'shell'>): Promise<Credentials | undefined> => {
  const file = dockerConfigFile()
  const text = await tools.files.read(file)
  if (text === undefined) return undefined
  let config: DockerConfig
  try {
    config = JSON.parse(text) as DockerConfig
  } catch {
    throw new LkeobsError('LKO-4103', `${file} is no JSON.`, {next: [`docker login ${host}`]})
  }
  const keys = keysOf(host)
  const helper = keys.map((key) => config.credHelpers?.[key]).find((name) => name !== undefined) ?? config.credsStore
  if (helper !== undefined && helper !== '') {
    const found = await fromHelper(helper, host, tools)
    if (found) return found
  }
  for (const key of keys) {
    const entry = config.auths?.[key]
    if (entry?.identitytoken) return {kind: 'refresh-token', token: new Secret(entry.identitytoken), from: file}
    const [username = '', ...password] = entry?.auth
      ? Buffer.from(entry.auth, 'base64').toString().split(':')
      : [entry?.username, entry?.password]
    const secret = password.join(':').replace(/\0+$/, '')
    if (username !== '' && secret !== '') return credentialsOf(username, secret, file)
  }
  return undefined
}
