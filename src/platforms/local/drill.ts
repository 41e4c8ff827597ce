import {randomBytes} from 'node:crypto'
import path from 'node:path'
import type {AskedShare} from '../../ceremony/share.ts'
import {isOpen, unseal} from '../../ceremony/unseal.ts'
import {vaultNode} from '../../components/vault.ts'
import {LkeobsError} from '../../errors.ts'
import {Secret} from '../../secret.ts'
import type {Step, Tell} from '../../steps/step.ts'
import {until} from '../../steps/wait.ts'
import type {Tools} from '../../tools/index.ts'
import {uploadSnapshot} from '../../tools/vault-raft.ts'
import {adminLogin, adminPasswordFile, adminUsername, askedLogin, sealKeyFile} from '../../trust/admin.ts'
import {type Marker, markerIn, type Shares, sharesIn} from '../../trust/drill.ts'
import {refoundedFrom} from '../../trust/refound.ts'
import {hubSealFault} from '../../status/seals.ts'
import {sealCaFile, sealKeyIdOf, sealTokenFile, type SealWish} from '../../trust/seal.ts'
import type {Cluster, HubCluster, Place} from '../platform.ts'
import {recordOf, runs, stoppedProcess} from './process.ts'

export type Drill = {
  readonly cluster: Cluster
  readonly hub: HubCluster
  /** Below which the throw-away node lives and dies; the fleet's lock is held, so nobody else is at work there. */
  readonly stateFolder: string
  readonly tools: Tools
  /** Shares for the throw-away node, of a Vault that holders open; left out where they do not take part. */
  readonly shares?: AskedShare | undefined
}

/** What a drill has shown: the marker that it read; or, where no holder took part, whose shares it would need for that. */
export type Drilled = {readonly marker: Marker} | {readonly shares: Shares}

const node = 'node'
const opensWithinMs = 30_000

/** What opens each seal, of those that a machine can open. */
const filesOf: Readonly<Record<string, readonly string[]>> = {
  static: [sealKeyFile, adminPasswordFile],
  transit: [sealTokenFile, sealCaFile, adminPasswordFile],
}

/** What the throw-away node is handed of the cluster's seal, by the name it has there too. Throws LKO-5208 where there is none. */
const sealFiles = async ({cluster}: Drill): Promise<ReadonlyMap<string, Secret>> => {
  const found = new Map<string, Secret>()
  for (const name of filesOf[cluster.seal] ?? []) {
    const content = await cluster.read('vault', name)
    if (content === undefined) throw new LkeobsError('LKO-5208', `${name} of Vault on ${cluster.name} is not there.`)
    found.set(name, new Secret(content))
  }
  return found
}

const settled = async (step: Step, tell: Tell): Promise<void> => {
  await step.apply(tell)
  const seen = await until(
    async () => {
      const now = await step.done()
      if (now !== true) await step.watch?.()
      return now
    },
    {forMs: step.patienceMs ?? opensWithinMs, tell},
  )
  if (seen !== true) throw new LkeobsError('LKO-5205', `The throw-away node is not ready: ${seen}.`)
}

/** The folder of drills, and how whatever an earlier one left there goes away. */
const swept = async ({stateFolder, tools}: Pick<Drill, 'stateFolder' | 'tools'>): Promise<void> => {
  const folder = path.join(stateFolder, 'drill')
  await stoppedProcess('', recordOf({folder}, node), tools).apply(() => undefined)
  await tools.files.remove(folder)
}

/**
 * Restores a snapshot into a node of its own on this machine, opened by the cluster's seal, and reads the marker as the
 * cluster's administrator. Nothing of the node is left, however it ends; what a killed run left goes with the next one.
 * A node that shares open stays closed where no holder takes part; that it could be opened is then not shown.
 */
