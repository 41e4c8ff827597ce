import {describe, expect, test} from 'vitest'
import {growth, hopsOf} from '../../src/loadtest/counters.ts'
import {readDiscards, withDiscards} from '../../src/loadtest/discards.ts'
import type {Hop} from '../../src/loadtest/result.ts'
import type {Http} from '../../src/tools/http.ts'
import {type Counters, processLabel} from '../../src/tools/stores.ts'

type Agent = {
  readonly uptime: number
  readonly accepted?: number
  readonly refused?: number
  readonly sent?: number
  readonly failed?: number
  readonly queued?: number
}

const exporter = 'otlp_grpc/hub'

/** The page of an agent that only carries logs. */
const pageOf = ({uptime, accepted, refused, sent, failed, queued}: Agent): Counters => {
  const of = (name: string, labels: Record<string, string>, value: number | undefined) =>
    value === undefined ? [] : [{name, labels, value}]
  return [
    ...of('otelcol_process_uptime', {}, uptime),
    ...of('otelcol_receiver_accepted_log_records', {receiver: 'otlp', transport: 'grpc'}, accepted),
    ...of('otelcol_receiver_accepted_log_records', {receiver: 'file_log', transport: ''}, accepted === undefined ? undefined : 5),
    ...of('otelcol_receiver_refused_log_records', {receiver: 'otlp', transport: 'grpc'}, refused),
    ...of('otelcol_exporter_sent_log_records', {exporter}, sent),
    ...of('otelcol_exporter_send_failed_log_records', {exporter}, failed),
    ...of('otelcol_exporter_queue_size', {exporter, data_type: 'logs'}, queued),
  ]
}

describe('the growth of a counter', () => {
  test('begins where the window does, and counts everything that came in', () => {
    const agent = growth()
    agent.read(pageOf({uptime: 10, accepted: 100, sent: 90, queued: 10}))
    agent.begin()
    agent.read(pageOf({uptime: 11, accepted: 150, sent: 140, queued: 10}))
    expect(agent.of('accepted logs')).toBe(50)
    expect(agent.of('generated logs')).toBe(50)
    expect(agent.of(`sent logs ${exporter}`)).toBe(50)
    expect(agent.queued(`logs ${exporter}`)).toBe(10)
  })

  test('goes on from zero with a process that was started anew, also where that has counted more by then', () => {
    const agent = growth()
    agent.read(pageOf({uptime: 10, accepted: 100}))
    agent.begin()
    agent.read(pageOf({uptime: 11, accepted: 130}))
    expect(agent.read(undefined)).toEqual({isNew: false})
    expect(agent.read(pageOf({uptime: 1, accepted: 400}))).toEqual({isNew: true})
    expect(agent.of('generated logs')).toBe(30 + 400)
  })

  test('is of each process alone: one that does not answer once, or is started anew, adds nothing of the others', () => {
    const of = (name: string, agent: Agent): Counters =>
      pageOf(agent).map((one) => ({...one, labels: {...one.labels, [processLabel]: name}}))
    const agents = growth()
    agents.read([...of('a', {uptime: 10, accepted: 1000}), ...of('b', {uptime: 10, accepted: 500})])
    agents.begin()
    expect(agents.read(of('a', {uptime: 11, accepted: 1010}))).toEqual({isNew: false})
    expect(agents.of('generated logs')).toBe(10)
    agents.read([...of('a', {uptime: 12, accepted: 1020}), ...of('b', {uptime: 12, accepted: 520})])
    expect(agents.of('generated logs')).toBe(20 + 20)
    expect(agents.read([...of('a', {uptime: 13, accepted: 1030}), ...of('b', {uptime: 1, accepted: 7})])).toEqual({isNew: true})
    expect(agents.of('generated logs')).toBe(30 + 20 + 7)
  })

  test('of a series that is missing is not known; of failures beside a queue it is none', () => {
    const agent = growth()
    agent.read(pageOf({uptime: 10, queued: 0}))
    agent.begin()
    agent.read(pageOf({uptime: 11, queued: 0}))
    expect(agent.of('accepted logs')).toBeNull()
    expect(agent.of(`failed logs ${exporter}`)).toBe(0)
    agent.read(pageOf({uptime: 12, queued: 0, failed: 7}))
    expect(agent.of(`failed logs ${exporter}`)).toBe(7)
  })

  test('of a collector that did not answer when the window began is not known', () => {
    const agent = growth()
    agent.begin()
    agent.read(pageOf({uptime: 10, accepted: 100}))
    agent.read(pageOf({uptime: 11, accepted: 130}))
    expect(agent.of('accepted logs')).toBeNull()
  })
})

