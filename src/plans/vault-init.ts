import {type Ceremony} from '../ceremony/ceremony.ts'
import {answered, challenged} from '../ceremony/challenge.ts'
import {
  administratorProven,
  type AskedSecret,
  audited,
  envelopesWritten,
  initialised,
  joined,
  rootRevoked,
  unsealedByHolders,
} from '../ceremony/init.ts'
import type {Plan} from '../steps/step.ts'

type Wish = {
  readonly answers: readonly string[]
  readonly stdin: () => Promise<string>
  readonly rootToken: AskedSecret
  readonly password: AskedSecret
  readonly wait: boolean
  readonly startOver: boolean
}

/** The hub's Vault from nothing to the hands of its holders; nobody is left who could open it alone. */
export const vaultInit = (ceremony: Ceremony, {answers, stdin, rootToken, password, wait, startOver}: Wish): Plan => {
  const {hub, holders, custodian, threshold} = ceremony
  // once there are shares, everybody has shown what they had to
  const people = async () => ((await ceremony.reply()) === undefined ? [...holders, custodian] : [])
  return {
    command: 'vault init',
    title: `Vault on ${hub.name}: ${holders.length} holders, any ${threshold} of whom open it.`,
    steps: [
      ...hub.prepared(),
      ...hub.hasRootCa(),
      ...hub.vaultRuns(),
      challenged(ceremony, people),
      answered(ceremony, people, {sources: answers, stdin}),
      initialised(ceremony, {startOver}),
      envelopesWritten(ceremony),
      unsealedByHolders(ceremony, {wait}),
      administratorProven(ceremony, {rootToken, password}),
      joined(ceremony),
      audited(ceremony),
      rootRevoked(ceremony, rootToken),
    ],
  }
}
