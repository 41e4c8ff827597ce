import path from 'node:path'
import {agent} from './components/agent.ts'
import type {Component} from './components/component.ts'
import {gateway, leafFile} from './components/gateway.ts'
import {loki} from './components/loki.ts'
import {prometheus} from './components/prometheus.ts'
import {tempo} from './components/tempo.ts'
import {vaultNode} from './components/vault.ts'
import {LkeobsError} from './errors.ts'
import type {FleetFile} from './fleet/load.ts'
import type {Edge} from './fleet/schema.ts'
import {type LocalCluster, localPlatform, stateFolderOf} from './platforms/local/index.ts'
import type {Platform} from './platforms/platform.ts'
import {Secret} from './secret.ts'
import type {Tools} from './tools/index.ts'
import type {Vault} from './tools/vault.ts'
import {adminUsername} from './trust/admin.ts'
import {leafAgent, type LeafWish} from './trust/leaf.ts'

/** A cluster of the fleet with what runs on it, in the order in which it starts. */
export type Cluster = {
  readonly name: string
  readonly role: 'hub' | 'edge'
  readonly platform: Platform
  /** Its Vault, as the administrator. */
  readonly vault: Vault
  readonly vaultNodes: readonly Component[]
  /** What its leaf is for. */
  readonly leaf: LeafWish
  readonly leafAgent: Component
  /** The other components, by name. */
  readonly components: Readonly<Record<string, Component>>
}

export type HubCluster = Cluster & {
  readonly role: 'hub'
  /** What edges dial. */
  readonly endpoint: string
  /** Base URLs of the stores, for reading back. */
  readonly stores: {readonly prometheus: string; readonly loki: string; readonly tempo: string}
}

export type EdgeCluster = Cluster & {readonly role: 'edge'; readonly otlp: string}

/** Leaves live a day. */
const leafHours = 24

/** The Vault's files that belong to no single node. */
export const sealKeyFile = 'seal.key'
export const adminPasswordFile = 'admin.password'

/** Everything of a cluster. */
export const componentsOf = ({vaultNodes, leafAgent: keeper, components}: Cluster): readonly Component[] => [
  ...vaultNodes,
  keeper,
  ...Object.values(components),
]

const vaultOf = (platform: Platform, tools: Tools): Vault =>
  tools.vault({
    address: `https://${platform.place('vault-0').address('api')}`,
    ca: platform.rootCa,
    login: {
      username: adminUsername,
      async password() {
        const password = await platform.read('vault', adminPasswordFile)
        if (password === undefined) throw new Error(`${platform.cluster} has no administrator yet`)
        return new Secret(password)
      },
    },
  })

const nodesOf = (platform: Platform, replicas: number): readonly Component[] => {
  const names = Array.from({length: replicas}, (_, index) => `vault-${index}`)
  return names.map((name, index) =>
    vaultNode({
      name,
      at: platform.place(name),
      joins: index === 0 ? [] : names.filter((other) => other !== name).map((other) => platform.place(other)),
      ca: platform.place('ca').file('ca.pem'),
      sealKey: platform.place('vault').file(sealKeyFile),
      adminPassword: platform.place('vault').file(adminPasswordFile),
    }),
  )
}

const base = (platform: Platform, tools: Tools, replicas: number, leaf: LeafWish) => {
  const vault = vaultOf(platform, tools)
  return {
    name: platform.cluster,
    platform,
    vault,
    vaultNodes: nodesOf(platform, replicas),
    leaf,
    leafAgent: leafAgent(platform.place('leaf'), vault.address, platform.place('ca').file('ca.pem'), leaf),
  }
}

/** Where a cluster of the fleet file is. */
export const localCluster = ({fleet, folder}: FleetFile, name: string): LocalCluster => {
  const stateFolder = stateFolderOf(folder)
  const edge = fleet.edges.find((candidate) => candidate.name === name)
  return edge
    ? {name, role: 'edge', firstPort: edge.platform.local.ports, stateFolder}
    : {name, role: 'hub', firstPort: fleet.hub.platform.local.ports, stateFolder}
}

const openHub = (file: FleetFile, tools: Tools): HubCluster => {
  const {hub} = file.fleet
  const platform = localPlatform(localCluster(file, hub.name), tools)
  const http = (component: string) => `http://${platform.place(component).address('http')}`
  const stores = {prometheus: http('prometheus'), loki: http('loki'), tempo: http('tempo')}
  const host = hub.endpoint.slice(0, hub.endpoint.lastIndexOf(':')).replace(/^\[|\]$/g, '')
  const isAddress = /^[\d.]+$|:/.test(host)
  const leaf: LeafWish = {
    issuePath: 'pki_hub/issue/gateway',
    commonName: `gateway.${hub.name}.lkeobs`,
    names: isAddress ? ['localhost'] : ['localhost', host],
    addresses: isAddress && host !== '127.0.0.1' ? ['127.0.0.1', host] : ['127.0.0.1'],
    hours: leafHours,
    file: platform.place('gateway').file(leafFile),
  }
  return {
    ...base(platform, tools, hub.vault.replicas, leaf),
    role: 'hub',
    endpoint: hub.endpoint,
    stores,
    components: {
      prometheus: prometheus(platform.place('prometheus')),
      loki: loki(platform.place('loki')),
      tempo: tempo(platform.place('tempo')),
      gateway: gateway(hub.name, platform.place('gateway'), {...stores, tempo: platform.place('tempo').address('otlp')}),
    },
  }
}

const openEdge = (file: FleetFile, {name, logs}: Edge, tools: Tools): EdgeCluster => {
  const platform = localPlatform(localCluster(file, name), tools)
  const leaf: LeafWish = {
    issuePath: 'pki/issue/agent',
    commonName: `${name}.edge.lkeobs`,
    hours: leafHours,
    file: platform.place('agent').file(leafFile),
  }
  // its Vault's log always has something to say; the agent's own would feed on itself
  const ownLogs = path.join(path.dirname(platform.place('agent').folder), 'logs', 'vault-0.log')
  return {
    ...base(platform, tools, 1, leaf),
    role: 'edge',
    otlp: `http://${platform.place('agent').address('http')}`,
    components: {agent: agent(name, platform.place('agent'), file.fleet.hub.endpoint, [ownLogs, ...logs])},
  }
}

/** A fleet file with its clusters opened. */
export type Fleet = {readonly file: FleetFile; readonly hub: HubCluster; readonly edges: readonly EdgeCluster[]}

export const openFleet = (file: FleetFile, tools: Tools): Fleet => ({
  file,
  hub: openHub(file, tools),
  edges: file.fleet.edges.map((edge) => openEdge(file, edge, tools)),
})

/** The edge of that name. Throws LKO-1003 naming those there are. */
export const edgeOf = ({edges}: Fleet, name: string): EdgeCluster => {
  const edge = edges.find((candidate) => candidate.name === name)
  if (edge) return edge
  throw new LkeobsError(
    'LKO-1003',
    `There is no edge ${name}; the edges are ${edges.map((candidate) => candidate.name).join(', ') || 'none'}.`,
  )
}

/** The edges of these names, or all of them. Throws LKO-1003 where that is none. */
export const edgesOf = (fleet: Fleet, names: readonly string[] | undefined): readonly EdgeCluster[] => {
  if (names !== undefined) return names.map((name) => edgeOf(fleet, name))
  if (fleet.edges.length > 0) return fleet.edges
  throw new LkeobsError('LKO-1003', `The fleet ${fleet.file.fleet.fleet} has no edges.`, {next: ['lkeobs lab up --edges 1']})
}
