import {execFile, spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {text} from 'node:stream/consumers'
import {promisify} from 'node:util'

const gpg = async (home: string, args: readonly string[], input = ''): Promise<string> => {
  const child = spawn('gpg', ['--batch', '--quiet', ...args], {env: {...process.env, GNUPGHOME: home}, stdio: ['pipe', 'pipe', 'ignore']})
  child.stdin.on('error', () => undefined)
  child.stdin.end(input)
  const [out, [code]] = await Promise.all([text(child.stdout), once(child, 'close')])
  if (code !== 0) throw new Error(`gpg ${args.join(' ')} ended with ${code}`)
  return out
}

/** Somebody with a gpg of their own, which nobody else sees. */
export type Person = {
  readonly name: string
  readonly home: string
  /** Their public key, armoured. */
  readonly key: string
  decrypt(armoured: string): Promise<string>
  gone(): Promise<void>
}

/** A throw-away gpg home with one key. Its path is short: the agent's socket lies in it. */
export const personWith = async (name: string, algorithm = 'future-default'): Promise<Person> => {
  const home = await mkdtemp(path.join(tmpdir(), `g-${name}-`))
  await gpg(home, ['--passphrase', '', '--quick-gen-key', `${name} <${name}@example>`, algorithm, 'default', '1y'])
  return {
    name,
    home,
    key: await gpg(home, ['--armor', '--export', `${name}@example`]),
    decrypt: (armoured) => gpg(home, ['--decrypt'], armoured),
    async gone() {
      await promisify(execFile)('gpgconf', ['--kill', 'all'], {env: {...process.env, GNUPGHOME: home}})
      await rm(home, {recursive: true, force: true})
    },
  }
}

/** The command lines and environments of all processes, again and again, until it is stopped. */
export const processTable = () => {
  const seen = new Set<string>()
  let samples = 0
  const look = async (): Promise<void> => {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
    await Promise.all(
      pids.flatMap((pid) =>
        ['cmdline', 'environ'].map(async (file) => {
          const found = await readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')
          if (found !== '') seen.add(found)
        }),
      ),
    )
    samples += 1
  }
  const over = new AbortController()
  const work = (async () => {
    while (!over.signal.aborted) {
      await look()
      await new Promise((resolve) => setTimeout(resolve, 40))
    }
  })()
  return {
    async stop(): Promise<{readonly texts: readonly string[]; readonly samples: number}> {
      over.abort()
      await work
      return {texts: [...seen], samples}
    },
  }
}

/** A fleet with a hub whose Vault these people open. */
export const heldFleet = async (
  folder: string,
  {
    holders,
    custodian,
    threshold,
    ports,
  }: {readonly holders: readonly Person[]; readonly custodian: Person; readonly threshold: number; readonly ports: number},
): Promise<void> => {
  for (const {name, key} of [...holders, custodian]) await writeFile(path.join(folder, `${name}.asc`), key)
  const lines = [
    'apiVersion: lkeobs/v1',
    'fleet: held',
    'hub:',
    '  name: hub',
    `  platform: {local: {ports: ${ports}}}`,
    `  endpoint: 127.0.0.1:${ports}`,
    '  vault:',
    '    seal: shamir',
    `    threshold: ${threshold}`,
    '    holders:',
    ...holders.map(({name}) => `      - {name: ${name}, key: ${name}.asc}`),
    `    custodian: {name: ${custodian.name}, key: ${custodian.name}.asc}`,
  ]
  await writeFile(path.join(folder, 'lkeobs.yaml'), `${lines.join('\n')}\n`)
}
