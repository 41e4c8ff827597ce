import {gzipSync} from 'node:zlib'
import {isDeepStrictEqual} from 'node:util'
import {LkeobsError} from '../../src/errors.ts'
import {type Fields, isFields} from '../../src/fields.ts'
import {revealed, Secret, secretsIn} from '../../src/secret.ts'
import {helmLines, type OpenHelm, releasesIn} from '../../src/tools/helm.ts'
import type {Kind, KubeObject, OpenKube, Ref} from '../../src/tools/kube/kube.ts'
import {lines} from '../../src/tools/kube/kubectl.ts'
import type {KeyPair, X509} from '../../src/tools/x509.ts'

type Text = Readonly<Record<string, string>>

/** What is kept of a cluster: its objects, by kind, namespace and name. */
export type ClusterData = Map<string, KubeObject>

/** What the operator for Vault asks for, and what it gets: the leaf's file. */
type LeafWish = {readonly context: string; readonly path: string; readonly params: Text}

type Surroundings = {
  /** The contexts that the kubeconfig has. */
  readonly contexts: readonly string[]
  readonly x509: X509
  /** Notes a write. */
  readonly record: (line: string) => void
  readonly keepSecret: (value: string) => void
  readonly noSecretIn: (text: string) => void
  readonly leaf: (wish: LeafWish) => Promise<string | undefined>
}

const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {})
const merged = (live: unknown, wish: unknown): unknown =>
  isFields(live) && isFields(wish)
    ? {...live, ...Object.fromEntries(Object.entries(wish).map(([key, value]) => [key, merged(live[key], value)]))}
    : wish

const base64 = (text: string): string => Buffer.from(text).toString('base64')
const groupOf = ({apiVersion}: Kind): string => (apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '')
const keyOf = (kind: Kind, name: string, namespace = ''): string => [kind.kind, groupOf(kind), namespace, name].join('/')
const keyOfObject = (object: KubeObject): string => keyOf(object, object.metadata.name, object.metadata.namespace)

/** `a=b,c!=d` */
const selects = (selector: string, labels: Text = {}): boolean =>
  selector
    .split(',')
    .filter(Boolean)
    .every((term) => {
      const [, key = '', not, value] = /^([^!=]+)(!)?=(.*)$/.exec(term) ?? []
      return (labels[key] === value) !== (not === '!')
    })

const condition = (type: string) => ({conditions: [{type, status: 'True'}]})

/** What controllers say of an object that does what it is for; at once, here. */
const statusOf = ({kind, metadata, spec}: KubeObject): Fields | undefined => {
  const {replicas = 1, type} = fieldsOf(spec) as {readonly replicas?: number; readonly type?: string}
  const observedGeneration = metadata['generation'] as number
  const counts = {observedGeneration, replicas, updatedReplicas: replicas, readyReplicas: replicas, availableReplicas: replicas}
  if (kind === 'Deployment' || kind === 'StatefulSet') return counts
  if (kind === 'DaemonSet')
    return {observedGeneration, desiredNumberScheduled: 1, updatedNumberScheduled: 1, numberAvailable: 1, numberReady: 1}
  if (kind === 'Service') return type === 'LoadBalancer' ? {loadBalancer: {ingress: [{ip: '203.0.113.10'}]}} : undefined
  if (kind === 'PersistentVolumeClaim') return {phase: 'Bound'}
  if (kind === 'Job') return {succeeded: 1, ...condition('Complete')}
  if (kind === 'CustomResourceDefinition') return condition('Established')
  return /^(Pod|Issuer|ClusterIssuer|Certificate)$/.test(kind) ? condition('Ready') : undefined
}

/** Kinds that are there only once their operator is. */
const broughtBy: Text = {
  'cert-manager.io': 'cert-manager',
  'secrets.hashicorp.com': 'vault-secrets-operator',
  'opentelemetry.io': 'opentelemetry-operator',
}

