import {isIPv4, isIPv6} from 'node:net'
import {z} from 'zod'
import {type CollectorBuild, collectorBuilds} from '../collector/build.ts'
import {usualRates} from '../collector/budget.ts'
import {signals} from '../collector/config.ts'
import {takenEnds, takenNames} from '../collector/destinations.ts'
import {scrubProblem} from '../collector/scrub.ts'
import {kinds} from '../destinations/index.ts'
import {imageReferenceOf, imagePattern, repositoryOf, repositoryPattern} from '../images/reference.ts'
import {readDuration} from '../output.ts'
import {disagreements, portsOfEdge, portsOfHub} from './clashes.ts'
import {heldTogether, holderShape} from './holders.ts'

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

const duration = z.string().superRefine((text, context) => {
  const seconds = readDuration(text)
  if (seconds === undefined || seconds < 60 || seconds > 30 * 86_400)
    context.addIssue({code: 'custom', message: `expected a time of 60s to 30d, such as 24h, got ${JSON.stringify(text)}`})
})

const glob = z.string().regex(/^\/[ -~\u00A0-\uFFFF]*$/, {
  error: ({input}) => `expected an absolute path, which may hold wildcards, got ${JSON.stringify(input)}`,
})

const local = (ports: number) =>
  z
    .strictObject({ports: z.int().min(1024).max(65_000).describe(`The first of the ${ports} ports its processes listen on.`)})
    .describe('The cluster is a set of processes on this machine.')

const quantity = z.string().regex(/^[1-9]\d*(Mi|Gi|Ti)$/, {
  error: ({input}) => `expected a size such as 10Gi, got ${JSON.stringify(input)}`,
})

/** What every cluster on Kubernetes may say of itself. */
const kubernetesCluster = {
  context: z.string().min(1).describe('The context of the kubeconfig that leads to the cluster.'),
  kubeconfig: z
    .string()
    .min(1)
    .optional()
    .describe('The kubeconfig, from the folder of this file; KUBECONFIG or ~/.kube/config unless given.'),
  storageClass: z.string().min(1).optional().describe('The storage class of its volumes; the default one of the cluster unless given.'),
  certManager: z
    .boolean()
    .default(true)
    .describe(
      "cert-manager keeps the root CA and Vault's certificates, and is installed where there is none. Without it, lkeobs makes them itself.",
    ),
  secretsOperator: z
    .boolean()
    .default(true)
    .describe('Vault Secrets Operator brings leaves to collectors and renews them. Without it, a Vault agent beside each collector does.'),
}

const kubernetesEdge = z
  .strictObject({
    ...kubernetesCluster,
    instrumentation: z.boolean().default(false).describe('Whether the OpenTelemetry operator injects SDKs into annotated workloads.'),
  })
  .describe('The cluster is a Kubernetes cluster that exists.')

const bucket = z.strictObject({
  bucket: z.string().min(3).max(63).describe('The name of the bucket.'),
  secret: z
    .string()
    .min(1)
    .describe('A Secret in the namespace lkeobs with access-key-id and secret-access-key of a key that is limited to this bucket.'),
})

const kubernetesHub = z
  .strictObject({
    ...kubernetesCluster,
    grafana: z.boolean().default(true).describe('Whether Grafana is installed beside the stores.'),
    gateway: z
      .strictObject({
        replicas: z.int().min(1).max(20).default(2).describe('How many gateways run at least.'),
        maxReplicas: z.int().min(1).max(50).default(6).describe('How many the autoscaler may make of them.'),
        queue: quantity.default('10Gi').describe('The volume on which each gateway keeps what a store or destination has not taken yet.'),
        annotations: z
          .record(z.string(), z.string())
          .default({})
          .describe('Annotations of its LoadBalancer Service, over those for Linode.'),
        sourceRanges: z
          .array(z.string().describe('A network in CIDR notation.'))
          .default([])
          .describe('CIDRs that may dial in; anybody unless given. Mutual TLS guards the door either way.'),
      })
      .prefault({})
      .describe('The gateways, which receive what edges send.'),
    stores: z
      .strictObject({
        retentionDays: z.int().min(1).max(3650).default(15).describe('How many days metrics, logs and traces are kept.'),
        size: quantity.default('50Gi').describe('The volume of each store.'),
        objectStorage: z
          .strictObject({
            endpoint: z.string().min(1).describe('Host of the S3 endpoint: us-ord-1.linodeobjects.com.'),
            region: z.string().min(1).describe('The region of the buckets.'),
            loki: bucket.describe('Where logs go.'),
            tempo: bucket.describe('Where traces go.'),
          })
          .optional()
          .describe('Logs and traces in Linode Object Storage, one bucket and one limited key each. On volumes unless given.'),
      })
      .prefault({})
      .describe('Prometheus, Loki and Tempo.'),
  })
  .describe('The cluster is a Kubernetes cluster that exists.')