export const drilled = async (drill: Drill, snapshot: Uint8Array, tell: Tell): Promise<Drilled> => {
  const {cluster, hub, stateFolder, tools} = drill
  const handed = await sealFiles(drill)
  const fault = cluster.seal === 'transit' ? await hubSealFault(hub) : undefined
  if (fault !== undefined) throw new LkeobsError('LKO-5208', `Vault of ${cluster.name}: ${fault}.`)
  await swept(drill)
  try {
    const folder = path.join(stateFolder, 'drill')
    const [api = 0, raft = 0] = await tools.processes.freePorts(2)
    const host = '127.0.0.1'
    const port = (name: string) => (name === 'api' ? api : raft)
    const file = (name: string) => path.join(folder, node, name)
    const at: Place = {folder: path.join(folder, node), file, host, port, address: (name) => `${host}:${port(name)}`}

    const root = await tools.x509.createCa({commonName: 'lkeobs drill', days: 1, pathLength: 0})
    const served = await tools.x509.issueServer(root, {commonName: 'localhost', names: ['localhost', host], days: 1})
    await tools.files.write(file('tls.pem'), new Secret(served.certificate + served.key.reveal()))
    await tools.files.write(file('ca.pem'), root.certificate)
    for (const [name, content] of handed) if (name !== adminPasswordFile) await tools.files.write(file(name), content)
    const local = {cluster: 'drill', folder, place: () => at, tools}
    const open = (login?: ReturnType<typeof adminLogin>) =>
      tools.vault({address: `https://${at.address('api')}`, ca: async () => root.certificate, ...(login && {login})})
    tell('starting a throw-away node')
    if (cluster.seal === 'shamir') {
      const starts = runs(local, vaultNode({name: node, at, joins: [], ca: file('ca.pem')}))
      await settled(starts, tell)
      await refoundedFrom(open(), snapshot, 'The throw-away node')
      tell('restored; started anew')
      // what it knows of its seal is of its start
      await settled(stoppedProcess('', recordOf({folder}, node), tools), tell)
      await settled(starts, tell)
      const shares = sharesIn((await open().sealStatus()) ?? {})
      if (!drill.shares) return {shares}
      await openedByShares(open(), drill.shares)
      return {marker: await markerRead(() => open(askedLogin(tools.ask, cluster.name)), cluster, tell)}
    }

    // its own administrator, for the minute before the snapshot brings the cluster's
    const password = new Secret(randomBytes(24).toString('hex'))
    await tools.files.write(file(adminPasswordFile), password)
    const seal: SealWish =
      cluster.seal === 'static'
        ? {type: 'static', keyId: sealKeyIdOf(cluster), key: file(sealKeyFile)}
        : {type: 'transit', edge: cluster.name, token: file(sealTokenFile), ca: file(sealCaFile), ...(hub.sealsAt ?? {address: ''})}
    const component = vaultNode({name: node, at, joins: [], ca: file('ca.pem'), self: {seal, adminPassword: file(adminPasswordFile)}})
    await settled(runs(local, component), tell)
    const own = open({username: adminUsername, password: async () => password})
    const founded = async () => ((await own.accepts()) ? true : 'it founds itself')
    if ((await until(founded, {forMs: opensWithinMs, tell})) !== true)
      throw new LkeobsError('LKO-5205', 'The throw-away node did not found itself.')
    await uploadSnapshot(own, snapshot, 'The throw-away node')
    tell('restored; logging in as the administrator')
    return {marker: await markerRead(() => open(adminLogin(cluster)), cluster, tell)}
  } finally {
    await swept(drill)
  }
}

/** One holder after the other, until it is open. Throws what `vault unseal` throws. */
const openedByShares = async (vault: Cluster['vault'], share: AskedShare): Promise<void> => {
  const wish = {hub: 'drill', nodes: [{name: 'the throw-away node', vault, admin: vault}], wait: false, show: () => undefined}
  for (let isClosed = true; isClosed;) isClosed = !isOpen((await unseal(share, wish)).board)
}

/** The marker as the cluster's administrator reads it from the restored node. */
const markerRead = async (open: () => Cluster['vault'], {name}: Cluster, tell: Tell): Promise<Marker> => {
  let found: Marker | undefined
  const read = async (): Promise<true | string> => {
    const vault = open()
    const seal = await vault.sealStatus()
    if (seal?.sealed !== false) return seal === undefined ? 'it does not answer' : 'it stays sealed'
    if (!(await vault.accepts())) return `the administrator of ${name} cannot log in`
    found = await markerIn(vault)
    return found === undefined ? 'there is no marker in it' : true
  }
  const seen = await until(read, {forMs: opensWithinMs, tell})
  if (seen === true && found) return found
  throw new LkeobsError('LKO-5205', `The snapshot was restored into a throw-away node, and ${String(seen)}.`)
}
