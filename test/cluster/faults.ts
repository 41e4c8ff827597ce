import {readdirSync, readFileSync} from 'node:fs'
import {rm, writeFile} from 'node:fs/promises'
import {createServer, type Server} from 'node:net'
import path from 'node:path'
import {setTimeout as sleep} from 'node:timers/promises'
import {describe, expect, test} from 'vitest'
import {document, type Ended, eventually, lkeobs, start} from '../lab/cli.ts'
import {
  apply,
  byHand,
  charts,
  type ClusterName,
  files,
  type FleetText,
  get,
  helm,
  inNode,
  kubectl,
  podsOf,
  script,
  textOf,
  typedLine,
  variant,
} from './bed.ts'

type Outcome = {title: string; state: string; remarks?: string[]; durationMs: number}
type Run = {steps: Outcome[]}
type Failure = {code: string; exit: number; message: string; next: string[]}

/** What the suite has that provokes the faults. */
type Bed = {
  readonly folder: () => string
  readonly fleet: () => FleetText
  readonly note: (what: string, figure: number | string) => void
  readonly succeeded: <T>(ended: Ended) => T
  readonly failure: (ended: Ended) => Failure
}

const hubInit = ['hub', 'init'] as const
const edgeJoin = ['edge', 'join', 'edge-1'] as const
/** From when nothing can become right by itself until the command has ended. */
const withinMs = 30_000

/** The processes that a process of this machine has started. */
const childrenOf = (parent: number | undefined): readonly {readonly pid: number; readonly command: string}[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const [, ppid] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
        return Number(ppid) === parent ? [{pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, 'latin1')}] : []
      } catch {
        // it has ended by itself
        return []
      }
    })

const kill = (pid: number): void => {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // it has ended by itself
  }
}

type ContainerStatus = {
  readonly name: string
  readonly restartCount: number
  readonly state: {readonly waiting?: {readonly reason: string}}
}
type Pods = {
  items: {
    metadata: {name: string; deletionTimestamp?: string}
    status: {
      conditions?: {type: string; status: string; reason?: string}[]
      containerStatuses?: ContainerStatus[]
    }
  }[]
}

