import {randomBytes} from 'node:crypto'
import {gatewayBudget} from '../../collector/budget.ts'
import {literal} from '../../collector/config.ts'
import {gatewayConfig} from '../../collector/gateway.ts'
import {collectorImage} from '../../components/collector.ts'
import {gatewayRelease, leafFile} from '../../components/gateway.ts'
import {grafanaRelease} from '../../components/grafana.ts'
import {lokiRelease} from '../../components/loki.ts'
import {prometheusRelease} from '../../components/prometheus.ts'
import type {Release} from '../../components/release.ts'
import {tempoRelease} from '../../components/tempo.ts'
import {shareOf} from '../../components/values.ts'
import {kindOf, kinds, shownBy, wishOf} from '../../destinations/index.ts'
import {environmentFor, inEnvironment, variableOf} from '../../destinations/secrets.ts'
import {LkeobsError} from '../../errors.ts'
import type {FleetFile} from '../../fleet/load.ts'
import {buildOf, type Destination, type KubernetesHub, leafSecondsOf} from '../../fleet/schema.ts'
import {Secret} from '../../secret.ts'
import type {Step} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import {addressOf, type Balanced} from '../../tools/kube/balancer.ts'
import type {KubeObject} from '../../tools/kube/kube.ts'
import type {Vault} from '../../tools/vault.ts'
import {trustBundleFile} from '../../trust/bundle.ts'
import {keysFile, termsOf, tried} from '../../trust/credential.ts'
import type {LeafWish} from '../../trust/leaf.ts'
import {mayAsk} from '../../trust/register.ts'
import type {HubCluster} from '../platform.ts'
import {applied, put} from './applied.ts'
import {valueIn} from './authority.ts'
import {mounts, namespace, ports, secretOf} from './names.ts'
import {otlpService} from './objects.ts'
import {released} from './released.ts'
import {held, served} from './sightings.ts'
import {type Site, type Ways} from './site.ts'
import {at, everywhere, labelsOf, leafOf, opened, podsOf, portOf, secretObject, siteOf} from './cluster.ts'

