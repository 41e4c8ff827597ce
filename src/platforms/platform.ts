import type {Signal} from '../collector/config.ts'
import type {Component} from '../components/component.ts'
import type {ProgramName} from '../programs/catalogue.ts'
import type {Secret} from '../secret.ts'
import type {Task, Tell} from '../steps/step.ts'
import type {Canary} from '../tools/otlp.ts'
import type {Generated, Load} from '../tools/telemetrygen.ts'
import type {QueueAdmin} from '../tools/queue-admin.ts'
import type {Counters} from '../tools/stores.ts'
import type {SealStatus, Vault} from '../tools/vault.ts'
import type {LeafWish} from '../trust/leaf.ts'
import type {Site} from './kubernetes/site.ts'
import type {RootRotation} from './local/root-rotation.ts'

/** Where a component is, as it sees itself: what its own configuration may name. */
export type Place = {
  /** Its folder: configuration and what is delivered to it. */
  readonly folder: string
  /** A file in it. */
  file(name: string): string
  /** `host:port` of one of its ports. */
  address(port: string): string
  readonly host: string
  port(name: string): number
}

/** What is seen of a component now. */
export type ComponentState = {
  readonly component: string
  /** `ready`, or what is not so. */
  readonly state: string
  readonly pid?: number
  readonly residentBytes?: number
  readonly upMs?: number
  readonly log?: string
}

/** What unseals a Vault: a key in its hands, the hub's Vault, or several holders. */
export type Seal = 'static' | 'transit' | 'shamir'

/** One node of a Vault: asked by anybody, and by the administrator. */
export type VaultNode = {readonly name: string; readonly vault: Vault; readonly admin: Vault}

/** Where certificates of a cluster are seen: what is shown on the wire, or is in somebody's hands; not what was meant to be. */
export type Sighting = {
  readonly kind: 'root' | 'vault' | 'leaf' | 'gateway' | 'trusted' | 'hub-ca' | 'seal-ca' | 'destination'
  readonly seen: 'served' | 'mounted'
  /** `127.0.0.1:14300`, `Secret lkeobs/gateway-leaf` */
  readonly at: string
  /** Which of several: a node of Vault, a pod. */
  readonly which?: string
} & (
  | {
      /** PEM, with the chain that follows; undefined where there is none. */
      readonly read: () => Promise<string | undefined>
    }
  /** As many as are found. */
  | {readonly each: () => Promise<readonly Sighting[]>}
)

/**
 * A cluster of the fleet, as its platform knows it: puts components there, hands them files, says how they are.
 * Everything that decides (collector configuration, PKI layout, verification) is written once, above it.
 */
export type Cluster = {
  readonly name: string
  readonly role: 'hub' | 'edge'
  /** The external programs it is driven with. */
  readonly programs: readonly ProgramName[]
  /** Throws where something must be so before anything is changed, and is not. Only reads. */
  checked(): Promise<void>
  /** What only this cluster has, and keeps as long as it is there; undefined before it has it. */
  uid(): Promise<string | undefined>
  /** What everything else stands on. */
  prepared(): readonly Task[]
  /** What is left to do when everything runs. */
  tidied(): readonly Task[]

  /** The root CA of the cluster (PEM). */
  rootCa(): Promise<string>
  hasRootCa(): readonly Task[]
  /** The certificate for an intermediate CA's request, signed by the root CA. */
  signCa(request: string, wish: {readonly days: number; readonly pathLength: number}): Promise<string>

  /** A file that was handed to a component; undefined when there is none. */
  read(component: string, file: string): Promise<string | undefined>
  hand(component: string, file: string, content: string | Secret): Promise<void>

  /** Its Vault, as the administrator. */
  readonly vault: Vault
  /** Vault's nodes run, each with a certificate of the root CA. */
  vaultRuns(): readonly Task[]
  /** How many nodes there are to be. */
  readonly vaultReplicas: number
  /** Each of them, asked alone. */
  vaultNodes(): readonly VaultNode[]
  /** What unseals them. */
  readonly seal: Seal
  /** The seal of every node; undefined for one that does not answer. */
  vaultSeals(): Promise<readonly (SealStatus | undefined)[]>
  /** Stops one of its nodes and starts it again. */
  vaultRestarted(node: string, tell: Tell): Promise<void>
  /** How its nodes get another certificate without a restart; left out where that cannot be done from here. */
  readonly vaultCertificates?: {
    /** Another one of the root CA for every node, whatever is left of those there are. In use once a node is `reloaded`. */
    renewed(): Promise<void>
    /** The one in the hands of a node (PEM). */
    now(node: string): Promise<string | undefined>
    /** The one that a node shows to who dials it (PEM); undefined where it does not answer. */
    shown(node: string): Promise<string | undefined>
    /** Has a node take up the one in its hands. May return before it has. */
    reloaded(node: string): Promise<void>
  }
  /** Makes a Vault anew into which nobody can log in. Only where what it holds can be made again. */
  vaultRemade?(tell: Tell): Promise<void>

  /** What the leaf of its collector is for. */
  leaf(): Promise<LeafWish>
  /** The leaf is in the collector's hands and renews by itself; what may be issued to whom is in Vault already. */
  leafDelivered(): readonly Task[]
  /** Asks for another leaf now, whatever is left of the one there is. May return before it is there. Undefined where only its keeper can. */
  leafRenewed?(): Promise<void>
  /** Has what `leavesNow` tells brought to the collectors at once; left out where it is there by then. */
  leafBrought?(): Promise<void>
  /** The leaf of each of its collectors, or the one that is for all of them. */
  leavesNow(): Promise<readonly Hand[]>

  /** Where its certificates are; those that Vault keeps are asked of Vault. */
  certificates(): readonly Sighting[]
  /** Who renews its leaf; and its root CA with Vault's certificate, where somebody does by themselves. */
  readonly renewedBy: {readonly leaf: string; readonly ca?: string}

  inspect(): Promise<readonly ComponentState[]>
  /** The last lines of what a collector logged. */
  log(collector: string, lines: number): Promise<readonly string[]>
  /** A collector's own counters, of all its processes that answer; undefined when none does. */
  counters(collector: string): Promise<Counters | undefined>
  /** The administration of the queues of each of its collector's processes, those that do not answer among them. Good until the command ends. */
  queueAdmins(): Promise<readonly QueueAdmin[]>
  /** What runs as processes of this machine, in the order in which it starts; left out elsewhere. */
  readonly processes?: readonly Component[]
  /** Where its releases and objects are; left out where there are none. */
  readonly site?: Site
}