const hubElsewhere = z
  .strictObject({
    vault: endpoint.describe('Where its Vault is, host:port.'),
    serverName: z.string().min(1).optional().describe("The name in the certificate of its Vault, where that is not the address's."),
    pin: z
      .string()
      .regex(/^[\w-]{43}$/, {error: ({input}) => `expected a sha256 sum in base64url, 43 characters, got ${JSON.stringify(input)}`})
      .describe('The sha256 sum of the public key of its root CA.'),
  })
  .describe('The hub is looked after elsewhere; `edge join --invite` writes this.')

const edgeElsewhere = z.strictObject({}).describe('The edge is looked after elsewhere; `edge invite` writes this.')

export type HubElsewhere = z.infer<typeof hubElsewhere>
export type KubernetesCluster = Pick<KubernetesEdge, keyof typeof kubernetesCluster>
export type KubernetesEdge = z.infer<typeof kubernetesEdge>
export type KubernetesHub = z.infer<typeof kubernetesHub>

/** Exactly one platform; not a union, so that a mistake in it is reported where it stands. */
const oneOf = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z
    .strictObject(shape)
    .superRefine((platforms, context) => {
      const named = Object.values(platforms).filter((platform) => platform !== undefined).length
      if (named !== 1)
        context.addIssue({
          code: 'custom',
          message: `expected one of ${Object.keys(shape).join(', ')}, got ${named === 0 ? 'none' : 'more'}`,
        })
    })
    .meta({minProperties: 1, maxProperties: 1})

const rate = z.int().min(0).max(10_000_000)

/** Items a second that an edge sends, by signal. */
const ratesShape = {
  metrics: rate.describe('Data points a second.'),
  logs: rate.describe('Log records a second.'),
  traces: rate.describe('Spans a second.'),
}

const limit = z.int().min(1).max(1_000_000_000_000)

const shareSchema = z.strictObject({
  itemsPerSecond: limit
    .optional()
    .describe('Items a second; ten times the declared rates, at least 5000, unless given; 100000 where no rates are declared.'),
  bytesPerSecond: limit
    .optional()
    .describe(
      'Bytes a second, without compression; ten times what the declared rates make, at least 2500000, unless given; 50000000 where no rates are declared.',
    ),
  series: limit.optional().describe('New series of metrics an hour; ten times the declared rate, at least 200000, unless given.'),
  streams: limit.optional().describe('New streams of logs an hour; 10000 unless given.'),
})

const aboutOutage = 'How long its hub may be away without a loss'

/** An edge opens by itself: with its own key, or by its hub. */
const edgeSeal = z
  .enum(['static', 'transit'])
  .default('static')
  .describe(
    'How Vault unseals itself. static: with a key in a file beside its data, which is for a lab. transit: by the Vault of the hub, which has to be reached whenever it starts.',
  )

export const edgeSchema = z
  .strictObject({
    name: label.describe('The name of the edge: a DNS label, unlike any other in the fleet.'),
    platform: oneOf({
      local: local(portsOfEdge).optional(),
      kubernetes: kubernetesEdge.optional(),
      elsewhere: edgeElsewhere.optional(),
    }).describe('Where the edge runs.'),
    logs: z
      .array(glob.describe('An absolute path, which may hold wildcards.'))
      .default([])
      .describe('The log files the agent of the edge follows; on Kubernetes it follows those of all containers anyway.'),
    vault: z.strictObject({seal: edgeSeal}).prefault({}).describe('The Vault of the edge, which issues its certificates.'),
    outage: duration.optional().describe(`${aboutOutage}; that of the fleet unless given.`),
    rates: z
      .strictObject({metrics: ratesShape.metrics.optional(), logs: ratesShape.logs.optional(), traces: ratesShape.traces.optional()})
      .optional()
      .describe('What it sends, where that is not what edges of the fleet usually send.'),
    share: shareSchema.optional().describe('What the gateway takes from it at most, where that is not the same for all edges.'),
  })
  .describe('A cluster that sends its telemetry to the hub.')