/** The hub, on a Kubernetes cluster. */
export const openKubernetesHub = (file: FleetFile, platform: KubernetesHub, tools: Tools, ways: Ways): HubCluster => {
  const {hub} = file.fleet
  const site = siteOf(file, hub.name, 'hub', platform, tools, ways)
  const {kube} = site
  const {storageClass, grafana, gateway, stores} = platform
  const build = buildOf(file.fleet, 'kubernetes')
  const budget = gatewayBudget(file.fleet, shareOf({size: gateway.queue}, 1) * 2 ** 20)
  const disk = {size: stores.size, storageClass}

  const endpoint = async (): Promise<string> => {
    if (hub.endpoint !== undefined) return hub.endpoint
    const live = await kube.read<KubeObject & Balanced>({apiVersion: 'v1', kind: 'Service', name: 'otlp', namespace})
    const host = live && addressOf(live)
    if (host !== undefined) return `${host.includes(':') ? `[${host}]` : host}:${ports.otlpGrpc}`
    throw new LkeobsError('LKO-3115', `The Service otlp on ${hub.name} has no address yet.`, {next: ['lkeobs hub init']})
  }
  const leaf = async (): Promise<LeafWish> => {
    const dialled = await endpoint()
    const host = dialled.slice(0, dialled.lastIndexOf(':')).replace(/^\[|\]$/g, '')
    const isAddress = /^[\d.]+$|:/.test(host)
    return {
      issuePath: 'pki_hub/issue/gateway',
      commonName: `gateway.${hub.name}.lkeobs`,
      names: [`gateway.${namespace}.svc`, ...(isAddress ? [] : [host])],
      addresses: isAddress ? [host] : [],
      ttlSeconds: leafSecondsOf(file.fleet),
      file: `${mounts.leaf}/${leafFile}`,
    }
  }
  const storeUrl = (name: string, port: number) => `http://${name}.${namespace}.svc:${port}`
  const {destinations} = file.fleet
  const doorAt = (name: string) => ports.destinations + destinations.findIndex((destination) => destination.name === name)
  const config = (asks: boolean, closing: readonly string[]) =>
    literal(
      gatewayConfig({
        build,
        budget,
        admin: {endpoint: `127.0.0.1:${ports.admin}`},
        hub: hub.name,
        listen: at(ports.otlpGrpc),
        leaf: `${mounts.leaf}/${leafFile}`,
        clients: `${mounts.trust}/${trustBundleFile}`,
        ...(asks && {asks: {...termsOf(hub.name), keys: `${mounts.keys}/${keysFile}`, door: `127.0.0.1:${ports.ask}`}}),
        own: `127.0.0.1:${ports.own}`,
        health: at(ports.health),
        host: everywhere,
        counters: ports.counters,
        queue: `${mounts.queue}/queue`,
        stores: {
          prometheus: storeUrl('prometheus', ports.prometheus),
          loki: storeUrl('loki', ports.loki),
          tempo: `tempo.${namespace}.svc:${ports.tempoOtlp}`,
          tempoHttp: storeUrl('tempo', ports.tempoHttp),
        },
        destinations: destinations.map((destination) =>
          wishOf(destination, `127.0.0.1:${doorAt(destination.name)}`, {
            closing: closing.includes(destination.name),
            secret: inEnvironment,
            queueBytes: budget.destinations[destination.name] ?? budget.bytes,
          }),
        ),
      }),
    )
  const release = (title: string, wish: () => Promise<Release> | Release) => released(site, `${title} on ${hub.name}`, wish)
  const base = opened({
    site,
    platform,
    replicas: hub.vault.replicas,
    seal: hub.vault.seal,
    collector: 'gateway',
    leaf,
    hubPort: async () => (hub.endpoint === undefined ? ports.otlpGrpc : portOf(hub.endpoint)),
    vaultDialled: hub.vault.endpoint !== undefined,
    grafana,
    instrumentation: false,
    more: [
      applied(
        site,
        `load balancer that edges dial on ${hub.name}`,
        'otlp.yaml',
        otlpService({annotations: gateway.annotations, sourceRanges: gateway.sourceRanges}),
        {patienceMs: 180_000},
      ),
    ],
    components: ['prometheus', 'loki', 'tempo', ...(grafana ? ['grafana'] : []), 'gateway'],
  })
  return {
    ...base,
    role: 'hub',
    endpoint,
    // whatever the name edges dial, the certificate has the one inside the cluster
    ...(hub.vault.endpoint !== undefined && {
      sealsAt: {address: `https://${hub.vault.endpoint}`, serverName: `vault.${namespace}.svc`},
    }),
    certificates: () => [
      ...base.certificates(),
      {
        kind: 'gateway',
        seen: 'served',
        at: hub.endpoint ?? `Service ${namespace}/otlp`,
        read: async () => tools.tls.served(await endpoint()),
      },
      // where they are several, the balancer leads to any of them
      {
        kind: 'gateway',
        seen: 'served',
        at: `pods ${namespace}/gateway`,
        each: async () => (await podsOf(site, 'gateway')).map((pod) => served(site, 'gateway', {namespace, pod, port: ports.otlpGrpc})),
      },
      held(site, 'trusted', namespace, secretOf('gateway', trustBundleFile), trustBundleFile),
      ...shownBy(destinations, tools.tls),
    ],
    async stores() {
      const forward = async (name: string, port: number) => `http://${await kube.forward({namespace, labels: labelsOf(name), port})}`
      const [prometheus, loki, tempo] = await Promise.all([
        forward('prometheus', ports.prometheus),
        forward('loki', ports.loki),
        forward('tempo', ports.tempoHttp),
      ])
      return {prometheus, loki, tempo}
    },
    storesRun: () => [
      release('Prometheus', () => prometheusRelease({...disk, late: budget.late, retentionDays: stores.retentionDays})),
      release('Loki', () =>
        lokiRelease({
          ...disk,
          late: budget.late,
          retentionDays: stores.retentionDays,
          objectStorage: bucketOf(stores.objectStorage, 'loki'),
        }),
      ),
      release('Tempo', () =>
        tempoRelease({
          ...disk,
          late: budget.late,
          retentionDays: stores.retentionDays,
          objectStorage: bucketOf(stores.objectStorage, 'tempo'),
        }),
      ),
      ...(grafana ? [{title: `Grafana on ${hub.name}`, steps: [grafanaAdmin(site), release('Grafana', () => grafanaRelease())]}] : []),
    ],
    async served() {
      const pods = await podsOf(site, 'gateway')
      const shown = pods.map(async (pod) => tools.tls.served(await kube.forward({namespace, pod, port: ports.otlpGrpc})).catch(() => ''))
      return (await Promise.all(shown)).filter((pem) => pem !== '')
    },
    async knock(token) {
      const pods = await podsOf(site, 'gateway')
      return Promise.all(pods.map(async (pod) => tried(tools.http, await kube.forward({namespace, pod, port: ports.ask}), token)))
    },
    // the publisher's image has all exporters, and ours those of every kind that the fleet file lets it have
    exporters: async () => undefined,
    async door(name) {
      if (build === 'lkeobs') return undefined
      const [pod = ''] = await podsOf(site, 'gateway')
      return kube.forward({namespace, pod, port: doorAt(name)})
    },
    destinationGone: (name) => [secretsGone(site, name)],
    gatewayRuns: ({closing} = {closing: []}) => [
      ...(destinations.length === 0 ? [] : [destinationsHanded(base, destinations)]),
      release('gateway', async () =>
        gatewayRelease({
          // what is rendered is for a fleet that begins
          image: collectorImage(build, file.fleet.collector.image, file.fleet.collector.pullSecret),
          config: config(ways.rendered === true || (await mayAsk(base.vault)), closing),
          told: destinations.length === 0 ? undefined : await toldOf(base.vault, destinations, ways.rendered === true),
          replicas: gateway.replicas,
          maxReplicas: gateway.maxReplicas,
          queueSize: gateway.queue,
          storageClass,
          leaf: leafOf(platform),
        }),
      ),
    ],
  }
}

