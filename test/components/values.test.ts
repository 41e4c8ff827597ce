import {existsSync, readdirSync, readFileSync} from 'node:fs'
import path from 'node:path'
import {beforeAll, describe, expect, test} from 'vitest'
import {parse, parseAllDocuments} from 'yaml'
import {allCharts, chartOf, imageOf} from '../../src/components/charts.ts'
import {lateData} from '../../src/collector/budget.ts'
import {lokiLimits} from '../../src/components/loki.ts'
import {type ChartName, chartNames, type Release} from '../../src/components/release.ts'
import {forTpl, shareOf} from '../../src/components/values.ts'
import {namespaceOf, ports} from '../../src/platforms/kubernetes/names.ts'
import {programOf} from '../../src/programs/catalogue.ts'
import {locate} from '../../src/programs/locate.ts'
import {render} from '../../src/templates.ts'
import {createHelm} from '../../src/tools/helm.ts'
import {createShell} from '../../src/tools/shell.ts'
import {defaultsOf, isMap, merged, packaged, packageOf, schemaOf, unknownCharts} from './charts.ts'
import {configs, releases} from './releases.ts'
import {type Container, containersOf, notRestricted, type PodSpec} from './restricted.ts'

type Values = Readonly<Record<string, unknown>>

const keys = Object.keys(releases)
const releaseOf = (key: string): Release => {
  const found = releases[key]
  if (!found) throw new Error(`${key} is no release`)
  return found
}
/** As helm is given them: what is undefined is not there. */
const valuesOf = ({values}: Release) => JSON.parse(JSON.stringify(values)) as Values

describe('charts.yaml', () => {
  test('names every chart once, pinned', () => {
    expect(allCharts().map(({name}) => name)).toEqual(chartNames)
    for (const {name, repository, version} of allCharts()) {
      expect(version, name).toMatch(/^v?\d+\.\d+\.\d+$/)
      expect(repository).toMatch(repository.startsWith('oci://') ? new RegExp(`/${name}$`) : /^https:/)
    }
  })

  test('an image has the version of its program', () => {
    expect(imageOf('openbao')).toEqual({registry: 'quay.io', repository: 'openbao/openbao', tag: programOf('openbao').version})
    expect(imageOf('prometheus').tag).toBe(`v${programOf('prometheus').version}`)
    expect(() => imageOf('tempo')).toThrow('pins no image for tempo')
  })
})

describe('templates of values', () => {
  const folder = path.resolve(import.meta.dirname, '../../templates/kubernetes/values')

  test.for(readdirSync(folder))('%s: a value is a whole scalar, never a piece of one', (name) => {
    for (const line of readFileSync(path.join(folder, name), 'utf8').split('\n')) {
      for (const {0: whole, index} of line.matchAll(/\{\{[^}]*\}\}/g)) {
        expect(line.slice(0, index), line).toMatch(/[\s[{,:-]$/)
        expect(line.slice(index + whole.length), line).toMatch(/^([\s\]},]|$)/)
      }
    }
  })
})

test('a share of a disk', () => {
  expect(shareOf({size: '10Gi'}, 0.8)).toBe(8192)
  expect(shareOf({size: '500Mi'}, 1)).toBe(500)
  expect(shareOf({size: '1T'}, 1)).toBe(953_674)
  expect(() => shareOf({size: 'plenty'}, 1)).toThrow('expected a size like 10Gi')
})

/**
 * Where the chart's own values.yaml does not say what may stand. Everything else we set is in it by name: a key that a chart no
 * longer knows is a mistake that helm does not mention.
 */
