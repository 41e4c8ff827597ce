import {readdirSync, readlinkSync} from 'node:fs'
import {access, readdir, readFile, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {afterAll, beforeAll, expect, test} from 'vitest'
import {document, eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf, start} from './cli.ts'

type Left = {readonly edge: string; readonly ok: boolean; readonly steps: readonly {readonly title: string; readonly state: string}[]}

const records = 10_000
const service = 'leaving'
let folder: string

beforeAll(async () => {
  const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
  if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  folder = await labFolder(2)
  const up = await lkeobs(folder, ['lab', 'up'])
  if (up.code !== 0) throw new Error(up.stderr)
})

afterAll(async () => {
  await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])
  await rm(folder, {recursive: true, force: true})
})

const idOf = (at: number): string => `record-${at}-end`

/** Records with an id each, as a workload of the edge sends them. */
const sendRecords = async (base: string): Promise<void> => {
  const now = BigInt(Date.now()) * 1_000_000n
  for (let from = 0; from < records; from += 500) {
    const logRecords = Array.from({length: 500}, (_, index) => ({
      timeUnixNano: String(now + BigInt(from + index)),
      body: {stringValue: idOf(from + index)},
    }))
    const resource = {attributes: [{key: 'service.name', value: {stringValue: service}}]}
    const body = JSON.stringify({resourceLogs: [{resource, scopeLogs: [{logRecords}]}]})
    const answer = await fetch(`${base}/v1/logs`, {method: 'POST', headers: {'content-type': 'application/json'}, body})
    expect(answer.status).toBe(200)
  }
}

/** The ids that Loki has, a page after the other. */
const idsInLoki = async (since: number): Promise<ReadonlySet<string>> => {
  const ids = new Set<string>()
  for (let from = BigInt(since) * 1_000_000n; ;) {
    const query = new URLSearchParams({query: `{service_name="${service}"}`, start: String(from), direction: 'forward', limit: '5000'})
    const answer = await fetch(`http://127.0.0.1:${firstPorts.hub + 5}/loki/api/v1/query_range?${query.toString()}`)
    const {data} = (await answer.json()) as {data: {result: {values: [string, string][]}[]}}
    const lines = data.result.flatMap(({values}) => values)
    for (const [, line] of lines) ids.add(line)
    if (lines.length < 5000) return ids
    from = lines.map(([at]) => BigInt(at)).reduce((latest, at) => (at > latest ? at : latest), from) + 1n
  }
}

const processesIn = (place: string): readonly string[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).startsWith(place)
      } catch {
        return false
      }
    })

const isThere = (place: string) =>
  access(place).then(
    () => true,
    () => false,
  )

test('killed again and again while the hub is away and when it is back, leave delivers all that was queued and leaves nothing', async () => {
  const began = Date.now()
  const edge = path.join(folder, '.lkeobs', 'edge-1')
  const [hubBefore, otherBefore] = await Promise.all([pidsOf(folder, 'hub'), pidsOf(folder, 'edge-2')])
  const file = await readFile(path.join(folder, 'lkeobs.yaml'), 'utf8')
  process.kill(hubBefore['gateway'] ?? 0, 'SIGKILL')
  await sendRecords(`http://127.0.0.1:${firstPorts.edge + 1}`)

  const killedAfter = async (ms: number) => {
    const {child, ended} = start(folder, ['edge', 'leave', 'edge-1', '--yes'])
    await new Promise((resolve) => setTimeout(resolve, ms))
    child.kill('SIGKILL')
    return ended
  }
  for (const ms of [600, 900, 1500, 4000]) await killedAfter(ms)
  // closed: nobody takes anything in there
  await expect(fetch(`http://127.0.0.1:${firstPorts.edge + 1}/v1/logs`, {method: 'POST'})).rejects.toThrow('fetch failed')
  expect(await isThere(path.join(edge, 'agent', 'queue'))).toBe(true)
  // and one that dies with batches on their way
  process.kill((await pidsOf(folder, 'edge-1'))['agent'] ?? 0, 'SIGKILL')

  expect((await lkeobs(folder, ['hub', 'init'])).code).toBe(0)
  for (const ms of [700, 1000, 1300, 1600, 2000]) await killedAfter(ms)
  const left = await lkeobs(folder, ['edge', 'leave', 'edge-1', '--yes', '--json'])
  expect(left.code, left.stderr).toBe(0)
  expect(document<Left>(left)).toMatchObject({schema: 'lkeobs/edge-leave/v1', edge: 'edge-1', ok: true})

  const lacking = async () => {
    const ids = await idsInLoki(began)
    return Array.from({length: records}, (_, at) => idOf(at)).filter((id) => !ids.has(id)).length
  }
  await eventually('Loki has every record', async () => (await lacking()) === 0, 60_000)
  expect(await isThere(edge)).toBe(false)
  expect(processesIn(edge)).toEqual([])
  expect(await readFile(path.join(folder, 'lkeobs.yaml'), 'utf8')).toBe(file.replace(/ {2}- name: edge-1\n.*\n/, ''))
  const {gateway: _, ...hubStays} = hubBefore
  expect(await pidsOf(folder, 'hub')).toMatchObject(hubStays)
  expect(await pidsOf(folder, 'edge-2')).toEqual(otherBefore)
  const trusted = await readFile(path.join(folder, '.lkeobs', 'hub', 'gateway', 'clients.pem'), 'utf8')
  expect(trusted.match(/BEGIN CERTIFICATE/g)).toHaveLength(2)
  const verified = await lkeobs(folder, ['verify', '--all'])
  expect(verified.code, verified.stdout).toBe(0)
}, 300_000)

test('run again there is nothing to do, and the edges there are are named', async () => {
  const again = await lkeobs(folder, ['edge', 'leave', 'edge-1', '--yes'])
  expect(again.code).toBe(0)
  expect(again.stdout).toContain('Nothing to do: there is no edge edge-1 in lkeobs.yaml; the edges are edge-2.')
})

test('nobody is asked where nobody is; an abandoned queue goes with the edge, and a name that was free joins again', async () => {
  expect((await lkeobs(folder, ['edge', 'leave', 'edge-2'])).code).toBe(130)
  const dry = await lkeobs(folder, ['edge', 'leave', 'edge-2', '--abandon-queue', '--dry-run'])
  expect(dry.stdout).toContain('rm -rf .lkeobs/edge-2')
  expect((await pidsOf(folder, 'edge-2'))['agent']).toBeDefined()
  const left = await lkeobs(folder, ['edge', 'leave', 'edge-2', '--abandon-queue', '--yes'])
  expect(left.code, left.stderr).toBe(0)
  expect((await readdir(path.join(folder, '.lkeobs'))).toSorted()).toEqual(['.gitignore', 'hub'])
  const up = await lkeobs(folder, ['lab', 'up', '--edges', '1'])
  expect(up.code, up.stderr).toBe(0)
})
