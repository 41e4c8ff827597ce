import {randomBytes} from 'node:crypto'
import path from 'node:path'
import {type Fleet, openFleet} from '../clusters.ts'
import {counted} from '../collector/config.ts'
import {exporterOf, kindOf, signalsOf} from '../destinations/index.ts'
import type {Secrets} from '../destinations/kind.ts'
import {areKept, secretsWritten} from '../destinations/secrets.ts'
import {LkeobsError} from '../errors.ts'
import {withDestination} from '../fleet/edit.ts'
import {type FleetFile, parseFleet} from '../fleet/load.ts'
import type {Destination, DestinationInput} from '../fleet/schema.ts'
import {duration} from '../output.ts'
import type {Ways} from '../platforms/kubernetes/site.ts'
import type {EdgeCluster, HubCluster} from '../platforms/platform.ts'
import type {Plan, Step} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import type {Canary} from '../tools/otlp.ts'
import {otlpMessage, otlpMethod} from '../tools/otlp-wire.ts'
import {mounted} from '../trust/pki.ts'
import {registry} from '../trust/register.ts'
import {complaint, sum} from '../verify/hops.ts'

export type DestinationAdd = {
  readonly before: FleetFile
  readonly input: DestinationInput
  readonly destination: Destination
  readonly secrets: Secrets
  /** Left out where somebody forces it. */
  readonly probes: boolean
  readonly ways: Ways
}

/** The file with the destination as it is to be, whatever it was. */
const textWith = ({text, file}: FleetFile, input: DestinationInput, destination: Destination): string => {
  const there = parseFleet(text, file).destinations.find(({name}) => name === destination.name)
  if (JSON.stringify(there) === JSON.stringify(destination)) return text
  return withDestination(text, input)
}

/** The fleet as another text of its file describes it. */
export const fleetAs = ({file, folder}: FleetFile, text: string, tools: Tools, ways: Ways): Fleet =>
  openFleet({file, folder, text, fleet: parseFleet(text, file)}, tools, ways)

/** A destination: tried first, then kept in Vault and file, then fed. */
export const destAdd = ({before, input, destination, secrets, probes, ways}: DestinationAdd, tools: Tools): Plan => {
  const {name} = destination
  const {file, hub, edges} = fleetAs(before, textWith(before, input, destination), tools, ways)
  return {
    command: `dest add ${kindOf(destination).kind.name} ${name}`,
    title: `${hub.name} sends to ${name}.`,
    steps: [
      ...(probes ? [probed(file, hub, destination, secrets, tools)] : []),
      mounted(hub.vault, 'register of edges', registry, 'kv'),
      secretsWritten(hub.vault, name, secrets),
      fileIs(file, `${name} in ${shownFile(file)}`, tools),
      ...hub.gatewayRuns(),
      passed(hub, edges, destination, tools),
    ],
  }
}

const shownFile = ({file}: Pick<FleetFile, 'file'>): string => path.relative(process.cwd(), file)

/** Asked once, and not again of one that is in file and Vault as it was then. */
const probed = (file: FleetFile, {vault}: HubCluster, destination: Destination, secrets: Secrets, {wire, files, download}: Tools): Step => {
  const {kind, settings} = kindOf(destination)
  let took = false
  return {
    title: `${kind.at(settings)} takes what ${destination.name} is to be sent`,
    async done() {
      if (took) return true
      const isThere = (await files.read(file.file)) === file.text && (await areKept(vault, destination.name, secrets))
      return isThere ? true : 'not tried yet'
    },
    async apply(tell) {
      const tried = kind.probe({name: destination.name, settings, secrets, signals: signalsOf(destination)}, wire)
      // a dry run prints what would be asked; it has no answer to judge
      if (download.dry) await tried.catch(() => undefined)
      else {
        const {said, latencyMs} = await tried
        tell(`${said}, ${duration(latencyMs)}`, 'lasting')
        took = true
      }
    },
  }
}

