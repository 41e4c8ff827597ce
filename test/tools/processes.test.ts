import {once} from 'node:events'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import {type AddressInfo, createServer} from 'node:net'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {expect, onTestFinished, test, vi} from 'vitest'
import {checkPorts, machineOf} from '../../src/platforms/local/index.ts'
import {run} from '../../src/steps/run.ts'
import {createTools, dryTools} from '../../src/tools/index.ts'
import {createProcesses, isAlive, type Launch, startOf} from '../../src/tools/processes.ts'

const processes = createProcesses()

const place = () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lkeobs-processes-'))
  const launch = (file: string, ...args: readonly string[]): Launch => ({
    record: path.join(folder, 'run/it'),
    wish: 'wish-1',
    file,
    args,
    folder: path.join(folder, 'it'),
    log: path.join(folder, 'logs/it.log'),
  })
  onTestFinished(async () => {
    await processes.stop(path.join(folder, 'run/it'), 0)
    rmSync(folder, {recursive: true, force: true})
  })
  return {folder, launch}
}

test('a started process has said who it is, in a file for its owner alone', async () => {
  const {launch} = place()
  const it = launch('sleep', '60')
  await processes.start(it)
  const running = await processes.find(it.record)
  expect(running).toEqual({pid: expect.any(Number), started: expect.any(String), wish: 'wish-1'})
  expect(readFileSync(it.record, 'utf8')).toBe(`${running?.pid}\n${startOf(running?.pid ?? 0)}\nwish-1\n`)
  expect([it.record, it.log].map((file) => statSync(file).mode & 0o777)).toEqual([0o600, 0o600])
  const usage = processes.usage(running?.pid ?? 0)
  expect(usage?.residentBytes).toBeGreaterThan(0)
  expect(usage?.upMs).toBeLessThan(5000)
  // it outlives us: a session of its own
  expect(
    readFileSync(`/proc/${running?.pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')[3],
  ).toBe(String(running?.pid))
})

test('a process that was killed is not found, nor is one that took over its pid', async () => {
  const {launch} = place()
  const it = launch('sleep', '60')
  await processes.start(it)
  const pid = (await processes.find(it.record))?.pid ?? 0
  process.kill(pid, 'SIGKILL')
  await vi.waitFor(async () => expect(await processes.find(it.record)).toBeUndefined(), {interval: 5})
  writeFileSync(it.record, `${process.pid}\n1\nwish-1\n`)
  expect(await processes.find(it.record)).toBeUndefined()
  expect(isAlive({pid: process.pid, started: startOf(process.pid) ?? ''})).toBe(true)
  // and is not what stop() ends
  await processes.stop(it.record, 0)
  expect(existsSync(it.record)).toBe(false)
})

test.for([
  ['empty', ''],
  ['cut short', '123'],
  ['damaged', 'what\n\0\n'],
])('a record that is %s names nobody', async ([, content = '']) => {
  const {launch, folder} = place()
  mkdirSync(path.join(folder, 'run'))
  writeFileSync(launch('').record, content)
  expect(await processes.find(launch('').record)).toBeUndefined()
})

test('stopping is asking, and killing whom asking does not move', async () => {
  const {launch} = place()
  const polite = launch('sleep', '60')
  await processes.start(polite)
  await processes.stop(polite.record, 5000)
  expect([await processes.find(polite.record), existsSync(polite.record)]).toEqual([undefined, false])
  const deaf = launch('sh', '-c', 'trap "" TERM; echo deaf; exec sleep 60')
  await processes.start(deaf)
  await vi.waitFor(() => expect(readFileSync(deaf.log, 'utf8')).toBe('deaf\n'), {interval: 5})
  const running = await processes.find(deaf.record)
  await processes.stop(deaf.record, 60)
  expect(running && isAlive(running)).toBe(false)
  await processes.stop(deaf.record, 60)
})

test('a port names its holder, and ours that runs holds its own', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const {port} = server.address() as AddressInfo
  expect(await processes.holder(port)).toEqual({pid: process.pid, shown: expect.stringMatching(new RegExp(`^\\S.*, pid ${process.pid}$`))})
  const cluster = {name: 'edge-1', build: 'lkeobs', role: 'edge', firstPort: port - 1, stateFolder: '/nowhere'} as const
  await expect(checkPorts(cluster, ['agent'], {processes}, 'lkeobs.yaml')).rejects.toMatchObject({
    code: 'LKO-3001',
    message: expect.stringMatching(new RegExp(`^Ports? .*${port}.* \\(agent of edge-1\\): held by \\S.*, pid ${process.pid}\\.`)),
    next: [`edit lkeobs.yaml   (edge-1: platform.local.ports, now ${port - 1})`, 'lkeobs explain LKO-3001'],
  })
  await checkPorts(cluster, ['leaf'], {processes}, 'lkeobs.yaml')
  const runningAs = (pid: number) => ({processes: {...processes, find: async () => ({pid, started: '1', wish: ''})}})
  await checkPorts(cluster, ['agent'], runningAs(process.pid), 'lkeobs.yaml')
  // ours runs on other ports, and the one it is to have next is a stranger's
  await expect(checkPorts(cluster, ['agent'], runningAs(1), 'lkeobs.yaml')).rejects.toMatchObject({code: 'LKO-3001'})
  server.close()
  await once(server, 'close')
  expect(await processes.holder(port)).toBeUndefined()
})

test('three old logs are kept, and the last lines are the newest', async () => {
  const {launch, folder} = place()
  for (const round of [1, 2, 3, 4, 5, 6]) {
    await processes.start(launch('sh', '-c', `echo round ${round}; echo end`))
    await vi.waitFor(() => expect(readFileSync(launch('').log, 'utf8')).toContain('end'), {interval: 5})
  }
  expect(readdirSync(path.join(folder, 'logs')).toSorted()).toEqual(['it.log', 'it.log.1', 'it.log.2', 'it.log.3'])
  expect(readFileSync(path.join(folder, 'logs/it.log.3'), 'utf8')).toBe('round 3\nend\n')
  expect(await processes.tail(launch('').log, 1)).toEqual(['end'])
  expect(await processes.tail(launch('').log, 9)).toEqual(['round 6', 'end'])
})

test('a program gets a few variables, and nothing of ours', async () => {
  for (const name of ['VAULT_TOKEN', 'BAO_TOKEN', 'LKEOBS_FLEET', 'DEBUG', 'HTTPS_PROXY']) vi.stubEnv(name, 'sentinel')
  onTestFinished(() => void vi.unstubAllEnvs())
  const {launch} = place()
  const it = launch('sh', '-c', 'env; echo end')
  await processes.start(it)
  await vi.waitFor(() => expect(readFileSync(it.log, 'utf8')).toContain('end'), {interval: 5})
  expect(readFileSync(it.log, 'utf8')).not.toContain('sentinel')
})

test('where nothing can be written, that is said', async () => {
  const {launch, folder} = place()
  writeFileSync(path.join(folder, 'logs'), 'a file where a folder is wanted')
  await expect(processes.start(launch('sleep', '60'))).rejects.toMatchObject({
    code: 'LKO-3004',
    message: expect.stringContaining('cannot be written'),
    next: [`df -h ${path.join(folder, 'it')}`, 'lkeobs explain LKO-3004'],
  })
})

test.for([
  ['is missing', '/no/such/program', 'not found'],
  ['ends at once', '/bin/false', ''],
] as const)('a program that %s is reported with its last lines, at once', async ([, file, words]) => {
  const {folder} = place()
  const tools = {...createTools({yes: true}), program: async () => file}
  const platform = machineOf({name: 'hub', build: 'lkeobs', role: 'hub', firstPort: 15_000, stateFolder: folder}, tools)
  const step = platform.runs({
    name: 'loki',
    title: 'Loki',
    program: 'loki',
    args: ['-x'],
    files: {'loki.yaml': 'x: 1\n'},
    ready: async () => 'it has not said so',
  })
  const failure = await run({command: 'hub init', title: '', steps: [step]}, 'silent').catch((error: unknown) => error)
  expect(failure).toMatchObject({code: 'LKO-3003', oclif: {exit: 5}, next: expect.arrayContaining([`less ${folder}/hub/logs/loki.log`])})
  expect((failure as Error).message).toMatch(/^Loki on hub ended before it was ready\. Last lines of .*loki\.log:\n/)
  expect((failure as Error).message).toContain(words)
})

test('a change of what it was started with restarts it, and a dry run only says so', async () => {
  const {folder} = place()
  const tools = {...createTools({yes: true}), program: async () => '/bin/sh'}
  const cluster = {name: 'hub', build: 'lkeobs', role: 'hub', firstPort: 15_000, stateFolder: folder} as const
  const component = (content: string) => ({
    name: 'loki',
    title: 'Loki',
    program: 'loki' as const,
    args: ['-c', 'exec sleep 60'],
    files: {'loki.yaml': content},
    restartOn: ['ca.pem'],
    ready: async () => true as const,
  })
  const platform = machineOf(cluster, tools)
  onTestFinished(() => platform.stopped('loki', '').apply(() => undefined))
  const pid = async () => (await platform.inspect(component('a'))).pid
  const wanted = async (content: string) => {
    const step = platform.runs(component(content))
    if ((await step.done()) !== true) await step.apply(() => undefined)
    expect(await step.done()).toBe(true)
    return pid()
  }
  const first = await wanted('a')
  expect(await wanted('a')).toBe(first)
  const lines: string[] = []
  const dry = machineOf(
    cluster,
    dryTools(tools, (line) => void lines.push(line)),
  ).runs(component('b'))
  expect(await dry.done()).toBe('running with another configuration')
  await dry.apply(() => undefined)
  expect(lines.map((line) => line.split(' ')[0])).toEqual(['stop', 'write', 'start'])
  expect(await pid()).toBe(first)
  const second = await wanted('b')
  expect(second).not.toBe(first)
  await platform.hand('loki', 'ca.pem', 'another')
  expect(await wanted('b')).not.toBe(second)
})

test('a log that grew too large is cut short under the program that writes it', async () => {
  const {folder} = place()
  const platform = machineOf({name: 'hub', build: 'lkeobs', role: 'hub', firstPort: 15_000, stateFolder: folder}, createTools({yes: true}))
  const log = path.join(folder, 'hub/logs/loki.log')
  mkdirSync(path.dirname(log), {recursive: true})
  const writer = openSync(log, 'a')
  onTestFinished(() => closeSync(writer))
  writeSync(writer, `first\n${'x'.repeat(20_000_000)}\n`)
  const step = platform.logsBounded()
  expect(await step.done()).toBe('loki.log grew too large')
  await step.apply(() => undefined)
  writeSync(writer, 'last\n')
  expect(await step.done()).toBe(true)
  expect(readFileSync(log, 'utf8')).toBe('last\n')
  expect(readFileSync(`${log}.1`, 'utf8').slice(0, 6)).toBe('first\n')
})
