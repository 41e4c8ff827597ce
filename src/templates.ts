import {readFileSync} from 'node:fs'
import path from 'node:path'
import Handlebars from 'handlebars'
import {parseAllDocuments, stringify} from 'yaml'

const folder = path.resolve(import.meta.dirname, '../templates')

/** What each template needs to know: the smallest type that serves. */
export type Templates = {
  'loki.yaml': {
    readonly data: string
    readonly host: string
    readonly http: number
    readonly grpc: number
    readonly grpcAddress: string
    readonly sizes: {readonly message: number; readonly line: number; readonly metadata: number; readonly entries: number}
    readonly late: {readonly age: string; readonly chunkAge: string}
  }
  'prometheus.yaml': {readonly promoted: readonly string[]; readonly outOfOrder: string}
  'tempo.yaml': {
    readonly data: string
    readonly wal: string
    readonly host: string
    readonly http: number
    readonly grpc: number
    readonly otlp: string
    readonly gossip: number
    readonly sizes: {readonly message: number; readonly messageMib: number; readonly item: number; readonly trace: number}
    readonly slack: string
    readonly sweep: string
  }
  'vault.yaml': {
    readonly node: string
    readonly data: string
    readonly api: {readonly listen: string; readonly url: string}
    readonly cluster: {readonly listen: string; readonly url: string}
    readonly tls: {readonly certificate: string; readonly key: string; readonly ca: string}
    readonly seal: object
    readonly peers: readonly {readonly address: string}[]
  }
  'vault-agent.yaml': {
    readonly vault: {readonly address: string; readonly ca: string}
    readonly method: {readonly type: string; readonly config: Readonly<Record<string, unknown>>}
    readonly template: {readonly contents: string; readonly destination: string; readonly mode: string}
  }
  'kubernetes/objects/namespace.yaml': {readonly name: string; readonly level: 'restricted' | 'privileged'}
  'kubernetes/objects/root-ca.yaml': {readonly namespace: string; readonly commonName: string}
  'kubernetes/objects/vault-certificate.yaml': {
    readonly namespace: string
    readonly names: readonly string[]
    readonly addresses: readonly string[]
  }
  'kubernetes/objects/ca-request.yaml': {
    readonly namespace: string
    readonly name: string
    readonly request: string
    readonly duration: string
  }
  'kubernetes/objects/otlp-service.yaml': {readonly namespace: string; readonly annotations: Readonly<Record<string, string>>}
  'kubernetes/objects/leaf.yaml': {
    readonly namespace: string
    readonly component: string
    readonly role: string
    readonly vault: {readonly address: string; readonly host: string; readonly ca: string}
    readonly leaf: {
      readonly name: string
      readonly mount: string
      readonly path: string
      readonly params: Readonly<Record<string, string>>
      readonly refreshAfter: string
      readonly text: string
    }
  }
  'kubernetes/objects/sweep.yaml': {
    readonly namespace: string
    readonly image: string
    readonly above: string
    readonly folder: string
  }
  'kubernetes/objects/canary.yaml': {readonly namespace: string; readonly image: string}
  'kubernetes/objects/generators.yaml': {
    readonly namespace: string
    readonly name: string
    readonly program: string
    readonly processes: number
    readonly deadlineSeconds: number
    readonly agents: {readonly namespace: string; readonly release: string}
    readonly image: string
    readonly args: readonly string[]
  }
  'kubernetes/objects/instrumentation.yaml': {readonly namespace: string; readonly endpoint: string; readonly resources: object}
}

type Spread = readonly object[]

