import {execFileSync} from 'node:child_process'
import {readdirSync, readFileSync, readlinkSync} from 'node:fs'
import {type AddressInfo, createServer} from 'node:net'
import path from 'node:path'

const isFree = async (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({port, host: '127.0.0.1', exclusive: true}, () => server.close(() => resolve(true)))
  })

/** A TCP port of this machine that nobody listens on now. */
const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({port: 0, host: '127.0.0.1', exclusive: true}, () => {
      const {port} = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

/** So many of them, all different. */
export const freePorts = async (count: number): Promise<readonly number[]> => {
  const found = new Set<number>()
  while (found.size < count) found.add(await freePort())
  return [...found]
}

/** The inode of the socket that listens on the port (proc(5): local address, state 0A, inode). */
const listeningInode = (port: number): string | undefined => {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readFileSync(file, 'latin1').split('\n')) {
      const fields = line.trim().split(/\s+/)
      if (fields[1]?.endsWith(suffix) && fields[3] === '0A') return fields[9]
    }
  }
  return undefined
}

/** The inodes of a process's sockets. */
const socketsOf = (pid: number): ReadonlySet<string> => {
  try {
    const targets = readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`)
      } catch {
        return ''
      }
    })
    return new Set(targets.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []))
  } catch {
    return new Set()
  }
}

const established = '01'

/** The connections to a remote port in what /proc/net/tcp and /proc/net/tcp6 say, each by its local port, with its inode (proc(5)). */
export const connectionsIn = (table: string, port: number): readonly {readonly port: number; readonly inode: string}[] => {
  const remote = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return table
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[2]?.endsWith(remote) && fields[3] === established)
    .map((fields) => ({port: Number.parseInt(fields[1]?.split(':')[1] ?? '', 16), inode: fields[9] ?? ''}))
}

/** The TCP connections that a process has to a remote port, each by its local port; undefined where that cannot be seen. */
export const connectionsTo = (pid: number, port: number): readonly number[] | undefined => {
  if (process.platform !== 'linux') return undefined
  const own = socketsOf(pid)
  return ['/proc/net/tcp', '/proc/net/tcp6']
    .flatMap((file) => connectionsIn(readFileSync(file, 'latin1'), port))
    .filter(({inode}) => own.has(inode))
    .map((connection) => connection.port)
}

/** argv[0]; the name in comm may be that of a thread. */
const nameOf = (pid: string): string => path.basename(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0] ?? '')

/** Where a lab's process works, so that a person knows which lab to stop. */
const labOf = (pid: string): string => {
  const [folder, inLab] = readlinkSync(`/proc/${pid}/cwd`).split('/.lkeobs/')
  return inLab === undefined ? '' : ` (the lab in ${folder})`
}

/** Who listens on a port: its pid where that can be seen, and how a person calls it (`prometheus, pid 4242`). */
export type Holder = {readonly pid?: number; readonly shown: string}

const stranger: Holder = {shown: 'a process of another user'}

const holderOnLinux = (port: number): Holder => {
  const inode = listeningInode(port)
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const owns = readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`)
      if (owns) return {pid: Number(pid), shown: `${nameOf(pid)}, pid ${pid}${labOf(pid)}`}
    } catch {
      // it ended meanwhile, or is somebody else's
    }
  }
  return stranger
}

/** Who listens on the TCP port of this machine; undefined when it is free. */
export const holder = async (port: number): Promise<Holder | undefined> => {
  if (await isFree(port)) return undefined
  if (process.platform === 'linux') return holderOnLinux(port)
  try {
    const [pid, name] = execFileSync('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc'], {encoding: 'utf8'}).split('\n')
    return {pid: Number(pid?.slice(1)), shown: `${name?.slice(1) ?? 'a process'}, pid ${pid?.slice(1)}`}
  } catch {
    return stranger
  }
}