/** Clusters in memory. Workloads are ready at once, cert-manager and the operator for Vault do their work before anything is read. */
export const fakeClusters = ({contexts, x509, record, keepSecret, noSecretIn, leaf}: Surroundings) => {
  const clusters = new Map<string, ClusterData>()
  const dataOf = (context: string): ClusterData => {
    if (!contexts.includes(context))
      throw new LkeobsError('LKO-3101', `${context} is not a context of kubeconfig (its contexts: ${contexts.join(', ')})`)
    const data = clusters.get(context) ?? new Map<string, KubeObject>()
    clusters.set(context, data)
    return data
  }

  const put = (data: ClusterData, wish: KubeObject): void => {
    const {kind, metadata} = wish
    const group = groupOf(wish)
    const namespace = {apiVersion: 'v1', kind: 'Namespace'}
    const chart = broughtBy[group]
    if (chart !== undefined && ![...data.keys()].some((key) => key.endsWith(`/chart-${chart}`)))
      throw new LkeobsError('LKO-4003', `no matches for kind "${kind}" in version "${wish.apiVersion}"`)
    if (metadata.namespace !== undefined && !data.has(keyOf(namespace, metadata.namespace)))
      throw new LkeobsError('LKO-4003', `namespaces "${metadata.namespace}" not found`)
    const {stringData, ...rest} = JSON.parse(revealed(wish)) as KubeObject & {readonly stringData?: Text}
    const encoded = Object.fromEntries(Object.entries(stringData ?? {}).map(([key, value]) => [key, base64(value)]))
    // only namespaces are ever given up: what is no longer applied is no longer there
    const live = kind === 'Namespace' ? undefined : data.get(keyOfObject(wish))
    const next = merged(live ?? {}, stringData ? {...rest, data: {...fieldsOf(rest['data']), ...encoded}} : rest) as KubeObject
    const generation = Number(live?.metadata['generation'] ?? 0) + (isDeepStrictEqual(live?.['spec'], next['spec']) && live ? 0 : 1)
    const whole = {...next, metadata: {...next.metadata, generation, uid: keyOfObject(wish)}}
    const status = statusOf(whole)
    data.set(keyOfObject(wish), status ? {...whole, status} : whole)
    const {template} = fieldsOf(wish['spec']) as {readonly template?: {readonly metadata?: {readonly labels?: Text}}}
    if (/^(Deployment|StatefulSet|DaemonSet)$/.test(kind))
      putPod(data, `${metadata.name}-0`, metadata.namespace ?? '', template?.metadata?.labels)
  }
  const putPod = (data: ClusterData, name: string, namespace: string, labels: Text = {}) =>
    put(data, {apiVersion: 'v1', kind: 'Pod', metadata: {name, namespace, labels}})

  const secretIn = (data: ClusterData, namespace: string | undefined, name: string): Text | undefined => {
    const found = data.get(keyOf({apiVersion: 'v1', kind: 'Secret'}, name, namespace))
    if (found === undefined) return undefined
    return Object.fromEntries(
      Object.entries(fieldsOf(found['data'])).map(([key, value]) => [key, Buffer.from(String(value), 'base64').toString()]),
    )
  }
  const makeSecret = (data: ClusterData, namespace: string | undefined, name: string, content: Text) => {
    const metadata = {name, ...(namespace !== undefined && {namespace})}
    put(data, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata,
      data: Object.fromEntries(Object.entries(content).map(([key, value]) => [key, base64(value)])),
    })
  }
  const hoursIn = (duration: unknown): number => Number(/^(\d+)h/.exec(String(duration))?.[1] ?? 24)

  /** The CA behind an issuer; undefined where that is one that signs itself, or there is none yet. */
  const caOf = (data: ClusterData, {metadata: {namespace}, spec}: KubeObject): KeyPair | undefined => {
    const {issuerRef} = fieldsOf(spec) as {readonly issuerRef?: {readonly name: string}}
    const issuer = data.get(keyOf({apiVersion: 'cert-manager.io/v1', kind: 'Issuer'}, issuerRef?.name ?? '', namespace))
    const {ca} = fieldsOf(issuer?.['spec']) as {readonly ca?: {readonly secretName: string}}
    const {'tls.crt': certificate, 'tls.key': key} = (ca && secretIn(data, namespace, ca.secretName)) ?? {}
    return certificate === undefined || key === undefined ? undefined : {certificate, key: new Secret(key)}
  }

  const controllers: Readonly<Record<string, (context: string, data: ClusterData, object: KubeObject) => Promise<void>>> = {
    async Certificate(_, data, object) {
      type Spec = {isCA?: true; commonName: string; dnsNames?: string[]; ipAddresses?: string[]; duration: string; secretName: string}
      const {isCA, commonName, dnsNames = [], ipAddresses = [], duration, secretName} = object['spec'] as Spec
      const {namespace} = object.metadata
      if (secretIn(data, namespace, secretName)) return
      const days = hoursIn(duration) / 24
      const ca = caOf(data, object)
      if (isCA !== true && !ca) return
      const made =
        ca && !isCA
          ? await x509.issueServer(ca, {commonName, names: [...dnsNames, ...ipAddresses], days})
          : await x509.createCa({commonName, days, pathLength: 2})
      const key = made.key.reveal()
      keepSecret(key)
      makeSecret(data, namespace, secretName, {'tls.crt': made.certificate, 'tls.key': key, 'ca.crt': ca?.certificate ?? made.certificate})
    },
    async CertificateRequest(_, data, object) {
      const ca = caOf(data, object)
      if (!ca || object['status'] !== undefined) return
      const {request, duration} = object['spec'] as {readonly request: string; readonly duration: string}
      const wish = {days: hoursIn(duration) / 24, pathLength: 1}
      const certificate = base64(await x509.signCa(ca, Buffer.from(request, 'base64').toString(), wish))
      data.set(keyOfObject(object), {...object, status: {certificate, ca: base64(ca.certificate), ...condition('Ready')}})
    },
    async VaultDynamicSecret(context, data, object) {
      type Spec = {mount: string; path: string; params: Text; destination: {name: string; transformation: {templates: Fields}}}
      const {mount, path, params, destination} = object['spec'] as Spec
      const {namespace, generation} = object.metadata
      // it asks anew whenever what is wished for has changed
      if (secretIn(data, namespace, destination.name) && fieldsOf(object['status'])['lastGeneration'] === generation) return
      const content = await leaf({context, path: `${mount}/${path}`, params})
      if (content === undefined) return
      data.set(keyOfObject(object), {...object, status: {lastGeneration: generation}})
      makeSecret(
        data,
        namespace,
        destination.name,
        Object.fromEntries(Object.keys(destination.transformation.templates).map((file) => [file, content])),
      )
    },
  }
  let looks = 40_000
  const settling = new Map<string, Promise<void>>()
  /** What controllers do, done before anybody looks; one after the other, or two would make the same key. */
  const settled = async (context: string): Promise<ClusterData> => {
    const data = dataOf(context)
    const work = async () => {
      for (const object of data.values()) await controllers[object.kind]?.(context, data, object)
    }
    const turn = (settling.get(context) ?? Promise.resolve()).then(work)
    settling.set(
      context,
      turn.catch(() => undefined),
    )
    await turn
    return data
  }

  const readyPods = (data: ClusterData, namespace: string, labels: string) =>
    [...data.values()].filter(({kind, metadata}) => kind === 'Pod' && metadata.namespace === namespace && selects(labels, metadata.labels))

  const kube: OpenKube = (target) => {
    const {context} = target
    const listed = async ({apiVersion, kind}: Kind, namespace: string | undefined, labels = '') =>
      [...(await settled(context)).values()].filter(
        (object) =>
          object.kind === kind &&
          groupOf(object) === groupOf({apiVersion, kind}) &&
          (namespace === undefined || object.metadata.namespace === namespace) &&
          selects(labels, object.metadata.labels),
      )
    const there = async (ref: Ref) => {
      if (ref.kind === 'Namespace' && ref.name === 'kube-system') return {...ref, metadata: {name: ref.name, uid: `uid-of-${context}`}}
      return (await settled(context)).get(keyOf(ref, ref.name, ref.namespace))
    }
    return {
      target,
      async version() {
        dataOf(context)
        return 'v1.37.2'
      },
      clockAhead: async () => 0,
      read: async <T extends KubeObject>(ref: Ref) => structuredClone(await there(ref)) as T | undefined,
      list: async <T extends KubeObject>(kind: Kind, {namespace, labels}: {readonly namespace?: string; readonly labels?: string} = {}) =>
        structuredClone(await listed(kind, namespace, labels)) as unknown as readonly T[],
      may: async () => true,
      log: async () => [],
      async forward(to) {
        const data = await settled(context)
        const pods = 'pod' in to ? [to.pod] : readyPods(data, to.namespace, to.labels).map(({metadata}) => metadata.name)
        return `${pods[0] ?? 'nobody'}.${context}:${to.port}`
      },
      async exec({namespace, pod: name, container}, command) {
        if (container === 'leaf-agent') throw new LkeobsError('LKO-4003', `${container} in ${name} does not run`)
        if (!command.join(' ').includes('/proc/net/tcp')) throw new Error('nothing was said about this command in a pod')
        const data = await settled(context)
        const pod = data.get(keyOf({apiVersion: 'v1', kind: 'Pod'}, name, namespace))
        const isThere = pod && statusesIn(pod).some((status) => fieldsOf(status)['name'] === container)
        if (!isThere) throw new LkeobsError('LKO-4003', `there is no container ${container} in ${name}`)
        // its collector dials anew between any two looks
        const port = (looks++).toString(16).padStart(4, '0').toUpperCase()
        const pem = secretIn(data, namespace, 'agent-leaf')?.['leaf.pem'] ?? ''
        return `${pem.slice(0, pem.indexOf(end) + end.length)}\n 0: 0A664D0A:${port} 01014D0A:10DD 01 0:0 0:0 0 0 0 0\n`
      },
      async apply(objects, options) {
        const data = dataOf(context)
        for (const value of objects.flatMap(secretsIn)) keepSecret(value)
        noSecretIn(JSON.stringify(objects))
        record(lines.apply(target, options))
        for (const object of objects) put(data, object)
      },
      async patch(ref, fields, subresource) {
        const data = dataOf(context)
        // when it was asked for differs in each run
        record(lines.patch(target, ref, fields, subresource).replace(/"20\d\d-[^"]+Z"/, '"‹now›"'))
        const live = data.get(keyOf(ref, ref.name, ref.namespace))
        if (!live) throw new LkeobsError('LKO-4003', `${ref.kind} "${ref.name}" not found`)
        put(data, merged(live, fields) as KubeObject)
      },
      async debug(looker) {
        const data = dataOf(context)
        record(lines.debug(target, looker))
        const {namespace, pod: name, container} = looker
        const pod = data.get(keyOf({apiVersion: 'v1', kind: 'Pod'}, name, namespace))
        if (!pod) throw new LkeobsError('LKO-4003', `pods "${name}" not found`)
        const ephemeralContainerStatuses = [...statusesIn(pod), {name: container, state: {running: {}}}]
        data.set(keyOfObject(pod), {...pod, status: {...fieldsOf(pod['status']), ephemeralContainerStatuses}})
      },
      async remove(ref) {
        const data = dataOf(context)
        record(lines.remove(target, ref))
        data.delete(keyOf(ref, ref.name, ref.namespace))
        if (ref.kind === 'Namespace') for (const [key, {metadata}] of data) if (metadata.namespace === ref.name) data.delete(key)
      },
      async nudge(pods, annotation) {
        // what was handed has other keys in each run
        record(
          lines
            .nudge(target, pods, annotation)
            .replace(/handed=\w+/, 'handed=‹digest›')
            .replace(/rotated=\d+/, 'rotated=‹now›'),
        )
      },
    }
  }

  const helm: OpenHelm = (target) => {
    const at = () => {
      if (!target) throw new Error('this helm was opened without a cluster')
      return {target, data: dataOf(target.context)}
    }
    return {
      async upgrade(release, options) {
        const {target: to, data} = at()
        const {name, namespace, values} = release
        const text = JSON.stringify(values)
        noSecretIn(text)
        record(helmLines.upgrade(to, release, options))
        const [before] = await releasesIn(kube(to), namespace, name)
        const revision = (before?.revision ?? 0) + 1
        if (before) data.delete(keyOf({apiVersion: 'v1', kind: 'Secret'}, before.secretName, namespace))
        const chart = 'file' in release.chart ? nameOfFile(release.chart.file) : release.chart
        const stored = {
          name,
          namespace,
          version: revision,
          info: {status: 'deployed'},
          chart: {metadata: chart},
          config: values,
          manifest: '',
        }
        const labels = {owner: 'helm', name, status: 'deployed', version: String(revision)}
        const metadata = {name: `sh.helm.release.v1.${name}.v${revision}`, namespace, labels}
        const packed = gzipSync(JSON.stringify(stored)).toString('base64')
        put(data, {apiVersion: 'v1', kind: 'Secret', type: 'helm.sh/release.v1', metadata, data: {release: base64(packed)}})
        // stands for what the chart brings: its kinds, its workload and the pods of that
        put(data, {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: {name: `chart-${chart.name}`, namespace, labels: {'app.kubernetes.io/instance': name}},
        })
        const own = {'app.kubernetes.io/instance': name, 'app.kubernetes.io/name': chart.name}
        const kind = chart.name === 'openbao' ? 'StatefulSet' : 'Deployment'
        if (kind === 'Deployment')
          return put(data, {
            apiVersion: 'apps/v1',
            kind,
            metadata: {name, namespace, labels: own},
            spec: {template: {metadata: {labels: own}}},
          })
        const nodes = vaultNodes(data, namespace)
        put(data, {apiVersion: 'apps/v1', kind, metadata: {name, namespace, labels: own}, spec: {replicas: nodes.length}})
        for (const node of nodes) putPod(data, node, namespace, {...own, component: 'server'})
      },
      template: async () => '',
      facts: async (chart) => ({version: 'file' in chart ? nameOfFile(chart.file).version : chart.version}),
      async uninstall({name, namespace}) {
        const {target: to, data} = at()
        record(helmLines.uninstall(to, {name, namespace}))
        for (const [key, {metadata}] of data) {
          const isIts =
            metadata.labels?.['app.kubernetes.io/instance'] === name ||
            (metadata.labels?.['owner'] === 'helm' && metadata.labels['name'] === name)
          if (metadata.namespace === namespace && isIts) data.delete(key)
        }
      },
      async pull(chart, folder) {
        record(helmLines.pull(chart, folder))
      },
    }
  }

  return {
    kube,
    helm,
    clusters,
    /** What a pod of Vault is given, by the address that `forward` leads to; undefined where there is none. */
    vaultNode(address: string) {
      const [, name = '', context = ''] = /^([^.]+)\.(.+):8200$/.exec(address) ?? []
      const data = clusters.get(context)
      const pod = [...(data?.values() ?? [])].find(({kind, metadata}) => kind === 'Pod' && metadata.name === name)
      if (!data || !pod) return undefined
      const {namespace} = pod.metadata
      const self = fieldsOf(data.get(keyOf({apiVersion: 'v1', kind: 'ConfigMap'}, 'vault-self', namespace))?.['data']) as Text
      return {
        context,
        name,
        certificate: secretIn(data, namespace, 'vault-tls')?.['tls.crt'] ?? '',
        self: JSON.parse(self[`${name}.json`] ?? '{}') as Fields,
        /** A file it is handed: `…/SECRET/FILE`. */
        file(path: string): string {
          const [secret = '', file = ''] = path.split('/').slice(-2)
          return secretIn(data, namespace, secret)?.[file] ?? ''
        },
      }
    },
    /** The keys that the gateway there knows, by the address that `forward` leads to. */
    keysAt(address: string): string | undefined {
      const [, context = ''] = /^gateway[^.]*\.(.+):4321$/.exec(address) ?? []
      const data = clusters.get(context)
      return data && secretIn(data, 'lkeobs', 'gateway-edges')?.['edges.jwks']
    },
    /** What a pod of the gateway shows, or the balancer before them. */
    gatewayLeaf(address: string): string | undefined {
      const [, context = 'hub'] = /^gateway-\d+\.(.+):4317$/.exec(address) ?? []
      const data = clusters.get(context)
      if (!data || (!address.startsWith('gateway-') && address !== '203.0.113.10:4317')) return undefined
      return secretIn(data, 'lkeobs', 'gateway-leaf')?.['leaf.pem']
    },
    /** Without what is random: the kind, name and labels of everything that is there. */
    shape: () =>
      Object.fromEntries(
        [...clusters].map(([context, data]) => [context, [...data.keys()].filter((key) => !key.includes('helm.release')).toSorted()]),
      ),
  }
}

const end = '-----END CERTIFICATE-----'

const statusesIn = (pod: KubeObject): readonly unknown[] => {
  const {ephemeralContainerStatuses: all = []} = fieldsOf(pod['status']) as {readonly ephemeralContainerStatuses?: readonly unknown[]}
  return all
}

const nameOfFile = (file: string) => {
  const [, name = '', version = ''] = /([a-z][a-z0-9-]*?)-(v?\d[^/]*)\.tgz$/.exec(file) ?? []
  return {name, version}
}

/** The nodes of Vault are those that are told something. */
const vaultNodes = (data: ClusterData, namespace: string): readonly string[] => {
  const selves = data.get(keyOf({apiVersion: 'v1', kind: 'ConfigMap'}, 'vault-self', namespace))
  return Object.keys(fieldsOf(selves?.['data'])).map((file) => file.replace('.json', ''))
}
