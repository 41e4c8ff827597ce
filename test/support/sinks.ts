import {type ChildProcess, spawn} from 'node:child_process'
import {once} from 'node:events'
import {createReadStream} from 'node:fs'
import {mkdir, open, stat, writeFile} from 'node:fs/promises'
import {connect} from 'node:net'
import path from 'node:path'
import {createInterface} from 'node:readline'
import {eventually} from '../lab/cli.ts'

/** What takes telemetry in a sink, and under which name: two that we did not write. */
const receivers = {
  splunk: (port: number) => ({splunk_hec: {endpoint: `127.0.0.1:${port}`}}),
  otlp: (port: number) => ({otlp: {protocols: {grpc: {endpoint: `127.0.0.1:${port}`, max_recv_msg_size_mib: 64}}}}),
} as const

export type Taken = {
  /** How often each id was taken. */
  readonly copies: ReadonlyMap<number, number>
  /** From when a record was made until it was here, in ms, by the time it was made. */
  readonly delays: readonly {readonly madeMs: number; readonly ms: number}[]
}

/** Records that are numbered say so themselves: `n 17 made 1763935200000`. */
export const recordText = (id: number, madeMs: number): string => `n ${id} made ${madeMs}`
export const numbered = /\bn (\d+) made (\d+)/

export type Sink = Awaited<ReturnType<typeof openSink>>

/**
 * A destination that we did not write: the collector with a receiver of its own, which writes down what it takes and when.
 * What was written stays when it is stopped and started again.
 */
export const openSink = async (otelcol: string, folder: string, name: string, kind: keyof typeof receivers, port: number) => {
  const [config, file, log] = ['yaml', 'jsonl', 'log'].map((ending) => path.join(folder, `${name}.${ending}`)) as [string, string, string]
  const receiver = receivers[kind](port)
  const pipeline = {receivers: Object.keys(receiver), processors: ['transform/arrived'], exporters: ['file']}
  const arrived = (context: string) => [{context, statements: ['set(attributes["arrived"], UnixMilli(Now()))']}]
  await mkdir(folder, {recursive: true})
  await writeFile(
    config,
    // JSON is YAML
    JSON.stringify({
      receivers: receiver,
      processors: {'transform/arrived': {error_mode: 'propagate', log_statements: arrived('log')}},
      exporters: {file: {path: file, append: true, flush_interval: '100ms'}},
      service: {
        pipelines: {
          logs: pipeline,
          ...(kind === 'otlp' && {metrics: {...pipeline, processors: []}, traces: {...pipeline, processors: []}}),
        },
        telemetry: {metrics: {level: 'none'}},
      },
    }),
  )
  let child: ChildProcess | undefined
  const runs = () => child !== undefined && child.exitCode === null && child.signalCode === null
  const listens = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
  return {
    name,
    port,
    async start(): Promise<void> {
      if (runs()) return
      await using out = await open(log, 'a')
      child = spawn(otelcol, ['--config', config], {stdio: ['ignore', out.fd, out.fd]})
      await eventually(`${name} listens`, listens, 20_000)
    },
    async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
      if (!child || !runs()) return
      const ended = once(child, 'exit')
      child.kill(signal)
      await ended
    },
    /** How much it has written, in bytes: grows while something arrives. */
    size: async (): Promise<number> => (await stat(file).catch(() => undefined))?.size ?? 0,
    /** All numbered records of it, each by its id. */
    async taken(): Promise<Taken> {
      const copies = new Map<number, number>()
      const delays: {madeMs: number; ms: number}[] = []
      for await (const line of createInterface({input: createReadStream(file), crlfDelay: Infinity}))
        for (const record of line.split('"timeUnixNano"').slice(1)) {
          const [, id, made] = numbered.exec(record) ?? []
          if (id === undefined) continue
          const [, at] = /"arrived","value":\{"intValue":"(\d+)"/.exec(record) ?? []
          copies.set(Number(id), (copies.get(Number(id)) ?? 0) + 1)
          if (at !== undefined) delays.push({madeMs: Number(made), ms: Number(at) - Number(made)})
        }
      return {copies, delays}
    },
  }
}