const freeForm: {readonly [Name in ChartName]?: Readonly<Record<string, string>>} = {
  'cert-manager': {
    fullnameOverride: 'in a comment only',
    resources: 'of a container',
    'webhook.resources': 'of a container',
    'cainjector.resources': 'of a container',
  },
  'dcgm-exporter': {
    nodeSelector: 'labels',
    podSecurityContext: 'of a pod',
    'service.internalTrafficPolicy': 'of a Service',
  },
  grafana: {
    fullnameOverride: 'its helper reads it',
    datasources: 'files',
    dashboardProviders: 'files',
    dashboardsConfigMaps: 'by provider',
    resources: 'of a container',
    'containerSecurityContext.readOnlyRootFilesystem': 'of a container',
    'securityContext.seccompProfile': 'of a pod',
    'grafana.ini.analytics': 'settings of Grafana',
    'grafana.ini.news': 'settings of Grafana',
    'grafana.ini.plugins': 'settings of Grafana',
    'grafana.ini.security': 'settings of Grafana',
    'grafana.ini.snapshots': 'settings of Grafana',
    'grafana.ini.users': 'settings of Grafana',
    'grafana.ini.auth.anonymous': 'settings of Grafana',
  },
  loki: {
    'loki.structuredConfig': 'settings of Loki',
    'singleBinary.resources': 'of a container',
  },
  openbao: {
    fullnameOverride: 'its helper reads it',
    'server.extraEnvironmentVars': 'names of variables',
    'server.persistentVolumeClaimRetentionPolicy': 'of a StatefulSet',
    'server.readinessProbe.path': 'in a comment only: without it the chart asks the command line',
    'server.resources': 'of a container',
    'server.statefulSet.securityContext.container': 'of a container',
    'server.statefulSet.securityContext.pod': 'of a pod',
  },
  'opentelemetry-collector': {
    alternateConfig: 'settings of the collector',
    'autoscaling.behavior': 'of a HorizontalPodAutoscaler',
    'podDisruptionBudget.maxUnavailable': 'in a comment only',
    'ports.health': 'a port of ours',
    'ports.otlp-cluster': 'a port of ours',
    podAnnotations: 'names of annotations',
    podSecurityContext: 'of a pod',
    resources: 'of a container',
    'rollout.rollingUpdate': 'of a workload',
    securityContext: 'of a container',
    'service.enabled': 'in a comment only',
    'service.internalTrafficPolicy': 'in a comment only',
    startupProbe: 'of a container',
  },
  'opentelemetry-operator': {
    'crds.annotations': 'names of annotations',
    'manager.resources': 'of a container',
    'manager.securityContext.readOnlyRootFilesystem': 'of a container',
  },
  prometheus: {
    'server.automountServiceAccountToken': 'in a comment only',
    'server.containerSecurityContext': 'of a container',
    'server.otlp': 'settings of Prometheus',
    'server.tsdb': 'settings of Prometheus',
    'server.global.external_labels': 'settings of Prometheus',
    'server.persistentVolume.storageClass': 'in a comment only',
    'server.podAnnotations': 'names of annotations',
    'server.resources': 'of a container',
    'server.securityContext.seccompProfile': 'of a pod',
  },
  tempo: {
    'persistence.storageClassName': 'in a comment only',
    'securityContext.seccompProfile': 'of a pod',
    'tempo.extraArgs': 'flags',
    'tempo.resources': 'of a container',
    'tempo.securityContext': 'of a container',
  },
  'vault-secrets-operator': {
    fullnameOverride: 'its helper reads it',
    'controller.podSecurityContext.seccompProfile': 'of a pod',
    'controller.securityContext.capabilities': 'of a container',
    'controller.securityContext.readOnlyRootFilesystem': 'of a container',
  },
}

/** Every path that is set and that the chart does not have by that name, down to where anything may stand. */
const unknownPaths = (ours: Values, theirs: Values, free: ReadonlySet<string>, used: Set<string>, above = ''): readonly string[] =>
  Object.entries(ours).flatMap(([key, value]) => {
    const at = above + key
    if (free.has(at)) {
      used.add(at)
      return []
    }
    if (!(key in theirs)) return [at]
    const known = theirs[key]
    if (!isMap(value)) return []
    if (isMap(known)) return unknownPaths(value, known, free, used, `${at}.`)
    return Object.keys(value).length === 0 || known === null ? [] : [at]
  })