/** The values of upstream charts, by release: what the charts decide, and what we do. */
export type ValuesTemplates = {
  'agent.yaml': {readonly user: number; readonly clusterRole: object; readonly podAnnotations: Readonly<Record<string, string>>}
  'cert-manager.yaml': {readonly name: string; readonly namespace: string}
  'collector.yaml': {
    readonly name: string
    readonly args: readonly string[]
    readonly image: object
    readonly program: string
    readonly config: object
    readonly envs: readonly object[]
    readonly otlp: object
    readonly otlpHttp: object
    readonly otlpCluster: object
    readonly counters: number
    readonly health: number
    readonly ownAccount: boolean
    readonly speaksToKubernetes: boolean
  }
  'gateway.yaml': {
    readonly user: number
    readonly replicas: number
    readonly maxReplicas: number
    readonly spread: Spread
    readonly claims: readonly object[]
  }
  'gpu.yaml': {
    readonly name: string
    readonly runtimeClass: string
    readonly nodeSelector: Readonly<Record<string, string>>
    readonly tolerations: readonly object[]
  }
  'grafana.yaml': {
    readonly name: string
    readonly port: number
    readonly adminSecret: string
    readonly datasources: object
    readonly dashboardProviders: object
    readonly dashboardsConfigMaps: object
  }
  'instrumentation.yaml': {readonly name: string}
  'loki.yaml': {
    readonly name: string
    readonly image: object
    readonly config: object
    readonly port: number
    readonly grpc: number
    readonly storage: 'filesystem' | 's3'
    readonly env: readonly object[]
    readonly disk: object
  }
  'prometheus.yaml': {
    readonly name: string
    readonly image: object
    readonly digest: string
    readonly global: object
    readonly tsdb: object
    readonly otlp: object
    readonly retention: {readonly time: string; readonly size: string}
    readonly disk: object
    readonly port: number
  }
  'scraper.yaml': {readonly user: number; readonly clusterRole: object; readonly lease: readonly object[]}
  'secrets-operator.yaml': {readonly name: string}
  'tempo.yaml': {
    readonly name: string
    readonly config: string
    readonly args: object
    readonly env: readonly object[]
    readonly otlp: string
    readonly disk: object
  }
  'vault.yaml': {
    readonly name: string
    readonly image: object
    readonly extraArgs: string
    readonly env: object
    readonly port: number
    readonly spread: Spread
    readonly volumes: readonly object[]
    readonly volumeMounts: readonly object[]
    readonly disk: object
    readonly replicas: number
    readonly apiAddr: string
    readonly postStart: readonly string[]
    readonly budget: boolean
    readonly update: 'RollingUpdate' | 'OnDelete'
    readonly config: string
  }
}

// Every {{value}} becomes a JSON scalar or list, and JSON is YAML: no quoting to get wrong, and a missing value throws.
Handlebars.Utils.escapeExpression = (value: unknown): string => {
  if (value === undefined || value === null) throw new Error('a template value is missing')
  return JSON.stringify(value)
}

const compiled = new Map<string, (values: object) => string>()
const templateOf = (name: string): ((values: object) => string) => {
  const known = compiled.get(name)
  if (known) return known
  const template = Handlebars.compile<object>(readFileSync(path.join(folder, name), 'utf8'), {strict: true, knownHelpersOnly: true})
  compiled.set(name, template)
  return template
}

const documents = (name: string, values: object): readonly Record<string, unknown>[] => {
  return parseAllDocuments(templateOf(name)(values)).map((document) => {
    const [error] = document.errors
    if (error) throw new Error(`templates/${name}: ${error.message}`)
    return document.toJS() as Record<string, unknown>
  })
}

/** The template's documents, rendered and parsed. */
export const renderAll = <Name extends keyof Templates>(name: Name, values: Templates[Name]): readonly Record<string, unknown>[] =>
  documents(name, values)

/** The template's only document. */
export const render = <Name extends keyof Templates>(name: Name, values: Templates[Name]): Record<string, unknown> => {
  const [document, another] = renderAll(name, values)
  if (!document || another) throw new Error(`templates/${name}: not one document`)
  return document
}

/** The values of a chart, rendered and parsed. */
export const renderValues = <Name extends keyof ValuesTemplates>(name: Name, values: ValuesTemplates[Name]): Record<string, unknown> => {
  const [document = {}] = documents(`kubernetes/values/${name}`, values)
  return document
}

/** The documents of a rendered chart. */
export const manifestOf = <T extends object>(text: string): readonly T[] =>
  parseAllDocuments(text).flatMap((document) => (document.toJS() as T | null) ?? [])

/** YAML that readers written in Go understand as it was meant (`no`, `on` and `12:30` are quoted). */
export const toYaml = (document: object): string => stringify(document, {version: '1.1', lineWidth: 0, aliasDuplicateObjects: false})
