import {spawn} from 'node:child_process'
import {closeSync, openSync, readFileSync, readlinkSync} from 'node:fs'
import {readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {parse} from 'yaml'
import type {Signal} from '../../src/collector/config.ts'
import {portsOf} from '../../src/platforms/local/ports.ts'
import {eventually, firstPorts, labFolder, lkeobs, lkeobsAloud, pidsOf, type Ended} from '../lab/cli.ts'

type Reasons = Readonly<Record<string, number>>

/** What a sink's queue says of one edge (`/v1/state` of the extension queue_admin). */
export type EdgeQueue = {
  readonly edge: string
  readonly accepted: number
  readonly stored: number
  readonly repaired: Reasons
  readonly takenOut: Reasons
  readonly dropped: Reasons
  readonly refused: Reasons
  readonly waitingItems: number
  readonly oldestSeconds: number | null
  readonly headFailingSeconds: number
  readonly lastError?: string
}
type SinkQueue = {readonly name: string; readonly edges: readonly EdgeQueue[]}
export type Queue = {
  readonly signal: Signal
  readonly capacityBytes: number
  readonly diskBytes: number
  readonly lostItems: number
  readonly sinks: readonly SinkQueue[]
}

export type DeadLetter = {
  readonly id: string
  readonly signal: Signal
  readonly sink: string
  readonly edge: string
  readonly reason: string
  readonly detail?: string
  readonly workload?: string
}

/** The store of a signal, and its sink's name. */
export const storeOf = {metrics: 'prometheus', logs: 'loki', traces: 'tempo'} as const

/** Reason by reason, what `after` has more than `before`. */
export const grown = (before: Reasons, after: Reasons): Reasons =>
  Object.fromEntries(
    [...new Set([...Object.keys(before), ...Object.keys(after)])]
      .map((reason) => [reason, (after[reason] ?? 0) - (before[reason] ?? 0)] as const)
      .filter(([, count]) => count !== 0),
  )

const isAlive = (pid: number): boolean => {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

export type DataLab = Awaited<ReturnType<typeof openDataLab>>

type LabWish = {
  readonly edges?: number
  /** Changes the fleet file before the lab comes up. */
  readonly fleet?: (text: string) => string
}

/**
 * A lab whose data plane is tried. `LKEOBS_TEST_LAB` names the folder of one that runs already on the tests' ports; it is left
 * running.
 */
export const openDataLab = async ({edges: count = 2, fleet}: LabWish = {}) => {
  const given = process.env['LKEOBS_TEST_LAB']
  if (given === undefined) {
    const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'lab'])
    if (code !== 0) throw new Error(`tools install ended with exit code ${code}`)
  }
  const folder = given ?? (await labFolder(count))
  const fleetFile = path.join(folder, 'lkeobs.yaml')
  if (fleet && given === undefined) await writeFile(fleetFile, fleet(await readFile(fleetFile, 'utf8')))

  const run = (...args: readonly string[]): Promise<Ended> => lkeobs(folder, args)
  const done = async (...args: readonly string[]): Promise<Ended> => {
    const ended = await run(...args)
    if (ended.code !== 0)
      throw new Error(`lkeobs ${args.join(' ')} ended with ${ended.code}: ${(ended.stderr || ended.stdout).slice(-3000)}`)
    return ended
  }
  // two runs that change one fleet exclude each other
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work)
    last = turn.catch(() => undefined)
    return turn
  }

  const state = (...names: string[]) => path.join(folder, '.lkeobs', ...names)
  const hubPorts = (component: string) => portsOf({role: 'hub', build: 'lkeobs', firstPort: firstPorts.hub}, component)
  const edgePorts = (edge: string) =>
    portsOf({role: 'edge', build: 'lkeobs', firstPort: firstPorts.edge + 10 * (Number(edge.replace('edge-', '')) - 1)}, 'agent')
  const url = (port: number | undefined) => `http://127.0.0.1:${port}`

  const pidOf = async (cluster: string, component: string): Promise<number> => {
    const {[component]: pid} = await pidsOf(folder, cluster)
    if (pid === undefined) throw new Error(`no ${component} runs on ${cluster}`)
    return pid
  }

  /** The extension queue_admin of a collector, found by its configuration. Undefined while nobody answers. */
  const admin = async <T>(cluster: string, component: string, where: string): Promise<T | undefined> => {
    const config = parse(await readFile(state(cluster, component, `${component}.yaml`), 'utf8')) as {
      readonly extensions: {readonly queue_admin?: {readonly endpoint: string; readonly token_file?: string}}
    }
    const {endpoint, token_file: tokenFile} = config.extensions.queue_admin ?? {}
    if (endpoint === undefined) throw new Error(`the ${component} of ${cluster} has no queue_admin`)
    const token = tokenFile === undefined ? '' : await readFile(tokenFile, 'utf8').catch(() => '')
    return fetch(`http://${endpoint}${where}`, {
      headers: {authorization: `Bearer ${token.trim()}`},
      signal: AbortSignal.timeout(5000),
    }).then(
      async (answer) => (answer.status === 200 ? ((await answer.json()) as T) : undefined),
      () => undefined,
    )
  }
  const queues = async (cluster: string, component: string): Promise<readonly Queue[] | undefined> =>
    (await admin<{readonly queues: readonly Queue[]}>(cluster, component, '/v1/state'))?.queues

  const edges = Array.from({length: count}, (_, index) => `edge-${index + 1}`)

  const lab = {
    folder,
    edges,
    run,
    done,
    inTurn,
    state,
    pidOf,
    queues,
    /** Where workloads of an edge send. */
    otlp: (edge: string) => url(edgePorts(edge)['http']),
    gateway: {port: firstPorts.hub, counters: `${url(hubPorts('gateway')['counters'])}/metrics`},
    stores: {
      prometheus: url(hubPorts('prometheus')['http']),
      loki: url(hubPorts('loki')['http']),
      tempo: url(hubPorts('tempo')['http']),
    },
    /** Repairs what was broken. */
    up: () => inTurn(() => done('hub', 'init')),

    async kill(cluster: string, component: string): Promise<void> {
      const pid = await pidOf(cluster, component)
      process.kill(pid, 'SIGKILL')
      await eventually(`${component} on ${cluster} is dead`, () => !isAlive(pid), 5000)
    },

    /** Kills a process with -9 and starts it again as it was: same program, arguments and folder, whatever its files say now. */
    async restart(cluster: string, component: string, meanwhile: () => Promise<void> = async () => undefined): Promise<void> {
      const pid = await pidOf(cluster, component)
      const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replace(/\0$/, '').split('\0')
      const cwd = readlinkSync(`/proc/${pid}/cwd`)
      const env = Object.fromEntries(
        readFileSync(`/proc/${pid}/environ`, 'utf8')
          .split('\0')
          .filter(Boolean)
          .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
      )
      await lab.kill(cluster, component)
      await meanwhile()
      const log = openSync(state(cluster, 'logs', `${component}.log`), 'a')
      const child = spawn(program, args, {cwd, env, detached: true, stdio: ['ignore', log, log]})
      closeSync(log)
      child.unref()
      // as the platform writes it down: pid, start time, digest of the wish
      const file = state(cluster, 'run', component)
      const [, , ...wish] = (await readFile(file, 'utf8')).split('\n')
      const started = readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(') ')[1]?.split(' ')[19]
      await writeFile(file, [child.pid, started, ...wish].join('\n'))
    },

    /** What the gateway says of an edge and signal; undefined while it does not answer. */
    async edgeQueue(edge: string, signal: Signal): Promise<EdgeQueue | undefined> {
      const found = (await queues('hub', 'gateway'))?.find((queue) => queue.signal === signal)
      const sink = found?.sinks.find(({name}) => name === storeOf[signal])
      const none: EdgeQueue = {
        edge,
        accepted: 0,
        stored: 0,
        repaired: {},
        takenOut: {},
        dropped: {},
        refused: {},
        waitingItems: 0,
        oldestSeconds: null,
        headFailingSeconds: 0,
      }
      return found && (sink?.edges.find((one) => one.edge === edge) ?? none)
    },

    async deadLetters(signal: Signal, ...filters: readonly string[]): Promise<readonly DeadLetter[]> {
      const args = ['dead-letters', 'list', '--signal', signal, '--limit', '100000', ...filters, '--json']
      const {stdout} = await done(...args)
      return (JSON.parse(stdout) as {readonly deadLetters: readonly DeadLetter[]}).deadLetters
    },

    /**
     * Every queue of every edge, at its agent and at the gateway, is seen empty once within the time: telemetry of the fleet
     * itself always flows. Answers what is left.
     */
    async waiting(withinMs: number, only: readonly Signal[] = ['metrics', 'logs', 'traces']): Promise<readonly string[]> {
      const collectors = [['hub', 'gateway'] as const, ...edges.map((edge) => [edge, 'agent'] as const)]
      const empty = new Set<string>()
      let left: string[] = []
      for (const end = Date.now() + withinMs; ; await sleep(100)) {
        left = []
        for (const [cluster, component] of collectors) {
          const found = await queues(cluster, component)
          if (!found) left.push(`${component} of ${cluster} does not answer`)
          for (const {signal, sinks} of found ?? [])
            for (const {name, edges: each} of only.includes(signal) ? sinks : [])
              for (const {edge, waitingItems, oldestSeconds, lastError} of each) {
                const key = [cluster, component, signal, name, edge].join(' ')
                if (waitingItems === 0) empty.add(key)
                else if (!empty.has(key)) left.push(`${key}: ${waitingItems} items, the oldest ${oldestSeconds} s: ${lastError ?? ''}`)
              }
        }
        if (left.length === 0 || Date.now() > end) return left
      }
    },

    async close(): Promise<void> {
      if (given !== undefined) return
      await lkeobs(folder, ['lab', 'down', '--purge', '--yes'])
      await rm(folder, {recursive: true, force: true})
    },
  }
  if (given === undefined) await done('lab', 'up')
  return lab
}