/** A name is a part of what belongs to the destination in the gateway, where other parts have theirs. */
const destinationName = label.superRefine((name, context) => {
  const end = takenEnds.find((taken) => name.endsWith(taken))
  const message = takenNames.includes(name)
    ? `${name} is the name of something else in the gateway`
    : end && `a name that ends with ${end} belongs to a part of another destination`
  if (message !== undefined) context.addIssue({code: 'custom', message})
})

const scrubbed = z.string().superRefine((word, context) => {
  const message = scrubProblem(word)
  if (message !== undefined) context.addIssue({code: 'custom', message})
})

const kindNames = kinds.map(({name}) => name)

const mostDestinations = 16

const destinationShape = z.strictObject({
  name: destinationName.describe('The name of the destination: a DNS label.'),
  signals: z
    .array(z.enum(signals).describe('metrics, logs or traces.'))
    .min(1)
    .optional()
    .describe('What it is sent; what is usual for its kind unless given.'),
  where: z
    .record(z.string().min(1), z.array(z.string().min(1)).min(1))
    .default({})
    .describe(
      'Which items it is sent: of each attribute one of these values, in the resource or in the item. `edge` is the edge they come from.',
    ),
  scrub: z
    .array(scrubbed.describe('email, ipv4, card, bearer, key:ATTRIBUTE, or an expression between slashes.'))
    .default([])
    .describe('What is taken out before anything leaves the hub.'),
  maxAge: duration.optional().describe('How long a batch is tried before it is given up; for ever unless given.'),
  queue: z
    .strictObject({
      items: z
        .int()
        .min(1000)
        .max(100_000_000)
        .optional()
        .describe('How many items wait for it at most; as many as come in its outage unless given.'),
    })
    .prefault({})
    .describe('What waits for it in the gateway, on disk.'),
  outage: duration
    .optional()
    .describe('How long it may be away before the oldest that waits for it is dropped; that of the fleet unless given.'),
})

/** And a key for each kind: which of them a destination has, and with which settings, `kindOf` tells. */
const withKinds = destinationShape.extend(
  Object.fromEntries(kinds.map(({name, schema}) => [name, schema.optional()])),
) as unknown as typeof destinationShape

export const destinationSchema = withKinds
  .superRefine((destination, context) => {
    const fields = destination as Readonly<Record<string, unknown>>
    const named = kinds.filter(({name}) => fields[name] !== undefined)
    const [kind] = named
    if (kind === undefined || named.length > 1)
      context.addIssue({code: 'custom', message: `expected one of ${kindNames.join(', ')}, got ${kind === undefined ? 'none' : 'more'}`})
    const refused = destination.signals?.find((signal) => kind && !kind.signals.includes(signal))
    if (refused !== undefined) context.addIssue({code: 'custom', path: ['signals'], message: `${kind?.name} takes no ${refused}`})
  })
  .describe('Somebody else who is sent telemetry of the fleet.')

const hubSchema = z.strictObject({
  name: label.describe('The name of the hub: a DNS label.'),
  platform: oneOf({local: local(portsOfHub).optional(), kubernetes: kubernetesHub.optional(), elsewhere: hubElsewhere.optional()}).describe(
    'Where the hub runs.',
  ),
  endpoint: endpoint
    .optional()
    .describe(
      'What edges dial, host:port. The host is a name, an IPv4 address or an IPv6 address in brackets. On Kubernetes it is the address of the load balancer unless given.',
    ),
  vault: z
    .strictObject({
      replicas: z.literal([1, 3, 5]).default(3).describe('How many Vaults keep the data of the fleet together.'),
      seal: z
        .enum(['static', 'shamir'])
        .default('static')
        .describe(
          'How Vault is unsealed. static: by itself, with a key in a file beside its data, which is for a lab. shamir: by several holders, each with a share of the key.',
        ),
      endpoint: endpoint
        .optional()
        .describe('Where edges with seal transit reach it, host:port. Needed on Kubernetes only, and to be opened there by you.'),
      ...holderShape(label),
    })
    .superRefine(heldTogether)
    .prefault({})
    .describe('The Vault of the hub, which signs the issuer of every edge.'),
})

/** A pattern does not tell a host from a folder of Docker Hub; it still serves an editor. */
const matching = (pattern: RegExp, expected: string, isRight: (text: string) => boolean) =>
  z
    .string()
    .superRefine((text, context) => {
      if (!isRight(text)) context.addIssue({code: 'custom', message: `expected ${expected}, got ${JSON.stringify(text)}`})
    })
    .meta({pattern: pattern.source.replaceAll(/\?<\w+>/g, '?:')})

