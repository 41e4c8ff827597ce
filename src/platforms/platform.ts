import type {Component} from '../components/component.ts'
import type {Secret} from '../secret.ts'
import type {Step} from '../steps/step.ts'

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
  readonly log: string
}

/**
 * A cluster of the fleet: puts a component there, gives its endpoint, hands it files, restarts it, reads its log.
 * Everything that decides (collector configuration, PKI layout, verification) is written once, above it.
 */
export type Platform = {
  readonly cluster: string
  place(component: string): Place
  /** A step: the component runs as described, and is ready. */
  runs(component: Component): Step
  /** A step: nothing of the component runs. */
  stopped(component: string, title: string): Step
  inspect(component: Component): Promise<ComponentState>
  /** A file that was handed to a component; undefined when there is none. */
  read(component: string, file: string): Promise<string | undefined>
  hand(component: string, file: string, content: string | Secret): Promise<void>
  log(component: string, lines: number): Promise<readonly string[]>
  /** A step: what its components log does not fill the disk. */
  logsBounded(): Step
  /** The root CA of the cluster (PEM). */
  rootCa(): Promise<string>
  /** A step: the cluster has a root CA. */
  hasRootCa(): Step
  /** A step: the component holds `tls.pem` (certificate and key) for its names, signed by the root CA. */
  hasServerCertificate(component: string, names: readonly string[]): Step
  /** The certificate for an intermediate CA's request, signed by the root CA. */
  signCa(request: string, wish: {readonly days: number; readonly pathLength: number}): Promise<string>
}
