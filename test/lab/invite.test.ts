import {readdirSync, readFileSync, statSync} from 'node:fs'
import {mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, describe, expect, onTestFinished, test} from 'vitest'
import {newLabFleet} from '../../src/fleet/edit.ts'
import type {EdgeSeen} from '../../src/status/edges.ts'
import {inviteText, readInvite} from '../../src/trust/invite.ts'
import {Secret} from '../../src/secret.ts'
import {openVault} from '../../src/tools/vault.ts'
import {adminLogin} from '../../src/trust/admin.ts'
import {document, eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf, start} from './cli.ts'

type Failure = {error: {code: string; exit: number; message: string; next: string[]}}
type Steps = {steps: {title: string; state: string}[]}

let hub: string
const elsewhere: string[] = []
const onHub = (...args: string[]) => lkeobs(hub, args)
const hubState = (...names: string[]) => path.join(hub, '.lkeobs', 'hub', ...names)
const ports = (n: number) => firstPorts.edge + 100 + 10 * n
const hubVault = () =>
  openVault({
    address: `https://127.0.0.1:${firstPorts.hub + 10}`,
    ca: () => readFile(hubState('ca', 'ca.pem'), 'utf8'),
    login: adminLogin({read: (component, file) => readFile(hubState(component, file), 'utf8')}),
  })

/** A folder of somebody who has nothing but an invite. */
const newFolder = async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'lkeobs-edge-'))
  elsewhere.push(folder)
  return folder
}
const invited = async (edge: string, ...args: string[]): Promise<string> => {
  const ended = await onHub('edge', 'invite', edge, ...args)
  expect(ended.code, ended.stderr).toBe(0)
  return ended.stdout.trim()
}
const join = (folder: string, invite: string, ...args: string[]) =>
  start(folder, ['edge', 'join', '--invite', '-', ...args], {}, `${invite}\n`)
const listed = async (edge: string) =>
  document<{edges: EdgeSeen[]}>(await onHub('edge', 'list', '--json')).edges.find(({name}) => name === edge)

/** Every file below a folder with its content; what processes write by themselves is left out. */
const filesIn = (folder: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    readdirSync(folder, {recursive: true, withFileTypes: true})
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
      .filter((file) => !/\/(logs|data|queue(-checkpoints)?|tsdb|wal|run|chunks|blocks)\/|\/(prometheus|loki|tempo)\/|leaf|lock/.test(file))
      .map((file) => [path.relative(folder, file), readFileSync(file, 'latin1')]),
  )

/** What the hub's Vault keeps of edges and invites. */
const register = async () => {
  const vault = hubVault()
  const below = async (at: string): Promise<unknown[]> =>
    Promise.all(
      (await vault.list(at)).map(async (name) =>
        name.endsWith('/') ? [name, await below(`${at}/${name.slice(0, -1)}`)] : [name, await vault.read(`${at}/${name}`)],
      ),
    )
  return below('lkeobs')
}

beforeAll(async () => {
  const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
  if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  hub = await labFolder(1)
  const up = await onHub('lab', 'up')
  if (up.code !== 0) throw new Error(up.stderr)
})

afterAll(async () => {
  for (const folder of elsewhere) {
    for (const edge of [2, 3, 4, 5, 6]) for (const pid of Object.values(await pidsOf(folder, `edge-${edge}`))) process.kill(pid, 'SIGKILL')
    await rm(folder, {recursive: true, force: true})
  }
  await onHub('lab', 'down', '--purge', '--yes')
  await rm(hub, {recursive: true, force: true})
})

