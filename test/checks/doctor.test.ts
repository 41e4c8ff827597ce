import {stripVTControlCharacters} from 'node:util'
import {expect, test} from 'vitest'
import {runChecks} from '../../src/checks/check.ts'
import {doctor, type DoctorReport, doctorText} from '../../src/checks/doctor.ts'
import {localChecks} from '../../src/checks/local.ts'
import {machineChecks} from '../../src/checks/machine.ts'
import {openFleet} from '../../src/clusters.ts'
import {LkeobsError} from '../../src/errors.ts'
import {newLabFleet} from '../../src/fleet/edit.ts'
import {fakeWorld, fleetOf} from '../support/fake-world.ts'

const {tools} = fakeWorld()

const disks = (free: number) => ({files: {...tools.files, free: async () => free}})
const local = (free: number, checked: () => Promise<void>) =>
  runChecks(localChecks, {cluster: {checked}, folder: '/home', tools: disks(free)})
const taken = async () => {
  throw new LkeobsError('LKO-3001', 'Port 14300 is held by somebody.')
}

test('a cluster of processes: room, then ports', async () => {
  const [disk, ports] = await local(5e9, async () => undefined)
  expect([disk, ports]).toMatchObject([{state: 'ok', fact: '5.0 GB free'}, {state: 'ok'}])
  expect((await local(5e9, taken)).slice(0, 2)).toMatchObject([{state: 'ok'}, {state: 'failed', code: 'LKO-3001'}])
  expect((await local(1e6, taken)).slice(0, 2)).toMatchObject([
    {state: 'failed', code: 'LKO-3004'},
    {state: 'skipped', why: 'says nothing unless there is room on the disk'},
  ])
})

test('programs: all that are missing are named, with what installs them', async () => {
  const lacking = (names: readonly string[]) =>
    runChecks(machineChecks, {
      programs: ['helm', 'kubectl'],
      tools: {
        async program(name) {
          if (names.includes(name)) throw new LkeobsError('LKO-4001', `${name} is not installed.`)
          return name
        },
      },
    })
  expect(await lacking([])).toMatchObject([{state: 'ok', fact: expect.stringMatching(/^helm \d.*, kubectl \d/)}])
  expect(await lacking(['helm', 'kubectl'])).toMatchObject([
    {
      state: 'failed',
      why: 'helm is not installed.\nkubectl is not installed.',
      next: ['lkeobs tools install helm kubectl', 'lkeobs explain LKO-4001'],
    },
  ])
})

test('a lab is looked at as one: nothing fails, and what comes next is said once', async () => {
  const fleet = openFleet(fleetOf(newLabFleet({edges: 2})), tools)
  const report = await doctor(fleet, [fleet.hub, ...fleet.edges], tools)
  expect(report.ok).toBe(true)
  expect(report.clusters.map(({name, role, at}) => [name, role, at])).toEqual([
    ['hub', 'hub', 'this machine'],
    ['edge-1', 'edge', 'this machine'],
    ['edge-2', 'edge', 'this machine'],
  ])
  expect(stripVTControlCharacters(doctorText(report)).split('\n').slice(-2)).toEqual([
    '3 clusters, 13 checks: 10 so, 3 skipped.',
    '› lkeobs lab up',
  ])
})

const kubernetesFleet = `apiVersion: lkeobs/v1
fleet: acme
hub: {name: hub, platform: {kubernetes: {context: hub}}}
edges:
  - {name: edge-1, platform: {kubernetes: {context: nowhere}}}
`

test('one cluster that cannot be found fails alone, and the report with it', async () => {
  const fleet = openFleet(fleetOf(kubernetesFleet), fakeWorld().tools)
  const report = await doctor(fleet, [fleet.hub, ...fleet.edges], fakeWorld().tools)
  const [hub, edge] = report.clusters
  expect(hub?.checks.find(({id}) => id === 'api-server')?.state).toBe('ok')
  expect(edge?.checks.find(({id}) => id === 'api-server')).toMatchObject({state: 'failed', code: 'LKO-3101'})
  expect(report.ok).toBe(false)
})

const report: DoctorReport = {
  fleet: 'acme',
  ok: false,
  machine: {
    checks: [{id: 'programs', about: 'programs are installed', of: 'machine', state: 'ok', fact: 'helm 4.2.4', next: ['lkeobs status']}],
  },
  clusters: [
    {
      name: 'edge-1',
      role: 'edge',
      at: 'context lke-1',
      checks: [
        {id: 'a', about: 'the API server answers', of: 'kubernetes', state: 'ok', fact: 'v1.37.2'},
        {
          id: 'b',
          about: 'permitted',
          of: 'kubernetes',
          state: 'failed',
          code: 'LKO-3103',
          why: '2 are missing:\nin lkeobs: create secrets',
          next: ['kubectl auth can-i create secrets', 'lkeobs explain LKO-3103'],
        },
        {id: 'c', about: 'one storage class', of: 'kubernetes', state: 'warning', why: 'There are two.', next: []},
        {id: 'd', about: 'load balancers', of: 'kubernetes', state: 'skipped', why: 'edges dial'},
        {id: 'e', about: 'room', of: 'kubernetes', state: 'skipped', why: 'says nothing unless nodes are ready'},
        {id: 'f', about: 'more room', of: 'kubernetes', state: 'skipped', why: 'says nothing unless nodes are ready'},
      ],
    },
  ],
}

test('the screen: what is so with its fact, what is not with its reason and what to type', () => {
  expect(stripVTControlCharacters(doctorText(report))).toBe(`this machine
  ✔ programs are installed   helm 4.2.4

edge-1   edge of acme, context lke-1
  ✔ the API server answers   v1.37.2
  ✖ permitted
      LKO-3103  2 are missing:
      in lkeobs: create secrets
    › kubectl auth can-i create secrets
    › lkeobs explain LKO-3103
  ! one storage class
      There are two.
  – load balancers           edges dial
  – 2 more checks say nothing unless nodes are ready

1 cluster, 7 checks: 2 so, 1 not, 1 warning, 3 skipped.`)
})
