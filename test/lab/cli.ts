import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdtemp, readdir, readFile, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {newLabFleet} from '../../src/fleet/edit.ts'

export type Ended = {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly ms: number
}

const bin = path.resolve(import.meta.dirname, '../../bin/run.js')

/** The command line as a person starts it, in a folder, without a terminal; with `input` on stdin, where there is any. */
export const start = (
  folder: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  input?: string,
  nodeArgs: readonly string[] = [],
) => {
  const started = Date.now()
  const child = spawn(process.execPath, [...nodeArgs, bin, ...args], {
    cwd: folder,
    env: {...process.env, ...env},
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  // whoever reads nothing hangs up
  child.stdin.on('error', () => undefined)
  child.stdin.end(input ?? '')
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const ended = once(child, 'close').then(([code, signal]): Ended => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    stdout,
    stderr,
    ms: Date.now() - started,
  }))
  return {child, ended}
}

/** The same with its progress on our own stderr, for what takes minutes. */
export const lkeobsAloud = async (folder: string, args: readonly string[]): Promise<number | null> => {
  const child = spawn(process.execPath, [bin, ...args], {cwd: folder, stdio: ['ignore', 'ignore', 'inherit']})
  const [code] = (await once(child, 'close')) as [number | null]
  return code
}

export const lkeobs = (folder: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended> => start(folder, args, env).ended

/** The one document of a --json run. */
export const document = <T>({stdout}: Ended): T => JSON.parse(stdout) as T

/** Ports that a lab of a person on the same machine does not use; others where two suites run side by side. */
const first = Number(process.env['LKEOBS_TEST_PORTS'] ?? 21_300)
export const firstPorts = {hub: first, edge: first + 100} as const

/** A new folder with a lab's fleet file on the tests' own ports. */
export const labFolder = async (edges = 1): Promise<string> => {
  const folder = await mkdtemp(path.join(tmpdir(), 'lkeobs-lab-'))
  const text = newLabFleet({edges})
    .replaceAll('14300', String(firstPorts.hub))
    .replaceAll(/ports: 144(\d\d)/g, (_, at: string) => `ports: ${firstPorts.edge + Number(at)}`)
  await writeFile(path.join(folder, 'lkeobs.yaml'), text)
  return folder
}

/** The pids that the processes of a cluster wrote down, by component. */
export const pidsOf = async (folder: string, cluster: string): Promise<Record<string, number>> => {
  const run = path.join(folder, '.lkeobs', cluster, 'run')
  const names = await readdir(run).catch((): string[] => [])
  const pids = await Promise.all(
    names.map(async (name) => [name, Number((await readFile(path.join(run, name), 'utf8')).split('\n')[0])] as const),
  )
  return Object.fromEntries(pids)
}

/** Asks until it is so; fails after the time. */
export const eventually = async (what: string, ask: () => Promise<boolean> | boolean, withinMs: number): Promise<void> => {
  for (const end = Date.now() + withinMs; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 200)))
    if (await ask()) return
  throw new Error(`not so within ${withinMs} ms: ${what}`)
}
