import {attemptOf, type AttemptWish} from '../ceremony/attempt.ts'
import type {Ceremony} from '../ceremony/ceremony.ts'
import {answered, challenged} from '../ceremony/challenge.ts'
import {type AskedSecret, rootRevoked} from '../ceremony/init.ts'
import type {Plan, Step} from '../steps/step.ts'

type Answers = {readonly sources: readonly string[]; readonly stdin: () => Promise<string>}

/** The shares in other hands: new ones for the holders of the fleet file, proven before the old ones end. */
export const vaultRekey = (ceremony: Ceremony, wish: Omit<AttemptWish, 'attempt'>, answers: Answers): Plan => {
  const {hub, holders, threshold} = ceremony
  const {login, newcomers, steps} = attemptOf(ceremony, {...wish, attempt: 'rekey'})
  return {
    command: 'vault rekey',
    title: `Vault on ${hub.name}: new shares for ${holders.length} holders, any ${threshold} of whom open it.`,
    steps: [login, challenged(ceremony, newcomers), answered(ceremony, newcomers, answers), ...steps],
  }
}

/** Break glass: holders make a root token, encrypted to the custodian. */
export const vaultGenerateRoot = (ceremony: Ceremony, wish: Omit<AttemptWish, 'attempt' | 'fresh'>): Plan => {
  const {login, steps} = attemptOf(ceremony, {...wish, attempt: 'generate-root', fresh: false})
  return {
    command: 'vault generate-root',
    title: `Vault on ${ceremony.hub.name}: a root token for ${ceremony.custodian.name}, within ${wish.minutes} minutes.`,
    steps: [login, ...steps],
  }
}

/** Ends an attempt, whoever began it. */
export const vaultCancel = (ceremony: Ceremony, attempt: AttemptWish['attempt']): Plan => {
  const {login, cancelled} = attemptOf(ceremony, {attempt, minutes: 0, wait: false, fresh: false})
  let isOver = false
  const over: Step = {
    title: `no ${attempt} under way`,
    done: async () => (isOver ? true : 'not asked yet'),
    async apply() {
      await cancelled()
      isOver = true
    },
  }
  return {command: `vault ${attempt} --cancel`, title: `Vault on ${ceremony.hub.name}: ${attempt} ends.`, steps: [login, over]}
}

/** The end of break glass: the token is revoked and refused. */
export const vaultCloseRoot = (ceremony: Ceremony, rootToken: AskedSecret): Plan => ({
  command: 'vault generate-root --close',
  title: `Vault on ${ceremony.hub.name}: the root token ends.`,
  steps: [rootRevoked(ceremony, rootToken, {again: true})],
})
