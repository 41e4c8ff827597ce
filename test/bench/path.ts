/**
 * What the path from an agent to its gateway costs: CPU per item of the rendered configuration (mutual TLS, credential, queue on
 * disk with fsync, compression) in both collector builds, beside a bare pair (plain, no queue, no compression) and what the
 * collector's documentation shows (a persistent sending queue behind a batch processor), under the same load, in turns.
 * `npm run bench:path -- [--rounds 3] [--seconds 15] [--batch 500] [--env GOGC=100]`, the last for the rendered sides alone.
 */
import {spawn, type ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {mkdir, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {createServer} from 'node:http'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {parseArgs} from 'node:util'
import {agentConfig} from '../../src/collector/agent.ts'
import {agentBudget, gatewayBudget} from '../../src/collector/budget.ts'
import type {CollectorBuild} from '../../src/collector/build.ts'
import {type CollectorConfig, counted, literal, type Settings, signals} from '../../src/collector/config.ts'
import {goRuntime, queueStorage} from '../../src/collector/durable.ts'
import {gatewayConfig} from '../../src/collector/gateway.ts'
import {ownTelemetry} from '../../src/collector/telemetry.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {parseFleet} from '../../src/fleet/load.ts'
import {toYaml} from '../../src/templates.ts'
import {createTools} from '../../src/tools/index.ts'
import {readCounters} from '../../src/tools/stores.ts'
import {createX509} from '../../src/tools/x509.ts'
import {issued, jwks, termsOf} from '../../src/trust/credential.ts'

const {values} = parseArgs({
  options: {
    rounds: {type: 'string', default: '3'},
    seconds: {type: 'string', default: '15'},
    metrics: {type: 'string', default: '20000'},
    logs: {type: 'string', default: '4000'},
    traces: {type: 'string', default: '2000'},
    batch: {type: 'string', default: '500'},
    only: {type: 'string', multiple: true},
    ports: {type: 'string', default: '28000'},
    env: {type: 'string', multiple: true, default: []},
  },
})
const [rounds, seconds, batch, firstPort] = [Number(values.rounds), Number(values.seconds), Number(values.batch), Number(values.ports)]
const rates = {metrics: Number(values.metrics), logs: Number(values.logs), traces: Number(values.traces)}

const tools = createTools({yes: true})
const folder = await mkdtemp(path.join(tmpdir(), 'lkeobs-bench-'))
const at = (distance: number) => `127.0.0.1:${firstPort + distance}`

/** Takes everything and keeps nothing. */
const nothing = {debug: {verbosity: 'basic', sampling_initial: 1, sampling_thereafter: 100_000, sending_queue: {enabled: false}}}

const x509 = createX509()
const ca = await x509.createCa({commonName: 'bench', days: 1, pathLength: 0})
const leaf = await x509.issueServer(ca, {commonName: 'bench', names: ['127.0.0.1'], days: 1})
const credential = await issued('edge-1', 'hub')
const file = async (name: string, content: string): Promise<string> => {
  const where = path.join(folder, name)
  await mkdir(path.dirname(where), {recursive: true})
  await writeFile(where, content, {mode: 0o600})
  return where
}
const caFile = await file('ca.pem', ca.certificate)
const leafFile = await file('leaf.pem', `${leaf.certificate}${leaf.key.reveal()}`)
const tokenFile = await file('credential.jwt', credential.token.reveal())
const keysFile = await file('edges.jwks', jwks([credential.publicKey]))

/** A pair of collectors; what the agent has for itself (the machine's metrics, log files) is left out. */
type Pair = {readonly agent: CollectorConfig; readonly gateway: CollectorConfig}

const bareConfig = (listen: Settings, exporters: CollectorConfig['exporters'], counters: number): CollectorConfig => ({
  extensions: {},
  receivers: {otlp: {protocols: listen}},
  processors: {},
  exporters,
  service: {
    extensions: [],
    pipelines: Object.fromEntries(
      signals.map((signal) => [signal, {receivers: ['otlp'], processors: [], exporters: Object.keys(exporters)}]),
    ),
    telemetry: ownTelemetry({host: '127.0.0.1', counters, resource: {'service.name': 'bare'}}),
  },
})

const bare = (): Pair => ({
  agent: bareConfig(
    {grpc: {endpoint: at(0)}},
    {'otlp_grpc/hub': {endpoint: at(10), tls: {insecure: true}, compression: 'none', sending_queue: {enabled: false}}},
    firstPort + 2,
  ),
  gateway: bareConfig({grpc: {endpoint: at(10), max_recv_msg_size_mib: 16}}, nothing, firstPort + 12),
})

const fleet = parseFleet(newLabFleet({edges: 1}), 'lkeobs.yaml')

const rendered = (queue: string, build: CollectorBuild = 'lkeobs'): Pair => {
  const agent = agentConfig({
    build,
    queueBytes: agentBudget(fleet),
    admin: {endpoint: at(4)},
    edge: 'edge-1',
    gateway: at(10),
    gatewayCa: caFile,
    leaf: leafFile,
    credential: tokenFile,
    grpc: at(0),
    http: at(1),
    health: at(3),
    host: '127.0.0.1',
    counters: firstPort + 2,
    queue: path.join(folder, `${queue}-agent`),
    logs: [],
  })
  const gateway = gatewayConfig({
    build,
    // what the load test sends is far below its share
    budget: gatewayBudget(fleet),
    admin: {endpoint: at(14)},
    hub: 'hub',
    listen: at(10),
    leaf: leafFile,
    clients: caFile,
    asks: {...termsOf('hub'), keys: keysFile, door: at(15)},
    own: at(11),
    health: at(13),
    host: '127.0.0.1',
    counters: firstPort + 12,
    queue: path.join(folder, `${queue}-gateway`),
    stores: {prometheus: `http://${at(20)}`, loki: `http://${at(20)}`, tempo: at(21), tempoHttp: `http://${at(23)}`},
  })
  const {host_metrics: _, ...receivers} = agent.receivers
  const {metrics} = agent.service.pipelines
  return {
    agent: {
      ...agent,
      receivers,
      service: {
        ...agent.service,
        pipelines: {...agent.service.pipelines, metrics: {exporters: [], processors: [], ...metrics, receivers: ['otlp']}},
      },
    },
    gateway,
  }
}

/** The gateway keeps nothing of what comes in; what would be behind a queue is left out. */
const toNothing = ({agent, gateway}: Pair): Pair => {
  const {connectors = {}, ...rest} = gateway
  const queues = Object.keys(connectors)
  const before = Object.entries(gateway.service.pipelines).filter(([, {receivers}]) => !receivers.some((name) => queues.includes(name)))
  return {
    agent,
    gateway: {
      ...rest,
      exporters: nothing,
      service: {
        ...gateway.service,
        pipelines: Object.fromEntries(before.map(([name, pipeline]) => [name, {...pipeline, exporters: ['debug']}])),
      },
    },
  }
}

/** As the collector's documentation has it: a batch processor, and a persistent sending queue with the defaults. */
const documented = (queue: string): Pair => {
  const {agent, gateway} = rendered(queue, 'upstream')
  const asDocumented = (config: CollectorConfig): CollectorConfig => ({
    ...config,
    processors: {...config.processors, batch: {}},
    exporters: Object.fromEntries(
      Object.entries(config.exporters).map(([name, settings]) => [
        name,
        {...settings, sending_queue: {enabled: true, storage: queueStorage}},
      ]),
    ),
    service: {
      ...config.service,
      pipelines: Object.fromEntries(
        Object.entries(config.service.pipelines).map(([name, pipeline]) => [
          name,
          {...pipeline, processors: [...pipeline.processors, 'batch']},
        ]),
      ),
    },
  })
  return {agent: asDocumented(agent), gateway: asDocumented(gateway)}
}

/** The same with another word in its place, wherever that stands. */
const changed = (pair: Pair, word: string, other: string): Pair => JSON.parse(JSON.stringify(pair).replaceAll(word, other)) as Pair

const sides = {
  bare,
  rendered: () => toNothing(rendered('nothing')),
  'rendered, upstream': () => toNothing(rendered('upstream', 'upstream')),
  documented: () => toNothing(documented('documented')),
  'rendered, not compressed': () => changed(toNothing(rendered('plain')), '"compression":"zstd"', '"compression":"none"'),
  'rendered, stores queued': () => rendered('stores'),
  'upstream, stores queued': () => rendered('upstream-stores', 'upstream'),
  'documented, stores queued': () => documented('documented-stores'),
} as const satisfies Record<string, () => Pair>
type Side = keyof typeof sides

const otelcol = await tools.program('otelcol')
const telemetrygen = await tools.program('telemetrygen')
const running: ChildProcess[] = []
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')))

const start = async (name: string, config: CollectorConfig, env: NodeJS.ProcessEnv): Promise<ChildProcess> => {
  const where = await file(`${name}.yaml`, toYaml(literal(config)))
  const child = spawn(otelcol, [`--config=${where}`], {stdio: ['ignore', 'ignore', 'pipe'], env})
  running.push(child)
  let log = ''
  child.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()))
  child.on('exit', (code) => {
    if (code && !log.includes('Everything is ready')) console.error(`${name} ended with ${code}\n${log}`)
  })
  return child
}

