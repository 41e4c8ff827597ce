import {readFileSync} from 'node:fs'
import path from 'node:path'
import Handlebars from 'handlebars'
import {parseDocument, stringify} from 'yaml'

const folder = path.resolve(import.meta.dirname, '../templates')

/** What each template needs to know: the smallest type that serves. */
export type Templates = {
  'loki.yaml': {readonly data: string; readonly host: string; readonly http: number; readonly grpc: number; readonly grpcAddress: string}
  'prometheus.yaml': {readonly promoted: readonly string[]}
  'tempo.yaml': {
    readonly data: string
    readonly host: string
    readonly http: number
    readonly grpc: number
    readonly otlp: string
    readonly gossip: number
  }
  'vault.yaml': {
    readonly node: string
    readonly data: string
    readonly api: {readonly listen: string; readonly url: string}
    readonly cluster: {readonly listen: string; readonly url: string}
    readonly tls: {readonly certificate: string; readonly key: string; readonly ca: string}
    readonly seal: {readonly keyId: string; readonly key: string}
    readonly peers: readonly {readonly address: string}[]
  }
  'vault-agent.yaml': {
    readonly vault: {readonly address: string; readonly ca: string}
    readonly method: {readonly type: string; readonly config: Readonly<Record<string, unknown>>}
    readonly template: {readonly contents: string; readonly destination: string; readonly mode: string}
  }
}

// Every {{value}} becomes a JSON scalar or list, and JSON is YAML: no quoting to get wrong, and a missing value throws.
Handlebars.Utils.escapeExpression = (value: unknown): string => {
  if (value === undefined || value === null) throw new Error('a template value is missing')
  return JSON.stringify(value)
}

/** The template's document, rendered and parsed. */
export const render = <Name extends keyof Templates>(name: Name, values: Templates[Name]): Record<string, unknown> => {
  const source = readFileSync(path.join(folder, name), 'utf8')
  const text = Handlebars.compile(source, {strict: true, knownHelpersOnly: true})(values)
  const document = parseDocument(text)
  const [error] = document.errors
  if (error) throw new Error(`templates/${name}: ${error.message}`)
  return document.toJS() as Record<string, unknown>
}

/** YAML that readers written in Go understand as it was meant (`no`, `on` and `12:30` are quoted). */
export const toYaml = (document: object): string => stringify(document, {version: '1.1', lineWidth: 0, aliasDuplicateObjects: false})