/** The file that a secret of a destination is handed over as; its Secret is named after it. */
const handedAs = (destination: string, secret: string): string => `destination-${destination}-${secret}`

/** Which variable is in which Secret, and a word that changes with the secrets; a fleet that is only rendered has none yet. */
const toldOf = async (vault: Vault, destinations: readonly Destination[], rendered: boolean) => ({
  variables: Object.fromEntries(
    destinations.flatMap((destination) => {
      const {kind, settings} = kindOf(destination)
      return kind.needs(settings).map((secret) => {
        const key = handedAs(destination.name, secret)
        return [variableOf(destination.name, secret), {name: secretOf('gateway', key), key}]
      })
    }),
  ),
  version: rendered ? '' : (await environmentFor(vault, destinations)).version,
})

/** The secrets of the destinations are where the gateway's pods find them. */
const destinationsHanded = (hub: Pick<HubCluster, 'name' | 'vault' | 'read' | 'hand'>, destinations: readonly Destination[]): Step => {
  const wished = async () => {
    const {values} = await environmentFor(hub.vault, destinations)
    return destinations.flatMap((destination) => {
      const {kind, settings} = kindOf(destination)
      return kind.needs(settings).flatMap((secret) => {
        const value = values[variableOf(destination.name, secret)]
        return value ? [{file: handedAs(destination.name, secret), value}] : []
      })
    })
  }
  return {
    title: `secrets of destinations in the hands of the gateway on ${hub.name}`,
    async done() {
      for (const {file, value} of await wished())
        if ((await hub.read('gateway', file)) !== value.reveal()) return `${file} is missing, or another`
      return true
    },
    async apply() {
      for (const {file, value} of await wished()) await hub.hand('gateway', file, value)
    },
  }
}

/** Its pods have no use for them any more. */
const secretsGone = ({kube, cluster}: Site, name: string): Step => {
  const refs = kinds.flatMap(({secrets}) =>
    secrets.map((secret) => ({apiVersion: 'v1', kind: 'Secret', namespace, name: secretOf('gateway', handedAs(name, secret.name))})),
  )
  return {
    title: `no secret of ${name} on ${cluster}`,
    async done() {
      const found = await Promise.all(refs.map((ref) => kube.read(ref)))
      return found.every((one) => one === undefined) ? true : 'there is one'
    },
    async apply() {
      for (const ref of refs) if ((await kube.read(ref)) !== undefined) await kube.remove(ref)
    },
  }
}

const bucketOf = (storage: KubernetesHub['stores']['objectStorage'], store: 'loki' | 'tempo') =>
  storage && {endpoint: storage.endpoint, region: storage.region, ...storage[store]}

/** The administrator of Grafana; the password is asked for with kubectl. */
const grafanaAdmin = (site: Site): Step => ({
  title: `administrator of Grafana on ${site.cluster}`,
  done: async () => ((await valueIn(site, namespace, 'grafana-admin', 'admin-password')) === undefined ? 'there is none' : true),
  async apply() {
    const password = new Secret(randomBytes(18).toString('base64url'))
    const secret = {...secretObject('grafana', 'admin.password', ''), stringData: {'admin-user': 'admin', 'admin-password': password}}
    await put(site, [secret], 'grafana-admin.yaml')
  },
})
