import {stripVTControlCharacters} from 'node:util'
import {expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {upgraded} from '../../src/plans/upgrade.ts'
import {run} from '../../src/steps/run.ts'
import type {ChartFacts} from '../../src/tools/helm.ts'
import type {Tools} from '../../src/tools/index.ts'
import type {KubeObject} from '../../src/tools/kube/kube.ts'
import {createX509} from '../../src/tools/x509.ts'
import {upgradeData, upgradeQuestion, upgradeText} from '../../src/upgrade/report.ts'
import {isNothing, survey} from '../../src/upgrade/survey.ts'
import {fakeWorld, type FakeWorld, fleetOf, remembered} from '../support/fake-world.ts'

const text = `apiVersion: lkeobs/v1
fleet: acme
hub:
  name: hub
  endpoint: hub.example.org:4317
  platform:
    kubernetes: {context: hub}
`
const x509 = remembered(createX509())

const hubOf = (tools: Tools, fleet = text) => openFleet(fleetOf(fleet), tools, {upgrade: true}).hub
const made = async (): Promise<FakeWorld> => {
  const world = fakeWorld({x509})
  await world.play(hubInit(hubOf(world.tools), world.tools))
  return world
}
const surveyed = (tools: Tools, fleet = text) => survey(hubInit(hubOf(tools, fleet), tools), hubOf(tools, fleet))
const shown = (...args: Parameters<typeof upgradeText>) => stripVTControlCharacters(upgradeText(...args))

/** Charts that say this of themselves, and bring these objects. */
const saying = (tools: Tools, {facts = {}, manifest = ''}: {readonly facts?: Partial<ChartFacts>; readonly manifest?: string}): Tools => ({
  ...tools,
  helm: (target) => {
    const helm = tools.helm(target)
    return {...helm, template: async () => manifest, facts: async (chart) => ({...(await helm.facts(chart)), ...facts})}
  },
})

test('right after an unchanged init there is nothing to change', async () => {
  const {tools} = await made()
  const found = await surveyed(tools)
  expect(isNothing(found)).toBe(true)
  expect(shown(found, {diff: false, command: 'hub upgrade'})).toBe('Nothing to change on hub: 8 releases stay as they are.')
  expect(upgradeData(found, {diff: false})).toMatchObject({changes: false, releases: [], objects: [], steps: []})
})

test('a changed fleet file changes just that', async () => {
  const {tools, transcript} = await made()
  const writes = transcript.length
  const found = await surveyed(tools, text.replace('context: hub', 'context: hub, gateway: {maxReplicas: 8, annotations: {team: one}}'))
  expect(found.releases.map(({release, values}) => ({release, values}))).toEqual([
    {release: 'gateway', values: [{path: 'autoscaling.maxReplicas', from: '6', to: '8'}]},
  ])
  expect(found.objects).toEqual([
    {object: 'Service lkeobs/otlp', change: 'changed', fields: [{path: 'metadata.annotations.team', from: undefined, to: 'one'}]},
  ])
  expect(found.steps).toEqual([])
  expect(shown(found, {diff: false, command: 'hub upgrade'})).toMatchInlineSnapshot(`
    "What an upgrade changes on hub

    release  chart    images  objects
    gateway  0.170.0  same    same

      gateway: autoscaling.maxReplicas 6 → 8

      Service lkeobs/otlp changes
        metadata.annotations.team nothing → one

    7 releases stay as they are.
    › lkeobs hub upgrade --diff --dry-run"
  `)
  expect(upgradeQuestion(found)).toBe('Change 1 release, 1 object on hub?')
  expect(transcript).toHaveLength(writes)
})

test('a hub that is not there is all new, and what cannot be asked yet is said so', async () => {
  const found = await surveyed(fakeWorld({x509}).tools)
  // whether the gateway asks for credentials stands in Vault
  expect(found.releases.map(({state}) => state)).toEqual(Array.from({length: 7}, () => 'new'))
  expect(found.steps).toContainEqual({title: 'gateway on hub', seen: 'known only after the steps before it'})
  expect(found.unchanged).toEqual([])
  expect(found.steps).toContainEqual({title: 'register of edges', seen: 'known only after the steps before it'})
})

test('versions that cannot follow one another are refused before anything is changed', async () => {
  const {tools} = await made()
  const fleet = text.replace('context: hub', 'context: hub, gateway: {maxReplicas: 8}')
  await expect(surveyed(saying(tools, {facts: {kubeVersion: '>= 1.99.0-0'}}), fleet)).rejects.toMatchObject({
    code: 'LKO-3114',
    message: 'gateway on hub: chart opentelemetry-collector 0.170.0 is for Kubernetes >= 1.99.0-0; the cluster is v1.37.2.',
  })
})

const definition = (schema: object): KubeObject => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: {name: 'things.example.org'},
  spec: {group: 'example.org', versions: [{name: 'v1', schema: {openAPIV3Schema: schema}}]},
})

test('definitions of a chart are brought up to date before its release, and only where that changes', async () => {
  const world = await made()
  const hub = {context: 'hub'}
  await world.tools.kube(hub).apply([definition({type: 'object'})], {file: 'old.yaml'})
  const before = world.transcript.length
  const manifest = `---\n# Source: some/crds/things.yaml\n${JSON.stringify(definition({type: 'object', properties: {a: {type: 'string'}}}))}\n`
  const tools = saying(world.tools, {manifest})
  const fleet = text.replace('context: hub', 'context: hub, gateway: {maxReplicas: 8}')
  expect((await surveyed(tools, fleet)).releases.map(({definitions}) => definitions)).toEqual([
    [{name: 'things.example.org', change: 'changed'}],
  ])
  await run(upgraded(hubInit(hubOf(tools, fleet), tools), hubOf(tools, fleet)), 'silent')
  expect(world.transcript.slice(before)).toEqual([
    'kubectl --context hub apply --server-side --field-manager=lkeobs --force-conflicts -f hub/gateway.crds.yaml',
    expect.stringMatching(/^helm upgrade --install gateway .* -f hub\/gateway\.values\.yaml$/),
  ])
  expect(isNothing(await surveyed(tools, fleet))).toBe(true)
})