/** The leaf in the hands of a collector (PEM); undefined where there is none, or it is not seen now. */
export type Hand = {
  /** Which of several: a pod. */
  readonly pod?: string
  readonly leaf: string | undefined
}

/** An agent as it dials the gateway. */
export type Dialler = Hand & {
  /** Its connections there, by any name that no two of them share. */
  readonly connections: readonly string[]
}

/** Base URLs of the hub's stores, for reading back. */
export type Stores = {readonly prometheus: string; readonly loki: string; readonly tempo: string}

export type HubCluster = Cluster & {
  readonly role: 'hub'
  /** Looked after from another fleet file: nothing there can be seen or changed from here. */
  readonly elsewhere?: true
  /** What edges dial, `host:port`. */
  endpoint(): Promise<string>
  /** The leaf that each gateway shows to who dials it (PEM); empty where none answers. */
  served(): Promise<readonly string[]>
  /** Good until the command ends. */
  stores(): Promise<Stores>
  /** Where edges reach its Vault to be unsealed by it; left out where they cannot. */
  readonly sealsAt?: {
    readonly address: string
    /** The name in its certificate, where that is another. */
    readonly serverName?: string
    /** From this machine alone. */
    readonly here?: boolean
  }
  /** How its root CA is exchanged for another; left out where somebody else keeps it. */
  readonly rootRotation?: RootRotation
  storesRun(): readonly Task[]
  /** Feeds the destinations of the fleet file, but for those that are closing: they are fed no more, and send what they have. */
  gatewayRuns(how?: {readonly closing: readonly string[]}): readonly Task[]
  /** The types of exporters that its collector has; undefined where it has all. */
  exporters(): Promise<readonly string[] | undefined>
  /** Where this machine reaches the door that feeds a destination: plain OTLP by gRPC, `host:port`; undefined where its queue does. Good until the command ends. */
  door(destination: string): Promise<string | undefined>
  /** What is left in the gateway's hands of a destination that is no more. */
  destinationGone(name: string): readonly Task[]
  /** What each gateway answers to this credential, or to none (see `tried`). */
  knock(token?: Secret): Promise<readonly (number | undefined)[]>
}

/** What makes load for an edge, from where its workloads are. */
export type Generators = {
  /** Where they send, `host:port`: OTLP by gRPC, plain. */
  readonly otlpGrpc: string
  /** No load should last longer: generators whose lkeobs was killed end with theirs, and a data point costs them the more the longer they run. */
  readonly shiftSeconds: number
  /** How many agents take it in: each gets its share where the processes of a load are a multiple of that. */
  agents(): Promise<number>
  /** They can be started. Throws where a program or a permission is missing. */
  ready(): Promise<void>
  /**
   * Sends it to the end, or until `over` is aborted, and says of each process what it made. When it returns none of them sends any
   * more. `onStart` is called with the id of each that is a process of this machine. Throws where they cannot be started.
   */
  run(load: Load, how: {readonly over: AbortSignal; readonly onStart: (pid: number) => void}): Promise<readonly Generated[]>
  /** None is left, of whatever run. */
  cleared(): Promise<void>
  /** What would be run, as a person would type it. */
  typed(load: Load): readonly string[]
}

export type EdgeCluster = Cluster & {
  readonly role: 'edge'
  /** Agents send to this hub, by its root CA. */
  agentRuns(hub: Pick<HubCluster, 'name' | 'rootCa'>): readonly Task[]
  /** What it takes to see how its agents dial the gateway. */
  diallersSeen(): readonly Task[]
  /** Its agents as they dial the gateway; undefined where that cannot be seen. */
  diallers(): Promise<readonly Dialler[] | undefined>
  /** Where workloads send OTLP over HTTP. */
  readonly otlp: string
  /** The same as it is reached from this machine. Good until the command ends. */
  otlpFromHere(): Promise<string>
  readonly generators: Generators
  /** Its agents take nothing in any more, and send what they have. So, too, where they and their queues are gone. */
  closed(): readonly Task[]
  /** Items that its agents have accepted and the hub has not; 0 where no queue is left, undefined where an agent does not say. */
  queued(): Promise<number | undefined>
  /** Its agents are gone, and their queues with whatever is in them. */
  queueGone(): readonly Task[]
  /** All else that was made on it is gone; what is somebody else's is left. */
  removed(): readonly Task[]
  /** Sends a canary from where workloads are. `true` when the agent accepted it, otherwise why not. */
  sendCanary(signal: Signal, canary: Canary): Promise<true | string>
}
