import {createHash} from 'node:crypto'
import {availableParallelism, cpus, totalmem} from 'node:os'
import type {Fleet} from '../clusters.ts'
import {programOf} from '../programs/catalogue.ts'
import type {Cluster} from '../platforms/platform.ts'
import type {Profile} from './profile.ts'
import type {Fingerprint} from './result.ts'

const digest = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex')

/** The same for two fleets that differ only in where they are and what they are called. */
const placeless = (text: string, names: readonly string[]): string => {
  const withoutPlaces = text
    .replaceAll(/(?:\/[\w.@+-]+)*\/\.lkeobs\//g, '')
    .replaceAll(/\b(?:127\.0\.0\.1|localhost|0\.0\.0\.0):\d+/g, '‹address›')
    .replaceAll(/((?:^|[\s"{])[\w-]*port"?: *)\d+/g, '$1‹port›')
  return names.reduce((so, name) => so.replaceAll(name, '‹name›'), withoutPlaces)
}

/** What collectors and stores of a cluster read: as it lies there, which may be another than lkeobs would render. */
const configurationOf = async (cluster: Cluster, names: readonly string[]): Promise<readonly (readonly [string, string])[]> => {
  const read = (cluster.processes ?? []).flatMap(({name, files, program}) =>
    program === 'openbao'
      ? []
      : Object.entries(files).map(async ([file, rendered]) => {
          return [`${name}/${file}`, placeless((await cluster.read(name, file)) ?? rendered, names)] as const
        }),
  )
  return Promise.all(read)
}

/** What this run is alike with. */
export const fingerprintOf = async ({file, hub, edges}: Fleet, profile: Profile, lkeobs: string): Promise<Fingerprint> => {
  const names = [file.fleet.fleet, hub.name, ...edges.map(({name}) => name)].toSorted((a, b) => b.length - a.length)
  const clusters = [hub, ...edges]
  const programs = [...new Set([...clusters.flatMap((cluster) => cluster.programs), 'telemetrygen' as const])].toSorted()
  // edges alike are one: how many there are is compared by itself
  const configurations = [
    ...new Set((await Promise.all(clusters.map((cluster) => configurationOf(cluster, names)))).map(digest)),
  ].toSorted()
  const {name: _, repetitions: __, ...sent} = profile
  return {
    platform: hub.processes ? 'local' : 'kubernetes',
    machine: {processor: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), memoryBytes: totalmem()},
    versions: {lkeobs, ...Object.fromEntries(programs.map((program) => [program, programOf(program).version]))},
    configuration: digest(configurations),
    profile: digest(sent),
  }
}