test('hops are told from one another, whatever exporters there are', () => {
  const agent = growth()
  const gateway = growth()
  const queues = (...names: string[]): Counters =>
    names.flatMap((name) => [
      {name: 'otelcol_exporter_queue_size', labels: {exporter: name, data_type: 'logs'}, value: 3},
      {name: 'otelcol_exporter_sent_log_records', labels: {exporter: name}, value: 10},
    ])
  agent.read([...queues(exporter), ...pageOf({uptime: 1, accepted: 1})])
  gateway.read(queues('otlp_http/loki', 'splunk_hec/corp'))
  agent.begin()
  gateway.begin()
  agent.read([...queues(exporter), ...pageOf({uptime: 2, accepted: 4})])
  const hops = hopsOf(new Map([['edge-1', agent]]), 'hub', gateway).filter(({signal}) => signal === 'logs')
  expect(hops.map(({hop, name}) => `${hop} ${name}`)).toEqual([
    'agent edge-1',
    'gateway hub',
    'exporter otlp_http/loki',
    'exporter splunk_hec/corp',
  ])
  expect(hops[0]).toMatchObject({accepted: 3, refused: null, sent: 0, failed: 0, enqueueFailed: 0, queued: 3})
  expect(hops[1]).toEqual({hop: 'gateway', name: 'hub', signal: 'logs', accepted: null, refused: null})
})

test('of a queue of ours its own counters count, not what the exporter behind it says of each try', () => {
  const of = (name: string, labels: Record<string, string>, value: number) => ({
    name,
    labels: {signal: 'logs', edge: 'edge-1', ...labels},
    value,
  })
  const page = (stored: number, tries: number): Counters => [
    {name: 'otelcol_exporter_queue_size', labels: {exporter: 'otlp_http/loki', data_type: 'logs'}, value: 4},
    {name: 'otelcol_exporter_sent_log_records', labels: {exporter: 'otlp_http/loki'}, value: stored},
    {name: 'otelcol_exporter_send_failed_log_records', labels: {exporter: 'otlp_http/loki'}, value: tries},
    {name: 'otelcol_receiver_accepted_log_records', labels: {receiver: 'otlp', transport: 'grpc'}, value: 2 * stored},
    of('lkeobs_queue_waiting_items', {sink: 'loki'}, 4),
    of('lkeobs_queue_stored_items', {sink: 'loki'}, stored),
    of('lkeobs_queue_stored_items', {sink: 'loki', edge: 'edge-2'}, stored),
    of('lkeobs_queue_repaired_items', {sink: 'loki', reason: 'name'}, 7 * (tries / 1000)),
    ...(tries > 1000 ? [of('lkeobs_queue_taken_out_items', {sink: 'loki', reason: 'refused'}, 3)] : []),
    of('lkeobs_queue_refused_items', {reason: 'share'}, tries),
  ]
  const gateway = growth()
  gateway.read(page(100, 1000))
  gateway.begin()
  gateway.read(page(150, 4000))
  const hops = hopsOf(new Map(), 'hub', gateway).filter(({signal}) => signal === 'logs')
  expect(hops).toEqual([
    {hop: 'gateway', name: 'hub', signal: 'logs', accepted: 100, refused: null, refusedBy: {share: 3000}},
    {
      hop: 'exporter',
      name: 'otlp_http/loki',
      signal: 'logs',
      sent: 100,
      failed: 0,
      enqueueFailed: 0,
      queued: 4,
      repaired: 21,
      takenOut: 3,
      dropped: 0,
    },
  ])
})

test('what a store discarded after it had acknowledged it is added to its hop', async () => {
  const pages = (spans: number): Http => ({
    get: async (url) =>
      url === 'http://tempo/metrics'
        ? {
            status: 200,
            body: `tempo_discarded_spans_total{reason="live_traces_exceeded",tenant="a"} ${spans}\ntempo_discarded_spans_total{reason="x",tenant="b"} 1`,
          }
        : undefined,
    post: async () => undefined,
  })
  const stores = {prometheus: 'http://prometheus', loki: 'http://loki', tempo: 'http://tempo'}
  const hops: readonly Hop[] = [
    {hop: 'exporter', name: 'otlp_grpc/tempo', signal: 'traces'},
    {hop: 'exporter', name: 'otlp_http/loki', signal: 'logs'},
  ]
  const [before, after] = [await readDiscards(pages(100), stores), await readDiscards(pages(5100), stores)]
  expect(withDiscards(hops, before, after)).toEqual([{...hops[0], discarded: 5000}, hops[1]])
  expect(withDiscards(hops, after, before)).toMatchObject([{discarded: 101}, {}])
})
