import {readdirSync, readFileSync} from 'node:fs'
import {describe, expect, test} from 'vitest'
import {chartOf} from '../../src/components/charts.ts'
import type {Release} from '../../src/components/release.ts'
import {released} from '../../src/platforms/kubernetes/released.ts'
import type {Ways} from '../../src/platforms/kubernetes/site.ts'
import type {Step} from '../../src/steps/step.ts'
import {releasesIn} from '../../src/tools/helm.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import {eventually} from '../lab/cli.ts'
import {otherChart, standIns} from './charts.ts'
import {type Server, useServer} from './server.ts'
import {settle, settling} from './settle.ts'
import {carriedOut, failureOf, live, siteOn} from './site.ts'

const namespace = 'lkeobs'
let charts: string

const server = useServer(async (at) => {
  await at.kubectl('create', 'namespace', namespace)
  charts = await standIns(at, ['kyverno'])
})

const release = (name: string, values: Release['values'] = {}, chart: Release['chart'] = 'loki'): Release => ({
  name,
  title: name,
  namespace,
  chart,
  values,
})
const stepFor = (wish: Release, ways: Ways = {}): Step =>
  released(siteOn(server(), {ways: {charts, ...ways}}), `release ${wish.name}`, () => wish, {patienceMs: 20_000})

const installed = async (name: string) => (await releasesIn(siteOn(server()).kube, namespace, name))[0]
const configMap = {apiVersion: 'v1', kind: 'ConfigMap'} as const
const deployment = {apiVersion: 'apps/v1', kind: 'Deployment'} as const

/** A person with helm. */
const byHand = async (line: string): Promise<void> => {
  const {code, stderr} = await server().sh(`helm -n ${namespace} ${line}`)
  if (code !== 0) throw new Error(stderr)
}

const writesNothing = async (step: Step): Promise<void> => {
  const written = await server().writes('admin', async () => {
    const [outcome] = await carriedOut(step)
    expect(outcome?.state).toBe('already so')
  })
  expect(written).toEqual([])
}

