import {rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {type Fleet, openFleet} from '../../src/clusters.ts'
import {signals} from '../../src/collector/config.ts'
import {loadFleet} from '../../src/fleet/load.ts'
import type {Http} from '../../src/tools/http.ts'
import {createTools, type Tools} from '../../src/tools/index.ts'
import {type Proof, prove} from '../../src/verify/proof/prove.ts'
import {eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf} from '../lab/cli.ts'

const none = {metrics: 0, logs: 0, traces: 0}
const silent = () => undefined

let folder: string
let fleet: Fleet
let tools: Tools

const done = async (...args: string[]) => {
  const {code, stderr} = await lkeobs(folder, args)
  expect(code, stderr).toBe(0)
}

const killed = async (cluster: string, component: string) => {
  const {[component]: pid} = await pidsOf(folder, cluster)
  if (pid === undefined) throw new Error(`no ${component} runs on ${cluster}`)
  process.kill(pid, 'SIGKILL')
  await eventually(
    `${component} on ${cluster} is dead`,
    () => {
      try {
        process.kill(pid, 0)
        return false
      } catch {
        return true
      }
    },
    5000,
  )
}

/** Posts that pass a gate: held back while it is closed, and counted by port. */
const gated = (http: Http) => {
  let open = Promise.resolve()
  let release: () => void = silent
  let underWay = 0
  const counts = new Map<string, number>()
  // each item names its run once
  const itemsIn = (body: object) => JSON.stringify(body).split('"lkeobs.run"').length - 1
  return {
    ...http,
    async post(url: string, body: object) {
      await open
      underWay++
      const answer = await http.post(url, body)
      underWay--
      const {port, pathname} = new URL(url)
      const way = `${port}${pathname}`
      if (answer?.status === 200) counts.set(way, (counts.get(way) ?? 0) + itemsIn(body))
      return answer
    },
    /** Until what was posted is answered. */
    async close() {
      open = new Promise((resolve) => (release = resolve))
      await eventually('no post is under way', () => underWay === 0, 6000)
    },
    open: () => release(),
    /** What each signal was accepted with at a port so far. */
    acceptedAt: (port: number) => {
      const [metrics = 0, logs = 0, traces = 0] = signals.map((signal) => counts.get(`${port}/v1/${signal}`) ?? 0)
      return {metrics, logs, traces}
    },
  }
}

beforeAll(async () => {
  const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
  if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
  folder = await labFolder(2)
  await done('lab', 'up')
  tools = createTools({yes: true})
  fleet = openFleet(await loadFleet(path.join(folder, 'lkeobs.yaml'), tools.files), tools)
})

afterAll(async () => {
  await tools?.end()
  await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])
  await rm(folder, {recursive: true, force: true})
})

const wish = (http: Http, patienceMs?: number) => ({
  http,
  hub: fleet.hub,
  edges: fleet.edges,
  perSecond: 20,
  tell: silent,
  ...(patienceMs !== undefined && {patienceMs}),
})

const expectAllThere = ({sent, stored}: Pick<Proof, 'sent' | 'stored'>) => expect(stored).toEqual(sent)

describe('a proof', () => {
  test('a gateway that is killed and started again loses nothing', async () => {
    const {proof} = await prove(wish(tools.http), async (mark) => {
      await sleep(2000)
      await killed('hub', 'gateway')
      mark('gateway killed')
      await sleep(3000)
      await done('hub', 'init')
      mark('gateway is back')
      await sleep(2000)
    })
    expect(proof).toMatchObject({lost: none, duplicated: none, refused: none})
    expectAllThere(proof)
    // it went on all the while: 20 items a second
    for (const signal of signals) expect(proof.sent[signal] / proof.edges.length / (proof.work.to - proof.work.from)).toBeGreaterThan(18)
    // and what was sent while nobody took it waited
    for (const {queuePeak} of proof.edges) expect(queuePeak).toBeGreaterThan(20)
    expect(proof.marks.map(({what}) => what)).toEqual(['gateway killed', 'gateway is back'])
  })

  test('what was in a queue that is gone is what is lost, to the item', async () => {
    const http = gated(tools.http)
    const agent = firstPorts.edge + 1
    const gone = {before: none, after: none}
    const {proof} = await prove(wish(http, 8000), async () => {
      await sleep(1000)
      // what the agent has by now is at the gateway when the gateway dies, and what comes then is in its queue
      await http.close()
      await sleep(3000)
      await killed('hub', 'gateway')
      gone.before = http.acceptedAt(agent)
      http.open()
      await sleep(2000)
      await http.close()
      gone.after = http.acceptedAt(agent)
      await killed('edge-1', 'agent')
      await rm(path.join(folder, '.lkeobs/edge-1/agent/queue'), {recursive: true})
      http.open()
      await done('hub', 'init')
      await done('edge', 'join', 'edge-1')
    })
    const expected = Object.fromEntries(signals.map((signal) => [signal, gone.after[signal] - gone.before[signal]]))
    expect(expected['metrics']).toBeGreaterThan(20)
    expect(proof.lost).toEqual(expected)
    expect(proof).toMatchObject({duplicated: none, refused: none})
    const [first, second] = proof.edges
    for (const signal of signals) {
      // one gap, without a hole
      const gaps = first?.missing[signal] ?? []
      expect(gaps).toHaveLength(1)
      expect(gaps.map((gap) => gap.last - gap.first + 1)).toEqual([expected[signal]])
    }
    expect(second?.lost).toEqual(none)
    if (second) expectAllThere(second)
  })
})
