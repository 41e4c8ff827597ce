import {once} from 'node:events'
import {readdirSync, readFileSync, readlinkSync} from 'node:fs'
import net from 'node:net'
import {eventually} from '../lab/cli.ts'
import type {DataLab} from '../support/data-lab.ts'

/** The inode of the socket whose local port this is (proc_net_tcp(5)), once the kernel lists it. */
const inodeOf = (port: number): string | undefined => {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const line = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((text) => text.trim().split(/\s+/))
    .find((fields) => fields[1] === `0100007F:${hex}`)
  return line?.[9]
}

const holds = (pid: number, inode: string): boolean => {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`
      } catch {
        return false
      }
    })
  } catch {
    return false
  }
}

/** The way from agents to the gateway, on which single edges can be cut off: bytes pass, or nothing does. */
export const openWay = async (lab: () => DataLab | undefined, port: number, gateway: number) => {
  const cut = new Set<string>()
  const open = new Map<net.Socket, string>()
  const edgeOf = async (client: number): Promise<string> => {
    const fleet = lab()
    const inode = inodeOf(client)
    if (!fleet || inode === undefined) return ''
    for (const edge of fleet.edges) if (holds(await fleet.pidOf(edge, 'agent').catch(() => 0), inode)) return edge
    return ''
  }
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined)
    socket.pause()
    void edgeOf(socket.remotePort ?? 0).then((edge) => {
      if (cut.has(edge)) return socket.destroy()
      open.set(socket, edge)
      const inner = net.connect(gateway, '127.0.0.1')
      inner.on('error', () => undefined)
      inner.on('close', () => socket.destroy())
      socket.on('close', () => {
        open.delete(socket)
        inner.destroy()
      })
      socket.pipe(inner).pipe(socket)
      return socket.resume()
    })
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    async cutOff(edge: string): Promise<void> {
      cut.add(edge)
      // whose a connection from before the lab was known is, is seen when it is dialled anew
      for (const [socket, owner] of open) if (owner === edge || owner === '') socket.destroy()
      await eventually(`nothing of ${edge} passes`, () => ![...open.values()].includes(edge), 5000)
    },
    letThrough: (edge: string) => cut.delete(edge),
    async close(): Promise<void> {
      server.close()
      for (const socket of open.keys()) socket.destroy()
      await once(server, 'close')
    },
  }
}