describe('a release', () => {
  const first = release('loki', {count: 1, nested: {list: [1, 'two', {three: true}], text: '{{ not a template }}'}})

  test('is installed, and a second run writes nothing', async () => {
    settling(server())
    expect(await stepFor(first).done()).toBe('not installed')
    const [outcome] = await carriedOut(stepFor(first))
    expect(outcome).toMatchObject({state: 'done'})
    expect(await installed('loki')).toMatchObject({
      status: 'deployed',
      revision: 1,
      chart: {name: 'loki', version: chartOf('loki').version},
      values: first.values,
    })
    await writesNothing(stepFor(first))
  })

  test('is upgraded when its values change, and only then', async () => {
    settling(server())
    const second = release('loki', {count: 2})
    expect(await stepFor(second).done()).toBe('its values differ')
    await carriedOut(stepFor(second))
    expect(await installed('loki')).toMatchObject({status: 'deployed', revision: 2, values: {count: 2}})
    // what was given before and is not any more is gone
    const {data} = await live<KubeObject & {data: Record<string, string>}>(siteOn(server()), configMap, 'loki', namespace)
    expect(JSON.parse(data['values.json'] ?? '')).toEqual({count: 2})
    await writesNothing(stepFor(second))
    await carriedOut(stepFor(first))
  })

  test.for([
    ['kubectl -n lkeobs set image deployment loki main=busybox', /^Deployment loki: .*\[name=main\]\.image differs$/],
    ['kubectl -n lkeobs scale deployment loki --replicas=3', /^Deployment loki: spec\.replicas differs$/],
    [
      `kubectl -n lkeobs patch configmap loki --type=merge -p '{"data": {"values.json": "{}"}}'`,
      /^ConfigMap loki: data\['values\.json'\] differs$/,
    ],
  ] as const)('what was changed by hand is put back, and said: %s', async ([line, says]) => {
    settling(server())
    const typed = await server().sh(line)
    expect(typed.code, typed.stderr).toBe(0)
    const seen = await stepFor(first).done()
    expect(seen).toMatch(says)
    const [outcome] = await carriedOut(stepFor(first))
    expect(outcome).toMatchObject({state: 'done', remarks: [`changed by hand, put back: ${seen}`]})
    await writesNothing(stepFor(first))
  })

  test('what was deleted is made anew', async () => {
    settling(server())
    await server().kubectl('-n', namespace, 'delete', 'deployment/loki', 'configmap/loki')
    expect(await stepFor(first).done()).toMatch(/ is not there \(and 1 more\)$/)
    await carriedOut(stepFor(first))
    await writesNothing(stepFor(first))
  })

  const force = ['apply', '--server-side', '--field-manager=argocd', '--force-conflicts', '-f', '-']
  test('what another tool applies is left to it', async () => {
    settling(server())
    await server().kubectlWith([{...deployment, metadata: {name: 'loki', namespace}, spec: {replicas: 4}}], ...force)
    const written = await server().writes('admin', async () => {
      const error = await failureOf(stepFor(first))
      expect(error).toMatchObject({code: 'LKO-3109', oclif: {exit: 5}})
      expect(error.message).toContain('spec.replicas of Deployment lkeobs/loki is 4, set by argocd (Apply, ')
    })
    expect(written).toEqual([])
  })

  test('and what only helm sees to be a conflict is one, too', async () => {
    settling(server())
    // they wish for the same as we did: only the next value is in their way
    await server().kubectlWith([{...deployment, metadata: {name: 'loki', namespace}, spec: {replicas: 1}}], ...force)
    await settle(server())
    expect(await stepFor(first).done()).toBe(true)
    const error = await failureOf(stepFor(release('loki', {count: 5})))
    expect(error).toMatchObject({code: 'LKO-3109'})
    expect(error.message).toContain('Deployment lkeobs/loki: .spec.replicas is applied by argocd')
    const {spec} = await live<KubeObject & {spec: {replicas: number}}>(siteOn(server()), deployment, 'loki', namespace)
    expect(spec.replicas).toBe(1)
    // given up again, the next run goes on: helm has noted a release that failed
    await server().kubectlWith([{...deployment, metadata: {name: 'loki', namespace}}], ...force)
    expect(await stepFor(first).done()).toBe('helm left it failed')
    await carriedOut(stepFor(first))
    await writesNothing(stepFor(first))
  })
})

describe('a helm that was killed', () => {
  /** The helm that works on a release. */
  const pidOf = (name: string, at: Server): number | undefined => {
    const argsOf = (pid: string): readonly string[] => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      } catch {
        return []
      }
    }
    const found = readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid))
      .find((pid) => ['upgrade', name, at.kubeconfig].every((word) => argsOf(pid).includes(word)))
    return found === undefined ? undefined : Number(found)
  }

  const killed = async (wish: Release): Promise<void> => {
    const failed = failureOf(stepFor(wish))
    const hook = `job/${wish.name}-before`
    await eventually(`${hook} is there`, async () => (await server().sh(`kubectl -n ${namespace} get ${hook}`)).code === 0, 20_000)
    process.kill(pidOf(wish.name, server()) ?? Number.NaN, 'SIGKILL')
    expect(await failed).toMatchObject({code: 'LKO-4003'})
  }

  test.for([
    ['installing', 'pending-install', undefined],
    ['upgrading', 'pending-upgrade', release('upgraded', {count: 1})],
  ] as const)('while %s: its record is removed, and the next run goes on', async ([, status, before]) => {
    const wish = release(before?.name ?? 'fresh', {hook: true, count: 2})
    if (before) {
      settling(server(), {except: ['jobs']})
      await carriedOut(stepFor(before))
    }
    await killed(wish)
    expect(await stepFor(wish).done()).toBe(`helm left it ${status}`)
    settling(server())
    const [outcome] = await carriedOut(stepFor(wish))
    expect(outcome).toMatchObject({state: 'done', remarks: [`an earlier helm was interrupted (${status}): its record is removed`]})
    expect(await installed(wish.name)).toMatchObject({status: 'deployed', values: wish.values})
    await writesNothing(stepFor(wish))
  })
})