describe.skipIf(unknownCharts !== undefined)(
  `values and their charts${unknownCharts === undefined ? '' : ` (skipped: ${unknownCharts})`}`,
  () => {
    test.for(keys)('%s: every value we set is one the chart knows', (key) => {
      const release = releaseOf(key)
      const free = new Set(Object.keys(freeForm[release.chart] ?? {}))
      expect(unknownPaths(valuesOf(release), defaultsOf(release.chart), free, new Set())).toEqual([])
    })

    test('nothing is excepted that need not be', () => {
      for (const name of chartNames) {
        const free = new Set(Object.keys(freeForm[name] ?? {}))
        const used = new Set<string>()
        for (const release of Object.values(releases).filter(({chart}) => chart === name)) {
          unknownPaths(valuesOf(release), defaultsOf(name), free, used)
        }
        expect(
          [...free].filter((one) => !used.has(one)),
          name,
        ).toEqual([])
      }
    })

    test.for(keys)("%s: satisfies the chart's schema", (key, {skip}) => {
      const release = releaseOf(key)
      const schema = schemaOf(release.chart)
      skip(schema === undefined, `${release.chart} has no values.schema.json`)
      const whole = merged(defaultsOf(release.chart), valuesOf(release))
      expect(schema?.safeParse(whole).error?.issues).toBeUndefined()
    })

    test('a schema that refuses is heard', () => {
      const whole = merged(defaultsOf('loki'), {...valuesOf(releaseOf('loki')), deploymentMode: 3})
      expect(schemaOf('loki')?.safeParse(whole).success).toBe(false)
    })
  },
)

type Manifest = {
  readonly kind: string
  readonly metadata: {readonly name: string; readonly namespace?: string; readonly annotations?: Readonly<Record<string, string>>}
  readonly data?: Readonly<Record<string, string>>
  readonly spec?: {
    readonly replicas?: number
    readonly ports?: readonly {readonly port: number; readonly targetPort: number | string}[]
    readonly minReplicas?: number
    readonly template?: {readonly spec: PodSpec}
  }
}

const kubeVersion = '1.33.0'
const shell = createShell()
const program = await locate(programOf('helm'), shell)
const noHelm = 'file' in program ? undefined : `helm is not installed: ${program.why}`
const noManifests =
  noHelm ?? (packaged === undefined ? 'LKEOBS_CHARTS is not set' : existsSync(packaged) ? undefined : `there is no ${packaged}`)

const manifests = new Map<string, readonly Manifest[]>()
const manifestsOf = (key: string): readonly Manifest[] => manifests.get(key) ?? []
const found = (key: string, kind: string, name: string): Manifest => {
  const one = manifestsOf(key).find(({kind: its, metadata}) => its === kind && metadata.name === name)
  if (!one) throw new Error(`${key} has no ${kind} ${name}`)
  return one
}
const podsOf = (key: string) =>
  manifestsOf(key).flatMap(({spec, ...manifest}) =>
    spec?.template ? [{...manifest, replicas: spec.replicas ?? 1, pod: spec.template.spec}] : [],
  )

/** What is not `restricted`, and why it cannot be. */
const excepted: Readonly<Record<string, readonly string[]>> = {
  // the node's logs, its file system and a folder on it; root for the files in the first and the last
  agent: [
    'volume logs: hostPath',
    'volume host: hostPath',
    'volume queue: hostPath',
    'opentelemetry-collector: runAsNonRoot is not set',
    'opentelemetry-collector: runs as root',
  ],
  // which pod has which GPU is told on the kubelet's socket, root's; counters of the hardware want SYS_ADMIN
  'dcgm-exporter': [
    'volume pod-gpu-resources: hostPath',
    'exporter: capabilities SYS_ADMIN',
    'exporter: runAsNonRoot is not set',
    'exporter: runs as root',
  ],
}
const besideAgent = ['leaf-agent: runAsNonRoot is not set', 'leaf-agent: runs as root']

