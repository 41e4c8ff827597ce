import {expect, test} from 'vitest'
import {edgeOf} from '../../src/clusters.ts'
import {edgeJoinInvited, openInvited} from '../../src/plans/edge-join-invited.ts'
import {Secret} from '../../src/secret.ts'
import {flatten} from '../../src/steps/step.ts'
import type {Invite} from '../../src/trust/invite.ts'
import {fakeWorld, fleetPath} from '../support/fake-world.ts'

const invite: Invite = {
  fleet: 'acme',
  hub: 'hub',
  edge: 'edge-1',
  endpoint: 'hub.test:4317',
  vault: 'hub.test:8200',
  pin: 'oLYGzBbfd9f7SMDamk1vIE5JgXPMhBJG5b-NV7-R3QY',
  seal: 'transit',
  expires: 4_000_000_000,
  token: new Secret('s.invite'),
}

test('nothing is done to a cluster before it is let in; what it is given waits for its namespaces, and its Vault for that', async () => {
  const {tools} = fakeWorld({contexts: ['edge-1']})
  const fleet = await openInvited({fleet: fleetPath, context: 'edge-1'}, invite, tools)
  const {steps} = edgeJoinInvited(fleet, edgeOf(fleet, 'edge-1'), {invite, folder: fleet.file.folder, waitMs: 0, timeoutMs: 0}, tools)
  const titles = flatten(steps).map(({title}) => title)
  const order = [/^hub lets edge-1 in/, /^namespaces on edge-1/, /^what edge-1 was given by hub/, /^Vault on edge-1: 1 node/].map((title) =>
    titles.findIndex((one) => title.test(one)),
  )
  expect(order).not.toContain(-1)
  expect(order).toEqual(order.toSorted((one, other) => one - other))
})