describe('what is somebody else’s is left alone', () => {
  test('a release of the name from another chart', async () => {
    const chart = await otherChart(server(), 'something-else', '1.2.3')
    await byHand(`install grafana ${chart}`)
    const written = await server().writes('admin', async () => {
      const error = await failureOf(stepFor(release('grafana', {}, 'grafana')))
      expect(error).toMatchObject({code: 'LKO-3110', oclif: {exit: 5}})
      expect(error.message).toContain('grafana in the namespace lkeobs is a release of the chart something-else 1.2.3')
      expect(await server().typed(error.next[0])).toContain('something-else-1.2.3')
    })
    expect(written).toEqual([])
  })

  test('an object that another release owns', async () => {
    const chart = await otherChart(server(), 'owner', '1.0.0')
    await byHand(`install owner ${chart} --set also={owned}`)
    const error = await failureOf(stepFor(release('taker', {also: ['owned']}, 'tempo')))
    expect(error).toMatchObject({code: 'LKO-3110'})
    expect(error.message).toMatch(/ConfigMap "owned" in namespace "lkeobs" exists and cannot be imported/)
    expect(await server().typed(error.next[0])).toContain('owner-1.0.0')
    const {metadata} = await live(siteOn(server()), configMap, 'owned', namespace)
    expect(metadata.annotations).toMatchObject({'meta.helm.sh/release-name': 'owner'})
  })

  test('an object that a person made', async () => {
    await server().kubectl('-n', namespace, 'create', 'configmap', 'by-hand', '--from-literal=a=b')
    const error = await failureOf(stepFor(release('adopter', {also: ['by-hand']}, 'tempo')))
    expect(error).toMatchObject({code: 'LKO-3110'})
    expect(error.message).toContain('ConfigMap "by-hand"')
    await server().kubectl('-n', namespace, 'delete', 'configmap', 'by-hand')
    settling(server())
    const [outcome] = await carriedOut(stepFor(release('adopter', {also: ['by-hand']}, 'tempo')))
    expect(outcome?.state).toBe('done')
  })
})

describe('charts', () => {
  test('another version is a decision of its own', async () => {
    settling(server())
    const {version} = chartOf('tempo')
    await byHand(`install tempo ${await otherChart(server(), 'tempo', '0.0.1')}`)
    const wish = release('tempo', {count: 2}, 'tempo')
    expect(await stepFor(wish).done()).toBe(`chart 0.0.1 instead of ${version}`)
    const written = await server().writes('admin', async () => {
      const error = await failureOf(stepFor(wish))
      expect(error).toMatchObject({code: 'LKO-3114', oclif: {exit: 4}})
      expect(error.message).toContain(`tempo on hub is chart tempo 0.0.1; this version of lkeobs installs ${version}.`)
      expect(error.next).toContain('lkeobs hub upgrade')
    })
    expect(written).toEqual([])
    const [outcome] = await carriedOut(stepFor(wish, {upgrade: true}))
    expect(outcome?.state).toBe('done')
    expect(await installed('tempo')).toMatchObject({chart: {version}, values: {count: 2}, revision: 2})
    await writesNothing(stepFor(wish))
  })

  test('one whose tag begins with a v is the version it says', async () => {
    settling(server())
    const wish = release('cert-manager', {}, 'cert-manager')
    await carriedOut(stepFor(wish))
    expect((await installed('cert-manager'))?.chart.version).toMatch(/^v1\./)
    await writesNothing(stepFor(wish))
  })

  test('one that the folder lacks is named', async () => {
    const error = await failureOf(stepFor(release('kyverno', {}, 'kyverno')))
    expect(error).toMatchObject({code: 'LKO-3113', oclif: {exit: 4}})
    expect(error.message).toContain(`has no kyverno-${chartOf('kyverno').version}.tgz`)
  })

  test('values that its objects cannot have leave a release that failed, and the next run makes it right', async () => {
    settling(server())
    const error = await failureOf(stepFor(release('failed', {count: 'many'}, 'prometheus')))
    expect(error).toMatchObject({code: 'LKO-4003'})
    expect(error.message).toContain('.spec.replicas: expected numeric')
    const wish = release('failed', {count: 1}, 'prometheus')
    expect(await stepFor(wish).done()).toBe('helm left it failed')
    await carriedOut(stepFor(wish))
    await writesNothing(stepFor(wish))
  })
})