/** The fleet file is this one. */
export const fileIs = ({file, text}: Pick<FleetFile, 'file' | 'text'>, title: string, {files}: Pick<Tools, 'files'>): Step => ({
  title,
  done: async () => ((await files.read(file)) === text ? true : 'it is not'),
  apply: () => files.write(file, text, 0o644),
})

/** After so long without one that has passed, the exporter's last words are the answer. */
const stuckMs = 30_000

/** A canary of each signal that went through its exporter. */
const passed = (hub: HubCluster, edges: readonly EdgeCluster[], destination: Destination, {wire, download}: Tools): Step => {
  const {name, where} = destination
  const exporter = exporterOf(destination)
  let since = Date.now()
  let isSent = true
  const count = async (what: 'sent' | 'send_failed') => {
    const counters = await hub.counters('gateway')
    return (
      counters &&
      new Map(signalsOf(destination).map((signal) => [signal, sum(counters, `otelcol_exporter_${what}_${counted[signal]}`, {exporter})]))
    )
  }
  const stuck = async (why: string) =>
    new LkeobsError('LKO-7117', `${name}: ${why}: ${await complaint(hub, 'gateway', exporter, since)}.`, {
      next: ['lkeobs dest list', `lkeobs dest test ${name}`],
    })
  return {
    title: `a canary passed through ${exporter}`,
    patienceMs: stuckMs + 5000,
    async done() {
      if (!isSent) return true
      const sent = await count('sent')
      if (sent === undefined) return 'the gateway does not say'
      const waiting = [...sent].filter(([, items]) => items === 0).map(([signal]) => signal)
      return waiting.length === 0 ? true : `no ${waiting.join(', no ')} so far`
    },
    async apply(tell) {
      if (download.dry) return
      since = Date.now()
      const run = randomBytes(4).toString('hex')
      for (const signal of signalsOf(destination)) {
        const canary = canaryFor(where, run)
        const by = await sent(
          edges.filter((edge) => where['edge']?.includes(edge.name) ?? true),
          (edge) => edge.sendCanary(signal, canary),
        )
        if (by !== undefined) tell(`${signal} by ${by}`)
        else {
          const door = await hub.door(name)
          if (door === undefined) {
            isSent = false
            return tell('no edge takes a canary now, so none was sent', 'lasting')
          }
          const answer = await wire.grpc({
            url: `http://${door}`,
            path: otlpMethod(signal),
            message: otlpMessage(signal, canary),
          })
          if (!('status' in answer) || answer.status !== 0) throw await stuck('its door in the gateway did not take a canary')
          tell(`${signal} by the gateway itself`)
        }
      }
    },
    async watch() {
      const failed = await count('send_failed')
      if ([...(failed?.values() ?? [])].some((items) => items > 0)) throw await stuck(`${exporter} was refused for good`)
      if (Date.now() - since > stuckMs) throw await stuck(`nothing has passed through ${exporter} in ${duration(stuckMs)}`)
    },
  }
}

/** A canary that the destination's filter lets through. */
const canaryFor = (where: Destination['where'], run: string): Canary => ({
  traceId: randomBytes(16).toString('hex'),
  spanId: randomBytes(8).toString('hex'),
  name: 'lkeobs.canary',
  service: 'lkeobs-canary',
  attributes: {
    'lkeobs.run': run,
    ...Object.fromEntries(Object.entries(where).flatMap(([key, [value]]) => (key === 'edge' || value === undefined ? [] : [[key, value]]))),
  },
  time: `${Date.now()}000000`,
})

/** The first edge that took it; undefined where none did. */
const sent = async (edges: readonly EdgeCluster[], send: (edge: EdgeCluster) => Promise<true | string>): Promise<string | undefined> => {
  for (const edge of edges) if ((await send(edge).catch(() => 'it cannot be reached')) === true) return edge.name
  return undefined
}
