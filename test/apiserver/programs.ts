import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {existsSync} from 'node:fs'
import {homedir, tmpdir} from 'node:os'
import path from 'node:path'
import {createInterface} from 'node:readline'
import {programPath} from '../../src/programs/locate.ts'
import {lkeobsAloud} from '../lab/cli.ts'

const ours = ['etcd', 'kube-apiserver'] as const
const heartbeatMs = 30_000

const cache =
  process.env['LKEOBS_CLUSTER_BIN'] || path.join(process.env['XDG_CACHE_HOME'] || path.join(homedir(), '.cache'), 'lkeobs-cluster')

const hasGo = (): boolean =>
  [...(process.env['PATH'] ?? '').split(path.delimiter), '/usr/local/go/bin'].some((folder) => existsSync(path.join(folder, 'go')))

/** Why there can be no API server here. */
export const unavailable: string | undefined =
  process.platform === 'linux'
    ? hasGo()
      ? undefined
      : 'there is no Go to build kube-apiserver with'
    : 'kube-apiserver is built on Linux only'

const say = (line: string) => void process.stderr.write(`${line}\n`)

/** Built once for a machine, which takes minutes. */
const build = async (): Promise<void> => {
  const started = Date.now()
  const child = spawn(path.resolve(import.meta.dirname, '../cluster/build'), ours, {stdio: ['ignore', 'pipe', 'inherit']})
  // two workers wait for the same build
  const isOther = (process.env['VITEST_POOL_ID'] ?? '1') !== '1'
  const alive = setInterval(() => {
    if (!isOther) say(`building ${ours.join(' and ')}, once for this machine: ${Math.round((Date.now() - started) / 1000)} s`)
  }, heartbeatMs)
  createInterface(child.stdout).on('line', (line) => {
    if (!line.endsWith(' there')) say(line)
  })
  const [code] = (await once(child, 'close')) as [number | null]
  clearInterval(alive)
  if (code !== 0) throw new Error(`test/cluster/build ${ours.join(' ')} ended with exit code ${code}`)
}

type Programs = {readonly etcd: string; readonly apiserver: string; readonly kubectl: string; readonly helm: string}

const all = async (): Promise<Programs> => {
  await build()
  const find = () => Promise.all([programPath('kubectl'), programPath('helm')])
  const [kubectl, helm] = await find().catch(async () => {
    const code = await lkeobsAloud(tmpdir(), ['tools', 'install', 'kubernetes'])
    if (code !== 0) throw new Error(`the programs cannot be had: tools install ended with exit code ${code}`)
    return find()
  })
  return {etcd: path.join(cache, 'bin/etcd'), apiserver: path.join(cache, 'bin/kube-apiserver'), kubectl, helm}
}

let found: Promise<Programs> | undefined
export const programs = (): Promise<Programs> => (found ??= all())
