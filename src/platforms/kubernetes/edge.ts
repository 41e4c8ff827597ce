import {agentBudget} from '../../collector/budget.ts'
import {agentConfig, type AgentWish, closedAgentConfig} from '../../collector/agent.ts'
import {type CollectorConfig, literal} from '../../collector/config.ts'
import {scraperConfig} from '../../collector/scraper.ts'
import {agentRelease, hubCaFile} from '../../components/agent.ts'
import {imageOf} from '../../components/charts.ts'
import {collectorImage} from '../../components/collector.ts'
import {leafFile} from '../../components/gateway.ts'
import {gpuRelease} from '../../components/gpu.ts'
import {instrumentationRelease} from '../../components/instrumentation.ts'
import {scraperRelease} from '../../components/scraper.ts'
import type {FleetFile} from '../../fleet/load.ts'
import {buildOf, type Edge, type KubernetesEdge, leafSecondsOf} from '../../fleet/schema.ts'
import type {Step} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import {sendOtlp} from '../../tools/otlp.ts'
import {hubCaHanded} from '../../trust/bundle.ts'
import {credentialFile} from '../../trust/credential.ts'
import type {LeafWish} from '../../trust/leaf.ts'
import {sealCaFile} from '../../trust/seal.ts'
import {LkeobsError} from '../../errors.ts'
import type {EdgeCluster, HubCluster} from '../platform.ts'
import {applied} from './applied.ts'
import {mounts, namespace, nodeNamespace, ports, secretOf} from './names.ts'
import {canary, instrumentation} from './objects.ts'
import {released} from './released.ts'
import {leaving} from './leaving.ts'
import {diallersOf, lookersRun} from './inside.ts'
import {generatorJobs} from './generators.ts'
import {held} from './sightings.ts'
import {notEverywhere, type Site, type Ways} from './site.ts'
import {at, everywhere, labelsOf, leafOf, opened, podsOf, portOf, siteOf} from './cluster.ts'
import {postFrom} from './poster.ts'

