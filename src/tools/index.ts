import {programPath} from '../programs/locate.ts'
import type {ProgramName} from '../programs/catalogue.ts'
import {type Ask, createAsk} from './ask.ts'
import {createDownload, type Download, dryDownload} from './download.ts'
import {createFiles, dryFiles, type Files} from './files.ts'
import {createHelm, dryHelm, type OpenHelm} from './helm.ts'
import {createHttp, getUnverified, type Http} from './http.ts'
import {createClusters} from './kube/cluster.ts'
import {dryKube} from './kube/dry.ts'
import type {OpenKube} from './kube/kube.ts'
import {createProcesses, dryProcesses, type Processes} from './processes.ts'
import {createRegistryHttp, dryRegistryHttp, type RegistryHttp} from './registry-http.ts'
import {createShell, dryShell, type Shell} from './shell.ts'
import {dryVault, openVault, type OpenVault} from './vault.ts'
import {createTls, type Tls} from './tls.ts'
import {createWire, dryWire, type Wire} from './wire.ts'
import {createX509, dryX509, type X509} from './x509.ts'

/** Everything that touches the world. Made once, in the command; fakes and the dry run are other values of the same type. */
export type Tools = {
  readonly shell: Shell
  readonly files: Files
  readonly processes: Processes
  readonly http: Http
  /** What anybody may read, from a server whose certificate is not looked at; undefined when it does not answer. */
  readonly unverified: (url: string) => Promise<string | undefined>
  readonly download: Download
  readonly vault: OpenVault
  readonly x509: X509
  readonly tls: Tls
  /** Servers of others, as a destination is tried. */
  readonly wire: Wire
  /** Registries of container images. */
  readonly registry: RegistryHttp
  readonly ask: Ask
  /** The path of a pinned external program. Throws LKO-4001 when it is not installed. */
  readonly program: (name: ProgramName) => Promise<string>
  readonly kube: OpenKube
  readonly helm: OpenHelm
  /** Lets go of what would keep the process alive: forwards, kept connections. */
  end(): Promise<void>
}

export const createTools = (options: {readonly yes: boolean; readonly passwordFile?: string | undefined}): Tools => {
  const programs = {shell: createShell(), program: programPath}
  const clusters = createClusters(programs)
  const ask = createAsk(options)
  return {
    ...programs,
    files: createFiles(),
    processes: createProcesses(),
    http: createHttp(),
    unverified: getUnverified,
    download: createDownload(),
    vault: openVault,
    x509: createX509(),
    tls: createTls(),
    wire: createWire(),
    registry: createRegistryHttp(),
    ask,
    kube: clusters.open,
    helm: createHelm(programs),
    async end() {
      ask.end()
      await clusters.end()
    },
  }
}

/** The same tools reading the real world and recording what they would write. */
export const dryTools = (tools: Tools, record: (line: string) => void): Tools => ({
  shell: dryShell(tools.shell, record),
  files: dryFiles(tools.files, record),
  processes: dryProcesses(tools.processes, record),
  http: tools.http,
  unverified: tools.unverified,
  download: dryDownload(record),
  vault: dryVault(tools.vault, record),
  x509: dryX509(record),
  tls: tools.tls,
  wire: dryWire(record),
  registry: dryRegistryHttp(tools.registry, record),
  ask: {...tools.ask, confirm: async () => undefined},
  // a dry run needs no program: it only prints its name; one that is there tells whether what runs is as wished
  program: (name) => tools.program(name).catch(() => name),
  kube: dryKube(tools.kube, record),
  helm: dryHelm(tools.helm, record),
  end: () => tools.end(),
})
