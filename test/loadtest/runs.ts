import {type Signal, signals} from '../../src/collector/config.ts'
import type {Measured} from '../../src/loadtest/compare.ts'
import type {Balance, Explained, Happening, Hop, LoadTest, PerSignal, Repetition} from '../../src/loadtest/result.ts'
import {verdictOf} from '../../src/loadtest/verdict.ts'

const each = <T>(of: (signal: Signal) => T): PerSignal<T> => ({metrics: of('metrics'), logs: of('logs'), traces: of('traces')})

/** Numbers between 0 and 1 that are the same every time. */
const numbersFrom = (seed: number) => {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}

export type Wish = {
  readonly run?: string
  readonly startedAt?: string
  readonly edges?: readonly string[]
  readonly rates?: PerSignal<number>
  readonly windowSeconds?: number
  readonly repetitions?: number
  /** The gateway is gone from this second of the window, for ten seconds. */
  readonly gatewayKilledAt?: number
  readonly lost?: Partial<PerSignal<Explained>>
  readonly partial?: boolean
  /** What all processes cost, in comparison with what they usually do. */
  readonly costs?: number
  readonly seed?: number
}

const exporters = {metrics: 'otlp_http/prometheus', logs: 'otlp_http/loki', traces: 'otlp_grpc/tempo'} as const
const usual = {
  'otelcol agent': {ms: 9.1, bytes: 148e6},
  'otelcol gateway': {ms: 4.2, bytes: 131e6},
  prometheus: {ms: 6.4, bytes: 412e6},
  loki: {ms: 11.8, bytes: 356e6},
  tempo: {ms: 13.5, bytes: 240e6},
} as const
const warmUpSeconds = 20

const repetitionOf = (wish: Required<Omit<Wish, 'gatewayKilledAt' | 'lost'>> & Wish, index: number): Repetition => {
  const random = numbersFrom(wish.seed + index)
  const about = (value: number, by = 0.03) => value * (1 + (random() - 0.5) * 2 * by)
  const window = wish.partial ? Math.round(wish.windowSeconds * 0.4) : wish.windowSeconds
  const killedAt = wish.gatewayKilledAt === undefined ? undefined : wish.gatewayKilledAt + warmUpSeconds
  const drainSeconds = killedAt === undefined ? 3.2 : 6.4
  const seconds = Array.from({length: warmUpSeconds + window + Math.ceil(drainSeconds)}, (_, second) => second)
  const isDown = (second: number) => killedAt !== undefined && second >= killedAt && second < killedAt + 10
  const isCatchingUp = (second: number) => killedAt !== undefined && second >= killedAt + 10 && second < killedAt + 30
  const isSending = (second: number) => second < warmUpSeconds + window
  const ramp = (second: number) => Math.min(1, (second + 1) / 5)
  const generatedOf = (signal: Signal) => wish.rates[signal] * window
  const balance = (signal: Signal): Balance => {
    const lost = wish.lost?.[signal]
    const generated = generatedOf(signal)
    return {
      offered: wish.rates[signal] * window,
      generated,
      stored: generated - (lost?.items ?? 0),
      explained: lost ? [lost] : [],
      unexplained: 0,
      lost: lost?.items ?? 0,
      latencyMs: {
        p50: Math.round(about({metrics: 910, logs: 420, traces: 1610}[signal])),
        p99: Math.round(about({metrics: 2810, logs: 1230, traces: 3920}[signal], 0.08)) + (killedAt === undefined ? 0 : 12_400),
        samples: Math.floor(window / 2),
      },
    }
  }
  const balances = each(balance)
  const hops = signals.flatMap((signal): readonly Hop[] => {
    const share = generatedOf(signal) / wish.edges.length
    const {stored, lost} = balances[signal]
    return [
      ...wish.edges.map((name): Hop => ({
        hop: 'agent',
        name,
        signal,
        accepted: share,
        refused: 0,
        sent: share,
        failed: 0,
        enqueueFailed: 0,
        queued: 0,
      })),
      {hop: 'gateway', name: 'hub', signal, accepted: generatedOf(signal), refused: killedAt === undefined ? 0 : 12},
      {
        hop: 'exporter',
        name: exporters[signal],
        signal,
        sent: stored,
        failed: 0,
        enqueueFailed: lost ?? 0,
        queued: 0,
      },
    ]
  })
  const total = signals.reduce((sum, signal) => sum + wish.rates[signal], 0)
  const through = {
    'otelcol agent': total / wish.edges.length,
    'otelcol gateway': total,
    prometheus: wish.rates.metrics,
    loki: wish.rates.logs,
    tempo: wish.rates.traces,
  }
  const processes = (Object.keys(usual) as (keyof typeof usual)[]).flatMap((process) =>
    (process === 'otelcol agent' ? wish.edges : ['hub']).map((cluster) => {
      const coresPer1000 = about((usual[process].ms / 1000) * wish.costs, 0.04)
      const cores = (coresPer1000 * through[process]) / 1000
      return {
        process,
        cluster,
        cpuSeconds: cores * window,
        cores,
        coresMost: cores * 1.4,
        residentBytesMost: Math.round(about(usual[process].bytes)),
        coresPer1000,
      }
    }),
  )
  const rate = (signal: Signal, share: number, isThere: (second: number) => boolean, burst: boolean) =>
    seconds.map((second) => {
      if (!isThere(second)) return null
      if (!isSending(second)) return Math.round(about(wish.rates[signal] * share * 0.05, 0.5))
      return Math.round(about(wish.rates[signal] * share * ramp(second) * (burst && isCatchingUp(second) ? 1.5 : 1)))
    })
  const waiting = (of: (second: number) => number) => seconds.map((second) => Math.round(of(second)))
  const held = (second: number) =>
    killedAt === undefined ? 0 : isDown(second) ? second - killedAt + 1 : isCatchingUp(second) ? 10 * (1 - (second - killedAt - 9) / 20) : 0
  const happenings: readonly Happening[] =
    killedAt === undefined
      ? []
      : [
          {second: killedAt, what: 'gateway hub did not answer'},
          {second: killedAt + 10, what: 'gateway hub started anew'},
        ]
  return {
    startedAt: wish.startedAt,
    warmUpSeconds,
    windowSeconds: window,
    drainSeconds,
    signals: balances,
    hops,
    processes,
    wire: [
      {hop: 'generators → agents', bytes: total * window * 61, items: total * window, bytesPerItem: about(61, 0.01)},
      {hop: 'agents → gateway', bytes: total * window * 14, items: total * window, bytesPerItem: about(14.2, 0.01)},
      {hop: 'gateway → stores', bytes: total * window * 22, items: total * window, bytesPerItem: about(22.4, 0.01)},
    ],
    timeline: {
      seconds,
      rates: signals.flatMap((signal) => [
        ...wish.edges.map((edge) => ({
          name: `agent ${edge} ${signal}`,
          values: rate(signal, 1 / wish.edges.length, () => true, false),
        })),
        {name: `gateway hub ${signal}`, values: rate(signal, 1, (second) => !isDown(second), true)},
        {name: `${exporters[signal]} ${signal}`, values: rate(signal, 1, (second) => !isDown(second), true)},
      ]),
      queues: signals.flatMap((signal) => [
        ...wish.edges.map((edge) => ({
          name: `agent ${edge} ${signal}`,
          values: waiting((second) => wish.rates[signal] * (held(second) + about(0.2, 0.9)) * (isSending(second) ? 1 : 0)),
        })),
        {
          name: `${exporters[signal]} ${signal}`,
          values: seconds.map((second) => (isDown(second) ? null : Math.round(about(wish.rates[signal] * 0.3, 0.9)))),
        },
      ]),
      cpu: processes.map(({process, cluster, cores}) => ({
        name: `${process} ${cluster}`,
        values: seconds.map((second) =>
          process === 'otelcol gateway' && isDown(second) ? null : isSending(second) ? about(cores * ramp(second), 0.15) : 0.01,
        ),
      })),
      memory: processes.map(({process, cluster, residentBytesMost}) => ({
        name: `${process} ${cluster}`,
        values: seconds.map((second) =>
          process === 'otelcol gateway' && isDown(second)
            ? null
            : Math.round(residentBytesMost * (0.6 + 0.4 * Math.min(1, second / 90)) * about(1, 0.01)),
        ),
      })),
      latency: signals.map((signal) => ({
        name: signal,
        values: seconds.map((second) =>
          second % 2 === 0 && isSending(second)
            ? Math.round(about(balances[signal].latencyMs.p50 ?? 0, 0.4) + (isDown(second) ? ((killedAt ?? 0) + 12 - second) * 1000 : 0))
            : null,
        ),
      })),
    },
    happenings,
  }
}

