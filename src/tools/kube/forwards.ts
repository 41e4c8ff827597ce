import net from 'node:net'
import type {Api} from './api.ts'
import type {PodAddress} from './kube.ts'
import type {Socket} from './socket.ts'

const portForwardHeader = 2

/** Leads one connection into a pod. Whatever goes wrong on the way ends it. */
const lead = async (connection: net.Socket, api: Api, at: string, onSocket: (socket: Socket) => void): Promise<void> => {
  const headerSeen = new Set<number>()
  let socket: Socket | undefined
  try {
    socket = await api.socket(at, (channel, data) => {
      // the first message of each channel is the port's number
      const content = headerSeen.has(channel) ? data : data.subarray(portForwardHeader)
      headerSeen.add(channel)
      if (content.length === 0) return
      // channel 1 tells why the pod cannot be reached
      if (channel !== 0) connection.destroy()
      else if (!connection.write(content)) socket?.pause()
    })
  } catch {
    connection.destroy()
    return
  }
  const open = socket
  onSocket(open)
  open.addEventListener('close', () => connection.end())
  if (connection.destroyed) return open.terminate()
  connection.on('drain', () => open.resume())
  connection.on('close', () => open.terminate())
  connection.on('data', (chunk) => {
    connection.pause()
    open.send(Buffer.concat([Buffer.of(0), chunk]), () => connection.resume())
  })
  connection.resume()
}

/** Addresses on this machine that lead into pods. */
export const openForwards = (api: Api, podsOf: (to: PodAddress) => Promise<readonly string[]>) => {
  const servers = new Map<string, {readonly server: net.Server; readonly address: Promise<string>}>()
  const alive = new Set<{destroy(): void}>()
  const keep = (thing: {destroy(): void}, closed: (forget: () => void) => void) => {
    alive.add(thing)
    closed(() => alive.delete(thing))
  }
  const listen = (to: PodAddress) => {
    let turn = 0
    const accept = async (connection: net.Socket) => {
      connection.on('error', () => connection.destroy())
      keep(connection, (forget) => connection.on('close', forget))
      try {
        const pods = await podsOf(to)
        const pod = pods[turn++ % pods.length]
        if (pod === undefined) throw new Error('no pod is ready')
        const at = `/api/v1/namespaces/${to.namespace}/pods/${pod}/portforward?ports=${to.port}`
        await lead(connection, api, at, (socket) =>
          keep({destroy: () => socket.terminate()}, (forget) => void connection.on('close', forget)),
        )
      } catch {
        // whoever connected sees the connection end, and says what it was for
        connection.destroy()
      }
    }
    const server = net.createServer({pauseOnConnect: true, noDelay: true}, (connection) => void accept(connection))
    const address = new Promise<string>((resolve, reject) => {
      server.once('error', reject)
      server.listen(0, '127.0.0.1', () => resolve(`127.0.0.1:${(server.address() as net.AddressInfo).port}`))
    })
    // a forward that nobody uses is no reason to go on
    server.unref()
    return {server, address}
  }
  return {
    to(address: PodAddress): Promise<string> {
      const key = JSON.stringify([address.namespace, address.port, 'pod' in address ? `pod ${address.pod}` : address.labels])
      const known = servers.get(key) ?? listen(address)
      servers.set(key, known)
      return known.address
    },
    end() {
      for (const {server} of servers.values()) server.close()
      servers.clear()
      for (const thing of alive) thing.destroy()
      alive.clear()
    },
  }
}
