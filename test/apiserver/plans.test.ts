import {expect, test} from 'vitest'
import type {Fleet} from '../../src/clusters.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {flatten, type Task} from '../../src/steps/step.ts'
import {createX509} from '../../src/tools/x509.ts'
import {lkeobs} from '../lab/cli.ts'
import {fleetFolder, opened} from './fleet.ts'
import {useServer} from './server.ts'

const server = useServer()

/** What each plan writes at least, by the program that does. */
const plans = [
  {
    args: ['hub', 'init'],
    steps: ({hub}: Fleet): readonly Task[] => hubInit(hub, {x509: createX509()}).steps,
    title: /^Hub hub: /,
    lines: [
      /^ +kubectl --context admin --kubeconfig \S+ apply --server-side --field-manager=lkeobs -f hub\/namespaces\.yaml$/m,
      /apply .* -f hub\/network-policies\.yaml$/m,
      /apply .* -f hub\/otlp\.yaml$/m,
      ...['cert-manager', 'vault-secrets-operator', 'vault', 'prometheus', 'loki', 'tempo', 'grafana', 'gateway'].map(
        (name) =>
          new RegExp(
            String.raw`^ +helm upgrade --install ${name} .* --namespace \S+ --kube-context admin .*-f hub/${name}\.values\.yaml$`,
            'm',
          ),
      ),
    ],
  },
  {
    args: ['edge', 'join', 'edge-1'],
    steps: ({hub, edges}: Fleet): readonly Task[] => edges.flatMap((edge) => edgeJoin(hub, edge).steps),
    title: /^Edge edge-1 joins hub/,
    lines: [
      /^ +kubectl --context edge --kubeconfig \S+ apply --server-side --field-manager=lkeobs -f edges\/edge-1\/namespaces\.yaml$/m,
      /apply .* -f edges\/edge-1\/network-policies\.yaml$/m,
      /apply .* -f edges\/edge-1\/canary\.yaml$/m,
      ...['cert-manager', 'vault-secrets-operator', 'vault', 'scraper', 'opentelemetry-operator'].map(
        (name) =>
          new RegExp(
            String.raw`^ +helm upgrade --install ${name} .* --namespace \S+ --kube-context edge .*-f edges/edge-1/${name}\.values\.yaml$`,
            'm',
          ),
      ),
    ],
  },
] as const

test.for(plans)(
  'a dry run of $args against an empty cluster says what it would do, and writes nothing',
  async ({args, steps, title, lines}) => {
    const clusters = {server: server(), edge: {instrumentation: true}}
    const folder = await fleetFolder(clusters)
    const titles = flatten(steps(await opened(clusters))).map((step) => step.title)
    expect(titles.length).toBeGreaterThan(15)
    const written = await server().writes('admin', async () => {
      const {code, stdout, stderr} = await lkeobs(folder, [...args, '--dry-run'])
      expect(code, stderr).toBe(0)
      expect(stdout).toMatch(title)
      for (const each of titles) expect(stdout).toContain(` ${each}`)
      for (const line of lines) expect(stdout).toMatch(line)
      expect(stdout).toContain(`of ${titles.length} steps would run; nothing was changed.`)
    })
    expect(written).toEqual([])
    expect((await server().sh(`ls -A ${folder}`)).stdout).toBe('lkeobs.yaml\n')
    expect(await server().kubectl('get', 'namespaces', '-o', 'jsonpath={.items[*].metadata.name}')).not.toContain('lkeobs')
  },
)