const cpu = (quantity: string): number => (quantity.endsWith('m') ? Number(quantity.slice(0, -1)) : Number(quantity) * 1000)
const memory = (quantity: string): number => shareOf({size: quantity}, 1)

describe.skipIf(noManifests !== undefined)(
  `what helm makes of them${noManifests === undefined ? '' : ` (skipped: ${noManifests})`}`,
  () => {
    beforeAll(async () => {
      const helm = createHelm({shell, program: async () => ('file' in program ? program.file : 'helm')})(undefined)
      for (const key of keys) {
        const {name, namespace, chart, values} = releaseOf(key)
        const text = await helm.template({name, namespace, chart: {file: packageOf(chart)}, values, file: ''}, kubeVersion)
        const documents = parseAllDocuments(text).map((document) => document.toJS() as Manifest | null)
        // helm's own tests are not installed
        manifests.set(
          key,
          documents.filter((one) => one !== null).filter(({metadata}) => metadata.annotations?.['helm.sh/hook'] !== 'test'),
        )
      }
    }, 300_000)

    test.for(keys)('%s: pods are as pod security wants them', (key) => {
      const {chart, name} = releaseOf(key)
      const expected = [...(excepted[name] ?? []), ...(key === 'agent, sidecar' ? besideAgent : [])]
      const all = podsOf(key).flatMap(({pod}) => notRestricted(pod))
      expect(all.toSorted()).toEqual(expected.toSorted())
      expect(all.length === 0 || namespaceOf(name) === 'lkeobs-node', chart).toBe(true)
    })

    test.for(keys)('%s: every container asks for what it needs and stays within bounds', (key) => {
      const containers = podsOf(key).flatMap(({pod}) => containersOf(pod))
      expect(containers.length).toBeGreaterThan(0)
      for (const {name, image, imagePullPolicy, resources = {}, securityContext = {}} of containers) {
        expect(Object.keys(resources.requests ?? {}).toSorted(), name).toEqual(['cpu', 'memory'])
        expect(Object.keys(resources.limits ?? {}), name).toContain('memory')
        expect(imagePullPolicy, name).toBe('IfNotPresent')
        expect(image, name).toMatch(/:v?\d+\.\d+\.\d+[\w.-]*$/)
        // DCGM keeps files of its own beside its libraries
        expect(securityContext.readOnlyRootFilesystem, name).toBe(name === 'exporter' ? undefined : true)
      }
    })

    test.for(keys)('%s: objects are in the namespace of their release, and hooks need no image of their own', (key) => {
      const {namespace} = releaseOf(key)
      for (const {metadata} of manifestsOf(key)) expect([undefined, namespace], metadata.name).toContain(metadata.namespace)
      const isHook = ({metadata}: Pick<Manifest, 'metadata'>) => metadata.annotations?.['helm.sh/hook'] !== undefined
      const images = (some: ReturnType<typeof podsOf>) => some.flatMap(({pod}) => containersOf(pod).map(({image}) => image))
      const pods = podsOf(key)
      const running = images(pods.filter((one) => !isHook(one)))
      for (const image of images(pods.filter(isHook))) expect(running).toContain(image)
    })

    test('images are the pinned ones', () => {
      const imagesOf = (key: string) => podsOf(key).flatMap(({pod}) => containersOf(pod).map(({image}) => image))
      const pinned = (chart: ChartName) => {
        const {registry, repository, tag} = imageOf(chart)
        return `${registry}/${repository}:${tag}`
      }
      expect(imagesOf('vault')).toEqual([pinned('openbao')])
      expect(imagesOf('prometheus')).toEqual([pinned('prometheus')])
      expect(imagesOf('loki')).toEqual([pinned('loki')])
      for (const key of ['gateway', 'agent', 'scraper']) expect(imagesOf(key)).toEqual([pinned('opentelemetry-collector')])
      expect(imagesOf('gateway, sidecar')).toEqual([pinned('openbao'), pinned('opentelemetry-collector')])
    })

    test('Services answer on the ports everyone knows', () => {
      const portsOf = (key: string, service = key) => new Set(found(key, 'Service', service).spec?.ports?.map(({port}) => port))
      expect(portsOf('vault')).toContain(ports.vault)
      expect(portsOf('vault', 'vault-internal')).toContain(ports.vault)
      expect(portsOf('prometheus')).toEqual(new Set([ports.prometheus]))
      expect(portsOf('loki')).toContain(ports.loki)
      expect(portsOf('tempo')).toContain(ports.tempoHttp)
      expect(portsOf('tempo')).toContain(ports.tempoOtlp)
      expect(portsOf('grafana')).toEqual(new Set([ports.grafana]))
      expect(portsOf('gateway')).toEqual(new Set([ports.health, ports.counters]))
      expect(portsOf('agent')).toEqual(new Set([ports.health, ports.counters, ports.otlpGrpc, ports.otlpHttp, ports.otlpCluster]))
      expect(found('agent', 'Service', 'agent').spec).toMatchObject({internalTrafficPolicy: 'Local'})
    })

    test.for(['gateway', 'agent', 'scraper'] as const)('%s: the collector gets the configuration it was given, and nothing else', (key) => {
      const [relay] = manifestsOf(key).flatMap(({kind, data}) =>
        kind === 'ConfigMap' && data?.['relay'] !== undefined ? [data['relay']] : [],
      )
      expect(parse(relay ?? '')).toEqual(JSON.parse(JSON.stringify(configs[key])))
    })

    test('stores are configured as on every platform', () => {
      const configOf = (key: string, file: string) => parse(found(key, 'ConfigMap', key).data?.[file] ?? '') as Values
      const loki = render('loki.yaml', {
        data: '',
        host: '',
        http: 0,
        grpc: 0,
        grpcAddress: '',
        ...lokiLimits(lateData({outage: '24h', edges: []})),
      })
      expect(configOf('loki', 'config.yaml')).toMatchObject({
        auth_enabled: false,
        analytics: loki['analytics'],
        limits_config: loki['limits_config'],
        pattern_ingester: loki['pattern_ingester'],
      })
      expect(configOf('tempo', 'tempo.yaml')).toMatchObject({usage_report: {reporting_enabled: false}})
      const prometheus = configOf('prometheus', 'prometheus.yml')
      expect(prometheus).toMatchObject({
        storage: {tsdb: {out_of_order_time_window: '93600s'}},
        otlp: {keep_identifying_resource_attributes: true},
      })
      expect(prometheus['scrape_configs'] ?? []).toEqual([])
    })

    test('a whole hub fits on one node with 2 processors and 4 GiB', () => {
      const hub = ['cert-manager', 'vault-secrets-operator', 'vault', 'prometheus', 'loki', 'tempo', 'grafana', 'gateway, sidecar']
      const sum = (of: (container: Container) => number) =>
        hub
          .flatMap((key) => {
            const least = manifestsOf(key).find(({kind}) => kind === 'HorizontalPodAutoscaler')?.spec?.minReplicas
            return podsOf(key)
              .filter(({kind}) => kind !== 'Job')
              .flatMap(({pod, replicas}) => containersOf(pod).map((container) => of(container) * (least ?? replicas)))
          })
          .reduce((a, b) => a + b, 0)
      expect(sum(({resources}) => cpu(resources?.requests?.['cpu'] ?? '0'))).toBeLessThanOrEqual(1400)
      expect(sum(({resources}) => memory(resources?.requests?.['memory'] ?? '0Mi'))).toBeLessThanOrEqual(2560)
    })

    test('every pinned chart is there', () => {
      for (const {name} of allCharts()) expect(existsSync(packageOf(name)), `${name} ${chartOf(name).version}`).toBe(true)
    })
  },
)

test("what helm's tpl would take for its own is text again after it", () => {
  expect(forTpl({a: ['x {{ y }}', 1]})).toEqual({a: ['x {{`{{`}} y }}', 1]})
})