/** Faults on real clusters: what the command says of them, how soon, and that it goes on once they are mended. */
export const faultsOf = ({folder, fleet, note, succeeded, failure}: Bed): void => {
  const run = (args: readonly string[], env?: NodeJS.ProcessEnv) => lkeobs(folder(), [...args, '--json'], env)
  const mended = async (args: readonly string[]): Promise<Run> => succeeded<Run>(await run(args))
  /** The command fails with this code, in these words, and soon enough. */
  const fails = async (args: readonly string[], {code, exit}: Pick<Failure, 'code' | 'exit'>, says: RegExp): Promise<Failure> => {
    const ended = await run(args)
    expect(ended.code, ended.stdout).not.toBe(0)
    const error = failure(ended)
    expect(error).toMatchObject({code, exit})
    expect(error.message).toMatch(says)
    note(`${code}: ${error.message.split('\n')[0]?.slice(0, 60)}`, ended.ms)
    expect(ended.ms).toBeLessThan(withinMs)
    return error
  }
  const podsWith = (release: string, namespace = 'lkeobs') =>
    get<Pods>('edge', 'pods', '-n', namespace, '-l', `app.kubernetes.io/instance=${release}`)
  const containers = async (release: string, namespace?: string) =>
    (await podsWith(release, namespace)).items
      .filter(({metadata}) => metadata.deletionTimestamp === undefined)
      .flatMap(({status}) => status.containerStatuses ?? [])

  describe('faults: which cluster, and who', () => {
    const withHub = async (words: object) => [...hubInit, '--fleet', await variant(folder(), fleet(), 'hub', {...words})]

    test('a context that is not there (LKO-3101)', async () => {
      const {next} = await fails(
        await withHub({context: 'hubb'}),
        {code: 'LKO-3101', exit: 4},
        /hubb is not a context of .* Did you mean hub\?/,
      )
      expect(next.at(-1)).toBe('lkeobs explain LKO-3101')
    })

    test('a context that leads to the other cluster (LKO-3112)', async () => {
      const kubeconfig = path.join(folder(), 'wrong.kubeconfig')
      await writeFile(kubeconfig, (await textOf(files.admin('edge'))).replaceAll('name: edge', 'name: hub').replaceAll(': edge', ': hub'))
      const {next} = await fails(
        await withHub({kubeconfig}),
        {code: 'LKO-3112', exit: 4},
        /The context hub leads to edge-1 \(edge of the fleet acme\), not to hub \(hub of acme\)/,
      )
      expect(next[0]).toMatch(/^kubectl --context hub .*get namespace lkeobs/)
      await rm(kubeconfig)
    })

    test('a user who may do nothing (LKO-3103)', async () => {
      const limited = {context: 'hub-limited', kubeconfig: files.limited('hub')}
      const {next} = await fails(await withHub(limited), {code: 'LKO-3103', exit: 4}, /User "limited" cannot/)
      expect(next[0]).toMatch(/^kubectl --context hub-limited .*auth can-i /)
    })

    test('an API server that refuses connections (LKO-3102)', async () => {
      const kubeconfig = path.join(folder(), 'nobody-listens.kubeconfig')
      await writeFile(kubeconfig, (await textOf(files.admin('hub'))).replace(':6443', ':6444'))
      const {next} = await fails(await withHub({kubeconfig}), {code: 'LKO-3102', exit: 4}, /hub: .*ECONNREFUSED/)
      expect(next[0]).toMatch(/^kubectl .*get --raw \/readyz$/)
      await rm(kubeconfig)
    })

    test('an API server that says nothing (LKO-3102)', async () => {
      const pid = (await inNode('hub', 'pgrep', '-x', 'kube-apiserver')).trim()
      await inNode('hub', 'kill', '-STOP', pid)
      try {
        const {next} = await fails(hubInit, {code: 'LKO-3102', exit: 4}, /hub: .*no answer within/)
        expect(next[0]).toMatch(/^kubectl .*get --raw \/readyz$/)
      } finally {
        await inNode('hub', 'kill', '-CONT', pid)
      }
      await eventually(
        'the API server answers',
        async () => (await kubectl('hub', ['get', '--raw', '/readyz']).catch(() => '')) === 'ok',
        60_000,
      )
      await mended(hubInit)
    })
  })

  describe('faults: pods', () => {
    const waitingFor = (release: string, reason: RegExp, namespace?: string) =>
      eventually(
        `${release} waits: ${reason.source}`,
        async () => (await containers(release, namespace)).some(({state}) => reason.test(state.waiting?.reason ?? '')),
        90_000,
      )

    test('an image that cannot be pulled (LKO-3104)', async () => {
      const list = (...filters: readonly string[]) => inNode('edge', 'ctr', '-n', 'k8s.io', 'images', 'ls', '-q', ...filters)
      // the name, and the names its content has
      const [image = ''] = (await list()).split('\n').filter((name) => name.includes('/openbao:'))
      const table = await inNode('edge', 'ctr', '-n', 'k8s.io', 'images', 'ls')
      const digest =
        table
          .split('\n')
          .find((line) => line.startsWith(image))
          ?.split(/\s+/)[2] ?? ''
      const names = table
        .split('\n')
        .filter((line) => line.includes(digest))
        .map((line) => line.split(/\s+/)[0] ?? '')
      await inNode('edge', 'ctr', '-n', 'k8s.io', 'images', 'rm', '--sync', ...names)
      try {
        await kubectl('edge', ['delete', 'pod', '-n', 'lkeobs', '-l', 'app.kubernetes.io/instance=canary', '--grace-period=1'])
        await waitingFor('canary', /ErrImagePull|ImagePullBackOff/)
        const {next} = await fails(edgeJoin, {code: 'LKO-3104', exit: 5}, /Pod lkeobs\/canary-.* on node edge cannot get .*openbao/)
        expect(next[0]).toMatch(/^kubectl .*-n lkeobs describe pod canary-/)
      } finally {
        await rm(files.loaded('edge', 'openbao'))
        await script('load', 'edge', files.image('openbao'))
      }
      await mended(edgeJoin)
    })

    test('a pod that no node takes (LKO-3105)', async () => {
      await kubectl('edge', ['cordon', 'edge'])
      try {
        await kubectl('edge', ['delete', 'pod', '-n', 'lkeobs', '-l', 'app.kubernetes.io/instance=canary', '--grace-period=1'])
        await eventually(
          'no node takes it',
          async () =>
            (await podsWith('canary')).items.some(({status}) => (status.conditions ?? []).some(({reason}) => reason === 'Unschedulable')),
          30_000,
        )
        const {next} = await fails(edgeJoin, {code: 'LKO-3105', exit: 5}, /canary.*0\/1 nodes are available.*unschedulable/)
        expect(next.join('\n')).toMatch(/describe pod canary-|describe nodes/)
      } finally {
        await kubectl('edge', ['uncordon', 'edge'])
      }
      await mended(edgeJoin)
    })

    test('a container that crashes again and again (LKO-3106)', async () => {
      // the agent is root without any capability: what root may not read by its mode, it may not read
      await inNode('edge', 'chmod', '000', '/var/lib/lkeobs')
      try {
        await kubectl('edge', ['delete', 'pod', '-n', 'lkeobs-node', '-l', 'app.kubernetes.io/instance=agent', '--grace-period=1'])
        await eventually(
          'the agent was started three times',
          async () =>
            (await containers('agent', 'lkeobs-node')).some(
              ({name, restartCount}) => name === 'opentelemetry-collector' && restartCount >= 2,
            ),
          120_000,
        )
        const {next} = await fails(
          edgeJoin,
          {code: 'LKO-3106', exit: 5},
          /Container opentelemetry-collector of pod lkeobs-node\/agent-[\s\S]*permission denied/,
        )
        expect(next[0]).toMatch(/^kubectl .*-n lkeobs-node logs agent-.* --previous/)
      } finally {
        await inNode('edge', 'chmod', '755', '/var/lib/lkeobs')
      }
      await mended(edgeJoin)
    })
  })

  describe('faults: objects', () => {
    test('a webhook that does not answer (LKO-3108)', async () => {
      const name = 'nobody.example.com'
      await apply('edge', {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingWebhookConfiguration',
        metadata: {name},
        webhooks: [
          {
            name,
            clientConfig: {service: {name: 'nobody', namespace: 'default'}},
            rules: [
              {apiGroups: ['networking.k8s.io'], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['networkpolicies']},
            ],
            failurePolicy: 'Fail',
            sideEffects: 'None',
            admissionReviewVersions: ['v1'],
          },
        ],
      })
      try {
        await kubectl('edge', ['delete', 'networkpolicy', 'canary', '-n', 'lkeobs'])
        const {next} = await fails(edgeJoin, {code: 'LKO-3108', exit: 5}, /failed calling webhook "nobody\.example\.com"/)
        expect(next.at(-1)).toBe('lkeobs explain LKO-3108')
      } finally {
        await kubectl('edge', ['delete', 'validatingwebhookconfiguration', name])
      }
      await mended(edgeJoin)
    })

    test('a release of that name from another chart (LKO-3110)', async () => {
      await helm('edge', 'uninstall', 'scraper', '-n', 'lkeobs')
      const other = readdirSync(charts ?? '').find((file) => file.startsWith('dcgm-exporter-')) ?? ''
      await helm('edge', 'install', 'scraper', path.join(charts ?? '', other), '-n', 'lkeobs', '--set', 'serviceMonitor.enabled=false')
      const {next} = await fails(
        edgeJoin,
        {code: 'LKO-3110', exit: 5},
        /scraper in the namespace lkeobs is a release of the chart dcgm-exporter/,
      )
      expect(await typedLine(next[0] ?? '')).toMatch(/scraper.*dcgm-exporter/)
      await helm('edge', 'uninstall', 'scraper', '-n', 'lkeobs')
      await mended(edgeJoin)
    })

    test('an object that is held (LKO-3111), and the command that frees it', async () => {
      const object = ['deployment', 'canary', '-n', 'lkeobs']
      await kubectl('edge', ['patch', ...object, '--type=merge', '-p', '{"metadata":{"finalizers":["example.com/held"]}}'])
      await byHand('edge', ['delete', ...object, '--wait=false'])
      const {next} = await fails(
        edgeJoin,
        {code: 'LKO-3111', exit: 5},
        /Deployment lkeobs\/canary was deleted and is held by example\.com\/held/,
      )
      const frees = next.find((line) => line.includes('finalizers')) ?? ''
      expect(frees).toMatch(/^kubectl /)
      await typedLine(frees)
      await mended(edgeJoin)
    })
  })

  describe('cut short', () => {
    test('killed with helm at its work, edge join finishes when it is run again', async () => {
      await helm('edge', 'uninstall', 'scraper', '-n', 'lkeobs')
      // a webhook that answers nothing keeps helm waiting in the middle of its work
      const silent: Server = createServer().listen(0, '10.77.0.1')
      await eventually('it listens', () => silent.listening, 5000)
      const {port} = silent.address() as {port: number}
      const name = 'silent.example.com'
      await apply('edge', {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingWebhookConfiguration',
        metadata: {name},
        webhooks: [
          {
            name,
            clientConfig: {url: `https://10.77.0.1:${port}/`},
            rules: [{apiGroups: ['apps'], apiVersions: ['v1'], operations: ['CREATE'], resources: ['deployments']}],
            failurePolicy: 'Ignore',
            timeoutSeconds: 20,
            sideEffects: 'None',
            admissionReviewVersions: ['v1'],
          },
        ],
      })
      try {
        const {child, ended} = start(folder(), edgeJoin)
        const records = ['get', 'secrets', '-n', 'lkeobs', '-l', 'owner=helm,name=scraper,status=pending-install', '-o', 'name']
        await eventually('helm is at work', async () => (await kubectl('edge', records)) !== '', 60_000)
        const helms = childrenOf(child.pid).filter(({command}) => command.includes('helm'))
        expect(helms.length).toBe(1)
        child.kill('SIGKILL')
        for (const {pid} of helms) kill(pid)
        await ended
      } finally {
        await kubectl('edge', ['delete', 'validatingwebhookconfiguration', name])
        silent.close()
      }
      const {steps} = await mended(edgeJoin)
      expect(steps.flatMap(({remarks = []}) => remarks).join()).toMatch(/an earlier helm was interrupted \(pending-install\)/)
    })

    test('a release takes about as long as helm and its pods take', async () => {
      const values = await helm('edge', 'get', 'values', 'scraper', '-n', 'lkeobs', '-o', 'yaml')
      const file = path.join(folder(), 'scraper.values.yaml')
      await writeFile(file, values)
      await helm('edge', 'uninstall', 'scraper', '-n', 'lkeobs')
      const chart = readdirSync(charts ?? '').find((one) => one.startsWith('opentelemetry-collector-')) ?? ''
      const started = Date.now()
      await helm('edge', 'upgrade', '--install', 'scraper', path.join(charts ?? '', chart), '-n', 'lkeobs', '-f', file)
      await kubectl('edge', ['rollout', 'status', 'deployment/scraper', '-n', 'lkeobs', '--timeout=60s'])
      const byHelm = Date.now() - started
      await helm('edge', 'uninstall', 'scraper', '-n', 'lkeobs')
      const {steps} = await mended(edgeJoin)
      const ours = steps.find(({title}) => title.startsWith('scraper of'))?.durationMs ?? Number.NaN
      note('a release by helm and kubectl alone', byHelm)
      note('the same release as a step', ours)
      expect(ours).toBeLessThan(byHelm + 5000)
      await rm(file)
    })
  })

  describe('faults: a hub from nothing', () => {
    const anew = async (cluster: ClusterName) => {
      await script('down', cluster)
      await script('up', cluster)
    }

    test('no storage class (LKO-3107)', async () => {
      await anew('hub')
      const classes = await get<{items: object[]}>('hub', 'storageclasses')
      await kubectl('hub', ['delete', 'storageclass', '--all'])
      const started = Date.now()
      const ended = await run(hubInit)
      const error = failure(ended)
      expect(error).toMatchObject({code: 'LKO-3107', exit: 5})
      expect(error.message).toMatch(/storage class/)
      expect(error.next.join('\n')).toMatch(/kubectl .*get storageclass/)
      note('LKO-3107: from the start of hub init on an empty cluster', Date.now() - started)
      type Claims = {items: {metadata: {creationTimestamp: string}}[]}
      const claims = await get<Claims>('hub', 'pvc', '-n', 'lkeobs')
      const first = Math.min(...claims.items.map(({metadata}) => Date.parse(metadata.creationTimestamp)))
      note('LKO-3107: from the first claim', Date.now() - first)
      expect(Date.now() - first).toBeLessThan(withinMs)
      for (const object of classes.items) await kubectl('hub', ['create', '-f', '-'], JSON.stringify(object))
      await mended(hubInit)
    }, 600_000)

    test('killed at any moment, hub init finishes when it is run again', async () => {
      await anew('hub')
      for (const afterMs of [1500, 4000, 8000, 15_000, 25_000]) {
        const {child, ended} = start(folder(), hubInit)
        await sleep(afterMs + Math.random() * 1000)
        // what it has started goes with it, as when its terminal is closed
        const started = childrenOf(child.pid)
        child.kill('SIGKILL')
        for (const {pid} of started) kill(pid)
        await ended
      }
      const {steps} = await mended(hubInit)
      for (const remark of steps.flatMap(({remarks = []}) => remarks)) note('after kills', remark)
      const again = await run(hubInit)
      expect(succeeded<Run>(again).steps.filter(({state}) => state !== 'already so')).toEqual([])
      for (const release of ['vault', 'prometheus', 'loki', 'tempo', 'gateway'])
        expect(
          (await podsOf('hub', 'lkeobs', release)).every(({ready}) => ready),
          release,
        ).toBe(true)
    }, 900_000)

    test('an edge of the hub before it joins the new one', async () => {
      const {verification} = document<{verification: {canaries: {ok: boolean}[]}}>(await run(edgeJoin))
      expect(verification.canaries.every(({ok}) => ok)).toBe(true)
    }, 300_000)
  })
}
