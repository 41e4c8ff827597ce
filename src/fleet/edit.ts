import path from 'node:path'
import {Document, isMap, isNode, isScalar, isSeq, parseDocument, visit, type YAMLMap, type YAMLSeq} from 'yaml'
import {LkeobsError} from '../errors.ts'
import type {Files} from '../tools/files.ts'
import {type FleetFile, loadFleet, parseFleet} from './load.ts'
import {portsOfEdge, portsOfHub, portsOfHubWith} from './clashes.ts'
import type {DestinationInput, EdgeInput, HubElsewhere} from './schema.ts'

const shownName = 'lkeobs.yaml'
const firstOfHub = 14_300
const firstOfEdges = 14_400

type List = 'edges' | 'destinations'

/** The edge without what it need not say. */
const edgeEntry = ({name, platform, logs = [], vault}: EdgeInput): object => ({
  name,
  platform,
  ...(logs.length > 0 ? {logs} : {}),
  ...(vault ? {vault} : {}),
})

/** An item of a list as a person would write it: a line for each key, the value on the same line. */
const entryDocument = (entry: object): Document => {
  const document = new Document(entry)
  visit(document, {Pair: (_, {value}) => void (isMap(value) || isSeq(value) ? (value.flow = true) : undefined)})
  return document
}

const written = (document: Document): string => document.toString({lineWidth: 0, flowCollectionPadding: false}).trimEnd()

const items = (entries: readonly object[], indent: number): string => {
  const pad = ' '.repeat(indent)
  return entries.map((entry) => `${pad}- ${written(entryDocument(entry)).replaceAll('\n', `\n${pad}  `)}\n`).join('')
}

/** On one line, for lists in brackets; in JSON where the whole file is JSON. */
const asFlow = (entry: object, isJson: boolean): string => {
  const document = entryDocument(entry)
  if (isJson) return JSON.stringify(document.toJS())
  if (isMap(document.contents)) document.contents.flow = true
  return written(document)
}

const splice = (text: string, from: number, to: number, added: string): string => text.slice(0, from) + added + text.slice(to)

/** Where the lines of a value end: after the line it ends on, and after the comments below it that are indented deeper. */
const endOfLines = (text: string, valueEnd: number, indent: number): number => {
  const atLineStart = text[valueEnd - 1] === '\n'
  const endOfLine = atLineStart ? valueEnd - 1 : text.indexOf('\n', valueEnd)
  if (endOfLine === -1) return text.length
  const rest = text.slice(endOfLine + 1)
  const comments = new RegExp(`^(?:(?:[ \\t]*\\r?\\n)*[ ]{${indent + 1},}#[^\\n]*(?:\\n|$))*`).exec(rest)?.[0] ?? ''
  return endOfLine + 1 + comments.length
}

/** Puts lines after those of a value. */
const insertLines = (text: string, valueEnd: number, indent: number, added: string): string => {
  const newline = text.includes('\r\n') ? '\r\n' : '\n'
  const lines = added.replaceAll('\n', newline)
  const at = endOfLines(text, valueEnd, indent)
  return splice(text, at, at, text[at - 1] === '\n' ? lines : `${newline}${lines}`)
}

const startOf = (node: unknown): number => (isNode(node) ? node.range?.[0] : undefined) ?? 0
const endOf = (node: unknown): number => (isNode(node) ? node.range?.[1] : undefined) ?? 0