const ended = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}

/** Seconds of CPU, in the program and in the kernel for it (proc(5): fields 14 and 15, in hundredths). */
const cpuOf = async ({pid}: ChildProcess) => {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ')
  return {user: Number(fields[11]) / 100, system: Number(fields[12]) / 100}
}

/** Resident memory at most, MiB (proc(5): VmHWM, in kB). */
const mostMemory = async ({pid}: ChildProcess): Promise<number> =>
  Number(/VmHWM:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024

const accepted = async (port: number): Promise<number> => {
  const counters = await readCounters(tools.http, `http://127.0.0.1:${port}/metrics`)
  const names = signals.map((signal) => `otelcol_receiver_accepted_${counted[signal]}`)
  return (counters ?? [])
    .filter(({name, labels}) => names.includes(name) && labels['receiver'] === 'otlp')
    .reduce((sum, {value}) => sum + value, 0)
}

const generate = (signal: (typeof signals)[number], rate: number): ChildProcess => {
  // a worker's limiter reaches about 1,300 turns a second; a trace is two spans
  const perWorker = 1000
  const turns = signal === 'traces' ? rate / 2 : rate
  const workers = Math.max(1, Math.ceil(turns / perWorker))
  const child = spawn(
    telemetrygen,
    [
      signal,
      '--otlp-insecure',
      `--otlp-endpoint=${at(0)}`,
      `--workers=${workers}`,
      `--rate=${turns / workers}`,
      `--duration=${seconds}s`,
      `--batch-size=${batch}`,
      ...(signal === 'traces' ? ['--child-spans=1'] : []),
      '--telemetry-attributes=http.request.method="GET"',
      '--telemetry-attributes=url.path="/api/orders"',
      '--telemetry-attributes=http.response.status_code=200',
    ],
    {stdio: 'ignore'},
  )
  running.push(child)
  return child
}

/** What the stores would be: it takes OTLP where they do, and keeps nothing. */
const sinkConfig = (): CollectorConfig => ({
  ...bareConfig({}, nothing, firstPort + 22),
  receivers: {
    otlp: {
      protocols: {
        grpc: {endpoint: at(21), max_recv_msg_size_mib: 64},
        http: {
          endpoint: at(20),
          metrics_url_path: '/api/v1/otlp/v1/metrics',
          logs_url_path: '/otlp/v1/logs',
          max_request_body_size: 100_000_000,
        },
      },
    },
  },
})

/** Since when the stores run, for a gateway that asks. */
const startPage = createServer((_, answer) => answer.end('process_start_time_seconds 1\n')).listen(firstPort + 23, '127.0.0.1')
startPage.unref()

const given = Object.fromEntries(values.env.map((pair) => pair.split('=', 2) as [string, string]))

const measure = async (side: Side) => {
  const pair = sides[side]()
  const mine = side === 'bare' ? process.env : {...process.env, ...goRuntime, ...given}
  const sink = side.endsWith('stores queued') ? await start('sink', sinkConfig(), process.env) : undefined
  const gateway = await start(`${side}-gateway`, pair.gateway, mine)
  const agent = await start(`${side}-agent`, pair.agent, mine)
  for (let tries = 0; tries < 100 && !(await readCounters(tools.http, `http://127.0.0.1:${firstPort + 2}/metrics`)); tries += 1)
    await sleep(100)
  await sleep(1000)
  const before = {agent: await cpuOf(agent), gateway: await cpuOf(gateway)}
  const load = signals.filter((signal) => rates[signal] > 0).map((signal) => generate(signal, rates[signal]))
  await Promise.all(load.map(async (child) => child.exitCode ?? (await once(child, 'exit'))))
  await sleep(2000)
  const after = {agent: await cpuOf(agent), gateway: await cpuOf(gateway)}
  const memory = {agent: await mostMemory(agent), gateway: await mostMemory(gateway)}
  const items = {agent: await accepted(firstPort + 2), gateway: await accepted(firstPort + 12)}
  await ended(agent)
  await ended(gateway)
  if (sink) await ended(sink)
  const system = (of: 'agent' | 'gateway') => ((after[of].system - before[of].system) / items.gateway) * 1e6
  const cost = (of: 'agent' | 'gateway') =>
    ((after[of].user - before[of].user + after[of].system - before[of].system) / items.gateway) * 1e6
  return {
    items,
    memory,
    agent: cost('agent'),
    gateway: cost('gateway'),
    both: cost('agent') + cost('gateway'),
    system: system('agent') + system('gateway'),
  }
}

const median = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN

const chosen = (values.only ?? Object.keys(sides)) as Side[]
const results = new Map<Side, Awaited<ReturnType<typeof measure>>[]>(chosen.map((side) => [side, []]))
for (let round = 1; round <= rounds; round += 1)
  for (const side of chosen) {
    const result = await measure(side)
    results.get(side)?.push(result)
    console.error(
      `${round} ${side.padEnd(24)} ${result.items.agent} in, ${result.items.gateway} through; µs CPU an item: agent ${result.agent.toFixed(2)}, gateway ${result.gateway.toFixed(2)}, both ${result.both.toFixed(2)}, of it in the kernel ${result.system.toFixed(2)}; MiB at most: agent ${result.memory.agent.toFixed(0)}, gateway ${result.memory.gateway.toFixed(0)}`,
    )
  }
const base = results.get('bare')
for (const [side, list] of results) {
  const ratio = base ? median(list.map(({both}, index) => both / (base[index]?.both ?? Number.NaN))) : Number.NaN
  console.log(
    `${side.padEnd(24)} agent ${median(list.map(({agent}) => agent)).toFixed(2)}  gateway ${median(list.map(({gateway}) => gateway)).toFixed(2)}  both ${median(list.map(({both}) => both)).toFixed(2)} µs an item  ${ratio.toFixed(2)}×`,
  )
}
await rm(folder, {recursive: true, force: true})
process.exit(0)