describe('two folders that share an invite and nothing else', () => {
  test('joined, the same words on both sides, each side in its own folder; a second run changes nothing', async () => {
    const folder = await newFolder()
    const invite = await invited('edge-2')
    expect((await listed('edge-2'))?.state).toBe('invited')
    const edge = join(folder, invite, '--ports', String(ports(0)), '--json')
    await eventually('it asks', async () => (await listed('edge-2'))?.state === 'asking', 20_000)
    const words = (await listed('edge-2'))?.words ?? ''
    expect(words).toMatch(/^[a-z]+(-[a-z]+){3}$/)

    const wrong = await onHub('edge', 'accept', 'edge-2', '--fingerprint', 'above-cloud-river-stone', '--json')
    expect(document<Failure>(wrong).error).toMatchObject({code: 'LKO-6007', exit: 5})
    const accept = await onHub('edge', 'accept', 'edge-2', '--fingerprint', words.toUpperCase().replaceAll('-', ' '), '--json')
    expect(accept.code, accept.stdout).toBe(0)
    const ended = await edge.ended
    expect(ended.code, ended.stdout).toBe(0)
    expect(ended.stderr).toContain(words)
    await eventually('it is sending', async () => (await listed('edge-2'))?.state === 'sending', 40_000)

    // neither side names the folder of the other, nor do the programs it runs
    for (const [own, other] of [
      [folder, hub],
      [hub, folder],
    ] as const) {
      for (const [file, content] of Object.entries(filesIn(own))) expect(content, file).not.toContain(other)
      const running = (await Promise.all(readdirSync(path.join(own, '.lkeobs')).map((name) => pidsOf(own, name)))).flatMap(Object.values)
      expect(running.length).toBeGreaterThan(2)
      for (const pid of running) expect(readFileSync(`/proc/${pid}/cmdline`, 'latin1')).not.toContain(other)
    }
    expect(readdirSync(path.join(folder, '.lkeobs', 'edge-2'))).not.toContain('join')

    const second = await lkeobs(folder, ['edge', 'join', 'edge-2', '--json'])
    expect(second.code, second.stdout).toBe(0)
    expect(document<Steps>(second).steps.filter(({state}) => state !== 'already so')).toEqual([])
    const accepted = await onHub('edge', 'accept', 'edge-2', '--auto-accept', '--json')
    expect(document<Steps>(accepted).steps.filter(({state}) => state !== 'already so')).toEqual([])
  })

  test('the edge can read only its own folder, and is not handed the secrets of the hub', async () => {
    const folder = await newFolder()
    const invite = await invited('edge-3')
    const programs = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(process.env['HOME'] ?? '', '.cache'), 'lkeobs')
    const readable = [path.resolve(import.meta.dirname, '../..'), folder, programs, '/proc', '/etc', '/usr', '/dev', '/run', '/.dockerenv']
    const edge = start(folder, ['edge', 'join', '--invite', '-', '--ports', String(ports(1))], {}, `${invite}\n`, [
      '--permission',
      '--allow-child-process',
      ...readable.map((at) => `--allow-fs-read=${at}`),
      `--allow-fs-write=${folder}`,
    ])
    const accept = await onHub('edge', 'accept', 'edge-3', '--auto-accept', '--wait', '1')
    expect(accept.code, accept.stderr).toBe(0)
    const ended = await edge.ended
    expect(ended.code, ended.stderr).toBe(0)
  })
})

describe('invites that do not work', () => {
  const refusal = async (folder: string, invite: string, ...args: string[]) => {
    const before = {edge: filesIn(folder), hub: filesIn(hub), register: await register()}
    const ended = await join(folder, invite, '--json', ...args).ended
    expect({edge: filesIn(folder), hub: filesIn(hub), register: await register()}).toEqual(before)
    const {error} = document<Failure>(ended)
    expect(error.exit).toBe(ended.code)
    expect(error.next[0]).toMatch(/^lkeobs edge (join|invite|list|evict)/)
    const token =
      invite.startsWith('lkeobs-invite-1.') && invite.split('.').length === 3 ? readInvite(new Secret(invite)).token.reveal() : invite
    expect(ended.stdout + ended.stderr).not.toContain(token)
    return error
  }

  test('expired, for another name, of another hub, truncated, used: five codes, and nothing is changed', async () => {
    const folder = await newFolder()
    const short = await invited('edge-4', '--ttl', '1s')
    await sleep(1100)
    expect(await refusal(folder, short)).toMatchObject({code: 'LKO-6002', exit: 5})

    const invite = await invited('edge-4')
    expect(await refusal(folder, invite, 'edge-5')).toMatchObject({code: 'LKO-6003', exit: 2})
    expect(await refusal(folder, invite.slice(0, -20))).toMatchObject({code: 'LKO-6001', exit: 2})
    const other = inviteText({...readInvite(new Secret(invite)), pin: 'A'.repeat(43)}).reveal()
    expect(await refusal(folder, other)).toMatchObject({code: 'LKO-6005', exit: 5})

    // somebody else is faster
    const faster = await newFolder()
    const theirs = join(faster, invite, '--ports', String(ports(2)), '--wait', '0')
    expect((await theirs.ended).code).toBe(6)
    const late = await refusal(folder, invite)
    expect(late).toMatchObject({code: 'LKO-6004', exit: 5})
    expect(late.message).toContain((await listed('edge-4'))?.words ?? 'no words')
    expect(late.next.join()).toContain('lkeobs edge evict edge-4')

    expect((await onHub('edge', 'invite', 'edge-4', '--revoke')).code).toBe(0)
    expect(await refusal(folder, invite)).toMatchObject({code: 'LKO-6004'})
    expect(await refusal(faster, invite)).toMatchObject({code: 'LKO-6004'})
  })

  test('an edge of the fleet file, one that has joined, and the hub itself are not invited', async () => {
    for (const name of ['edge-1', 'edge-2', 'hub']) {
      const ended = await onHub('edge', 'invite', name, '--json')
      expect(document<Failure>(ended).error).toMatchObject({code: 'LKO-6006'})
    }
  })

  test('a folder of another fleet is left alone', async () => {
    const folder = await newFolder()
    await writeFile(path.join(folder, 'lkeobs.yaml'), newLabFleet({edges: 0}))
    const invite = await invited('edge-4')
    const before = filesIn(folder)
    expect(document<Failure>(await join(folder, invite, '--json').ended).error).toMatchObject({code: 'LKO-6011', exit: 3})
    expect(filesIn(folder)).toEqual(before)
  })
})

