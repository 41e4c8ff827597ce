import {createHash} from 'node:crypto'
import path from 'node:path'
import {graceMs as gatewayGraceMs} from '../../collector/destinations.ts'
import type {Component} from '../../components/component.ts'
import {LkeobsError} from '../../errors.ts'
import {bytes} from '../../output.ts'
import type {Step} from '../../steps/step.ts'
import type {Tools} from '../../tools/index.ts'
import type {ComponentState, Place} from '../platform.ts'

export type Local = {
  readonly cluster: string
  readonly folder: string
  readonly place: (component: string) => Place
  readonly tools: Tools
}

const readyWithinMs = 60_000
const shownLogLines = 12

export const recordOf = ({folder}: Pick<Local, 'folder'>, component: string): string => path.join(folder, 'run', component)
export const logOf = ({folder}: Pick<Local, 'folder'>, component: string): string => path.join(folder, 'logs', `${component}.log`)

/** So little that programs hang or die on their next write. */
const fullBytes = 4e6

/** Throws LKO-3004 where less than this can still be written. */
export const checkSpace = async (folder: string, neededBytes: number, files: Pick<Tools['files'], 'free'>): Promise<void> => {
  const free = await files.free(folder)
  if (free >= neededBytes) return
  throw new LkeobsError('LKO-3004', `${folder} has ${bytes(free)} left; ${bytes(neededBytes)} are needed.`, {next: [`df -h ${folder}`]})
}

/** Digest of everything that needs a restart when it changes. */
const wishOf = async ({place, tools}: Local, program: string, component: Component): Promise<string> => {
  const {file} = place(component.name)
  const handed = await Promise.all((component.restartOn ?? []).map((name) => tools.files.read(file(name))))
  const told = [component.variables, (await component.environment?.())?.version].filter((each) => each !== undefined)
  return createHash('sha256')
    .update(JSON.stringify([program, component.args, component.files, handed, ...told]))
    .digest('hex')
    .slice(0, 16)
}

/**
 * An agent hands over what it holds before it ends; the others have it on disk, and Tempo is deaf in its first seconds. A gateway
 * ends before its feeds give anything up.
 */
const graceOf = (record: string): number => (record.endsWith('agent') ? 20_000 : record.endsWith('gateway') ? gatewayGraceMs : 8000)

/** The component's process lives, was started with this wish, and is ready. */
export const runs = (local: Local, component: Component): Step => {
  const {processes, program, files} = local.tools
  const record = recordOf(local, component.name)
  const log = logOf(local, component.name)

  const asWished = async (): Promise<true | string> => {
    const running = await processes.find(record)
    if (!running) return 'not running'
    return running.wish === (await wishOf(local, await program(component.program), component)) ? true : 'running with another configuration'
  }

  const done = async (): Promise<true | string> => {
    const running = await asWished()
    return running === true ? component.ready(local.tools) : running
  }

  const isStuck = async (): Promise<boolean> => {
    const running = await processes.find(record)
    return running !== undefined && (processes.usage(running.pid)?.upMs ?? 0) > readyWithinMs
  }

  const start = async (): Promise<void> => {
    const {folder, file} = local.place(component.name)
    for (const [name, content] of Object.entries(component.files)) await files.write(file(name), content)
    const executable = await program(component.program)
    const env = {...component.variables, ...(await component.environment?.())?.values}
    await processes.start({
      record,
      wish: await wishOf(local, executable, component),
      file: executable,
      args: component.args,
      folder,
      log,
      env,
    })
  }

  return {
    title: `${component.title} on ${local.cluster}`,
    patienceMs: readyWithinMs,
    done,
    async apply() {
      // one that an earlier run started a moment ago only needs time
      if ((await asWished()) === true && !(await isStuck())) return
      await processes.stop(record, graceOf(record))
      await start()
    },
    async watch() {
      await checkSpace(local.folder, fullBytes, files)
      if ((await processes.find(record)) !== undefined) return
      const lines = await processes.tail(log, shownLogLines)
      const {cutOff} = component
      if (cutOff && lines.some((line) => line.includes(cutOff.says))) {
        await files.remove(local.place(component.name).file(cutOff.remove))
        return start()
      }
      throw new LkeobsError(
        'LKO-3003',
        `${component.title} on ${local.cluster} ended before it was ready. Last lines of ${log}:\n${lines.join('\n')}`,
        {
          next: [`less ${log}`],
        },
      )
    },
  }
}

export const stoppedProcess = (title: string, record: string, {processes}: Pick<Tools, 'processes'>): Step => ({
  title,
  done: async () => ((await processes.find(record)) === undefined ? true : 'still running'),
  apply: () => processes.stop(record, graceOf(record)),
})

export const stopped = (local: Local, component: string, title: string): Step =>
  stoppedProcess(title, recordOf(local, component), local.tools)

/** No log of the cluster is larger than it may be. A program's log is set aside at each start, too. */
export const logsBounded = ({cluster, folder, tools: {processes}}: Local): Step => {
  const overgrown = () => processes.overgrown(path.join(folder, 'logs'))
  return {
    title: `logs on ${cluster} within their limit`,
    async done() {
      const logs = await overgrown()
      return logs.length === 0 ? true : `${logs.map((log) => path.basename(log)).join(', ')} grew too large`
    },
    async apply() {
      for (const log of await overgrown()) await processes.cutShort(log)
    },
  }
}

export const inspect = async (local: Local, component: Component): Promise<ComponentState> => {
  const log = logOf(local, component.name)
  const running = await local.tools.processes.find(recordOf(local, component.name))
  if (!running) return {component: component.name, state: 'not running', log}
  const ready = await component.ready(local.tools)
  return {
    component: component.name,
    state: ready === true ? 'ready' : ready,
    pid: running.pid,
    ...local.tools.processes.usage(running.pid),
    log,
  }
}

/** Has a component read its files again that it reads when it is told to. */
export const reloaded = (local: Local, component: string): Promise<void> => local.tools.processes.reload(recordOf(local, component))
