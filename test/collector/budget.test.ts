import {expect, test} from 'vitest'
import {agentBudget, gatewayBudget, lateData} from '../../src/collector/budget.ts'
import {signals} from '../../src/collector/config.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {parseFleet} from '../../src/fleet/load.ts'

const fleetWith = (more = '', edges = 2) => parseFleet(newLabFleet({edges}) + more, 'lkeobs.yaml')
const splunk = "splunk: {endpoint: 'https://splunk.example:8088'}"
const gibi = 2 ** 30

test('an agent keeps what its edge sends in an outage', () => {
  expect(agentBudget(fleetWith())).toEqual({metrics: 1000 * 90 * 86_400, logs: 200 * 250 * 86_400, traces: 100 * 300 * 86_400})
  const [edge] = fleetWith().edges
  expect(agentBudget(fleetWith('outage: 1h\n'), {...edge, outage: '2h', rates: {metrics: 10_000}})).toEqual({
    metrics: 10_000 * 90 * 7200,
    // never less, however little is declared
    logs: 360_000_000,
    traces: 256 * 2 ** 20,
  })
})

test('an edge that joins does not change the gateway', () => {
  expect(gatewayBudget(fleetWith('', 1))).toEqual(gatewayBudget(fleetWith('', 16)))
  expect(gatewayBudget(fleetWith('', 17)).bytes.logs).toBe(2 * gatewayBudget(fleetWith()).bytes.logs)
})

test('what waits for destinations never takes the room of the stores', () => {
  const fleet = fleetWith(`destinations: [{name: a, ${splunk}, outage: 48h}, {name: b, ${splunk}}]\n`)
  const {bytes, edgeBytes, destinations} = gatewayBudget(fleet)
  const alone = gatewayBudget(fleetWith())
  for (const signal of signals) {
    expect(destinations['a']?.[signal]).toBe(2 * (destinations['b']?.[signal] ?? 0))
    expect(bytes[signal] - (destinations['a']?.[signal] ?? 0)).toBe(alone.bytes[signal])
    expect(edgeBytes[signal]).toBe(3 * alone.edgeBytes[signal])
  }
})

test.for([1, 10, 100])('a gateway on Kubernetes never has more than its volume of %d GiB', (size) => {
  const {bytes, edgeBytes, destinations} = gatewayBudget(fleetWith(`destinations: [{name: a, ${splunk}}]\n`), size * gibi)
  const sum = signals.reduce((total, signal) => total + bytes[signal], 0)
  expect(sum + 3 * 256 * 2 ** 20).toBeLessThanOrEqual(size * gibi)
  for (const signal of signals) {
    expect(bytes[signal]).toBeGreaterThan(1e6)
    expect(edgeBytes[signal]).toBeLessThanOrEqual(bytes[signal])
    expect(destinations['a']?.[signal]).toBeLessThanOrEqual(bytes[signal] / 2)
  }
})

test('shares are ten times what is declared, at least what the load test sends, or what the file says', () => {
  const {shares} = gatewayBudget(fleetWith('share: {streams: 5}\nrates: {metrics: 20000}\n'))
  expect(shares.default).toEqual({items_per_second: 203_000, bytes_per_second: 18_800_000, series: 200_000, streams: 5})
  expect(shares.edges).toEqual({})
  const own = newLabFleet({edges: 1}).replace('name: edge-1', 'name: edge-1\n    share: {itemsPerSecond: 50}')
  expect(gatewayBudget(parseFleet(own, 'x')).shares.edges['edge-1']).toMatchObject({items_per_second: 50, streams: 10_000})
})

test('stores take what the longest outage of the fleet delays, and the gateway takes out what they would refuse', () => {
  const {prometheusSeconds, lokiSeconds, lokiStreamSeconds, rules} = lateData(fleetWith())
  expect([prometheusSeconds, lokiStreamSeconds, lokiSeconds].map((seconds) => seconds / 3600)).toEqual([26, 25, 169])
  expect(rules.metrics).toBeLessThan(prometheusSeconds)
  expect(rules.logs).toBeLessThan(lokiSeconds)
  const long = newLabFleet({edges: 1}).replace('name: edge-1', 'name: edge-1\n    outage: 14d')
  expect(lateData(parseFleet(long, 'x'))).toMatchObject({prometheusSeconds: 14 * 86_400 + 7200, rules: {logs: 14 * 86_400 + 3600}})
})
