import {X509Certificate} from 'node:crypto'
import {once} from 'node:events'
import {readFileSync} from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import tls from 'node:tls'

/** A leaf that an agent presented in a handshake, as the side it dials sees it. */
export type Presented = {
  readonly edge: string
  readonly serial: string
  readonly atMs: number
  readonly validToMs: number
  /** What the gateway did with it, asked in the same moment with the same leaf; undefined while it takes it. */
  refusal?: string
  /** When the connection was over. */
  closedMs?: number
}

type Wish = {
  /** Of the lab. */
  readonly folder: string
  readonly edges: readonly string[]
  /** Where agents dial, and where the gateway listens. */
  readonly port: number
  readonly gateway: number
}

/**
 * A relay between agents and gateway that ends TLS on both sides, as a witness of what agents present: TLS 1.3 hides a client's
 * certificate from everybody but the one it dials. To agents it shows the gateway's own leaf. It dials the gateway with the very
 * leaf that the agent has just presented, and proven to have the key of; what the gateway then says is the gateway's answer.
 */
export const openRelay = async ({folder, edges, port, gateway}: Wish) => {
  const state = (...names: string[]) => path.join(folder, '.lkeobs', ...names)
  const read = (...names: string[]) => {
    try {
      return readFileSync(state(...names), 'utf8')
    } catch {
      return undefined
    }
  }
  const presented: Presented[] = []
  /** The serial numbers that the gateway showed, the last one last. */
  const shown: string[] = []
  const strangers: string[] = []

  // the keys of all leaves there were: an agent may dial with one whose file is another by now
  const leaves = new Map<string, string>()
  const note = () => {
    for (const edge of edges) {
      const pem = read(edge, 'agent', 'leaf.pem')
      if (pem !== undefined) leaves.set(new X509Certificate(pem).serialNumber, pem)
    }
  }
  const noting = setInterval(note, 100)

  const open = new Set<net.Socket>()
  const relayed = (raw: net.Socket): void => {
    open.add(raw)
    raw.on('close', () => open.delete(raw))
    raw.on('error', () => undefined)
    const own = read('hub', 'gateway', 'leaf.pem')
    if (own === undefined) {
      raw.destroy()
      return
    }
    const agent = new tls.TLSSocket(raw, {
      isServer: true,
      requestCert: true,
      rejectUnauthorized: false,
      secureContext: tls.createSecureContext({cert: own, key: own, minVersion: 'TLSv1.3'}),
      ALPNProtocols: ['h2'],
    })
    agent.on('error', () => undefined)
    agent.once('secure', () => {
      const certificate = agent.getPeerX509Certificate()
      if (!certificate) {
        agent.destroy()
        return
      }
      note()
      const serial = certificate.serialNumber
      const edge = /CN=([^.]+)\.edge\.lkeobs/.exec(certificate.subject)?.[1] ?? ''
      const leaf = leaves.get(serial)
      if (leaf === undefined) {
        strangers.push(`${edge} ${serial}`)
        agent.destroy()
        return
      }
      const seen: Presented = {edge, serial, atMs: Date.now(), validToMs: Date.parse(certificate.validTo)}
      presented.push(seen)
      const inner = tls.connect({
        host: '127.0.0.1',
        port: gateway,
        cert: leaf,
        key: leaf,
        ca: read('hub', 'ca', 'ca.pem'),
        ALPNProtocols: ['h2'],
        minVersion: 'TLSv1.3',
      })
      inner.once('secureConnect', () => {
        const server = inner.getPeerX509Certificate()?.serialNumber ?? ''
        if (shown.at(-1) !== server) shown.push(server)
      })
      inner.on('error', (error: NodeJS.ErrnoException) => {
        // with TLS 1.3 a client is refused after its handshake, by an alert
        if (error.code?.startsWith('ERR_SSL')) seen.refusal = error.message
      })
      for (const [one, other] of [
        [agent, inner],
        [inner, agent],
      ] as const)
        one.on('close', () => other.destroy())
      agent.on('close', () => (seen.closedMs = Date.now()))
      agent.pipe(inner).pipe(agent)
    })
  }
  const server = net.createServer(relayed)
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    presented: presented as readonly Presented[],
    shown: shown as readonly string[],
    /** Leaves nobody has a file of. */
    strangers: strangers as readonly string[],
    /** The serial that each edge presented last before the moment. */
    lastBefore: (ms: number): ReadonlyMap<string, string> =>
      new Map(presented.filter(({atMs}) => atMs < ms).map(({edge, serial}) => [edge, serial])),
    /** The serials on the connections of an edge that are open now. */
    openOf: (edge: string): readonly string[] =>
      presented.filter((one) => one.edge === edge && one.closedMs === undefined && one.refusal === undefined).map(({serial}) => serial),
    async close(): Promise<void> {
      clearInterval(noting)
      for (const socket of open) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
