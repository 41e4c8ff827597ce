import {execFileSync, spawn} from 'node:child_process'
import {once} from 'node:events'
import {readFileSync} from 'node:fs'
import {open, readFile, rm, mkdir} from 'node:fs/promises'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {LkeobsError, messageOf} from '../errors.ts'
import type {Secret} from '../secret.ts'
import {cutShort, overgrown, setAside, tail} from './logs.ts'
import {connectionsTo, freePorts, type Holder, holder} from './ports.ts'

/** A process, told apart from a later one with the same pid by when it started. */
export type Identity = {readonly pid: number; readonly started: string}

/** A process of ours that is alive, and the digest of the wish it was started with. */
export type Running = Identity & {readonly wish: string}

export type Launch = {
  /** The file that says who it is: written by the process itself before it becomes the program, so a start survives our own death. */
  readonly record: string
  /** Digest of everything that needs a restart when it changes. */
  readonly wish: string
  readonly file: string
  readonly args: readonly string[]
  readonly folder: string
  readonly log: string
  /** What it alone is told, beside what every process is. */
  readonly env?: Readonly<Record<string, string | Secret>>
}

export type Processes = {
  find(record: string): Promise<Running | undefined>
  /** Starts it detached, its output appended to the log. Returns when it has said who it is, or has ended without. Throws LKO-3004 where record or log cannot be written. */
  start(launch: Launch): Promise<void>
  /** SIGTERM, then SIGKILL after `graceMs`. Nothing to stop is fine. Throws LKO-3006 where it stays. */
  stop(record: string, graceMs: number): Promise<void>
  /** SIGHUP: it reads its files again. Nothing to tell is fine. */
  reload(record: string): Promise<void>
  /** Who listens on the TCP port of this machine; undefined when it is free. */
  holder(port: number): Promise<Holder | undefined>
  /** The TCP connections that a process has to a remote port, each by its local port; undefined where that cannot be seen. */
  connectionsTo(pid: number, port: number): readonly number[] | undefined
  /** TCP ports of this machine that are free now. */
  freePorts(count: number): Promise<readonly number[]>
  /** Resident memory and running time. */
  usage(pid: number): {readonly residentBytes: number; readonly upMs: number} | undefined
  /** Seconds of a processor it has had; undefined where it has ended. */
  cpuSeconds(pid: number): number | undefined
  /** The last lines of a log file. */
  tail(log: string, lines: number): Promise<readonly string[]>
  /** The log files of a folder that have grown beyond their limit. */
  overgrown(folder: string): Promise<readonly string[]>
  /** Sets aside what a running program has logged; it goes on in the same file. */
  cutShort(log: string): Promise<void>
}

const ticksPerSecond = 100

const statOf = (pid: number): readonly string[] | undefined => {
  try {
    // the name in brackets may hold spaces
    return readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')
  } catch {
    return undefined
  }
}

/** When a process started, in the system's own words: clock ticks since boot on Linux, a date elsewhere. */
export const startOf = (pid: number): string | undefined => {
  if (process.platform === 'linux') {
    const fields = statOf(pid)
    // a zombie has ended; field 22 of proc(5) is the 20th after the name
    return fields === undefined || fields[0] === 'Z' ? undefined : fields[19]
  }
  try {
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {encoding: 'utf8'}).trim() || undefined
  } catch {
    return undefined
  }
}

export const isAlive = ({pid, started}: Identity): boolean => startOf(pid) === started

/** Writes pid, start and wish where the record is wanted, then becomes the program: same pid, same start. */
const selfRecording = `umask 077
command -v "$3" >/dev/null || { echo "$3: not found"; exit 127; }
if [ -r /proc/$$/stat ]; then started=$(cut -d' ' -f22 /proc/$$/stat); else started=$(ps -o lstart= -p $$); fi
printf '%s\\n%s\\n%s\\n' "$$" "$started" "$2" > "$1.tmp" && mv -f "$1.tmp" "$1" || exit 1
shift 2
exec "$@"`

const find = async (record: string): Promise<Running | undefined> => {
  const [pid, started, wish] = (await readFile(record, 'utf8').catch(() => '')).split('\n')
  if (!pid || !started) return undefined
  const running = {pid: Number(pid), started: started.trim(), wish: wish ?? ''}
  return isAlive(running) ? running : undefined
}