const intoList = (text: string, list: YAMLSeq, entries: readonly object[], isJson: boolean): string => {
  const last = list.items.at(-1)
  const indent = list.srcToken?.type === 'block-seq' ? list.srcToken.indent : 2
  if (!list.flow) return insertLines(text, endOf(last), indent, items(entries, indent))
  const isBare = /^\[\s*\][ \t]*(#.*)?\r?(\n|$)/.test(text.slice(startOf(list)))
  if (!last && isBare && !isJson) {
    const before = text.slice(0, startOf(list)).trimEnd()
    return insertLines(before + text.slice(endOf(list)), before.length, indent, items(entries, indent))
  }
  const added = entries.map((entry) => asFlow(entry, isJson)).join(', ')
  const at = last ? endOf(last) : startOf(list) + 1
  return splice(text, at, at, last ? `, ${added}` : added)
}

/** Edits the text itself rather than printing the document anew, which would lay out every other line its own way. */
const added = (text: string, list: List, entries: readonly object[]): string => {
  if (entries.length === 0) return text
  parseFleet(text, shownName)
  const {contents: root} = parseDocument(text, {keepSourceTokens: true})
  if (!isMap(root)) return text
  const isJson = root.flow === true
  const there = root.get(list, true)
  if (isSeq(there)) return intoList(text, there, entries, isJson)
  const end = endOf(root.items.at(-1)?.value)
  if (isJson) return splice(text, end, end, `, "${list}": [${entries.map((entry) => asFlow(entry, true)).join(', ')}]`)
  return insertLines(text, end, 0, `${list}:\n${items(entries, 2)}`)
}

const checked = (text: string): string => {
  parseFleet(text, shownName)
  return text
}

/** The text with one more edge; every other byte stays. LKO-1002 where the edge does not fit into the fleet. */
export const addEdge = (text: string, edge: EdgeInput): string => checked(added(text, 'edges', [edgeEntry(edge)]))

/** Where an item of a list of lines stands: its lines, and the comments in it. */
const linesOf = (text: string, list: YAMLSeq, at: number): {readonly from: number; readonly to: number; readonly indent: number} => {
  const token = list.srcToken?.type === 'block-seq' ? list.srcToken : undefined
  const dash = token?.items.flatMap(({start}) => start.filter(({type}) => type === 'seq-item-ind'))[at]?.offset ?? 0
  const indent = token?.indent ?? 0
  return {from: text.lastIndexOf('\n', dash) + 1, to: endOfLines(text, endOf(list.items[at]), indent), indent}
}

/** Takes the lines of one item away. A list that was its only item becomes an empty one. */
const outOfBlock = (text: string, list: YAMLSeq, at: number, colon: number): string => {
  const {from, to} = linesOf(text, list, at)
  const left = splice(text, from, to, '')
  return list.items.length === 1 ? splice(left, colon, colon, ' []') : left
}

const outOfFlow = (text: string, {items: all}: YAMLSeq, at: number): string => {
  const [before, after] = [all[at - 1], all[at + 1]]
  const from = after === undefined && before !== undefined ? endOf(before) : startOf(all[at])
  return splice(text, from, after === undefined ? endOf(all[at]) : startOf(after), '')
}

type Found = {readonly list: YAMLSeq; readonly at: number; readonly colon: number; readonly isJson: boolean}

/** The item of that name, and the colon before its list; undefined where there is none. */
const found = (text: string, listed: List, name: string): Found | undefined => {
  const at = parseFleet(text, shownName)[listed].findIndex((entry) => entry.name === name)
  const {contents: root} = parseDocument(text, {keepSourceTokens: true})
  const pair = isMap(root) ? root.items.find(({key}) => isScalar(key) && key.value === listed) : undefined
  if (at === -1 || !isMap(root) || !isSeq(pair?.value)) return undefined
  const colon = pair.srcToken?.sep?.find(({type}) => type === 'map-value-ind')?.offset ?? 0
  return {list: pair.value, at, colon, isJson: root.flow === true}
}

const without = (text: string, listed: List, name: string): string => {
  const item = found(text, listed, name)
  if (!item) return text
  const {list, at, colon} = item
  return checked(list.flow ? outOfFlow(text, list, at) : outOfBlock(text, list, at, colon + 1))
}

const exchanged = (text: string, {list, at, isJson}: Found, entry: object): string => {
  if (list.flow) return splice(text, startOf(list.items[at]), endOf(list.items[at]), asFlow(entry, isJson))
  const {from, to, indent} = linesOf(text, list, at)
  const newline = text.includes('\r\n') ? '\r\n' : '\n'
  return splice(text, from, to, items([entry], indent).replaceAll('\n', newline))
}

/** The text with this destination, in the place of the one of its name where there is one; every other byte stays. LKO-1002 where it is none. */
export const withDestination = (text: string, destination: DestinationInput): string => {
  const there = found(text, 'destinations', destination.name)
  return checked(there ? exchanged(text, there, destination) : added(text, 'destinations', [destination]))
}

/** A key and its value as a person would write them: on one line, in JSON where the file is JSON. */
const pairText = (key: string, value: string, isJson: boolean): string =>
  isJson ? `${JSON.stringify(key)}: ${JSON.stringify(value)}` : written(new Document({[key]: value}))

/** The map with one more pair: inside its brackets, or on a line of its own below the last. */
const intoMap = (text: string, map: YAMLMap, pair: (isJson: boolean) => string, isJson: boolean): string => {
  const last = map.items.at(-1)
  if (map.flow) {
    const at = last ? endOf(last.value ?? last.key) : startOf(map) + 1
    return splice(text, at, at, last ? `, ${pair(isJson)}` : pair(isJson))
  }
  const first = map.items[0]
  const indent = startOf(first?.key) - (text.lastIndexOf('\n', startOf(first?.key)) + 1)
  // comments as deep as its keys are its own
  return insertLines(text, endOf(last?.value ?? last?.key), indent - 1, `${' '.repeat(indent)}${pair(false)}\n`)
}

/** The text with this image for the collector; every other byte stays. LKO-1002 where it is none. */
export const withCollectorImage = (text: string, image: string): string => {
  const {contents: root} = parseDocument(text, {keepSourceTokens: true})
  if (!isMap(root)) return text
  const isJson = root.flow === true
  const pair = root.items.find(({key}) => isScalar(key) && key.value === 'collector')
  const map = pair?.value
  const imagePair = (json: boolean) => pairText('image', image, json)
  if (isMap(map)) {
    const value = map.get('image', true)
    if (!isNode(value)) return checked(intoMap(text, map, imagePair, isJson))
    const scalar = isJson ? JSON.stringify(image) : image
    return checked(splice(text, startOf(value), (value.range ?? [0, 0])[1], scalar))
  }
  if (pair) return checked(text)
  const end = endOf(root.items.at(-1)?.value)
  if (isJson) return checked(splice(text, end, end, `, "collector": {${imagePair(true)}}`))
  return checked(insertLines(text, end, 0, `collector:\n  ${imagePair(false)}\n`))
}

const placeholder = `image.invalid/otelcol@sha256:${'0'.repeat(64)}`

/** The fleet file, which may lack nothing but the image that is about to be pinned in it. */
export const loadFleetToPin = async (file: string, files: Files): Promise<FleetFile> => {
  try {
    return await loadFleet(file, files)
  } catch (error) {
    if (!(error instanceof LkeobsError) || error.code !== 'LKO-1002') throw error
    const absolute = path.resolve(file)
    const text = await files.read(absolute).catch(() => undefined)
    if (text === undefined) throw error
    try {
      return {fleet: parseFleet(withCollectorImage(text, placeholder), file), file: absolute, folder: path.dirname(absolute), text}
    } catch {
      throw error
    }
  }
}

/** The text without this edge; every other byte stays. LKO-1002 where the rest is no fleet without it. */
export const withoutEdge = (text: string, name: string): string => without(text, 'edges', name)

/** The text without this destination; every other byte stays. */
export const withoutDestination = (text: string, name: string): string => without(text, 'destinations', name)

/** The text with edges on this machine added until there are `wanted`, on ports nobody else has. Never takes one away. */
export const withLabEdges = (text: string, wanted: number): string => {
  const {hub, edges, destinations} = parseFleet(text, shownName)
  const names = new Set([hub.name, ...edges.map(({name}) => name)])
  const taken = [
    ...(hub.platform.local ? [{first: hub.platform.local.ports, ports: portsOfHubWith(destinations.length)}] : []),
    ...edges.flatMap(({platform}) => (platform.local ? [{first: platform.local.ports, ports: portsOfEdge}] : [])),
  ]
  // a lab that was moved to other ports grows there
  const start = (hub.platform.local?.ports ?? firstOfHub) + firstOfEdges - firstOfHub
  const missing = Math.max(0, wanted - edges.length)
  // Each taken name or range rules out a few candidates, so that this many are always enough.
  const candidates = Array.from({length: missing + 3 * taken.length}, (_, at) => at)
  const freeNames = candidates.map((at) => `edge-${at + 1}`).filter((name) => !names.has(name))
  const freePorts = candidates
    .map((at) => start + at * portsOfEdge)
    .filter((port) => taken.every(({first, ports}) => port >= first + ports || port + portsOfEdge <= first))
  const more = freeNames.slice(0, missing).map((name, at) => ({name, platform: {local: {ports: freePorts[at] ?? start}}}))
  return checked(added(text, 'edges', more.map(edgeEntry)))
}

const labHeader = `# A lab: a hub and its edges, all of them processes on this machine.
# \`lkeobs lab up\` brings it up, \`lkeobs lab down\` takes it down.
#
# \`lkeobs schema\` prints the JSON Schema of this file. To have an editor complete and check it, keep the
# schema beside the file (lkeobs schema > lkeobs.schema.json) and make this the first line:
#   yaml-language-server: $schema=lkeobs.schema.json
apiVersion: lkeobs/v1
fleet: lab

# The hub receives the telemetry of the fleet and keeps it.
hub:
  name: hub
  # The first of the ${portsOfHub} ports its processes listen on.
  platform: {local: {ports: ${firstOfHub}}}
  # What edges dial.
  endpoint: 127.0.0.1:${firstOfHub}
  # The seal \`static\` lets Vault unseal itself with a key that lies in a file beside its data. Who can read the
  # folder can open the Vault, so this seal is for a lab.
  vault: {replicas: 3, seal: static}

# An edge sends its telemetry to the hub. Its processes listen on ${portsOfEdge} ports, from the first.
# \`logs\` names the files its agent follows, for example: logs: [/var/log/app/*.log]
edges: []
`

/** The fleet file of a new lab, commented for a person to read. */
export const newLabFleet = ({edges}: {readonly edges: number}): string => withLabEdges(labHeader, edges)

/** The fleet file of an edge whose hub is looked after elsewhere: that hub, and nothing else yet. */
export const newEdgeFleet = ({
  fleet,
  hub,
  endpoint,
  elsewhere,
}: {
  readonly fleet: string
  readonly hub: string
  readonly endpoint: string
  readonly elsewhere: HubElsewhere
}): string => `# An edge, and where its hub is. \`lkeobs edge join\` wrote it, and brings the edge up to it whenever it is run again.
#
# \`lkeobs schema\` prints the JSON Schema of this file.
apiVersion: lkeobs/v1
fleet: ${fleet}

# The hub is looked after elsewhere: what edges dial, its Vault, and the sum of the key of its root CA.
hub:
  name: ${hub}
  endpoint: ${JSON.stringify(endpoint)}
  platform:
    elsewhere:
      vault: ${JSON.stringify(elsewhere.vault)}
${elsewhere.serverName === undefined ? '' : `      serverName: ${elsewhere.serverName}\n`}      pin: ${elsewhere.pin}

edges: []
`
