import {X509Certificate} from 'node:crypto'
import {rm} from 'node:fs/promises'
import {setTimeout as sleep} from 'node:timers/promises'
import {afterAll, beforeAll, describe, expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {loadFleet} from '../../src/fleet/load.ts'
import {inReach} from '../../src/plans/edge-join.ts'
import {Secret} from '../../src/secret.ts'
import {createTools} from '../../src/tools/index.ts'
import {createX509} from '../../src/tools/x509.ts'
import {containersOf, notRestricted, type PodSpec} from '../components/restricted.ts'
import {signals} from '../../src/collector/config.ts'
import type {LoadTest} from '../../src/loadtest/result.ts'
import {newIssuer} from '../../src/trust/pki.ts'
import type {Rotated} from '../../src/trust/rotation.ts'
import type {Proof} from '../../src/verify/proof/prove.ts'
import {document, type Ended, eventually, lkeobs, start} from '../lab/cli.ts'
import {auditOf} from './audit.ts'
import {
  apply,
  byHand,
  type ClusterName,
  fleetFolder,
  fleetOf,
  type FleetText,
  get,
  inNode,
  kubectl,
  missing,
  type Parts,
  partsOf,
  podsOf,
  script,
  secretValue,
} from './bed.ts'
import {knock, refused, serials} from './door.ts'
import {faultsOf} from './faults.ts'
import {openFlow} from './flow.ts'
import {type Forwards, openForwards} from './stores.ts'

type Canary = {edge: string; signal: string; store: string; ok: boolean; latencyMs?: number}
type Outcome = {title: string; state: string; remarks?: string[]; durationMs: number}
type Run = {steps: Outcome[]}
type Join = Run & {ok: boolean; verification: {canaries: Canary[]}}
type Planned = {schema: string; steps: {title: string; state: string; writes: string[]}[]}
type Failure = {error: {code: string; exit: number; message: string; next: string[]}}

const say = (line: string): void => void process.stderr.write(`${line}\n`)
const figures: (readonly [what: string, figure: string])[] = []
const note = (what: string, figure: number | string): void => {
  figures.push([what, typeof figure === 'number' ? `${(figure / 1000).toFixed(1)} s` : figure])
  say(`  · ${what}: ${figures.at(-1)?.[1]}`)
}

const workload = 'try-app'
/** A workload that writes numbered lines. */
const numbers = [
  {apiVersion: 'v1', kind: 'Namespace', metadata: {name: workload}},
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {name: 'numbers', namespace: workload},
    spec: {
      selector: {matchLabels: {app: 'numbers'}},
      template: {
        metadata: {labels: {app: 'numbers'}},
        spec: {
          terminationGracePeriodSeconds: 0,
          containers: [
            {
              name: 'counter',
              image: 'docker.io/library/busybox:1.35',
              imagePullPolicy: 'IfNotPresent',
              command: ['sh', '-c', 'n=0; while :; do echo "number $n of $HOSTNAME"; n=$((n + 1)); usleep 50000; done'],
            },
          ],
        },
      },
    },
  },
]

let folder: string
let fleet: FleetText
let parts: Parts
let forwards: Forwards

const cli = (...args: readonly string[]): Promise<Ended> => lkeobs(folder, args)
const changed = ({steps}: Run) => steps.filter(({state}) => state !== 'already so')
const remarksOf = ({steps}: Run) => steps.flatMap(({remarks = []}) => remarks)
const succeeded = <T>(ended: Ended): T => {
  expect(ended.code, `${ended.stdout}\n${ended.stderr}`).toBe(0)
  return document<T>(ended)
}
const failure = (ended: Ended) => {
  expect(ended.stderr).not.toMatch(/^\s+at /m)
  const {error} = document<Failure>(ended)
  expect(error.exit).toBe(ended.code)
  return error
}

type Balanced = {status: {loadBalancer: {ingress?: {ip?: string}[]}}}
const endpoint = async (): Promise<string> => {
  const {status} = await get<Balanced>('hub', 'service', 'otlp', '-n', 'lkeobs')
  return `${status.loadBalancer.ingress?.[0]?.ip}:4317`
}
const hubRoot = async (): Promise<string> => (await secretValue('hub', 'lkeobs', 'lkeobs-root', 'tls.crt')) ?? ''
/** The leaf of a collector, as it has it: certificate, chain and key. */
const leavesOf = async (cluster: ClusterName, namespace: string, release: string): Promise<readonly string[]> => {
  if (parts.secretsOperator) return [(await secretValue(cluster, namespace, `${release}-leaf`, 'leaf.pem')) ?? '']
  const pods = await podsOf(cluster, namespace, release)
  const read = ['-c', 'leaf-agent', '--', 'cat', '/etc/lkeobs/leaf/leaf.pem']
  return Promise.all(pods.map(({name}) => kubectl(cluster, ['exec', '-n', namespace, name, ...read])))
}
const serialOf = (pem: string): string => new X509Certificate(pem).serialNumber

type Containers = {name: string; restartCount: number}[]
type RunningPods = {
  items: {
    metadata: {name: string; uid: string}
    spec: {ephemeralContainers?: {name: string}[]}
    status: {podIP?: string; containerStatuses?: Containers; initContainerStatuses?: Containers}
  }[]
}
/** Who runs, and how often each container was started again. */
const running = async () => {
  const all = await Promise.all((['hub', 'edge'] as const).map((cluster) => get<RunningPods>(cluster, 'pods', '-A')))
  return all
    .flatMap(({items}) => items)
    .map(({metadata: {name, uid}, status: {containerStatuses = [], initContainerStatuses = []}}) => {
      const restarts = [...initContainerStatuses, ...containerStatuses].map((one) => `${one.name} ${one.restartCount}`)
      return `${name} ${uid} ${restarts.join(' ')}`
    })
    .toSorted()
}

