import {type Fleet, refuseElsewhere} from '../clusters.ts'
import {signals} from '../collector/config.ts'
import {LkeobsError} from '../errors.ts'
import {count} from '../output.ts'
import type {RootRotation} from '../platforms/local/root-rotation.ts'
import type {Plan, Step, Task} from '../steps/step.ts'
import type {Tools} from '../tools/index.ts'
import {certificatesIn, isSignedBy, readCertificate} from '../tools/x509.ts'
import {entryOf} from '../trust/register.ts'
import {patientTimeoutMs, verify} from '../verify/verify.ts'
import {fleetSteps} from './lab-up.ts'

/** How the root CA of the hub is exchanged. Throws LKO-5301 where somebody could not be told. */
export const rootRotationOf = async (fleet: Fleet): Promise<RootRotation> => {
  const {hub, file} = fleet
  refuseElsewhere(fleet)
  if (!hub.rootRotation) throw new LkeobsError('LKO-5301', `The root CA of ${hub.name} is kept by its cluster.`)
  // one that has begun goes on, whether the hub's Vault runs or not
  if ((await hub.rootRotation.phase()) !== 'none') return hub.rootRotation
  for (const {name, platform} of file.fleet.edges)
    if (platform.elsewhere && (await entryOf(hub.vault, name)).issuer !== undefined)
      throw new LkeobsError('LKO-5301', `${name} is looked after elsewhere: it would not trust ${hub.name} any more.`)
  return hub.rootRotation
}

/** Another root CA for the hub, and all that is signed by it: trusted beside the old one, then signing, then alone. */
export const rootRotate = (fleet: Fleet, rotation: RootRotation, tools: Tools, mark: (what: string) => void): Plan => ({
  command: 'certs rotate --root',
  title: `Another root CA for ${fleet.hub.name} and ${count(fleet.edges.length, 'edge')}.`,
  steps: [
    rotation.added,
    phase('trust both', fleet, tools, mark, false),
    rotation.switched,
    phase('reissue', fleet, tools, mark, false),
    rotation.retired,
    phase('retire', fleet, tools, mark, true),
    rotation.settled,
  ],
})

/** Back to the root CA of before, as long as it is trusted. */
export const rootRollback = (fleet: Fleet, rotation: RootRotation, tools: Tools, mark: (what: string) => void): Plan => ({
  command: 'certs rotate --root --rollback',
  title: `Back to the root CA of before, for ${fleet.hub.name} and ${count(fleet.edges.length, 'edge')}.`,
  steps: [
    rotation.switchedBack,
    phase('reissue', fleet, tools, mark, false),
    rotation.retired,
    phase('retire', fleet, tools, mark, true),
    rotation.settled,
  ],
})

/** Everything is brought to what the root CA is now, and seen to be so, before the next phase begins. */
const phase = (title: string, fleet: Fleet, tools: Tools, mark: (what: string) => void, retires: boolean): Task => ({
  title,
  steps: [...fleetSteps(fleet, tools, {retires}), chained(fleet), canaries(fleet, tools, () => mark(`${title}: done`))],
})

/** What the gateway shows on the wire ends in the root CA that signs. */
const chained = ({hub}: Fleet): Step => ({
  title: `what the gateway of ${hub.name} shows is of the root CA that signs`,
  patienceMs: 60_000,
  async done() {
    const root = readCertificate(await hub.rootCa())
    const served = await hub.served()
    if (served.length === 0) return 'no gateway answers'
    const others = served.filter((pem) => {
      const top = certificatesIn(pem).at(-1)
      return !root || !top || !isSignedBy(top, root)
    })
    return others.length === 0 ? true : 'of another'
  },
  apply: async () => undefined,
})

/** Every edge still gets through, on all signals. */
const canaries = ({hub, edges}: Fleet, {http, download}: Tools, passed: () => void): Step => {
  let seen = false
  return {
    title: 'canaries of every edge, read back from the stores',
    done: async () => (seen ? true : 'not yet'),
    async apply(tell) {
      if (download.dry) return
      const {ok, canaries: all} = await verify(http, {hub, edges, signals, timeoutMs: patientTimeoutMs}, tell)
      if (!ok) {
        const lost = all.filter((canary) => !canary.ok).map(({edge, signal, reason}) => `${edge} ${signal}: ${reason}`)
        throw new LkeobsError('LKO-2001', lost.join('\n'), {next: ['lkeobs verify --all']})
      }
      seen = true
      passed()
    },
  }
}
