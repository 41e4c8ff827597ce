import {z} from 'zod'

/** How many ports the processes of the hub, and those of an edge, take from their first; the hub one more for each destination after its first. */
export const portsOfHub = 22
export const portsOfHubWith = (destinations: number): number => portsOfHub + Math.max(0, destinations - 1)
export const portsOfEdge = 10

// What the cross checks need, taken from a file that may have other problems: a person sees all of them at once.
const seenCluster = z
  .object({
    name: z.string().optional().catch(undefined),
    platform: z
      .object({
        local: z.object({ports: z.int()}).optional().catch(undefined),
        kubernetes: z.object({context: z.string(), kubeconfig: z.string().optional()}).optional().catch(undefined),
        elsewhere: z.object({}).optional().catch(undefined),
      })
      .optional()
      .catch(undefined),
    endpoint: z.unknown().optional(),
  })
  .catch({})
const seenFleet = z
  .object({hub: seenCluster, edges: z.array(seenCluster).catch([]), destinations: z.array(z.unknown()).catch([])})
  .catch({hub: {}, edges: [], destinations: []})

type Seen = z.infer<typeof seenCluster> & {readonly path: readonly (string | number)[]; readonly ports: number}

const seenIn = (data: unknown): readonly Seen[] => {
  const {hub, edges, destinations} = seenFleet.parse(data)
  return [
    {...hub, path: ['hub'], ports: portsOfHubWith(destinations.length)},
    ...edges.map((edge, at) => ({...edge, path: ['edges', at], ports: portsOfEdge})),
  ]
}

const firstOf = ({platform}: Seen): number => platform?.local?.ports ?? Number.NaN
const overlaps = (one: Seen, other: Seen): boolean =>
  firstOf(one) < firstOf(other) + other.ports && firstOf(other) < firstOf(one) + one.ports
const rangeOf = (seen: Seen): string => `${firstOf(seen)} to ${firstOf(seen) + seen.ports - 1}`

const contextOf = ({platform}: Seen): string | undefined =>
  platform?.kubernetes && JSON.stringify([platform.kubernetes.kubeconfig, platform.kubernetes.context])

type Clash = {
  readonly key: readonly string[]
  readonly is: (one: Seen, other: Seen) => boolean
  readonly say: (one: Seen, other: Seen) => string
}

const clashes: readonly Clash[] = [
  {
    key: ['name'],
    is: (one, other) => one.name !== undefined && one.name === other.name,
    say: (one, other) => `${one.name} is the name of ${other.path.length === 1 ? 'the hub' : 'another edge'}`,
  },
  {
    key: ['platform', 'local', 'ports'],
    is: overlaps,
    say: (one, other) => `the ports ${rangeOf(one)} overlap ${rangeOf(other)} of ${other.name ?? other.path.join('.')}`,
  },
  {
    key: ['platform', 'kubernetes', 'context'],
    is: (one, other) => contextOf(one) !== undefined && contextOf(one) === contextOf(other),
    say: (one, other) =>
      `${one.platform?.kubernetes?.context} is the cluster of ${other.name ?? other.path.join('.')}; each cluster of a fleet is one of its own`,
  },
]

type Disagreement = {readonly path: readonly (string | number)[]; readonly other: readonly (string | number)[]; readonly message: string}

const seenDestinations = z
  .object({destinations: z.array(z.object({name: z.string()}).partial().catch({})).catch([])})
  .catch({destinations: []})

const sameDestinations = (data: unknown): readonly Disagreement[] =>
  seenDestinations.parse(data).destinations.flatMap(({name}, at, all) => {
    const other = all.slice(0, at).findIndex((before) => name !== undefined && before.name === name)
    if (other === -1) return []
    return [
      {path: ['destinations', at, 'name'], other: ['destinations', other, 'name'], message: `${name} is the name of another destination`},
    ]
  })

const seenCollector = z
  .object({
    hub: z.object({platform: z.object({local: z.unknown(), kubernetes: z.unknown()}).partial().catch({})}).catch({platform: {}}),
    edges: z.array(z.object({platform: z.object({kubernetes: z.unknown()}).partial().catch({})}).catch({platform: {}})).catch([]),
    destinations: z.array(z.object({name: z.string(), datadog: z.unknown()}).partial().catch({})).catch([]),
    collector: z.object({build: z.string(), image: z.string()}).partial().catch({}),
  })
  .catch({hub: {platform: {}}, edges: [], destinations: [], collector: {}})

/** What the collector that runs cannot do, or where it cannot be had. */
const collectorDisagreements = (data: unknown): readonly Disagreement[] => {
  const {hub, edges, destinations, collector} = seenCollector.parse(data)
  const onKubernetes = [hub, ...edges].findIndex(({platform}) => platform.kubernetes !== undefined)
  const isOurs =
    collector.build === undefined ? hub.platform.local !== undefined || collector.image !== undefined : collector.build === 'lkeobs'
  return [
    ...(collector.build === 'lkeobs' && collector.image === undefined && onKubernetes !== -1
      ? [
          {
            path: ['collector', 'image'],
            other: onKubernetes === 0 ? ['hub', 'platform', 'kubernetes'] : ['edges', onKubernetes - 1, 'platform', 'kubernetes'],
            message: 'missing; the build lkeobs runs on Kubernetes from an image of yours: lkeobs images push',
          },
        ]
      : []),
    ...(collector.build === 'upstream' && collector.image !== undefined
      ? [{path: ['collector', 'image'], other: ['collector', 'build'], message: 'the build upstream runs from the image of its publisher'}]
      : []),
    ...destinations.flatMap(({name = '', datadog}, at) =>
      datadog !== undefined && isOurs
        ? [
            {
              path: ['destinations', at, 'datadog'],
              other: ['hub', 'platform'],
              message: `${name} needs the collector of the publisher, \`collector: {build: upstream}\`: the build lkeobs has no exporter for Datadog`,
            },
          ]
        : [],
    ),
  ]
}

/** Where two places of the file do not go together; `other` is the place that came first. */
export const disagreements = (data: unknown): readonly Disagreement[] => [
  ...sameDestinations(data),
  ...collectorDisagreements(data),
  ...clashes.flatMap(({key, is, say}) =>
    seenIn(data).flatMap((one, at, all) => {
      const other = all.slice(0, at).find((before) => is(one, before))
      return other ? [{path: [...one.path, ...key], other: [...other.path, ...key], message: say(one, other)}] : []
    }),
  ),
  ...seenIn(data)
    .slice(0, 1)
    .flatMap(({platform, endpoint}) => {
      const where = (['local', 'elsewhere'] as const).find((kind) => platform?.[kind] !== undefined)
      if (where === undefined || endpoint !== undefined) return []
      const message = `missing; a hub ${where === 'local' ? 'on this machine' : 'elsewhere'} says what edges dial`
      return [{path: ['hub', 'endpoint'], other: ['hub', 'platform', where], message}]
    }),
]
