import type {Shell} from './shell.ts'

/** Bytes that were sent and acknowledged on a TCP connection to one of these ports of this machine, by connection. */
export type Wires = ReadonlyMap<string, {readonly port: number; readonly bytes: number}>

/** The lines of `ss -tinHO` (iproute2). */
export const readWires = (text: string): Wires =>
  new Map(
    text.split('\n').flatMap((line) => {
      const [, local, port] = /^\S+\s+\d+\s+\d+\s+(\S+)\s+\S+:(\d+)\s/.exec(line) ?? []
      const bytes = /\bbytes_acked:(\d+)/.exec(line)?.[1]
      return local === undefined ? [] : [[`${local}→${port}`, {port: Number(port), bytes: Number(bytes ?? 0)}] as const]
    }),
  )

/** What the kernel counts on connections to these ports; undefined where `ss` is not to be had. */
export const wiresTo = async (shell: Shell, ports: readonly number[]): Promise<Wires | undefined> => {
  const filter = `( ${ports.map((port) => `dport = :${port}`).join(' or ')} )`
  try {
    return readWires(await shell.run({file: 'ss', args: ['-tinHO', filter], timeoutMs: 5000}))
  } catch {
    return undefined
  }
}
