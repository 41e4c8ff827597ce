import {isIPv4, isIPv6} from 'node:net'
import {z} from 'zod'

/** How many ports the processes of the hub, and those of an edge, take from their first. */
export const portsOfHub = 20
export const portsOfEdge = 10

const label = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/, {
  error: ({input}) => `expected a DNS label (a-z, 0-9 and - inside, at most 40 characters), got ${JSON.stringify(input)}`,
})

const isHost = (host: string): boolean => {
  if (host.startsWith('[')) return isIPv6(host.slice(1, -1)) && !host.includes('%')
  const isName = host.length <= 253 && host.split('.').every((part) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(part))
  return isIPv4(host) || (isName && !/(^|\.)\d+$/.test(host))
}

/** Why this is not an address edges can dial, or undefined when it is one. */
const endpointProblem = (endpoint: string): string | undefined => {
  const got = `got ${JSON.stringify(endpoint)}`
  const [, host = '', port] = /^(\[[^\]]*\]|[^:]*)(?::([^:]*))?$/.exec(endpoint) ?? []
  if (!isHost(host)) return `expected host:port, where host is a name, an IPv4 address or an IPv6 address in brackets, ${got}`
  if (port === undefined) return `expected host:port, ${got} without a port`
  return /^[1-9]\d{0,4}$/.test(port) && Number(port) <= 65_535 ? undefined : `expected a port from 1 to 65535 after the host, ${got}`
}

const endpoint = z
  .string()
  .superRefine((value, context) => {
    const message = endpointProblem(value)
    if (message !== undefined) context.addIssue({code: 'custom', message})
  })
  // A refinement does not reach the JSON Schema; this coarser pattern tells an editor most of it.
  .meta({pattern: String.raw`^(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+):[1-9][0-9]{0,4}$`})

const glob = z.string().regex(/^\/[ -~\u00A0-\uFFFF]*$/, {
  error: ({input}) => `expected an absolute path, which may hold wildcards, got ${JSON.stringify(input)}`,
})

const local = (ports: number) =>
  z.strictObject({
    local: z
      .strictObject({ports: z.int().min(1024).max(65_000).describe(`The first of the ${ports} ports its processes listen on.`)})
      .describe('The cluster is a set of processes on this machine.'),
  })

const seal = z
  .enum(['static'])
  .default('static')
  .describe('How Vault unseals itself. static: with a key in a file beside its data, which is for a lab.')

export const edgeSchema = z
  .strictObject({
    name: label.describe('The name of the edge: a DNS label, unlike any other in the fleet.'),
    platform: local(portsOfEdge).describe('Where the edge runs.'),
    logs: z
      .array(glob.describe('An absolute path, which may hold wildcards.'))
      .default([])
      .describe('The log files the agent of the edge follows.'),
    vault: z.strictObject({seal}).prefault({}).describe('The Vault of the edge, which issues its certificates.'),
  })
  .describe('A cluster that sends its telemetry to the hub.')

const hubSchema = z.strictObject({
  name: label.describe('The name of the hub: a DNS label.'),
  platform: local(portsOfHub).describe('Where the hub runs.'),
  endpoint: endpoint.describe('What edges dial, host:port. The host is a name, an IPv4 address or an IPv6 address in brackets.'),
  vault: z
    .strictObject({
      replicas: z.literal([1, 3, 5]).default(3).describe('How many Vaults keep the data of the fleet together.'),
      seal,
    })
    .prefault({})
    .describe('The Vault of the hub, which signs the issuer of every edge.'),
})

// What the cross checks need, taken from a file that may have other problems: a person sees all of them at once.
const seenCluster = z
  .object({
    name: z.string().optional().catch(undefined),
    platform: z.optional(z.object({local: z.object({ports: z.int()})})).catch(undefined),
  })
  .catch({})
const seenFleet = z.object({hub: seenCluster, edges: z.array(seenCluster).catch([])}).catch({hub: {}, edges: []})

type Seen = z.infer<typeof seenCluster> & {readonly path: readonly (string | number)[]; readonly ports: number}

const seenIn = (data: unknown): readonly Seen[] => {
  const {hub, edges} = seenFleet.parse(data)
  return [{...hub, path: ['hub'], ports: portsOfHub}, ...edges.map((edge, at) => ({...edge, path: ['edges', at], ports: portsOfEdge}))]
}

const firstOf = ({platform}: Seen): number => platform?.local.ports ?? Number.NaN
const overlaps = (one: Seen, other: Seen): boolean =>
  firstOf(one) < firstOf(other) + other.ports && firstOf(other) < firstOf(one) + one.ports
const rangeOf = (seen: Seen): string => `${firstOf(seen)} to ${firstOf(seen) + seen.ports - 1}`

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
]

/** Where two places of the file do not go together; `other` is the place that came first. */
const disagreements = (data: unknown) =>
  clashes.flatMap(({key, is, say}) =>
    seenIn(data).flatMap((one, at, all) => {
      const other = all.slice(0, at).find((before) => is(one, before))
      return other ? [{path: [...one.path, ...key], other: [...other.path, ...key], message: say(one, other)}] : []
    }),
  )

export const fleetSchema = z
  .strictObject({
    apiVersion: z.literal('lkeobs/v1').describe('The version of this format.'),
    fleet: label.describe('The name of the fleet: a DNS label.'),
    hub: hubSchema.describe('The cluster that receives the telemetry of the fleet and keeps it.'),
    edges: z.array(edgeSchema).default([]).describe('The clusters that send their telemetry to the hub.'),
  })
  .superRefine(
    (data, context) => {
      for (const {path, other, message} of disagreements(data)) context.addIssue({code: 'custom', path, message, params: {other}})
    },
    {when: () => true},
  )
  .meta({title: 'lkeobs fleet file', description: 'The desired state of a fleet, lkeobs.yaml.'})

export type Fleet = z.infer<typeof fleetSchema>
export type Edge = Fleet['edges'][number]
/** An edge as a person writes it: what has a default may be left out. */
export type EdgeInput = z.input<typeof edgeSchema>

/** What editors complete and check the file with; draft 7 is what all of them know. */
export const fleetJsonSchema = () => z.toJSONSchema(fleetSchema, {io: 'input', target: 'draft-7'})
