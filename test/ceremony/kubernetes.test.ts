import {expect, test} from 'vitest'
import {openFleet} from '../../src/clusters.ts'
import {parseFleet} from '../../src/fleet/load.ts'
import {hubInit} from '../../src/plans/hub-init.ts'
import {renderTools} from '../../src/steps/render.ts'
import {flatten} from '../../src/steps/step.ts'
import {createTools} from '../../src/tools/index.ts'

const holders = ['ada', 'bea', 'cem'].map((name) => `{name: ${name}, key: ${name}.asc}`).join(', ')
const textWith = (vault: string): string => `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, platform: {kubernetes: {context: hub}}, endpoint: 'otlp.hub.example:4317', vault: ${vault}}
`
const shamir = textWith(`{seal: shamir, threshold: 2, holders: [${holders}], custodian: {name: kay, key: kay.asc}}`)

/** What the release and the nodes' own files say. */
const vaultOf = async (text: string) => {
  const tools = renderTools(createTools({yes: true}))
  const fleet = openFleet({fleet: parseFleet(text, 'f'), file: '/nowhere/lkeobs.yaml', folder: '/nowhere', text}, tools, {rendered: true})
  const steps = flatten(hubInit(fleet.hub, tools).steps)
  const wishOf = async (title: RegExp) => JSON.stringify(await steps.find((step) => title.test(step.title))?.wish?.())
  return {
    titles: steps.map(({title}) => title),
    release: (await wishOf(/nodes of OpenBao/)).replaceAll(String.raw`\"`, '"').replaceAll(String.raw`\\"`, '"'),
    selves: (await wishOf(/is told alone/)).replaceAll(String.raw`\"`, '"'),
    nodes: fleet.hub.vaultNodes().map(({name}) => name),
  }
}

test('holders unseal it: no seal, no password in a Secret, no node that initialises itself, audit devices declared', async () => {
  const {titles, release, selves, nodes} = await vaultOf(shamir)
  expect(release).not.toMatch(/"seal": |vault-seal|vault-admin/)
  // started anew it is closed: a person says when
  expect(release).toContain('"updateStrategyType":"OnDelete"')
  expect(release).toContain('"file_path": "/openbao/data/audit.log"')
  expect(release).toContain('"file_path": "stdout"')
  expect(selves).not.toContain('initialize')
  // each finds whichever was initialised
  expect(selves.match(/retry_join/g)).toHaveLength(3)
  expect(nodes).toEqual(['vault-0', 'vault-1', 'vault-2'])
  expect(titles.filter((title) => /seal key|password|founded/.test(title))).toEqual([])
  expect(titles).toContain('Vault on hub unsealed by its holders')
})

test('a key unseals it: as before', async () => {
  const {release, selves} = await vaultOf(textWith('{seal: static}'))
  expect(release).toMatch(/"seal": /)
  expect(release).toContain('"updateStrategyType":"RollingUpdate"')
  expect(release).toContain('vault-seal')
  expect(release).not.toContain('"audit": ')
  expect(selves.match(/retry_join/g)).toHaveLength(3)
})