/** An edge, on a Kubernetes cluster. */
export const openKubernetesEdge = (
  file: FleetFile,
  edge: Edge,
  platform: KubernetesEdge,
  hub: Pick<HubCluster, 'endpoint' | 'sealsAt'>,
  tools: Tools,
  ways: Ways,
): EdgeCluster => {
  const {name, logs, vault} = edge
  const build = buildOf(file.fleet, 'kubernetes')
  const image = collectorImage(build, file.fleet.collector.image, file.fleet.collector.pullSecret)
  const site = siteOf(file, name, 'edge', platform, tools, ways)
  const leaf = async (): Promise<LeafWish> => ({
    issuePath: 'pki/issue/agent',
    commonName: `${name}.edge.lkeobs`,
    ttlSeconds: leafSecondsOf(file.fleet),
    file: `${mounts.leaf}/${leafFile}`,
  })
  const inside = `agent.${nodeNamespace}.svc`
  const otlp = `http://${inside}:${ports.otlpHttp}`
  const scrapesGpus = async (): Promise<boolean> => {
    const has = await hasGpus(site)
    if (has && build === 'lkeobs') throw new LkeobsError('LKO-4108', `${name} has nodes with GPUs.`, {next: ['lkeobs explain LKO-4108']})
    return has
  }
  const config = async (make: (wish: AgentWish) => CollectorConfig = agentConfig) =>
    literal(
      make({
        build,
        queueBytes: agentBudget(file.fleet, edge),
        admin: {endpoint: `127.0.0.1:${ports.admin}`},
        edge: name,
        gateway: await hub.endpoint(),
        gatewayCa: `${mounts.hubCa}/${hubCaFile}`,
        leaf: `${mounts.leaf}/${leafFile}`,
        credential: `${mounts.credential}/${credentialFile}`,
        grpc: at(ports.otlpGrpc),
        http: at(ports.otlpHttp),
        health: at(ports.health),
        host: everywhere,
        counters: ports.counters,
        queue: `${mounts.queue}/queue`,
        logs,
        node: {
          hostRoot: '/hostfs',
          cluster: at(ports.otlpCluster),
          exclude: [`/var/log/pods/${nodeNamespace}_agent-*_*/*/*.log`],
          gpus: await scrapesGpus(),
        },
      }),
    )
  const scraper = literal(
    scraperConfig({
      agent: `${inside}:${ports.otlpCluster}`,
      agentHttp: otlp,
      health: at(ports.health),
      host: everywhere,
      counters: ports.counters,
    }),
  )
  const base = opened({
    site,
    platform,
    replicas: 1,
    seal: vault.seal,
    ...(vault.seal === 'transit' && {sealsAt: hub.sealsAt ?? {address: 'https://hub.invalid:8200'}}),
    collector: 'agent',
    leaf,
    hubPort: async () => portOf(await hub.endpoint()),
    grafana: false,
    instrumentation: platform.instrumentation,
    more: [],
    components: ['agent', 'scraper', 'canary'],
  })
  const readAtStart = async (of: Pick<HubCluster, 'rootCa'>) => `${await of.rootCa()}${(await base.read('agent', credentialFile)) ?? ''}`
  return {
    ...base,
    role: 'edge',
    otlp,
    otlpFromHere: async () =>
      `http://${await site.kube.forward({namespace: nodeNamespace, labels: labelsOf('agent'), port: ports.otlpHttp})}`,
    generators: generatorJobs(site, `${inside}:${ports.otlpGrpc}`),
    certificates: () => [
      ...base.certificates(),
      held(site, 'hub-ca', nodeNamespace, secretOf('agent', hubCaFile), hubCaFile),
      ...(vault.seal === 'transit' ? [held(site, 'seal-ca', namespace, secretOf('vault', sealCaFile), sealCaFile)] : []),
    ],
    agentRuns: (of) => [
      hubCaHanded(of, base),
      released(site, `agent on every node of ${name}`, async () =>
        agentRelease({config: await config(), image, restartOn: ways.rendered ? undefined : await readAtStart(of), leaf: leafOf(platform)}),
      ),
      {
        title: `beside the agent on ${name}`,
        concurrency: 3,
        steps: [
          released(site, `scraper of cluster state and events on ${name}`, () => scraperRelease({config: scraper, image})),
          applied(site, `workload on ${name} from which canaries are sent`, 'canary.yaml', canary({tag: imageOf('openbao').tag})),
          gpuExporters(site),
          ...(platform.instrumentation
            ? [
                {
                  title: `instrumentation on ${name}`,
                  steps: [
                    released(site, `OpenTelemetry operator on ${name}`, instrumentationRelease),
                    applied(site, `what instrumented workloads on ${name} send, and where`, 'instrumentation.yaml', instrumentation()),
                  ],
                },
              ]
            : []),
        ],
      },
    ],
    ...leaving(site, async () => agentRelease({config: await config(closedAgentConfig), image, leaf: leafOf(platform)})),
    // where a Vault agent stands beside the collector, it is looked from there
    diallersSeen: () => (platform.secretsOperator ? [lookersRun(site, 'agent')] : []),
    diallers: async () => diallersOf(site, 'agent', leafOf(platform), portOf(await hub.endpoint())),
    async sendCanary(signal, canaryItem) {
      const [pod] = await podsOf(site, 'canary')
      if (pod === undefined) return `there is no pod to send it from: ${namespace}/canary`
      return sendOtlp({get: tools.http.get, post: (url, body) => postFrom(site, pod, url, body)}, otlp, signal, canaryItem)
    },
  }
}

/** As GPU operators label them; LKE itself does not. */
const gpuNodes = {'nvidia.com/gpu.present': 'true'}

const hasGpus = async ({kube}: Site): Promise<boolean> => {
  const nodes = await kube.list({apiVersion: 'v1', kind: 'Node'})
  return nodes.some(({metadata}) => Object.entries(gpuNodes).every(([label, value]) => metadata.labels?.[label] === value))
}

/** GPU metrics, where there are nodes with GPUs. */
const gpuExporters = (site: Site): Step => {
  const step = released(site, `GPU metrics on ${site.cluster}, where nodes have GPUs`, () => gpuRelease({nodeSelector: gpuNodes}))
  return {
    ...notEverywhere(step, 'where nodes have GPUs'),
    done: async () => ((await hasGpus(site)) ? step.done() : true),
  }
}
