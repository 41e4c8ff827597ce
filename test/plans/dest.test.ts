import {describe, expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {literal} from '../../src/collector/config.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {destinationSchema} from '../../src/fleet/schema.ts'
import {destAdd} from '../../src/plans/dest-add.ts'
import {destRemove} from '../../src/plans/dest-remove.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {Secret} from '../../src/secret.ts'
import {secretsWritten} from '../../src/destinations/secrets.ts'
import {flatten} from '../../src/steps/step.ts'
import {createRecorder, preview} from '../../src/steps/preview.ts'
import {dryTools, type Tools} from '../../src/tools/index.ts'
import {createX509} from '../../src/tools/x509.ts'
import {fakeWorld, type FakeWorld, fleetOf, fleetPath, remembered} from '../support/fake-world.ts'

const text = newLabFleet({edges: 0})
const x509 = remembered(createX509())
const hubOnly = (async () => {
  const world = fakeWorld({x509})
  await world.play(hubInit(openFleet(fleetOf(text), world.tools).hub, world.tools))
  world.files.set(fleetPath, text)
  return world.snapshot()
})()
const worldWithHub = async () => {
  const world = fakeWorld({x509})
  world.restore(await hubOnly)
  return world
}

const input = {name: 'corp', splunk: {endpoint: 'https://splunk.example:8088', index: 'otel'}}
const token = new Secret('0000-token-of-corp')
const fileIn = ({files}: FakeWorld) => fleetOf(files.get(fleetPath) ?? '')

const adding = (
  world: FakeWorld,
  {
    tools = world.tools,
    secret = token,
    wish = input,
    probes = true,
  }: {tools?: Tools; secret?: Secret; wish?: object; probes?: boolean} = {},
) =>
  destAdd(
    {before: fileIn(world), input: wish as never, destination: destinationSchema.parse(wish), secrets: {token: secret}, probes, ways: {}},
    tools,
  )

const removing = (world: FakeWorld, drainMs = 10_000) =>
  destRemove({fleet: openFleet(fileIn(world), world.tools), name: 'corp', drainMs, left: () => undefined, ways: {}}, world.tools)

const gatewayOf = ({files, folder}: FakeWorld) => files.get(`${folder}/hub/gateway/gateway.yaml`) ?? ''

describe('dest add', () => {
  test('tries it, then keeps it, then feeds it, by these writes; and by none the second time', async () => {
    const world = await worldWithHub()
    expect(await world.play(adding(world))).toMatchInlineSnapshot(`
      "https://splunk.example:8088/services/collector takes what corp is to be sent
        ask https://splunk.example:8088/services/collector
      secrets of corp in Vault
        vault of hub: lkeobs/destinations/corp token=‹secret› version=‹secret›
      corp in lab/lkeobs.yaml
        write lkeobs.yaml (0644)
      gateway on hub
        stop hub/gateway
        write hub/gateway/gateway.yaml
        start hub/gateway: otelcol --config=hub/gateway/gateway.yaml"
    `)
    expect(world.files.get(fleetPath)).toBe(
      `${text}destinations:\n  - name: corp\n    splunk: {endpoint: https://splunk.example:8088, index: otel}\n`,
    )
    expect(await world.play(adding(world))).toBe('')
  })

  test('killed before any of its writes, the next run ends where one run would have', async () => {
    const once = await worldWithHub()
    const moments = await once.momentsOf(adding(once))
    expect(moments.length).toBeGreaterThan(5)
    for (const {line, state} of moments) {
      const world = fakeWorld({x509})
      world.restore(state)
      await world.play(adding(world))
      expect(world.shape(), line).toEqual(once.shape())
      expect(await world.play(adding(world)), line).toBe('')
    }
  })

  test('its secret is in Vault and in the environment of the gateway, and nowhere else', async () => {
    const world = await worldWithHub()
    await world.play(adding(world))
    for (const [file, content] of world.files) expect(content, file).not.toContain(token.reveal())
    const told = [...world.processes.values()].filter(({env}) => Object.values(env ?? {}).some((value) => value instanceof Secret))
    expect(told.map(({record}) => record.slice(world.folder.length))).toEqual(['/hub/run/gateway'])
    const kept = told[0]?.env?.['LKEOBS_DESTINATION_CORP_TOKEN']
    expect(kept instanceof Secret && kept.reveal()).toBe(token.reveal())
    expect(JSON.stringify(told)).not.toContain(token.reveal())
    expect(gatewayOf(world)).toContain('token: ${env:LKEOBS_DESTINATION_CORP_TOKEN}')
  })

  test('another token is tried, kept, and restarts the gateway alone', async () => {
    const world = await worldWithHub()
    await world.play(adding(world))
    const again = await world.play(adding(world, {secret: new Secret('another-token-of-corp')}))
    expect(again).toContain('ask https://splunk.example:8088/services/collector')
    expect(again.split('\n').filter((line) => /^ {2}(start|stop)/.test(line))).toEqual([
      '  stop hub/gateway',
      expect.stringContaining('  start hub/gateway'),
    ])
  })

  test('what the destination refuses changes nothing', async () => {
    const world = await worldWithHub()
    const before = world.shape()
    const wire: Tools['wire'] = {
      ...world.tools.wire,
      ask: async () => ({
        status: 403,
        contentType: 'application/json',
        body: Buffer.from('{"text":"Invalid token","code":4}'),
        latencyMs: 1,
      }),
    }
    await expect(world.play(adding(world, {tools: {...world.tools, wire}}))).rejects.toMatchObject({code: 'LKO-7108'})
    expect(world.shape()).toEqual(before)
    // forced, nobody is asked
    expect(await world.play(adding(world, {tools: {...world.tools, wire}, probes: false}))).toContain(
      'vault of hub: lkeobs/destinations/corp',
    )
  })

  test('a dry run sends nothing, says what it would send, and shows no secret', async () => {
    const world = await worldWithHub()
    const recorder = createRecorder()
    const previews = await preview(adding(world, {tools: dryTools(world.tools, recorder.record)}), recorder)
    expect(world.transcript).toEqual([])
    const writes = previews.flatMap((step) => step.writes)
    expect(writes.slice(0, 2)).toEqual([
      'curl --data @- https://splunk.example:8088/services/collector',
      expect.stringMatching(/lkeobs\/destinations\/corp token=‹secret› version=‹secret›$/),
    ])
    expect(writes.join('\n')).not.toContain(token.reveal())
  })

  test('a destination whose secret Vault does not have leaves the gateway as it is, and says what to type', async () => {
    const world = await worldWithHub()
    const file = fleetOf(`${text}destinations:\n  - {name: corp, splunk: {endpoint: 'https://splunk.example'}}\n`)
    await expect(world.play(hubInit(openFleet(file, world.tools).hub, world.tools))).rejects.toMatchObject({
      code: 'LKO-7115',
      next: expect.arrayContaining(['lkeobs dest add splunk corp --token-file FILE']) as string[],
    })
    expect(world.transcript.filter((line) => line.includes('gateway'))).toEqual([])
  })

  test('a hub that comes up again brings its destinations up', async () => {
    const world = await worldWithHub()
    await world.play(adding(world))
    world.kill('hub/gateway')
    expect(await world.play(hubInit(openFleet(fileIn(world), world.tools).hub, world.tools))).toContain('start hub/gateway')
  })
})

describe('dest remove', () => {
  test('feeds it no more, waits, and leaves nothing of it; the file is as it was', async () => {
    const world = await worldWithHub()
    const before = world.shape()
    await world.play(adding(world))
    expect(await world.play(removing(world))).toMatchInlineSnapshot(`
      "gateway on hub
        stop hub/gateway
        write hub/gateway/gateway.yaml
        start hub/gateway: otelcol --config=hub/gateway/gateway.yaml
      corp not in lab/lkeobs.yaml
        write lkeobs.yaml (0644)
      gateway on hub
        stop hub/gateway
        write hub/gateway/gateway.yaml
        start hub/gateway: otelcol --config=hub/gateway/gateway.yaml
      no secret of corp in Vault
        vault of hub: remove lkeobs/destinations/corp"
    `)
    expect(world.shape()).toEqual({...before, files: world.shape().files})
    expect(world.files.get(fleetPath)).toBe(`${text}destinations: []\n`)
    expect(gatewayOf(world)).not.toContain('corp')
    expect(await world.play(removing(world))).toBe('')
  })

  test('killed before any of its writes, the next run ends where one run would have', async () => {
    const once = await worldWithHub()
    await once.play(adding(once))
    const moments = await once.momentsOf(removing(once))
    for (const {line, state} of moments) {
      const world = fakeWorld({x509})
      world.restore(state)
      await world.play(removing(world))
      expect(world.shape(), line).toEqual(once.shape())
    }
  })
})

describe('on Kubernetes', () => {
  const without = `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, platform: {kubernetes: {context: hub}}}
`
  const file = `${without}destinations: [{name: corp, splunk: {endpoint: 'https://splunk.example'}}]\n`

  test('a secret reaches the gateway by a Secret and its environment; another one makes other pods', async () => {
    const world = fakeWorld({x509})
    const hub = openFleet(fleetOf(file), world.tools).hub
    await world.play(hubInit(openFleet(fleetOf(without), world.tools).hub, world.tools))
    const written = (secret: string) =>
      world.play({command: 'x', title: 'x', steps: [secretsWritten(hub.vault, 'corp', {token: new Secret(secret)})]})
    const gatewayRuns = () => world.play({command: 'x', title: 'x', steps: hub.gatewayRuns()})
    const told = async () => {
      const wishes = await Promise.all(flatten(hub.gatewayRuns()).map(async (step) => step.wish?.()))
      const wish = wishes.find((one) => one !== undefined)
      if (!wish || !('release' in wish)) throw new Error('no release')
      const {extraEnvs, podAnnotations, terminationGracePeriodSeconds, alternateConfig} = wish.release.values as Record<string, object>
      expect(JSON.stringify(alternateConfig)).toContain('${env:LKEOBS_DESTINATION_CORP_TOKEN}')
      return {extraEnvs, podAnnotations, terminationGracePeriodSeconds}
    }
    await written(token.reveal())
    expect(await gatewayRuns()).toMatchInlineSnapshot(`
      "secrets of destinations in the hands of the gateway on hub
        kubectl --context hub apply --server-side --field-manager=lkeobs -f hub/gateway-destination-corp-token.yaml
        kubectl --context hub annotate pods --namespace lkeobs --selector app.kubernetes.io/instance=gateway --overwrite lkeobs.io/handed=‹digest›
      gateway on hub
        helm upgrade --install gateway opentelemetry-collector --repo https://open-telemetry.github.io/opentelemetry-helm-charts --version 0.170.0 --namespace lkeobs --kube-context hub -f hub/gateway.values.yaml"
    `)
    expect(await gatewayRuns()).toBe('')
    const first = await told()
    expect(first).toMatchObject({
      extraEnvs: expect.arrayContaining([
        {
          name: 'LKEOBS_DESTINATION_CORP_TOKEN',
          valueFrom: {secretKeyRef: {name: 'gateway-destination-corp-token', key: 'destination-corp-token'}},
        },
      ]),
      terminationGracePeriodSeconds: 3,
    })
    expect(await hub.read('gateway', 'destination-corp-token')).toBe(token.reveal())
    await written('another-token-of-corp')
    expect((await told()).podAnnotations).not.toEqual(first.podAnnotations)
    await gatewayRuns()
    expect(await hub.read('gateway', 'destination-corp-token')).toBe('another-token-of-corp')
    await world.play({command: 'x', title: 'x', steps: hub.destinationGone('corp')})
    expect(await hub.read('gateway', 'destination-corp-token')).toBeUndefined()
  })
})

test('a dollar sign of somebody else is not taken for a variable', () => {
  expect(literal({index: 'a${env:HOME}'})).toEqual({index: 'a$${env:HOME}'})
})