const start = async (launch: Launch): Promise<void> => {
  try {
    await mkdir(path.dirname(launch.record), {recursive: true, mode: 0o700})
    await mkdir(path.dirname(launch.log), {recursive: true, mode: 0o700})
    await mkdir(launch.folder, {recursive: true, mode: 0o700})
    await rm(launch.record, {force: true})
    await setAside(launch.log)
    const log = await open(launch.log, 'a', 0o600)
    try {
      const {PATH = '/usr/bin:/bin', HOME = launch.folder, LANG = 'C.UTF-8'} = process.env
      const child = spawn('/bin/sh', ['-c', selfRecording, 'sh', launch.record, launch.wish, launch.file, ...launch.args], {
        cwd: launch.folder,
        detached: true,
        env: {
          PATH,
          HOME,
          LANG,
          ...Object.fromEntries(
            Object.entries(launch.env ?? {}).map(([name, value]) => [name, typeof value === 'string' ? value : value.reveal()]),
          ),
        },
        stdio: ['ignore', log.fd, log.fd],
      })
      await once(child, 'spawn')
      child.unref()
      while (child.exitCode === null && child.signalCode === null && (await find(launch.record)) === undefined) await sleep(10)
    } finally {
      await log.close()
    }
  } catch (error) {
    throw new LkeobsError('LKO-3004', `${launch.log} or ${launch.record} cannot be written: ${messageOf(error)}`, {
      next: [`df -h ${launch.folder}`],
    })
  }
}

const stop = async (record: string, graceMs: number): Promise<void> => {
  const running = await find(record)
  if (running) {
    const gone = async (ms: number) => {
      for (const end = Date.now() + ms; Date.now() < end; await sleep(50)) if (!isAlive(running)) return true
      return !isAlive(running)
    }
    try {
      process.kill(running.pid, 'SIGTERM')
      if (!(await gone(graceMs))) {
        process.kill(running.pid, 'SIGKILL')
        if (!(await gone(5000))) throw new Error('it is still there after SIGKILL')
      }
    } catch (error) {
      if (isAlive(running))
        throw new LkeobsError('LKO-3006', `Process ${running.pid} of ${record}: ${messageOf(error)}`, {next: [`ps -fp ${running.pid}`]})
    }
  }
  await rm(record, {force: true})
}

const reload = async (record: string): Promise<void> => {
  const running = await find(record)
  if (running) process.kill(running.pid, 'SIGHUP')
}

const usage = (pid: number): {residentBytes: number; upMs: number} | undefined => {
  const fields = statOf(pid)
  if (fields === undefined) return undefined
  const bootSeconds = Number(readFileSync('/proc/uptime', 'latin1').split(' ')[0])
  const resident = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
  return {residentBytes: Number(resident ?? 0) * 1024, upMs: (bootSeconds - Number(fields[19]) / ticksPerSecond) * 1000}
}

const cpuSeconds = (pid: number): number | undefined => {
  const fields = statOf(pid)
  // utime and stime are fields 14 and 15 of proc(5)
  return fields && (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

export const createProcesses = (): Processes => ({
  find,
  start,
  stop,
  reload,
  holder,
  connectionsTo,
  freePorts,
  usage,
  cpuSeconds,
  tail,
  overgrown,
  cutShort,
})

export const dryProcesses = (processes: Processes, record: (line: string) => void): Processes => {
  // CLUSTER/run/COMPONENT
  const name = (file: string) => `${path.basename(path.resolve(file, '../..'))}/${path.basename(file)}`
  return {
    ...processes,
    async start({record: file, file: program, args}) {
      record(`start ${name(file)}: ${path.basename(program)} ${args.join(' ')}`)
    },
    async stop(file) {
      if (await processes.find(file)) record(`stop ${name(file)}`)
    },
    async reload(file) {
      if (await processes.find(file)) record(`kill -HUP ${name(file)}`)
    },
    async cutShort(log) {
      record(`cp ${log} ${log}.1 && truncate -s 0 ${log}`)
    },
  }
}
