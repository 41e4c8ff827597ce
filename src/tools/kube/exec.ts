import {LkeobsError, messageOf} from '../../errors.ts'
import {type Api, statusIn} from './api.ts'
import type {Kube, KubeTarget} from './kube.ts'
import {kubectl} from './kubectl.ts'
import {forbidden, silent} from './refusal.ts'
import type {Socket} from './socket.ts'

const execMs = 120_000

/** Runs commands in the containers of a cluster. */
export const createExec =
  (api: Api, target: KubeTarget): Kube['exec'] =>
  async ({namespace, pod, container}, command) => {
    const words = new URLSearchParams([
      ['stdout', 'true'],
      ['stderr', 'true'],
      ...(container === undefined ? [] : [['container', container] as [string, string]]),
      ...command.map((word): [string, string] => ['command', word]),
    ])
    const written: Record<number, Buffer[]> = {1: [], 2: [], 3: []}
    const line = kubectl(
      target,
      'exec',
      '--namespace',
      namespace,
      pod,
      ...(container === undefined ? [] : ['-c', container]),
      '--',
      ...command,
    )
    const text = (channel: number) => Buffer.concat(written[channel] ?? []).toString()
    let socket: Socket
    try {
      socket = await api.socket(`/api/v1/namespaces/${namespace}/pods/${pod}/exec?${words.toString()}`, (channel, data) =>
        written[channel]?.push(data),
      )
    } catch (error) {
      if (error instanceof LkeobsError) throw error
      const why = messageOf(error)
      if (why === 'HTTP 403' || why === 'HTTP 401')
        throw forbidden(target, `cannot create resource "pods/exec" in API group "" in the namespace "${namespace}" (${why})`)
      if (why.startsWith('HTTP '))
        throw new LkeobsError('LKO-4003', `${line}\nthere is no such pod or container, or it does not run (${why})`)
      throw silent(target, why)
    }
    const ended = await new Promise<string | undefined>((resolve) => {
      const timer = setTimeout(() => {
        resolve(`did not end within ${execMs / 1000} s`)
        socket.terminate()
      }, execMs)
      socket.addEventListener('close', () => {
        clearTimeout(timer)
        const {status, message = 'the connection ended before the command did'} = statusIn(text(3))
        resolve(status === 'Success' ? undefined : message)
      })
    })
    if (ended === undefined) return text(1)
    const last = `${text(1)}${text(2)}`.trimEnd().split('\n').slice(-20).join('\n')
    throw new LkeobsError('LKO-4003', `${line}\n${ended}${last && `:\n${last}`}`)
  }
