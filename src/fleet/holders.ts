import {z} from 'zod'

const keyFile = z.string().min(1).describe('The file with the armoured OpenPGP public key, from the folder of this file.')

/** Who opens a Vault with seal shamir: keys of `hub.vault`. */
export const holderShape = (label: z.ZodString) => ({
  holders: z
    .array(
      z
        .strictObject({
          name: label.describe('What the holder is called: a DNS label.'),
          key: keyFile,
          role: z.string().min(1).optional().describe('What the holder is in your organisation; for the record only.'),
        })
        .describe('A person who holds one share.'),
    )
    .optional()
    .describe('Who holds a share of the key, one share each; at least three. With seal shamir.'),
  threshold: z.int().optional().describe('How many holders unseal Vault together; at least two. With seal shamir.'),
  custodian: z
    .strictObject({name: label.describe('What the custodian is called: a DNS label.'), key: keyFile})
    .optional()
    .describe('Who is given the root token, encrypted, until it is revoked; not a holder. With seal shamir.'),
})

export type Holder = {readonly name: string; readonly key: string; readonly role?: string | undefined}

type Held = {
  readonly seal: string
  readonly holders?: readonly Holder[] | undefined
  readonly threshold?: number | undefined
  readonly custodian?: Holder | undefined
}

const fewest = {holders: 3, threshold: 2} as const
/** Shamir's scheme over bytes has no more. */
const mostHolders = 255

type Issue = {readonly path: readonly (string | number)[]; readonly message: string; readonly other?: readonly (string | number)[]}

/** One person must not open Vault alone: not by a threshold of one, not by holding two shares, not as custodian and holder. */
const issuesOf = ({seal, holders, threshold, custodian}: Held): readonly Issue[] => {
  const given = {holders, threshold, custodian}
  const names = ['holders', 'threshold', 'custodian'] as const
  if (seal !== 'shamir')
    return names
      .filter((name) => given[name] !== undefined)
      .map((name) => ({path: [name], message: `only a Vault with seal shamir has it; the seal is ${seal}`}))
  const missing = names
    .filter((name) => given[name] === undefined)
    .map((name) => ({path: [name], message: 'missing; a Vault with seal shamir needs it'}))
  const people = holders ?? []
  const number = people.length
  const size: readonly Issue[] =
    holders === undefined || (number >= fewest.holders && number <= mostHolders)
      ? []
      : [{path: ['holders'], message: `expected ${fewest.holders} to ${mostHolders} holders, got ${number}`}]
  const bounds: readonly Issue[] =
    threshold === undefined
      ? []
      : threshold < fewest.threshold
        ? [{path: ['threshold'], message: `expected at least ${fewest.threshold}, got number ${threshold}: nobody may open Vault alone`}]
        : holders !== undefined && threshold > number
          ? [{path: ['threshold'], message: `expected at most ${number}, the number of holders, got number ${threshold}`}]
          : []
  const twice = people.flatMap((holder, at): readonly Issue[] =>
    (['name', 'key'] as const).flatMap((key) => {
      const first = people.slice(0, at).findIndex((other) => other[key] === holder[key])
      if (first === -1) return []
      const message = `${holder[key]} is the ${key} of another holder; nobody holds two shares`
      return [{path: ['holders', at, key], message, other: ['hub', 'vault', 'holders', first, key]}]
    }),
  )
  const keeper = (['name', 'key'] as const).flatMap((key): readonly Issue[] => {
    const first = people.findIndex((holder) => holder[key] === custodian?.[key])
    if (first === -1) return []
    const message = `${custodian?.[key]} is the ${key} of a holder; the custodian holds no share`
    return [{path: ['custodian', key], message, other: ['hub', 'vault', 'holders', first, key]}]
  })
  return [...missing, ...size, ...bounds, ...twice, ...keeper]
}

/** Refines `hub.vault`. */
export const heldTogether = (vault: Held, context: z.RefinementCtx): void => {
  for (const {path, message, other} of issuesOf(vault))
    context.addIssue({code: 'custom', path: [...path], message, ...(other && {params: {other}})})
}