describe('killed', () => {
  test('either side, again and again: run again, it ends; the invite stays bound to the first key', async () => {
    const folder = await newFolder()
    const invite = await invited('edge-5')
    const own = ['--ports', String(ports(3))]
    for (const ms of [400, 700, 1000, 1400, 1900, 2500, 3200, 4000, 5000]) {
      const sides = [join(folder, invite, ...own), start(hub, ['edge', 'accept', 'edge-5', '--auto-accept'])]
      await sleep(ms)
      const [edge, accept] = sides
      edge?.child.kill('SIGKILL')
      await edge?.ended
      await sleep(ms / 10)
      accept?.child.kill('SIGKILL')
      await accept?.ended
    }
    const other = await newFolder()
    expect(document<Failure>(await join(other, invite, '--json').ended).error.code).toBe('LKO-6004')

    // it may have ended before it was killed: then it has no use for the invite any more
    const goesOn = readdirSync(path.join(folder, '.lkeobs', 'edge-5')).includes('join')
    const edge = goesOn ? join(folder, invite, ...own) : start(folder, ['edge', 'join', 'edge-5'])
    const accept = await onHub('edge', 'accept', 'edge-5', '--auto-accept')
    expect(accept.code, accept.stderr).toBe(0)
    const ended = await edge.ended
    expect(ended.code, ended.stderr).toBe(0)
    await eventually('it is sending', async () => (await listed('edge-5'))?.state === 'sending', 60_000)
  })
})