const allReady = (cluster: ClusterName, namespace: string, release: string, count: number) =>
  eventually(
    `${count} of ${release} ready`,
    async () => (await podsOf(cluster, namespace, release)).filter(({ready}) => ready).length === count,
    120_000,
  )

if (missing !== undefined) say(`  not run: ${missing}`)

describe.skipIf(missing)('on two clusters', () => {
  beforeAll(async () => {
    const started = Date.now()
    say('  the clusters are made anew …')
    await script('build')
    await script('down')
    await script('up')
    note('both clusters made anew', Date.now() - started)
    parts = await partsOf('hub')
    fleet = fleetOf(parts)
    folder = await fleetFolder(fleet)
    forwards = openForwards()
    const absent = Object.entries({...parts, grafana: false}).filter(([, there]) => !there)
    say(`  not run, for lack of images: ${absent.map(([name]) => name).join(', ')}`)
  })

  afterAll(async () => {
    await forwards?.end()
    if (folder) await rm(folder, {recursive: true, force: true})
    const width = Math.max(0, ...figures.map(([what]) => what.length))
    say(['', ...figures.map(([what, figure]) => `  ${what.padEnd(width)}  ${figure}`), ''].join('\n'))
    say('  The clusters are left as they are; test/cluster/down ends them.')
  })

  describe('a dry run on empty clusters', () => {
    test.each([
      ['hub init', ['hub', 'init']],
      ['edge join', ['edge', 'join', 'edge-1']],
    ])('%s writes nothing, and says what it would do', async (what, args) => {
      const audits = {hub: await auditOf('hub'), edge: await auditOf('edge')}
      const text = await cli(...args, '--dry-run')
      const {schema, steps} = succeeded<Planned>(await cli(...args, '--dry-run', '--json'))
      expect(schema).toBe('lkeobs/plan/v1')
      const lines = steps.flatMap(({writes}) => writes)
      for (const line of lines) expect(text.stdout).toContain(line)
      expect(lines.filter((line) => line.startsWith('helm ')).length).toBeGreaterThan(1)
      expect(lines.filter((line) => line.startsWith('kubectl ')).length).toBeGreaterThan(2)
      const [hub, edge] = [await audits.hub.read(), await audits.edge.read()]
      expect({hub: hub.writes, edge: edge.writes}).toEqual({hub: [], edge: []})
      note(
        `${what} --dry-run: requests, questions of what one may`,
        `${hub.requests + edge.requests}, ${[...hub.questions, ...edge.questions].join(' ') || 'none'}`,
      )
    })
  })

  describe('a fleet from nothing', () => {
    test('hub init makes the hub', async () => {
      const init = await cli('hub', 'init', '--json')
      const {steps} = succeeded<Run>(init)
      expect(steps.filter(({state}) => state === 'done').length).toBeGreaterThan(15)
      note('hub init, first', init.ms)
      for (const {title, durationMs} of steps.toSorted((a, b) => b.durationMs - a.durationMs).slice(0, 5)) note(`  ${title}`, durationMs)
    }, 600_000)

    test('edge join makes the edge, and reads a canary of each signal back', async () => {
      const join = await cli('edge', 'join', 'edge-1', '--json')
      const {verification, steps} = succeeded<Join>(join)
      expect(verification.canaries.map(({edge, signal, store, ok}) => `${edge} ${signal} ${store} ${ok}`)).toEqual([
        'edge-1 metrics prometheus true',
        'edge-1 logs loki true',
        'edge-1 traces tempo true',
      ])
      note('edge join, first', join.ms)
      for (const {title, durationMs} of steps.toSorted((a, b) => b.durationMs - a.durationMs).slice(0, 5)) note(`  ${title}`, durationMs)
    }, 600_000)

    test('agents dial the address of the load balancer', async () => {
      const dialled = await endpoint()
      expect(dialled).toMatch(/^10\.77\.1\.\d+:4317$/)
      type Maps = {items: {metadata: {name: string}; data?: Record<string, string>}[]}
      const {items} = await get<Maps>('edge', 'configmaps', '-n', 'lkeobs-node', '-l', 'app.kubernetes.io/instance=agent')
      expect(items.map(({data}) => JSON.stringify(data)).join()).toContain(dialled)
    })

    test('the gateway lets in the leaf of the edge, and nothing else', async () => {
      const [at, ca] = [await endpoint(), await hubRoot()]
      const [leaf] = await leavesOf('edge', 'lkeobs-node', 'agent')
      expect((await knock(at, {ca, cert: leaf, key: leaf})).verdict).toBe('open')

      const nobody = await knock(at, {ca})
      expect(nobody.verdict).toMatch(refused)
      expect(nobody.names?.split(', ').toSorted()).toEqual([
        'DNS:gateway.hub.lkeobs',
        'DNS:gateway.lkeobs.svc',
        `IP Address:${at.split(':')[0]}`,
      ])

      const x509 = createX509()
      const strangers = await x509.createCa({commonName: 'strangers', days: 1, pathLength: 0})
      const stranger = await x509.issueServer(strangers, {commonName: 'edge-1.edge.lkeobs', names: ['localhost'], days: 1})
      expect((await knock(at, {ca, cert: stranger.certificate, key: stranger.key.reveal()})).verdict).toMatch(refused)
      // of the hub's own root, which is no issuer of edges
      const own = await Promise.all(['tls.crt', 'tls.key'].map((key) => secretValue('hub', 'lkeobs', 'vault-tls', key)))
      expect((await knock(at, {ca, cert: own[0], key: own[1]})).verdict).toMatch(refused)
    })
  })

  describe('what an edge tells of itself', () => {
    const ofPod = {k8s_namespace_name: workload, k8s_node_name: 'edge', k8s_cluster_name: 'edge-1', k8s_deployment_name: 'numbers'}

    beforeAll(async () => {
      // after the agent: of files that it finds there it reads only what is new
      await apply('edge', ...numbers)
      await kubectl('edge', ['rollout', 'status', '-n', workload, 'deployment/numbers', '--timeout=60s'])
    })

    test('logs of containers, with what they are of', async () => {
      await eventually(
        'Loki has lines of the workload',
        async () => (await forwards.lines(`{k8s_namespace_name="${workload}"} |= "number "`, Date.now() - 30_000)).length > 50,
        60_000,
      )
      const [line] = await forwards.lines(`{k8s_namespace_name="${workload}"} |= "number 0 of"`, Date.now() - 600_000)
      expect(line?.labels).toMatchObject({...ofPod, k8s_pod_name: expect.stringMatching(/^numbers-/), k8s_container_name: 'counter'})
    })

    test('metrics of the kubelet: pods and containers', async () => {
      const selector = `k8s_namespace_name="${workload}",k8s_pod_name=~"numbers-.+"`
      let names: string[] = []
      await eventually(
        'Prometheus has metrics of the pod and its container',
        async () => {
          const series = await forwards.series(`{__name__=~"k8s_pod_.+|container_.+",${selector}}`)
          names = [...new Set(series.map(({labels}) => labels['__name__'] ?? ''))]
          return ['k8s_pod_', 'container_'].every((prefix) => names.some((name) => name.startsWith(prefix)))
        },
        60_000,
      )
      expect(names).toEqual(expect.arrayContaining(['k8s_pod_memory_working_set_bytes', 'container_memory_working_set_bytes']))
      const [ofContainer] = await forwards.series(`container_memory_working_set_bytes{${selector}}`)
      expect(ofContainer?.labels).toMatchObject({...ofPod, k8s_container_name: 'counter'})
    })

    test('state of the cluster: each Deployment is a series', async () => {
      const query = 'k8s_deployment_available{k8s_cluster_name="edge-1"}'
      await eventually(
        'Prometheus has the Deployments',
        async () => (await forwards.series(query)).some(({labels}) => labels['k8s_deployment_name'] === 'numbers'),
        90_000,
      )
      const series = await forwards.series(query)
      const found = Object.fromEntries(
        series.map(({labels, samples}) => [`${labels['k8s_namespace_name']}/${labels['k8s_deployment_name']}`, samples[0]?.[1]]),
      )
      expect(found).toMatchObject({[`${workload}/numbers`]: '1', 'lkeobs/scraper': '1', 'lkeobs/canary': '1', 'kube-system/coredns': '1'})
    })

    test('events', async () => {
      const query = `{k8s_cluster_name="edge-1"} | k8s_object_name=~"numbers-.+" | k8s_event_reason="Started"`
      await eventually('Loki has the event', async () => (await forwards.lines(query, Date.now() - 900_000)).length > 0, 60_000)
      const [event] = await forwards.lines(query, Date.now() - 900_000)
      expect(event?.labels).toMatchObject({k8s_namespace_name: workload, k8s_object_kind: 'Pod', k8s_cluster_name: 'edge-1'})
    })
  })

  describe('run again', () => {
    test.each([
      ['hub init', ['hub', 'init']],
      ['edge join', ['edge', 'join', 'edge-1']],
    ])('%s writes nothing, within ten seconds', async (what, args) => {
      const audits = {hub: await auditOf('hub'), edge: await auditOf('edge')}
      const again = await cli(...args, '--json')
      expect(changed(succeeded<Run>(again))).toEqual([])
      const [hub, edge] = [await audits.hub.read(), await audits.edge.read()]
      expect({hub: hub.writes, edge: edge.writes}).toEqual({hub: [], edge: []})
      expect([...hub.questions, ...edge.questions]).toEqual([])
      note(`${what}, second (${hub.requests + edge.requests} requests)`, again.ms)
      expect(again.ms).toBeLessThan(10_000)
    })
  })

  describe('what a person changed by hand', () => {
    type Hand = {
      readonly what: string
      readonly cluster: ClusterName
      readonly args: readonly string[]
      readonly editor?: string
      readonly object: readonly string[]
      readonly path: string
      readonly value: string
    }
    const hands: readonly Hand[] = [
      {
        what: 'an object of ours, scaled',
        cluster: 'edge',
        args: ['scale', 'deployment', 'canary', '-n', 'lkeobs', '--replicas=0'],
        object: ['deployment', 'canary', '-n', 'lkeobs'],
        path: '{.spec.replicas}',
        value: '1',
      },
      {
        what: 'an object of ours, patched',
        cluster: 'hub',
        args: ['patch', 'networkpolicy', 'vault', '-n', 'lkeobs', '--type=json', '-p', '[{"op":"remove","path":"/spec/egress"}]'],
        object: ['networkpolicy', 'vault', '-n', 'lkeobs'],
        path: '{.spec.egress[0].ports[0].port}',
        value: '8200',
      },
      {
        what: 'a Deployment of a chart, scaled',
        cluster: 'edge',
        args: ['scale', 'deployment', 'scraper', '-n', 'lkeobs', '--replicas=0'],
        object: ['deployment', 'scraper', '-n', 'lkeobs'],
        path: '{.spec.replicas}',
        value: '1',
      },
      {
        what: 'a Service of a chart, edited',
        cluster: 'hub',
        args: ['edit', 'service', 'loki', '-n', 'lkeobs'],
        editor: 'sed -i s/targetPort:.http-metrics/targetPort:\\ 9999/',
        object: ['service', 'loki', '-n', 'lkeobs'],
        path: '{.spec.ports[?(@.port==3100)].targetPort}',
        value: 'http-metrics',
      },
    ]
    test.each(hands)('$what, comes back', async ({what, cluster, args, editor, object, path, value}) => {
      const read = () => kubectl(cluster, ['get', ...object, '-o', `jsonpath=${path}`])
      expect(await read()).toBe(value)
      await byHand(cluster, args, editor === undefined ? {} : {editor})
      expect(await read()).not.toBe(value)
      const run = await cli(...(cluster === 'hub' ? ['hub', 'init'] : ['edge', 'join', 'edge-1']), '--json')
      expect(remarksOf(succeeded<Run>(run)).join()).toMatch(/changed by hand, put back/)
      expect(await read()).toBe(value)
      note(`${what}: put back`, run.ms)
    })

    test('a field that another tool applies is not taken (LKO-3109)', async () => {
      const own = {apiVersion: 'apps/v1', kind: 'Deployment', metadata: {name: 'canary', namespace: 'lkeobs'}}
      const applyAs = (object: object) =>
        byHand('edge', ['apply', '--server-side', '--field-manager=other-tool', '--force-conflicts', '-f', '-'], {
          input: JSON.stringify(object),
        })
      await applyAs({...own, spec: {replicas: 2}})
      const ended = await cli('edge', 'join', 'edge-1', '--json')
      const error = failure(ended)
      expect(error).toMatchObject({code: 'LKO-3109', exit: 5})
      expect(error.message).toMatch(/spec\.replicas of Deployment lkeobs\/canary is 2, set by other-tool/)
      expect(error.next[0]).toMatch(/^kubectl .*get deployment canary/)
      expect(await kubectl('edge', ['get', 'deployment', 'canary', '-n', 'lkeobs', '-o', 'jsonpath={.spec.replicas}'])).toBe('2')
      note('LKO-3109', ended.ms)
      // the other tool gives it up
      await applyAs(own)
      succeeded(await cli('edge', 'join', 'edge-1', '--json'))
      expect(await kubectl('edge', ['get', 'deployment', 'canary', '-n', 'lkeobs', '-o', 'jsonpath={.spec.replicas}'])).toBe('1')
    })
  })

  describe('nothing that was accepted is lost', () => {
    const restarts = '{.items[*].status.containerStatuses[?(@.name=="opentelemetry-collector")].restartCount}'
    const restartsOf = (cluster: ClusterName, namespace: string, release: string) =>
      kubectl(cluster, ['get', 'pods', '-n', namespace, '-l', `app.kubernetes.io/instance=${release}`, '-o', `jsonpath=${restarts}`])
    const replaced = async (cluster: ClusterName, namespace: string, pods: readonly string[], release: string, count: number) => {
      await kubectl(cluster, ['delete', 'pod', '-n', namespace, ...pods])
      await allReady(cluster, namespace, release, count)
    }
    const losses: readonly {readonly what: string; readonly happens: () => Promise<void>}[] = [
      {
        what: 'gateways are deleted one after another',
        async happens() {
          const gateways = await podsOf('hub', 'lkeobs', 'gateway')
          expect(gateways.length).toBeGreaterThan(1)
          for (const {name} of gateways) await replaced('hub', 'lkeobs', [name], 'gateway', gateways.length)
        },
      },
      {
        what: 'the agent is killed with -9',
        async happens() {
          type Status = {items: {status: {containerStatuses: {name: string; containerID: string}[]}}[]}
          const {items} = await get<Status>('edge', 'pods', '-n', 'lkeobs-node', '-l', 'app.kubernetes.io/instance=agent')
          const container = items[0]?.status.containerStatuses.find(({name}) => name === 'opentelemetry-collector')
          const id = container?.containerID.replace('containerd://', '') ?? ''
          const before = await restartsOf('edge', 'lkeobs-node', 'agent')
          const tasks = await inNode('edge', 'ctr', '-n', 'k8s.io', 'tasks', 'ls')
          const pid = new RegExp(`^${id}\\s+(\\d+)`, 'm').exec(tasks)?.[1]
          expect(pid).toBeDefined()
          await inNode('edge', 'kill', '-9', pid ?? '')
          await eventually('it was started again', async () => (await restartsOf('edge', 'lkeobs-node', 'agent')) !== before, 30_000)
          await allReady('edge', 'lkeobs-node', 'agent', 1)
        },
      },
      {
        what: 'the pods of all stores are deleted',
        async happens() {
          const stores = ['prometheus', 'loki', 'tempo']
          await kubectl('hub', ['delete', 'pod', '-n', 'lkeobs', ...stores.map((store) => `${store}-0`)])
          for (const store of stores) await allReady('hub', 'lkeobs', store, 1)
        },
      },
    ]
    test.each(losses)(
      '$what',
      async ({what, happens}) => {
        const startedMs = Date.now()
        const flow = await openFlow(forwards)
        await sleep(5000)
        expect(flow.acknowledged()).toBeGreaterThan(500)
        await happens()
        await sleep(5000)
        await flow.stop()
        const since = `--since-time=${new Date(startedMs).toISOString()}`
        const written = await kubectl('edge', ['logs', '-n', workload, 'deployment/numbers', since])
        const {items, repeated, seconds} = flow.figures()
        const sentMs = Date.now()
        expect(await flow.lost(120_000)).toEqual({logs: 0, metrics: 0, traces: 0})

        const lines = written.split('\n').filter((line) => line.startsWith('number '))
        let left: string[] = lines
        const query = `{k8s_namespace_name="${workload}"} |= "number "`
        await eventually(
          'Loki has every line of the workload',
          async () => {
            const found = new Set((await forwards.lines(query, startedMs - 5000)).map(({line}) => line))
            left = lines.filter((line) => !found.has(line))
            return left.length === 0
          },
          60_000,
        ).catch(() => undefined)
        expect(left).toEqual([])
        expect(lines.length).toBeGreaterThan(100)
        note(
          `${what}: accepted and found`,
          `${Object.entries(items)
            .map(([name, count]) => `${count} ${name}`)
            .join(
              ', ',
            )}, ${lines.length} lines in ${seconds} s; ${repeated} posts repeated; all there ${((Date.now() - sentMs) / 1000).toFixed(0)} s later`,
        )
      },
      400_000,
    )
  })

  describe('a load test', () => {
    const generators = ['-n', 'lkeobs', '-l', 'app.kubernetes.io/instance=telemetrygen']
    type Job = {metadata: {name: string}; spec: {activeDeadlineSeconds: number}}
    const jobs = async () => (await get<{items: Job[]}>('edge', 'jobs', ...generators)).items
    /** Jobs and pods of generators, as kubectl names them. */
    const left = async () => (await kubectl('edge', ['get', 'jobs,pods', ...generators, '-o', 'name'])).trim()
    const run = (...args: readonly string[]) => start(folder, ['loadtest', 'run', '--profile', 'smoke', '--json', ...args])
    const inWindow = () =>
      eventually('the window has begun', async () => (await jobs()).some(({metadata}) => /-1-metrics-\d+$/.test(metadata.name)), 120_000)

    test('sends from Jobs beside the agents, accounts for every item, and leaves nothing', async () => {
      const ended = await run().ended
      const whole = succeeded<LoadTest>(ended)
      expect(whole.verdict.result, whole.verdict.reasons.join('\n')).toBe('pass')
      for (const signal of signals) {
        const {generated, stored, explained, unexplained, lost} = whole.signals[signal]
        expect({signal, stored, explained, unexplained, lost}).toEqual({signal, stored: generated, explained: [], unexplained: 0, lost: 0})
        expect(generated).toBeGreaterThan(400)
      }
      expect(whole.repetitions[0]?.happenings).toEqual([])
      expect(await left()).toBe('')
      const {metrics, logs, traces} = whole.signals
      note(
        'load test smoke from Jobs: generated and stored',
        `${metrics.stored} data points, ${logs.stored} records, ${traces.stored} spans`,
      )
      note('load test smoke from Jobs, whole', ended.ms)
    }, 200_000)

    test('that is interrupted ends its Jobs at once, and says what it has', async () => {
      const {child, ended} = run('--duration', '60s')
      await inWindow()
      await sleep(8000)
      const askedMs = Date.now()
      child.kill('SIGINT')
      await eventually(
        'no generator runs',
        async () => (await kubectl('edge', ['get', 'pods', ...generators, '--field-selector=status.phase=Running', '-o', 'name'])) === '',
        10_000,
      )
      note('generators ended after SIGINT', Date.now() - askedMs)
      const {code, stdout, stderr} = await ended
      expect(code, stderr).toBe(130)
      const partial = JSON.parse(stdout) as LoadTest
      expect(partial.partial).toBe(true)
      for (const signal of signals)
        expect(partial.signals[signal]).toMatchObject({lost: 0, unexplained: 0, stored: partial.signals[signal].generated})
      expect(partial.signals.logs.generated).toBeGreaterThan(100)
      expect(await left()).toBe('')
    }, 200_000)

    test('that is killed with -9 leaves nothing behind for long, though nobody cleans up', async () => {
      const {child, ended} = run('--duration', '60s')
      await inWindow()
      child.kill('SIGKILL')
      const killedMs = Date.now()
      await ended
      expect((await jobs()).every(({spec}) => spec.activeDeadlineSeconds < 150)).toBe(true)
      await eventually('no Job and no pod is left', async () => (await left()) === '', 90_000)
      note('no generator, Job or pod left after kill -9', Date.now() - killedMs)
    }, 300_000)
  })

  describe('certificates', () => {
    type Certificates = {items: {metadata: {name: string}; status: {conditions: {type: string; status: string}[]}}[]}

    test('cert-manager keeps the root CA and the certificate of Vault', async ({skip}) => {
      skip(!parts.certManager, 'no images of cert-manager')
      for (const cluster of ['hub', 'edge'] as const) {
        const {items} = await get<Certificates>(cluster, 'certificates.cert-manager.io', '-n', 'lkeobs')
        const ready = items.filter(({status}) => status.conditions.some(({type, status: is}) => type === 'Ready' && is === 'True'))
        expect(ready.map(({metadata}) => metadata.name).toSorted()).toEqual(items.map(({metadata}) => metadata.name).toSorted())
        expect(ready.length).toBeGreaterThan(1)
        const [root, vault] = await Promise.all(
          ['lkeobs-root', 'vault-tls'].map(
            async (name) => new X509Certificate((await secretValue(cluster, 'lkeobs', name, 'tls.crt')) ?? ''),
          ),
        )
        expect(root?.ca).toBe(true)
        expect(root && vault?.checkIssued(root)).toBe(true)
      }
    })

    /** What each pod of Vault shows, as its own node dials it. */
    const shownByVault = async (cluster: ClusterName) => {
      const {items} = await get<RunningPods>(cluster, 'pods', '-n', 'lkeobs', '-l', 'app.kubernetes.io/instance=vault')
      const dial = (ip: string) => `openssl s_client -connect ${ip}:8200 </dev/null 2>/dev/null | openssl x509 -noout -serial`
      const said = await Promise.all(items.map(({status}) => inNode(cluster, 'sh', '-c', dial(status.podIP ?? ''))))
      return said.map((line) => line.trim().replace('serial=', ''))
    }
    const ofVault = async (cluster: ClusterName) => serialOf((await secretValue(cluster, 'lkeobs', 'vault-tls', 'tls.crt')) ?? '')

    test('what cert-manager renews of Vault is on the wire of every node, with nobody watching', async ({skip}) => {
      skip(!parts.certManager, 'no images of cert-manager')
      const before = await running()
      const status = {
        conditions: [
          {type: 'Issuing', status: 'True', reason: 'Renewing', message: 'as if it ended', lastTransitionTime: new Date().toISOString()},
        ],
      }
      const renewed = async (cluster: ClusterName) => {
        const old = await ofVault(cluster)
        expect(new Set(await shownByVault(cluster))).toEqual(new Set([old]))
        const patch = ['patch', 'certificate', 'vault-tls', '-n', 'lkeobs', '--subresource=status', '--type=merge', '-p']
        await kubectl(cluster, [...patch, JSON.stringify({status})])
        await eventually(`another certificate for Vault of ${cluster}`, async () => (await ofVault(cluster)) !== old, 30_000)
        const started = Date.now()
        const own = await ofVault(cluster)
        await eventually(
          `every node of Vault of ${cluster} shows it`,
          async () => (await shownByVault(cluster)).every((serial) => serial === own),
          120_000,
        )
        note(`Vault of ${cluster}: from the Secret to the wire of every node, nobody watching`, Date.now() - started)
      }
      await Promise.all([renewed('hub'), renewed('edge')])
      expect(await running()).toEqual(before)
    }, 200_000)

    test('without cert-manager the next run renews what is due of Vault, and it is shown', async ({skip}) => {
      skip(parts.certManager, 'cert-manager renews it')
      const x509 = createX509()
      const [certificate = '', key = ''] = await Promise.all(
        ['tls.crt', 'tls.key'].map((name) => secretValue('hub', 'lkeobs', 'lkeobs-root', name)),
      )
      const names = (new X509Certificate((await secretValue('hub', 'lkeobs', 'vault-tls', 'tls.crt')) ?? '').subjectAltName ?? '')
        .split(', ')
        .map((name) => name.replace(/^[^:]*:/, ''))
      const due = await x509.issueServer({certificate, key: new Secret(key)}, {commonName: 'vault', names, days: 20})
      const data = {'tls.crt': due.certificate, 'tls.key': due.key.reveal()}
      const encoded = Object.fromEntries(Object.entries(data).map(([name, text]) => [name, Buffer.from(text).toString('base64')]))
      const before = await running()
      await kubectl('hub', ['patch', 'secret', 'vault-tls', '-n', 'lkeobs', '-p', JSON.stringify({data: encoded})])
      const started = Date.now()
      await eventually(
        'every node shows the one that is due',
        async () => (await shownByVault('hub')).every((serial) => serial === serialOf(due.certificate)),
        120_000,
      )
      note('Vault of hub: from the Secret to the wire of every node, nobody watching', Date.now() - started)
      type Row = {cluster: string; kind: string; state: string; renewedBy: string}
      const due20 = document<{certificates: Row[]}>(await cli('certs', 'status', '--json')).certificates.filter(
        ({state}) => state === 'soon',
      )
      expect(due20.map(({cluster, kind, renewedBy}) => `${cluster} ${kind} ${renewedBy}`)).toEqual(
        Array.from({length: 3}, () => 'hub vault lkeobs hub init'),
      )
      const run = await cli('hub', 'init', '--json')
      const told = changed(succeeded<Run>(run))
      expect(told.map(({title}) => title)).toEqual([
        'certificate of Vault on hub, signed by its root CA',
        ...[0, 1, 2].map((node) => `no certificate shown by vault-${node} on hub but the one in its hands`),
      ])
      note('without cert-manager: hub init, with what is due of Vault', run.ms)
      const own = await ofVault('hub')
      expect(own).not.toBe(serialOf(due.certificate))
      expect(new Set(await shownByVault('hub'))).toEqual(new Set([own]))
      expect(await running()).toEqual(before)
      succeeded(await cli('certs', 'status', '--json'))
    }, 300_000)

    test('a leaf that is asked for anew is on the wire, and canaries pass', async ({skip}) => {
      skip(!parts.secretsOperator, 'no images of Vault Secrets Operator')
      const [at, ca] = [await endpoint(), await hubRoot()]
      const before = serialOf((await leavesOf('hub', 'lkeobs', 'gateway'))[0] ?? '')
      expect(await serials(at, ca)).toEqual(new Set([before]))
      const started = Date.now()
      await Promise.all([
        kubectl('hub', ['delete', 'secret', 'gateway-leaf', '-n', 'lkeobs']),
        kubectl('edge', ['delete', 'secret', 'agent-leaf', '-n', 'lkeobs-node']),
      ])
      await eventually(
        'there is another leaf',
        async () => {
          const pem = await secretValue('hub', 'lkeobs', 'gateway-leaf', 'leaf.pem').catch(() => undefined)
          return pem !== undefined && serialOf(pem) !== before
        },
        60_000,
      )
      note('a new leaf in its Secret', Date.now() - started)
      const after = serialOf((await leavesOf('hub', 'lkeobs', 'gateway'))[0] ?? '')
      await eventually(
        'every gateway serves it',
        async () => {
          const seen = await serials(at, ca)
          return seen.size === 1 && seen.has(after)
        },
        150_000,
      )
      note('a new leaf on the wire of every gateway', Date.now() - started)
      succeeded(await cli('verify', '--all', '--json'))
    }, 300_000)

    test('the leaf of the Vault agent beside each gateway is served', async ({skip}) => {
      skip(parts.secretsOperator, 'Vault Secrets Operator brings the leaves')
      const own = new Set((await leavesOf('hub', 'lkeobs', 'gateway')).map(serialOf))
      expect(own.size).toBeGreaterThan(1)
      expect(await serials(await endpoint(), await hubRoot(), 40)).toEqual(own)
    })
  })

  describe('leaves are exchanged', () => {
    type Rotation = Proof & {
      ok: boolean
      rotated: Rotated[]
      propagationMs: {p50: number; p95: number; max: number}
      steps: Outcome[]
    }
    const none = {metrics: 0, logs: 0, traces: 0}
    const rotated = async (...args: readonly string[]) => {
      const before = await running()
      const ended = await cli('certs', 'rotate', ...args, '--prove', '--json')
      const rotation = succeeded<Rotation>(ended)
      expect(rotation).toMatchObject({ok: true, lost: none, refused: none})
      expect(rotation.sent.logs).toBeGreaterThan(50)
      expect(rotation.stored).toEqual(rotation.sent)
      expect(await running()).toEqual(before)
      for (const one of rotation.rotated) expect(one.after, one.pod).not.toBe(one.before)
      return rotation
    }
    const agents = async () => (await podsOf('edge', 'lkeobs-node', 'agent')).map(({name}) => name)
    const serialsNow = async () => (await leavesOf('edge', 'lkeobs-node', 'agent')).map(serialOf)

    test('under traffic: nothing is lost, no pod is started anew, every agent shows its new leaf within a minute', async () => {
      const {rotated: all, propagationMs, steps, sent} = await rotated('--all')
      const ofEdge = all.filter(({cluster}) => cluster === 'edge-1')
      expect(ofEdge.map(({pod}) => pod)).toEqual(await agents())
      expect(ofEdge.map(({after}) => after)).toEqual(await serialsNow())
      const ofHub = new Set(all.filter(({cluster}) => cluster === 'hub').map(({after}) => after))
      expect(await serials(await endpoint(), await hubRoot())).toEqual(ofHub)
      const tookMs = steps.filter(({title}) => /agent on edge-1/.test(title)).reduce((sum, {durationMs}) => sum + durationMs, 0)
      expect(tookMs).toBeLessThan(60_000)
      expect(propagationMs.max).toBeLessThan(60_000)
      note('a new leaf asked for until every agent shows it', tookMs)
      const {p50, p95, max} = propagationMs
      note('from its Secret or file to the wire: p50, p95, slowest', [p50, p95, max].map((ms) => `${(ms / 1000).toFixed(1)} s`).join(', '))
      note('lost meanwhile, of each signal', `0 of ${sent.logs}`)
      succeeded(await cli('verify', '--all', '--json'))
    }, 200_000)

    test('several agents at once: each shows its new leaf, and has its own figure', async () => {
      type Volume = {name: string}
      type Template = {
        metadata: {labels: Record<string, string>}
        spec: {volumes: Volume[]}
      }
      const {
        spec: {template},
      } = await get<{spec: {template: Template}}>('edge', 'daemonset', 'agent-agent', '-n', 'lkeobs-node')
      // there is one node: more agents stand there beside the first, with queues of their own
      const beside = ['agent-2', 'agent-3'].map((name) => {
        const labels = {...template.metadata.labels, component: name}
        const volumes = template.spec.volumes.map((volume) => (volume.name === 'queue' ? {name: 'queue', emptyDir: {}} : volume))
        return {
          apiVersion: 'apps/v1',
          kind: 'DaemonSet',
          metadata: {name, namespace: 'lkeobs-node'},
          spec: {
            selector: {matchLabels: {component: name}},
            template: {metadata: {...template.metadata, labels}, spec: {...template.spec, volumes}},
          },
        }
      })
      await apply('edge', ...beside)
      try {
        await allReady('edge', 'lkeobs-node', 'agent', 3)
        const {rotated: all, propagationMs} = await rotated('--edge', 'edge-1')
        expect(all.map(({pod = ''}) => pod).toSorted()).toEqual((await agents()).toSorted())
        expect(all.map(({after}) => after).toSorted()).toEqual(
          (await serialsNow()).flatMap((one) => (parts.secretsOperator ? [one, one, one] : [one])).toSorted(),
        )
        const {p50, p95, max} = propagationMs
        note('three agents of an edge: p50, p95, slowest', [p50, p95, max].map((ms) => `${(ms / 1000).toFixed(1)} s`).join(', '))
      } finally {
        await kubectl('edge', ['delete', 'daemonset', '-n', 'lkeobs-node', 'agent-2', 'agent-3'])
      }
      const left = () => get<RunningPods>('edge', 'pods', '-n', 'lkeobs-node', '-l', 'app.kubernetes.io/instance=agent')
      await eventually('one agent is left', async () => (await left()).items.length === 1, 120_000)
    }, 300_000)

    test('killed with -9 anywhere, the next run completes it, and what looks into a pod is made once', async () => {
      for (const ms of [1500, 3000]) {
        const killed = start(folder, ['certs', 'rotate', '--edge', 'edge-1'])
        await sleep(ms)
        killed.child.kill('SIGKILL')
        await killed.ended
      }
      const before = await serialsNow()
      const run = succeeded<Rotation>(await cli('certs', 'rotate', '--edge', 'edge-1', '--json'))
      expect(run.rotated.map(({after}) => after)).toEqual(await serialsNow())
      expect(await serialsNow()).not.toEqual(before)
      const {items} = await get<RunningPods>('edge', 'pods', '-n', 'lkeobs-node', '-l', 'app.kubernetes.io/instance=agent')
      for (const {spec} of items)
        expect((spec.ephemeralContainers ?? []).map(({name}) => name)).toEqual(parts.secretsOperator ? ['lkeobs-look'] : [])
    }, 200_000)

    test("other certificates for Vault's nodes, under traffic", async () => {
      const {rotated: all, propagationMs} = await rotated('--vault')
      expect(all.map(({cluster, node}) => `${cluster} ${node}`)).toEqual(['hub vault-0', 'hub vault-1', 'hub vault-2', 'edge-1 vault-0'])
      const {p50, p95, max} = propagationMs
      note("Vault's, from asking to the wire: p50, p95, slowest", [p50, p95, max].map((ms) => `${(ms / 1000).toFixed(1)} s`).join(', '))
      succeeded(await cli('certs', 'status', '--json'))
    }, 300_000)

    test('another issuer of the edge, under traffic', async () => {
      const [stolen = ''] = await leavesOf('edge', 'lkeobs-node', 'agent')
      const {rotated: all} = await rotated('--issuer', 'edge-1')
      expect(all.map(({pod}) => pod)).toEqual(await agents())
      const [at, ca] = [await endpoint(), await hubRoot()]
      await eventually(
        'the leaf of before is let in no longer',
        async () => refused.test((await knock(at, {ca, cert: stolen, key: stolen})).verdict),
        60_000,
      )
    }, 200_000)

    test('an issuer that is another: edge join ends when what every agent has is of it, and the one of before is trusted no longer', async () => {
      const [before = ''] = await leavesOf('edge', 'lkeobs-node', 'agent')
      const tools = createTools({yes: true})
      const {hub, edges} = openFleet(await loadFleet(`${folder}/lkeobs.yaml`, tools.files), tools)
      // as a run in the last month of the old one makes it
      for (const edge of edges) await newIssuer(edge.vault, 'pki', `lkeobs edge ${edge.name}`, inReach(hub, edge).signer)
      const join = await cli('edge', 'join', 'edge-1', '--json')
      expect(succeeded<Join>(join).verification.canaries.every(({ok}) => ok)).toBe(true)
      note('edge join, with another issuer', join.ms)
      // connections end after 18 s: by then each was made with what the agent has now
      await sleep(20_000)
      const verified = await cli('verify', '--all', '--json')
      succeeded(verified)
      note('canaries 20 s after it', verified.ms)
      expect(verified.ms).toBeLessThan(10_000)
      const [at, ca] = [await endpoint(), await hubRoot()]
      const opens = async (pem: string) => (await knock(at, {ca, cert: pem, key: pem})).verdict
      await eventually('the leaf of before is let in no longer', async () => refused.test(await opens(before)), 60_000)
      for (const leaf of await leavesOf('edge', 'lkeobs-node', 'agent')) expect(await opens(leaf)).toBe('open')
    }, 200_000)

    test.each([
      ['hub init', ['hub', 'init']],
      ['edge join', ['edge', 'join', 'edge-1']],
    ])('%s finds nothing to do afterwards', async (_, args) => {
      expect(changed(succeeded<Run>(await cli(...args, '--json')))).toEqual([])
    })
  })

  describe('pods', () => {
    type Pods = {items: {metadata: {namespace: string; name: string}; spec: PodSpec; status: {phase: string}}[]}
    type Namespaces = {items: {metadata: {name: string; labels: Record<string, string>}}[]}

    test('every one is restricted, but the agent', async () => {
      const ours = ['lkeobs', 'lkeobs-node', 'cert-manager', 'vault-secrets-operator']
      const exceptions: string[] = []
      for (const cluster of ['hub', 'edge'] as const) {
        const {items: namespaces} = await get<Namespaces>(cluster, 'namespaces')
        for (const {metadata} of namespaces.filter(({metadata: {name}}) => ours.includes(name)))
          expect(metadata.labels).toMatchObject({
            'pod-security.kubernetes.io/enforce': metadata.name === 'lkeobs-node' ? 'privileged' : 'restricted',
          })
        const {items} = await get<Pods>(cluster, 'pods', '-A')
        const own = items.filter(({metadata}) => ours.includes(metadata.namespace))
        expect(own.filter(({status}) => status.phase !== 'Running').map(({metadata}) => metadata.name)).toEqual([])
        expect(own.length).toBeGreaterThan(3)
        for (const {metadata, spec} of own) {
          if (notRestricted(spec).length > 0) exceptions.push(`${cluster} ${metadata.namespace}/${metadata.name.replace(/-[^-]+$/, '')}`)
          // even the exception runs without privileges
          for (const {securityContext = {}} of containersOf(spec)) {
            expect(securityContext.privileged ?? false).toBe(false)
            expect(securityContext.allowPrivilegeEscalation).toBe(false)
          }
        }
      }
      expect(exceptions).toEqual(['edge lkeobs-node/agent-agent'])
    })
  })

  faultsOf({folder: () => folder, fleet: () => fleet, note, succeeded, failure})
})