const collectorSchema = z.strictObject({
  build: z
    .enum(collectorBuilds)
    .optional()
    .describe(
      'lkeobs: the one that lkeobs builds, with a durable queue of its own. upstream: the distribution of its publisher, which promises less. On this machine lkeobs unless given; on Kubernetes lkeobs where `image` is given, upstream otherwise.',
    ),
  image: matching(
    imagePattern,
    'an image with its digest, registry.example/otelcol@sha256:…',
    (text) => imageReferenceOf(text)?.digest !== undefined,
  )
    .optional()
    .describe(
      'The image of the build lkeobs that clusters on Kubernetes run, by its digest: registry.example/otelcol@sha256:…. `images push` writes it.',
    ),
  registry: matching(
    repositoryPattern,
    'a host and a repository without a tag, registry.example/team/otelcol',
    (text) => repositoryOf(text) !== undefined,
  )
    .optional()
    .describe('Where `images push` pushes the image to, host and repository: registry.example/team/otelcol.'),
  pullSecret: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, {error: ({input}) => `expected the name of a Secret, got ${JSON.stringify(input)}`})
    .optional()
    .describe(
      'The name of a Secret of type kubernetes.io/dockerconfigjson that lets nodes pull the image. It exists in the namespaces lkeobs and lkeobs-node of every cluster.',
    ),
})

export const fleetSchema = z
  .strictObject({
    apiVersion: z.literal('lkeobs/v1').describe('The version of this format.'),
    fleet: label.describe('The name of the fleet: a DNS label.'),
    hub: hubSchema.describe('The cluster that receives the telemetry of the fleet and keeps it.'),
    certificates: z
      .strictObject({
        leafTtl: duration
          .default('24h')
          .describe('How long the certificates of gateways and agents live; they are renewed after two thirds of it.'),
      })
      .prefault({})
      .describe('The certificates of the fleet.'),
    outage: duration
      .default('24h')
      .describe(
        'How long a store, the hub or an edge may be away without a loss: queues and the windows in which stores take late data are sized for it.',
      ),
    rates: z
      .strictObject({
        metrics: ratesShape.metrics.default(usualRates.metrics),
        logs: ratesShape.logs.default(usualRates.logs),
        traces: ratesShape.traces.default(usualRates.traces),
      })
      .prefault({})
      .describe('What an edge usually sends. Queues are sized for it; nobody is limited by it.'),
    share: shareSchema
      .prefault({})
      .describe('What the gateway takes from an edge at most. It refuses what is above for now, and the agent sends it later.'),
    collector: collectorSchema.prefault({}).describe('The collector that agents and gateways run.'),
    edges: z.array(edgeSchema).default([]).describe('The clusters that send their telemetry to the hub.'),
    destinations: z
      .array(destinationSchema)
      .max(mostDestinations)
      .default([])
      .describe('Where the hub sends telemetry on to, beside its own stores. `dest add` writes these; their secrets are in Vault.'),
  })
  .superRefine(
    (data, context) => {
      for (const {path, other, message} of disagreements(data))
        context.addIssue({code: 'custom', path: [...path], message, params: {other}})
    },
    {when: () => true},
  )
  .meta({title: 'lkeobs fleet file', description: 'The desired state of a fleet, lkeobs.yaml.'})

export type Fleet = z.infer<typeof fleetSchema>
/** How long leaves live, in seconds. */
export const leafSecondsOf = ({certificates}: Pick<Fleet, 'certificates'>): number => readDuration(certificates.leafTtl) ?? 0
/** Which collector runs on the clusters of a platform. */
export const buildOf = ({collector}: Pick<Fleet, 'collector'>, platform: 'local' | 'kubernetes'): CollectorBuild =>
  collector.build ?? (platform === 'local' || collector.image !== undefined ? 'lkeobs' : 'upstream')
export type Edge = Fleet['edges'][number]
/** An edge as a person writes it: what has a default may be left out. */
export type EdgeInput = z.input<typeof edgeSchema>

export type Destination = Fleet['destinations'][number]
/** A destination as a person writes it, its kind among its keys. */
export type DestinationInput = z.input<typeof destinationSchema>

/** What editors complete and check the file with; draft 7 is what all of them know. */
export const fleetJsonSchema = () => z.toJSONSchema(fleetSchema, {io: 'input', target: 'draft-7'})