describe('evicted', () => {
  test('what it sends is refused within seconds, another edge loses nothing, and only a new invite lets it in again', async () => {
    const [folder = ''] = elsewhere
    const send = (port: number, id: string) =>
      fetch(`http://127.0.0.1:${port}/v1/logs`, {
        method: 'POST',
        headers: {'content-type': 'application/json'},
        body: JSON.stringify({
          resourceLogs: [
            {
              resource: {attributes: [{key: 'service.name', value: {stringValue: 'evicted'}}]},
              scopeLogs: [{logRecords: [{timeUnixNano: `${Date.now()}000000`, body: {stringValue: id}}]}],
            },
          ],
        }),
      })
    const stored = async (edge: string) => {
      const query = encodeURIComponent(`{service_name="evicted", lkeobs_edge="${edge}"}`)
      const answer = await fetch(
        `http://127.0.0.1:${firstPorts.hub + 5}/loki/api/v1/query_range?query=${query}&start=${Date.now() - 600_000}000000&limit=5000`,
      )
      const {data} = (await answer.json()) as {data: {result: {values: [string, string][]}[]}}
      return data.result.flatMap(({values}) => values.map(([, line]) => line))
    }
    const gateway = (await pidsOf(hub, 'hub'))['gateway']
    const sent: string[] = []
    let evictedAt = 0
    const sending = setInterval(() => {
      const id = `${Date.now()}-${sent.length}`
      sent.push(id)
      void send(firstPorts.edge + 1, `a-${id}`)
      void send(ports(0) + 1, `b-${id}`)
    }, 100)
    onTestFinished(() => clearInterval(sending))
    await eventually('both arrive', async () => (await stored('edge-1')).length > 20 && (await stored('edge-2')).length > 20, 20_000)
    const evict = await onHub('edge', 'evict', 'edge-2', '--yes', '--json')
    expect(evict.code, evict.stdout).toBe(0)
    evictedAt = Date.now()
    await sleep(20_000)
    clearInterval(sending)
    await eventually('all of the other edge is there', async () => new Set(await stored('edge-1')).size === sent.length, 60_000)
    expect(new Set(await stored('edge-1'))).toEqual(new Set(sent.map((id) => `a-${id}`)))
    const late = (await stored('edge-2')).map((line) => Number(line.slice(2).split('-')[0])).filter((at) => at > evictedAt + 5000)
    expect(late).toEqual([])
    expect((await pidsOf(hub, 'hub'))['gateway']).toBe(gateway)
    expect(await listed('edge-2')).toBeUndefined()
    expect(document<Steps>(await onHub('edge', 'evict', 'edge-2', '--yes', '--json')).steps.filter(({state}) => state === 'done')).toEqual(
      [],
    )

    // joining again from what it has: the agent runs, and nothing of it arrives
    const before = (await stored('edge-2')).length
    await lkeobs(folder, ['edge', 'join', 'edge-2'])
    await send(ports(0) + 1, 'b-still-out')
    await sleep(3000)
    expect((await stored('edge-2')).length).toBe(before)

    const invite = await invited('edge-2')
    const edge = join(folder, invite)
    const accept = await onHub('edge', 'accept', 'edge-2', '--auto-accept', '--wait', '1')
    expect(accept.code, accept.stderr).toBe(0)
    const ended = await edge.ended
    expect(ended.code, ended.stderr).toBe(0)
    await send(ports(0) + 1, 'b-back')
    await eventually('it is back', async () => (await stored('edge-2')).includes('b-back'), 30_000)
  })

  test('an edge with a hub elsewhere leaves: all of it arrives first, and nothing is left', async () => {
    const [, folder = ''] = elsewhere
    const leave = await lkeobs(folder, ['edge', 'leave', 'edge-3', '--yes', '--json'])
    expect(leave.code, leave.stdout).toBe(0)
    expect(readdirSync(path.join(folder, '.lkeobs'))).not.toContain('edge-3')
    expect(await pidsOf(folder, 'edge-3')).toEqual({})
    expect((await onHub('edge', 'evict', 'edge-3', '--yes')).code).toBe(0)
  })
})

describe('secrets', () => {
  test('no secret of a join is in a command line, an environment, an answer, a log or a file for others', async () => {
    const folder = await newFolder()
    const invite = await invited('edge-6', '--seal', 'transit')
    const {token} = readInvite(new Secret(invite))
    const secrets = new Set([token.reveal(), invite])
    const seen = new Set<string>()
    const look = () => {
      for (const name of ['join/token', 'join/key', 'vault/seal-token']) {
        try {
          const text = readFileSync(path.join(folder, '.lkeobs', 'edge-6', name), 'utf8')
          secrets.add(name === 'join/key' ? (JSON.parse(text) as {d: string}).d : text)
        } catch {
          // not there yet, or no longer
        }
      }
      for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== String(process.pid)))
        for (const file of ['cmdline', 'environ']) {
          try {
            const text = readFileSync(`/proc/${pid}/${file}`, 'latin1')
            for (const secret of secrets) if (text.includes(secret)) seen.add(`${pid} ${file}`)
          } catch {
            // it has ended
          }
        }
    }
    const watching = setInterval(look, 50)
    onTestFinished(() => clearInterval(watching))
    const edge = start(folder, ['edge', 'join', '--invite', '-', '--ports', String(ports(4))], {DEBUG: '*'}, `${invite}\n`)
    const accept = await lkeobs(hub, ['edge', 'accept', 'edge-6', '--auto-accept'], {DEBUG: '*'})
    const ended = await edge.ended
    clearInterval(watching)
    expect(ended.code, ended.stderr).toBe(0)
    expect(accept.code, accept.stderr).toBe(0)
    expect(secrets.size).toBe(5)
    expect([...seen]).toEqual([])
    const logs = [path.join(folder, '.lkeobs', 'edge-6', 'logs'), hubState('logs')].flatMap((at) =>
      readdirSync(at).map((name) => readFileSync(path.join(at, name), 'latin1')),
    )
    for (const text of [ended.stdout, ended.stderr, accept.stdout, accept.stderr, ...logs])
      for (const secret of secrets) expect(text).not.toContain(secret)
    expect(statSync(path.join(folder, '.lkeobs', 'edge-6', 'vault', 'seal-token')).mode & 0o077).toBe(0)
  })
})