/** A load test as it could have been, whole and without fault unless wished otherwise. Nobody has judged it. */
export const measuredRun = (wish: Wish = {}): Measured => {
  const whole = {
    run: '4b1f09ce',
    startedAt: '2026-11-20T09:12:00.000Z',
    edges: ['edge-1'],
    rates: {metrics: 50_000, logs: 10_000, traces: 5000},
    windowSeconds: 120,
    repetitions: 1,
    partial: false,
    costs: 1,
    seed: 1,
    ...wish,
  }
  const repetitions = Array.from({length: whole.repetitions}, (_, index) => repetitionOf(whole, index))
  const first = repetitions[0]
  const added = (signal: Signal, of: (balance: Balance) => number) => repetitions.reduce((sum, {signals: {[signal]: b}}) => sum + of(b), 0)
  return {
    run: whole.run,
    startedAt: whole.startedAt,
    fleet: 'lab',
    edges: whole.edges,
    profile: {
      name: 'baseline',
      rates: whole.rates,
      warmUpSeconds,
      windowSeconds: whole.windowSeconds,
      repetitions: whole.repetitions,
    },
    fingerprint: {
      platform: 'local',
      machine: {processor: 'AMD EPYC 7713', cores: 2, memoryBytes: 24_500_000_000},
      versions: {lkeobs: '0.1.0', otelcol: '0.160.0', prometheus: '3.16.0', loki: '3.7.8', tempo: '2.8.0', telemetrygen: '0.161.0'},
      configuration: '9e2c41f0a7d3b5568e1f2c3d4a5b69788796a5b4c3d2e1f09e2c41f0a7d3b556',
      profile: '1c0ffee0a7d3b5568e1f2c3d4a5b69788796a5b4c3d2e1f09e2c41f0a7d3b55c',
    },
    partial: whole.partial,
    signals: each((signal) => ({
      offered: added(signal, ({offered}) => offered),
      generated: added(signal, ({generated}) => generated),
      stored: added(signal, ({stored}) => stored ?? 0),
      explained: repetitions.flatMap((repetition) => repetition.signals[signal].explained),
      unexplained: added(signal, ({unexplained}) => unexplained ?? 0),
      lost: added(signal, ({lost}) => lost ?? 0),
      latencyMs: first?.signals[signal].latencyMs ?? {p50: null, p99: null, samples: 0},
    })),
    repetitions,
  }
}

/** The same, judged. */
export const madeRun = (wish: Wish = {}): LoadTest => {
  const run = measuredRun(wish)
  return {...run, verdict: verdictOf(run)}
}
