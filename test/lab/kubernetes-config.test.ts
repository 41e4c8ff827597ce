import {mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import path from 'node:path'
import {afterAll, beforeAll, expect, test} from 'vitest'
import {type CollectorBuild, collectorBuilds} from '../../src/collector/build.ts'
import {edgeOf, openFleet} from '../../src/clusters.ts'
import {parseFleet} from '../../src/fleet/load.ts'
import {edgeJoin} from '../../src/plans/edge-join.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {programPath} from '../../src/programs/locate.ts'
import {renderTools} from '../../src/steps/render.ts'
import {flatten} from '../../src/steps/step.ts'
import {toYaml} from '../../src/templates.ts'
import {createTools} from '../../src/tools/index.ts'
import {issued, jwks, keysFile} from '../../src/trust/credential.ts'

const upstream = `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, platform: {kubernetes: {context: hub}}, endpoint: 'otlp.hub.example:4317'}
edges: [{name: edge-1, platform: {kubernetes: {context: edge}}, logs: ['/var/log/app/*.log']}]
`

const fleetText: Readonly<Record<CollectorBuild, string>> = {
  upstream,
  lkeobs: `${upstream}collector: {image: 'registry.example/otelcol@sha256:${'a'.repeat(64)}'}\n`,
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'lkeobs-config-'))
  await writeFile(path.join(folder, keysFile), jwks([(await issued('edge-1', 'hub')).publicKey]))
})
afterAll(() => rm(folder, {recursive: true, force: true}))

/** The configuration that a release hands to its collector, by the release's name. */
const configOf = async (name: string, build: CollectorBuild): Promise<object> => {
  const text = fleetText[build]
  const tools = renderTools(createTools({yes: true}))
  const fleet = openFleet({fleet: parseFleet(text, 'lkeobs.yaml'), file: path.join(folder, 'lkeobs.yaml'), folder, text}, tools, {
    rendered: true,
  })
  const steps = [...flatten(hubInit(fleet.hub, tools).steps), ...flatten(edgeJoin(fleet.hub, edgeOf(fleet, 'edge-1')).steps)]
  for (const step of steps) {
    const wish = step.title.startsWith('gateway') || / on .*edge-1/.test(step.title) ? await step.wish?.() : undefined
    if (wish && 'release' in wish && wish.release.name === name) return wish.release.values['alternateConfig'] as object
  }
  throw new Error(`no release ${name}`)
}

/** A pod has a token and certificates; here they are not, and the collector reads some of them when it validates. */
const outsideOfAPod = (config: object): object =>
  JSON.parse(
    JSON.stringify(config)
      .replaceAll('"auth_type":"serviceAccount"', '"auth_type":"none"')
      .replaceAll('/var/lib/lkeobs', folder)
      .replaceAll('/etc/lkeobs/keys', folder)
      .replaceAll('"/hostfs"', '"/"')
      .replaceAll('`{{`', ''),
  ) as object

const cases = collectorBuilds.flatMap((build) => ['gateway', 'agent', 'scraper'].map((name) => [name, build] as const))

test.for(cases)('the collector takes the configuration of the %s on Kubernetes, build %s', async ([name, build]) => {
  const file = path.join(folder, `${name}.yaml`)
  await writeFile(file, toYaml(outsideOfAPod(await configOf(name, build))))
  const pod = {K8S_NODE_NAME: 'node', K8S_NODE_IP: '127.0.0.1', KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: '443'}
  const {shell} = createTools({yes: true})
  await expect(shell.run({file: await programPath('otelcol'), args: ['validate', '--config', file], env: pod})).resolves.toBeDefined()
})

test('a configuration with a mistake in it is refused', async () => {
  const file = path.join(folder, 'wrong.yaml')
  const config = JSON.stringify(outsideOfAPod(await configOf('scraper', 'upstream'))).replace(
    'node_conditions_to_report',
    'node_conditions',
  )
  await writeFile(file, config)
  const {shell} = createTools({yes: true})
  const validated = shell.run({
    file: await programPath('otelcol'),
    args: ['validate', '--config', file],
    env: {KUBERNETES_SERVICE_HOST: 'x'},
  })
  await expect(validated).rejects.toThrow(/node_conditions/)
})
